//! Which layer shows which files: a path is what the uppermost layer that speaks of it says.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use glowplug_tarwalk::Whiteout;

use super::{Contents, Entry, Kind, ancestors};

/// For each layer, known by its `Id`, the entries that show a file of `order` in at least one of the images, in the order
/// of `order`. An image is its layers, the lowest first.
pub(crate) fn wanted<Id: Copy + Eq + Hash>(
    images: &[Vec<Id>],
    contents: &HashMap<Id, &Contents>,
    order: &[String],
) -> HashMap<Id, Vec<usize>> {
    let speakers: HashMap<Id, Speaker<'_>> =
        contents.iter().map(|(id, contents)| (*id, Speaker::of(contents))).collect();
    // Of each layer: positions in the order, and the entries that they lead to.
    let mut found: HashMap<Id, BTreeSet<(usize, usize)>> = HashMap::new();
    for layers in images {
        for (position, path) in order.iter().enumerate() {
            let above = layers.iter().rev().filter_map(|id| Some((*id, speakers.get(id)?)));
            for (id, speaker) in above {
                match speaker.says(path.trim_start_matches('/').as_bytes()) {
                    Says::Nothing => continue,
                    Says::Hidden => {}
                    Says::File(entry) => _ = found.entry(id).or_default().insert((position, entry)),
                }
                break;
            }
        }
    }
    let entries = |found: BTreeSet<(usize, usize)>| found.into_iter().map(|(_, entry)| entry).collect();
    found.into_iter().map(|(id, found)| (id, entries(found))).collect()
}

/// What a layer says of a path.
enum Says {
    Nothing,
    /// There is no such file.
    Hidden,
    /// It is this entry.
    File(usize),
}

/// A layer that can be asked.
struct Speaker<'a> {
    entries: &'a [Entry],
    by_path: HashMap<&'a [u8], usize>,
    removed: HashSet<&'a [u8]>,
    opaque: HashSet<&'a [u8]>,
}

impl<'a> Speaker<'a> {
    fn of(contents: &'a Contents) -> Self {
        let entries = &*contents.entries;
        let (mut removed, mut opaque) = (HashSet::new(), HashSet::new());
        for entry in entries {
            match &entry.kind {
                Kind::Hides(Whiteout::Remove { path }) => _ = removed.insert(&**path),
                Kind::Hides(Whiteout::Opaque { dir }) => _ = opaque.insert(&**dir),
                Kind::Hides(_) | Kind::Directory | Kind::File | Kind::Link(_) => {}
            }
        }
        let by_path = entries.iter().enumerate().map(|(number, entry)| (&*entry.path, number)).collect();
        Self { entries, by_path, removed, opaque }
    }

    fn says(&self, path: &[u8]) -> Says {
        match self.by_path.get(path) {
            Some(entry) if matches!(self.entries[*entry].kind, Kind::File | Kind::Link(_)) => {
                return Says::File(*entry);
            }
            Some(_) => return Says::Hidden,
            None => {}
        }
        let barred = |above: &[u8]| {
            let file = |entry: &usize| self.entries[*entry].kind != Kind::Directory;
            self.removed.contains(above)
                || self.opaque.contains(above)
                || self.by_path.get(above).is_some_and(file)
        };
        let hidden = self.removed.contains(path) || ancestors(path).any(barred);
        if hidden { Says::Hidden } else { Says::Nothing }
    }
}
