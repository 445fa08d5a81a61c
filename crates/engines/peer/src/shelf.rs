//! What lies in a directory, in the order of its use, with what it takes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Things of one kind, by their names.
#[derive(Debug)]
pub(crate) struct Shelf<K> {
    /// When each was last used, and its bytes on disk.
    things: HashMap<K, (u64, u64)>,
    by_use: BTreeMap<u64, K>,
    /// Uses so far.
    uses: u64,
    bytes: u64,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { things: HashMap::new(), by_use: BTreeMap::new(), uses: 0, bytes: 0 }
    }
}

impl<K: Clone + Eq + Hash> Shelf<K> {
    pub(crate) fn contains(&self, thing: &K) -> bool {
        self.things.contains_key(thing)
    }

    pub(crate) fn len(&self) -> usize {
        self.things.len()
    }

    /// Bytes on disk of all of them.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds something, or takes the place of what is there.
    pub(crate) fn insert(&mut self, thing: K, bytes: u64) {
        self.remove(&thing);
        self.uses += 1;
        self.things.insert(thing.clone(), (self.uses, bytes));
        self.by_use.insert(self.uses, thing);
        self.bytes += bytes;
    }

    /// It was used now.
    pub(crate) fn touch(&mut self, thing: &K) {
        if let Some((used, _)) = self.things.get_mut(thing) {
            self.by_use.remove(used);
            self.uses += 1;
            *used = self.uses;
            self.by_use.insert(self.uses, thing.clone());
        }
    }

    /// Takes it off.
    pub(crate) fn remove(&mut self, thing: &K) {
        if let Some((used, bytes)) = self.things.remove(thing) {
            self.by_use.remove(&used);
            self.bytes -= bytes;
        }
    }

    /// Takes off what was used longest ago.
    pub(crate) fn pop_oldest(&mut self) -> Option<K> {
        let thing = self.by_use.first_key_value()?.1.clone();
        self.remove(&thing);
        Some(thing)
    }
}
