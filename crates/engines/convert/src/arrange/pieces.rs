//! The pieces of a tar: first what hides files of layers below, then the files of the order, then everything else in its
//! old order; greedily, so that neighbours stay neighbours, and the same tar gives the same pieces.

use std::collections::{HashMap, HashSet};

use glowplug_base::ByteRange;

use super::{Contents, Entry, Kind, ancestors};

/// What a new layer is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Piece {
    /// Bytes of the old tar, one after the other.
    pub(crate) ranges: Vec<ByteRange>,
    /// How many of the ranges are there because of the order; nothing if none are.
    pub(crate) ordered: Option<usize>,
}

/// Takes the tar apart that has these `contents`: `first` are the entries of the order, `most_bytes` how long a piece may
/// be; only a file that is longer, with its links, makes a longer one.
pub(crate) fn pieces(contents: &Contents, first: &[usize], most_bytes: Option<u64>) -> Vec<Piece> {
    let entries = &*contents.entries;
    let mut packer = Packer::new(entries, most_bytes.unwrap_or(u64::MAX));
    // Laid over the pieces before it, a whiteout would hide what those have.
    let hides = |number: &usize| matches!(entries[*number].kind, Kind::Hides(_));
    (0..entries.len()).filter(hides).for_each(|number| packer.take(number));
    if !first.is_empty() {
        packer.in_order = true;
        first.iter().for_each(|number| packer.take(*number));
        packer.end_order();
    }
    (0..entries.len()).for_each(|number| packer.take(number));
    packer.finish()
}

struct Packer<'a> {
    entries: &'a [Entry],
    most_bytes: u64,
    directories: HashMap<&'a [u8], usize>,
    /// For each entry the one that it is a hard link to, or itself.
    leader: Vec<usize>,
    /// A file that has hard links, and those.
    linked: HashMap<usize, Vec<usize>>,
    /// Whether an entry is in any piece.
    taken: Vec<bool>,
    pieces: Vec<Piece>,
    open: Piece,
    open_bytes: u64,
    /// The directories in the open piece.
    open_directories: HashSet<usize>,
    /// Whether there is anything else in it.
    has_more: bool,
    /// Ranges that later ones must not become part of.
    sealed: usize,
    /// Whether files of the order are coming.
    in_order: bool,
}

impl<'a> Packer<'a> {
    fn new(entries: &'a [Entry], most_bytes: u64) -> Self {
        let by_path: HashMap<&[u8], usize> =
            entries.iter().enumerate().map(|(number, entry)| (&*entry.path, number)).collect();
        let mut leader: Vec<usize> = (0..entries.len()).collect();
        let mut linked: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, entry) in entries.iter().enumerate() {
            let Kind::Link(target) = &entry.kind else { continue };
            // It is before its links, so that its own leader is known.
            leader[number] = by_path.get(&**target).map_or(number, |target| leader[*target]);
            linked.entry(leader[number]).or_insert_with(|| vec![leader[number]]).push(number);
        }
        let is_directory = |number: &usize| entries[*number].kind == Kind::Directory;
        Self {
            entries,
            most_bytes,
            directories: by_path.into_iter().filter(|(_, number)| is_directory(number)).collect(),
            leader,
            linked,
            taken: vec![false; entries.len()],
            pieces: Vec::new(),
            open: Piece::default(),
            open_bytes: 0,
            open_directories: HashSet::new(),
            has_more: false,
            sealed: 0,
            in_order: false,
        }
    }

    /// Puts an entry into the open piece, or the next, with the directories that it lies in and all that must be with it.
    fn take(&mut self, number: usize) {
        if self.taken[number] {
            return;
        }
        let leader = self.leader[number];
        let members = self.linked.get(&leader).cloned().unwrap_or_else(|| vec![leader]);
        let mut needed = self.needed(&members);
        if self.has_more && self.open_bytes.saturating_add(self.bytes(&needed)) > self.most_bytes {
            self.close();
            needed = self.needed(&members);
        }
        for number in needed {
            let entry = &self.entries[number];
            self.taken[number] = true;
            self.open_bytes += entry.bytes.len();
            if entry.kind == Kind::Directory {
                self.open_directories.insert(number);
            } else {
                self.has_more = true;
            }
            let unsealed = self.open.ranges.len() > self.sealed;
            match self.open.ranges.last_mut().filter(|last| unsealed && last.end == entry.bytes.start) {
                Some(last) => last.end = entry.bytes.end,
                None => self.open.ranges.push(entry.bytes),
            }
        }
    }

    /// What has to be put into the open piece for these entries to be in it.
    fn needed(&self, members: &[usize]) -> Vec<usize> {
        let (mut needed, mut known) = (Vec::new(), HashSet::new());
        for member in members {
            let path = &*self.entries[*member].path;
            let above = ancestors(path).filter_map(|above| self.directories.get(above));
            let missing = above.filter(|number| !self.open_directories.contains(number)).copied();
            needed.extend(missing.chain([*member]).filter(|number| known.insert(*number)));
        }
        needed
    }

    fn bytes(&self, needed: &[usize]) -> u64 {
        needed.iter().map(|number| self.entries[*number].bytes.len()).sum()
    }

    /// The order ends here.
    fn end_order(&mut self) {
        self.in_order = false;
        self.sealed = self.open.ranges.len();
        self.open.ordered = Some(self.sealed);
    }

    fn close(&mut self) {
        let mut piece = std::mem::take(&mut self.open);
        if self.in_order {
            piece.ordered = Some(piece.ranges.len());
        }
        self.pieces.push(piece);
        self.open_bytes = 0;
        self.open_directories.clear();
        self.has_more = false;
        self.sealed = 0;
    }

    fn finish(mut self) -> Vec<Piece> {
        if !self.open.ranges.is_empty() {
            self.close();
        }
        self.pieces
    }
}
