//! Whether the entries of a tar may come in another order, and in several tars.
//!
//! They may where the order says nothing: every path once, directories before what is in them. Tars of all common tools
//! are like that.

use std::collections::{HashMap, HashSet};

use glowplug_tarwalk::Whiteout;

use super::{Entry, Kind, ancestors};

/// Why the entries have to stay in their order, if they have to.
pub(super) fn flaw(entries: &[Entry]) -> Option<&'static str> {
    let mut by_path: HashMap<&[u8], usize> = HashMap::new();
    let mut removed: HashSet<&[u8]> = HashSet::new();
    for (number, entry) in entries.iter().enumerate() {
        if by_path.insert(&entry.path, number).is_some() {
            return Some("a path is in it twice");
        }
        match &entry.kind {
            Kind::Hides(Whiteout::Remove { path }) => _ = removed.insert(path),
            Kind::Hides(Whiteout::Invalid) => return Some("it has a whiteout of nothing"),
            Kind::Hides(_) | Kind::Directory | Kind::File | Kind::Link(_) => {}
        }
    }
    entries.iter().enumerate().find_map(|(number, entry)| {
        if removed.contains(&*entry.path) {
            return Some("it hides what it has itself");
        }
        for above in ancestors(&entry.path) {
            if removed.contains(above) {
                return Some("it hides what it has itself");
            }
            match by_path.get(above) {
                // Through symbolic links of the layer itself an entry reaches another directory.
                Some(above) if entries[*above].kind != Kind::Directory => {
                    return Some("something in it lies below what is no directory");
                }
                Some(above) if *above > number => {
                    return Some("a directory in it comes behind what is in it");
                }
                _ => {}
            }
        }
        let Kind::Link(target) = &entry.kind else { return None };
        let before = by_path.get(&**target).filter(|target| **target < number);
        let is_file = |target: &&usize| matches!(entries[**target].kind, Kind::File | Kind::Link(_));
        before.filter(is_file).is_none().then_some("a hard link in it leads to what is not before it")
    })
}
