//! An image of many folders in which four layers do random things to a few names, so that layers meet.
//!
//! What containerd refuses is left out: [`Disk`] is as much of its applier as knowing that takes.

use std::collections::{BTreeMap, BTreeSet};

use glowplug_testkit::{Entry, Image, ImageBuilder, Layer, Tree};

/// Of the image that the test makes.
pub const SEED: u64 = 0x5eed;

const FOLDERS: usize = 400;
const LAYERS: usize = 4;
/// Things that one layer tries in one folder, at most.
const TRIES: u64 = 9;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// The image of a seed.
pub fn image(seed: u64) -> Image {
    let mut dice = Dice(seed | 1);
    let mut disks = vec![Vec::<Disk>::new(); FOLDERS];
    let layers = (0..LAYERS).map(|_| {
        Layer::gzip(|tree| {
            for (folder, lowers) in disks.iter_mut().enumerate() {
                let own = fill(tree, &format!("r/{folder:03}"), lowers, &mut dice);
                lowers.push(own);
            }
        })
    });
    layers.collect::<Vec<_>>().into_iter().fold(ImageBuilder::new(), ImageBuilder::layer).build()
}

/// What one layer's directory holds.
#[derive(Clone, Default)]
struct Disk {
    /// Paths, and what they are.
    things: BTreeMap<String, Thing>,
    /// Paths that were listed as directories at any time: containerd sets their times at the end, so something must be there.
    timed: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Thing {
    Directory,
    File,
    Link,
    Whiteout,
}

/// Does random things to a folder in the next layer.
fn fill(tree: &mut Tree, folder: &str, lowers: &[Disk], dice: &mut Dice) -> Disk {
    let mut own = Disk::default();
    for _ in 0..dice.below(TRIES) {
        let depth = 1 + dice.below(3) as usize;
        let names: Vec<&str> = (0..depth).map(|_| *dice.pick(&NAMES)).collect();
        let path = names.join("/");
        let there = own.things.get(&path).copied();
        if !own.can_reach(&path, lowers) {
            continue;
        }
        let full = format!("{folder}/{path}");
        match dice.below(10) {
            0..=2 if own.can_displace(&path) => {
                own.displace(&path);
                own.put(&path, Thing::File);
                let bytes = dice.below(full.len() as u64) as usize;
                tree.add(dice.dress(Entry::file(&full, &full[..bytes])));
            }
            3..=5 if there == Some(Thing::Directory) || own.can_displace(&path) => {
                if there != Some(Thing::Directory) {
                    own.displace(&path);
                }
                own.put(&path, Thing::Directory);
                own.timed.insert(path);
                tree.add(dice.dress(Entry::dir(&full)));
            }
            6 if there.is_none() && !lowers.is_empty() => {
                own.put(&path, Thing::Whiteout);
                tree.whiteout(&full);
            }
            7 if !lowers.is_empty() && own.can_reach(&format!("{path}/x"), lowers) => {
                own.put(&path, Thing::Directory);
                tree.opaque(&full);
            }
            8 if own.can_displace(&path) && !own.timed.contains(&path) => {
                own.displace(&path);
                own.put(&path, Thing::Link);
                tree.add(Entry::symlink(&full, "no/where").owner(dice.below(9), dice.below(9)));
            }
            9 if own.can_displace(&path) => {
                let files: Vec<String> = own.others(&path);
                if files.is_empty() {
                    continue;
                }
                let target = format!("{folder}/{}", dice.pick(&files));
                own.displace(&path);
                own.put(&path, Thing::File);
                tree.add(dice.dress(Entry::hardlink(&full, target)));
            }
            _ => {}
        }
    }
    own
}

impl Disk {
    fn put(&mut self, path: &str, thing: Thing) {
        for parent in parents(path) {
            self.things.entry(parent.to_owned()).or_insert(Thing::Directory);
        }
        self.things.insert(path.to_owned(), thing);
    }

    /// Whether the way to `path` is free, and the attributes of what is missing on it can be looked for in the layers below.
    fn can_reach(&self, path: &str, lowers: &[Self]) -> bool {
        parents(path).all(|parent| match self.things.get(parent) {
            Some(thing) => *thing == Thing::Directory,
            None => lowers.iter().rev().all(|lower| {
                parents(parent).all(|above| {
                    let thing = lower.things.get(above);
                    thing.is_none_or(|thing| matches!(thing, Thing::Directory | Thing::Link))
                })
            }),
        })
    }

    fn can_displace(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        !self.timed.iter().any(|timed| timed.starts_with(&prefix))
    }

    fn displace(&mut self, path: &str) {
        let prefix = format!("{path}/");
        let gone = self.things.keys().filter(|other| other.starts_with(&prefix) || *other == path);
        let gone: Vec<String> = gone.cloned().collect();
        gone.iter().for_each(|path| _ = self.things.remove(path));
    }

    /// The files that a link at `path` may name.
    fn others(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        let files = self
            .things
            .iter()
            .filter(|(other, thing)| **thing == Thing::File && *other != path && !other.starts_with(&prefix));
        files.map(|(other, _)| other.clone()).collect()
    }
}

/// The paths above one.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Numbers that look random and are the same each time (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Gives an entry random attributes.
    fn dress(&mut self, entry: Entry) -> Entry {
        let mode = *self.pick(&[0o644, 0o755, 0o700, 0o2775, 0o4711, 0o1777]);
        let entry = entry.mode(mode).owner(self.below(5), self.below(5));
        let entry = entry.mtime(self.below(1_700_000_000), self.below(1_000_000_000) as u32);
        match self.below(3) {
            0 => entry.xattr(&format!("user.{}", self.below(3)), self.below(9).to_string()),
            _ => entry,
        }
    }
}
