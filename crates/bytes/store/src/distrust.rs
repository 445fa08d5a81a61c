//! What becomes of a layer whose index somebody published, when it turns out to be wrong, or right.
//!
//! ```text
//! found out     the mark is made durable, then the open layer fails every read and commit
//! opened again  the index goes first, then what was read by it; the mark stays
//! from then on  no published index of this layer is taken; it streams by, and its own index is made
//! ```
//!
//! The process may end between any two steps: either the index is still there beside the mark, or it is gone. The mark
//! goes when the layer is removed. What the kernel still caches of a file that was read before stays readable there.

use glowplug_base::Digest;

use crate::{Layer, Store, StoreError, mark};

impl Store {
    /// Whether an index that somebody published for this layer was found to be wrong. Such a layer has to stream by.
    pub fn distrusts(&self, blob: &Digest) -> bool {
        mark::is_distrusted(&self.paths().layer(blob))
    }
}

impl Layer {
    /// The layer's index is wrong, as `reason` says: from here on every read of the layer fails, also of what is here, and
    /// whoever opens the store next finds no such layer. Only the first reason counts, and is told.
    pub fn distrust(&self, reason: &str) {
        if self.lie.get().is_some() {
            return;
        }
        // First for the next process, then for this one: nobody is told what a crash would make forgotten.
        let marked = mark::distrust(self.dir());
        if self.lie.set(reason.to_owned()).is_err() {
            return;
        }
        let layer = self.index().blob;
        match marked {
            Ok(()) => tracing::error!(
                %layer, %reason,
                "the index published for this layer is wrong, its files cannot be read; start again: the layer will stream by"
            ),
            Err(error) => tracing::error!(
                %layer, %reason, %error,
                "the index published for this layer is wrong, its files cannot be read, and that cannot be noted down; \
                 make room, remove the image from the store and start it again"
            ),
        }
    }

    /// The layer's index may be wrong, as `reason` says: whoever opens the store next finds no such layer. Reads go on.
    pub fn doubt(&self, reason: &str) {
        let layer = self.index().blob;
        if mark::is_distrusted(self.dir()) {
            return;
        }
        match mark::distrust(self.dir()) {
            Ok(()) => tracing::warn!(
                %layer, %reason,
                "the layer's bytes or the index published for it are wrong; the next start will tell: the layer will stream by"
            ),
            Err(error) => tracing::warn!(%layer, %reason, %error, "a doubtful index cannot be noted down"),
        }
    }

    /// Whether the layer's index was made here, or was held against the whole layer for some image.
    pub fn is_confirmed(&self) -> bool {
        !self.index().origin.is_published() || mark::is_confirmed(self.dir())
    }

    /// Whether the layer's index can no longer turn out wrong for an image that says `archive` is the digest of the layer's archive.
    pub fn is_confirmed_for(&self, archive: Option<&Digest>) -> bool {
        !self.index().origin.is_published() || mark::is_confirmed_for(self.dir(), archive)
    }

    /// The layer's published index was held against the whole layer, and was right: by the layer's own digest, or by the digest that an
    /// image has of its `archive`. The latter counts for images that have the same: others may be the ones that are right, for nothing
    /// but the blob itself tells which archive is in it.
    pub fn confirm(&self, archive: Option<&Digest>) {
        if let Err(error) = mark::confirm(self.dir(), archive) {
            tracing::warn!(layer = %self.index().blob, %error, "that an index is right cannot be noted down");
        }
    }

    /// Why nothing of this layer can be read any more.
    pub fn distrusted(&self) -> Option<StoreError> {
        let reason = self.lie.get()?.clone();
        Some(StoreError::Distrusted { layer: self.index().blob, reason })
    }

    pub(crate) fn believe(&self) -> Result<(), StoreError> {
        self.distrusted().map_or(Ok(()), Err)
    }
}
