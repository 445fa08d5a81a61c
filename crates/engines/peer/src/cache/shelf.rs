//! Pieces in the order of their use, with what they take.

use std::collections::{BTreeMap, HashMap};

use crate::PieceId;

/// One kind of pieces.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// When each was last used, and its bytes on disk.
    pieces: HashMap<PieceId, (u64, u64)>,
    by_use: BTreeMap<u64, PieceId>,
    /// Uses so far.
    uses: u64,
    bytes: u64,
}

impl Shelf {
    pub(super) fn contains(&self, piece: &PieceId) -> bool {
        self.pieces.contains_key(piece)
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes on disk of all of them.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a piece, or takes the place of what is there.
    pub(super) fn insert(&mut self, piece: PieceId, bytes: u64) {
        self.remove(&piece);
        self.uses += 1;
        self.pieces.insert(piece, (self.uses, bytes));
        self.by_use.insert(self.uses, piece);
        self.bytes += bytes;
    }

    /// It was used now.
    pub(super) fn touch(&mut self, piece: &PieceId) {
        if let Some((used, _)) = self.pieces.get_mut(piece) {
            self.by_use.remove(used);
            self.uses += 1;
            *used = self.uses;
            self.by_use.insert(self.uses, *piece);
        }
    }

    /// Takes it off.
    pub(super) fn remove(&mut self, piece: &PieceId) {
        if let Some((used, bytes)) = self.pieces.remove(piece) {
            self.by_use.remove(&used);
            self.bytes -= bytes;
        }
    }

    /// Takes off what was used longest ago.
    pub(super) fn pop_oldest(&mut self) -> Option<PieceId> {
        let piece = *self.by_use.first_key_value()?.1;
        self.remove(&piece);
        Some(piece)
    }
}
