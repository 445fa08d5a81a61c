//! Names that somebody may have meant who asked for one that is not there.

use super::{NodeId, Tree};

/// The most names that are given.
const MOST: usize = 3;
/// Bytes of a name that may be wrong: two, and of short names fewer, so that not everything is near.
const MAX_TYPOS: usize = 2;

impl Tree {
    /// Paths near the missing `name` in the directory `dir`: names there that are spelt alike, or else that very name elsewhere in the
    /// image.
    pub fn near(&self, dir: NodeId, name: &[u8]) -> Vec<Vec<u8>> {
        let Some(node) = self.node(dir) else { return Vec::new() };
        let prefix = if dir == Self::ROOT { Vec::new() } else { self.path_bytes(dir) };
        let alike = |(child, _): &(Box<[u8]>, NodeId)| {
            distance(name, child).map(|distance| (distance, child.clone()))
        };
        let mut here: Vec<(usize, Box<[u8]>)> = node.children.iter().filter_map(alike).collect();
        here.sort_unstable();
        if here.is_empty() {
            let elsewhere =
                self.below(Self::ROOT).filter(|(path, _)| path.rsplit(|b| *b == b'/').next() == Some(name));
            return elsewhere.take(MOST).map(|(path, _)| [b"/", &*path].concat()).collect();
        }
        here.iter().take(MOST).map(|(_, child)| [&*prefix, b"/", child].concat()).collect()
    }
}

/// How far a name is from what was asked for; `None` for one that is not near: 0 if only upper and lower case differ, the number of bytes
/// that were mistyped, more if what was asked for is only its beginning.
fn distance(asked: &[u8], name: &[u8]) -> Option<usize> {
    if asked.eq_ignore_ascii_case(name) {
        return Some(0);
    }
    let most = MAX_TYPOS.min(asked.len() / 3);
    if asked.len().abs_diff(name.len()) <= most {
        let typos = typos(asked, name);
        if typos <= most {
            return Some(typos);
        }
    }
    (asked.len() >= 3 && name.starts_with(asked)).then_some(MAX_TYPOS + 1)
}

/// Bytes to change, leave out or put in to make one name of the other.
fn typos(a: &[u8], b: &[u8]) -> usize {
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, byte) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut above[0], row + 1);
        for (column, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(byte != other);
            diagonal = above[column + 1];
            above[column + 1] = changed.min(diagonal + 1).min(above[column] + 1);
        }
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_what_a_hurried_person_types() {
        let near = |asked: &str, name: &str| distance(asked.as_bytes(), name.as_bytes());
        assert_eq!(near("License", "LICENSE"), Some(0));
        assert_eq!(near("paswd", "passwd"), Some(1));
        assert_eq!(near("hsots", "hosts"), None, "two of five are too many");
        assert_eq!(near("reslov.conf", "resolv.conf"), Some(2));
        assert_eq!(near("python3", "python3.12"), Some(3), "a beginning");
        assert_eq!(near("a", "b"), None, "short names are all near each other");
        assert_eq!(near("libtorch_cuda.so", "libtorch_cpu.so"), None);
        assert_eq!([typos(b"", b"abc"), typos(b"abc", b""), typos(b"kitten", b"sitting")], [3, 3, 3]);
    }
}
