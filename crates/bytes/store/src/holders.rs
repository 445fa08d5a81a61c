//! Who holds which layer, until the last holder of all is gone.
//!
//! A layer of the store is open at most once. Whoever wants it for themselves, to drop its data or to put another index
//! in its place, gets it only when nobody holds it, and until they are done everybody else waits. The lock against other
//! processes is held as long as anybody holds a layer, also beyond the store's own life.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use glowplug_base::Digest;

use crate::StoreError;
use crate::lock::Lock;
use crate::paths::Paths;

/// `T` is an open layer.
#[derive(Debug)]
pub(crate) struct Holders<T> {
    paths: Paths,
    /// A dead entry is a layer that is being opened, closed or changed right now.
    layers: Mutex<HashMap<Digest, Weak<T>>>,
    settled: Condvar,
    /// Whether layers could be marked as suspect one by one; else all of them are.
    marked: bool,
    /// Whether the next user may believe every journal that has no mark of suspicion.
    truthful: AtomicBool,
    _lock: Lock,
}

impl<T> Holders<T> {
    pub(crate) fn new(paths: Paths, lock: Lock, truthful: bool) -> Self {
        Self {
            paths,
            layers: Mutex::default(),
            settled: Condvar::new(),
            marked: truthful,
            truthful: AtomicBool::new(truthful),
            _lock: lock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Weak<T>>> {
        // Each critical section is one map operation, so a panic elsewhere cannot leave it half done.
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(
        &self,
        layers: MutexGuard<'a, HashMap<Digest, Weak<T>>>,
    ) -> MutexGuard<'a, HashMap<Digest, Weak<T>>> {
        self.settled.wait(layers).unwrap_or_else(PoisonError::into_inner)
    }

    /// The layer that somebody holds, or the duty to open it.
    pub(crate) fn layer(self: &Arc<Self>, blob: &Digest) -> Result<Arc<T>, Hold<T>> {
        let mut layers = self.lock();
        while let Some(layer) = layers.get(blob) {
            if let Some(layer) = layer.upgrade() {
                return Ok(layer);
            }
            layers = self.wait(layers);
        }
        Err(self.hold(layers, blob))
    }

    /// The layer for oneself; nothing when somebody holds it.
    pub(crate) fn alone(self: &Arc<Self>, blob: &Digest) -> Option<Hold<T>> {
        let mut layers = self.lock();
        while let Some(layer) = layers.get(blob) {
            if layer.strong_count() > 0 {
                return None;
            }
            layers = self.wait(layers);
        }
        Some(self.hold(layers, blob))
    }

    fn hold(
        self: &Arc<Self>,
        mut layers: MutexGuard<'_, HashMap<Digest, Weak<T>>>,
        blob: &Digest,
    ) -> Hold<T> {
        layers.insert(*blob, Weak::new());
        Hold { holders: self.clone(), blob: *blob }
    }

    /// Lets everybody have a layer that was just opened.
    pub(crate) fn publish(&self, blob: &Digest, layer: &Arc<T>) {
        self.lock().insert(*blob, Arc::downgrade(layer));
        self.settled.notify_all();
    }

    /// Whether a layer is suspect also without a mark of its own.
    pub(crate) const fn all_suspect(&self) -> bool {
        !self.marked
    }

    pub(crate) fn is_open(&self, blob: &Digest) -> bool {
        self.lock().get(blob).is_some_and(|layer| layer.strong_count() > 0)
    }

    /// Every layer that is open.
    pub(crate) fn open_layers(&self) -> Vec<Arc<T>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Something could not be made durable: the next user has to look again.
    pub(crate) fn distrust(&self, error: &StoreError) {
        tracing::warn!(%error, "presence could not be made durable");
        self.truthful.store(false, Ordering::Release);
    }
}

impl<T> Drop for Holders<T> {
    fn drop(&mut self) {
        if *self.truthful.get_mut() {
            let _ = std::fs::write(self.paths.clean(), "");
        }
    }
}

/// One layer, held by whoever has this.
#[derive(Debug)]
pub(crate) struct Hold<T> {
    holders: Arc<Holders<T>>,
    blob: Digest,
}

impl<T> Hold<T> {
    pub(crate) const fn holders(&self) -> &Arc<Holders<T>> {
        &self.holders
    }
}

impl<T> Drop for Hold<T> {
    fn drop(&mut self) {
        self.holders.lock().remove(&self.blob);
        self.holders.settled.notify_all();
    }
}
