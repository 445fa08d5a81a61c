//! Which files are taken out of an image, and which would be but stay, and why.
//!
//! What stays is what could not come back as it was: a file whose other names lie in the image, one that a layer below has,
//! too (the slim image would show that), one with extended attributes.

use std::collections::HashMap;
use std::fmt;

use glowplug_image::{Image, ReadError};
use glowplug_layer::{Entry, Kind};
use glowplug_tarwalk::{Whiteout, whiteout};

use crate::diet::{Contents, Facts, Fate, File, Inventory, magic, weights};

/// Shortest file that is taken for weights, unless told otherwise: 10 MiB, from which on a diet looks into files.
pub const DEFAULT_LEAST_BYTES: u64 = 10 << 20;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Shortest file that is taken, in bytes.
    pub least_bytes: u64,
    /// Take what lies at or below these paths, whatever it is; if there are none, what is known for weights.
    pub paths: Vec<String>,
}

/// A file that is taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its path, with a leading slash.
    pub path: String,
    /// Number of its layer.
    pub layer: usize,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its share of the layer's blob in bytes: an estimate.
    pub blob_bytes: u64,
    /// The format of the weights in it, if its first bytes tell.
    pub format: Option<&'static str>,
}

/// A file that stays though it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its path.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why it stays.
    pub reason: Reason,
}

/// Why a file stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It has several names.
    Links,
    /// A layer below has something by its name.
    Again,
    /// It has extended attributes.
    Attributes,
    /// It is sparse.
    Sparse,
    /// Its layer has it elsewhere, and a link leads there; or its name is no text.
    Name,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Links => "it has several names",
            Self::Again => "another layer has something by its name, too",
            Self::Attributes => "it has extended attributes",
            Self::Sparse => "it is sparse",
            Self::Name => "its layer has it by another name, or its name is no text",
        })
    }
}

/// The files in the layers of `image` that `wish` asks for, by path. Their first bytes are fetched where they are missing.
///
/// # Errors
/// Those bytes cannot be had.
pub async fn choose(image: &Image, wish: &Wish) -> Result<(Vec<Chosen>, Vec<Left>), ReadError> {
    // What lies beside the image already is in none of them.
    let indexes: Vec<_> = image.own_layers().map(|layer| layer.index()).collect();
    let inventory = Inventory::of(&indexes, image.tree(), &[]);
    let named = named(&indexes.iter().map(|index| &*index.entries).collect::<Vec<_>>());
    let (mut chosen, mut left) = (Vec::new(), Vec::new());
    for (file, format) in asked_for(image, &inventory, wish).await? {
        let file = &inventory.files[file];
        let (path, bytes) = (file.path.clone(), file.size);
        let Fate::Shown(node) = file.fate else { continue };
        let entry = image.tree().node(node).and_then(|node| image.entry(node));
        match entry.map_or(Some(Reason::Name), |entry| reason(entry, file, &named)) {
            Some(reason) => left.push(Left { path, bytes, reason }),
            None => {
                let (layer, blob_bytes) = (file.layer as usize, file.blob_bytes);
                chosen.push(Chosen { path, layer, bytes, blob_bytes, format });
            }
        }
    }
    chosen.sort_by(|a, b| a.path.cmp(&b.path));
    left.sort_by(|a, b| a.path.cmp(&b.path));
    Ok((chosen, left))
}

/// The files that are asked for, by their numbers, and their formats.
async fn asked_for(
    image: &Image,
    inventory: &Inventory,
    wish: &Wish,
) -> Result<Vec<(usize, Option<&'static str>)>, ReadError> {
    let mut contents = Contents::default();
    let large = |(_, file): &(usize, &File)| file.size >= wish.least_bytes.max(1);
    for (number, file) in inventory.shown().filter(large) {
        let Fate::Shown(node) = file.fate else { continue };
        if let Some(format) = magic::weights(&image.read(node, 0, magic::HEAD_BYTES).await?) {
            contents.weights.insert(number, format);
        }
    }
    let format = |number: usize| (number, contents.weights.get(&number).copied());
    if !wish.paths.is_empty() {
        let meant =
            |(number, file): (usize, &File)| is_below(&file.path, &wish.paths).then(|| format(number));
        return Ok(inventory.shown().filter(large).filter_map(meant).collect());
    }
    let found = weights(Facts { inventory, contents: &contents, env: &[] }).into_iter();
    Ok(found.filter(|number| large(&(*number, &inventory.files[*number]))).map(format).collect())
}

/// Whether a path is one of `paths`, or lies below one.
fn is_below(path: &str, paths: &[String]) -> bool {
    let name = path.trim_start_matches('/');
    paths.iter().any(|prefix| {
        let prefix = prefix.trim_matches('/');
        name.strip_prefix(prefix)
            .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
    })
}

/// How many entries of all layers go by each path, links to it included.
fn named<'a>(layers: &[&'a [Entry]]) -> HashMap<&'a [u8], (usize, usize)> {
    let mut named: HashMap<&[u8], (usize, usize)> = HashMap::new();
    for entry in layers.iter().copied().flatten() {
        if matches!(whiteout(&entry.path), Whiteout::None) {
            named.entry(&entry.path).or_default().0 += 1;
        }
        if entry.kind == Kind::Hardlink {
            named.entry(&entry.link).or_default().1 += 1;
        }
    }
    named
}

/// Why a file has to stay; nothing if it need not.
fn reason(entry: &Entry, file: &File, named: &HashMap<&[u8], (usize, usize)>) -> Option<Reason> {
    let (names, links) = named.get(&*entry.path).copied().unwrap_or_default();
    let sparse = !matches!(entry.extents[..], [only] if only.file == 0 && only.len == entry.size);
    let path = file.path.trim_start_matches('/').as_bytes();
    if links > 0 {
        Some(Reason::Links)
    } else if entry.kind != Kind::File || path != entry.path || path.iter().any(u8::is_ascii_control) {
        Some(Reason::Name)
    } else if names > 1 {
        Some(Reason::Again)
    } else if !entry.xattrs.is_empty() {
        Some(Reason::Attributes)
    } else {
        sparse.then_some(Reason::Sparse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_path_and_not_a_beginning_of_one() {
        let below = |path: &str, prefix: &str| is_below(path, &[prefix.to_owned()]);
        for (path, prefix) in
            [("/srv/m/a", "/srv/m"), ("/srv/m/a", "srv/m/"), ("/srv/m/a", "/srv/m/a"), ("/a", "/")]
        {
            assert!(below(path, prefix), "{path} {prefix}");
        }
        assert!(!below("/srv/models/a", "/srv/m") && !below("/other/srv/m/a", "/srv/m"));
    }
}
