//! The store as a whole.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use glowplug_base::Digest;

use crate::holders::{Hold, Holders};
use crate::lock::Lock;
use crate::paths::{self, Paths};
use crate::{Documents, Layer, StoreError, mark};

const FORMAT: &str = "glowplug store 1";

/// How often presence is made durable. A crash costs at most this much fetching again.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// How a store is used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Bytes of layer data the store may keep; `None` for no limit.
    pub quota_bytes: Option<u64>,
}

/// The node's byte store, open for one process.
#[derive(Debug)]
pub struct Store {
    paths: Paths,
    options: Options,
    holders: Arc<Holders<Layer>>,
    flusher: Arc<Flusher>,
    flusher_thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    companion: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// Layers with something to flush, and whether to stop.
#[derive(Debug, Default)]
struct Flusher {
    state: Mutex<(Vec<Weak<Layer>>, bool)>,
    wake: Condvar,
    /// Held while the flusher holds layers, so that it is not taken for a user of theirs.
    round: Mutex<()>,
}

impl Store {
    /// Opens the store in `root`, making it if there is none.
    ///
    /// # Errors
    /// Another process uses it, the directory is something else, or the disk's own trouble.
    pub fn open(root: &Path, options: Options) -> Result<Self, StoreError> {
        let paths = Paths::new(root);
        for dir in [paths.root().to_owned(), paths.layers(), paths.documents()] {
            std::fs::create_dir_all(&dir).map_err(|e| StoreError::io("create", &dir, e))?;
        }
        let lock = Lock::take(&paths)?;
        check_format(&paths)?;
        // Gone from here until this process ends well.
        let clean = paths.clean();
        let fresh = std::fs::read_dir(paths.layers()).is_ok_and(|mut dir| dir.next().is_none());
        let truthful = std::fs::remove_file(&clean).is_ok() || fresh || mark_all_suspect(&paths);
        remove_unfinished(&paths);
        let flusher = Arc::new(Flusher::default());
        let thread = std::thread::Builder::new()
            .name("store-flush".to_owned())
            .spawn({
                let flusher = flusher.clone();
                move || flusher.run()
            })
            .map_err(|e| StoreError::io("start a thread for", root, e))?;
        Ok(Self {
            holders: Arc::new(Holders::new(paths.clone(), lock, truthful)),
            paths,
            options,
            flusher,
            flusher_thread: Mutex::new(Some(thread)),
            companion: OnceLock::new(),
        })
    }

    /// The layer of `blob`, if the store has an index of it. A damaged index reads as none.
    pub fn layer(&self, blob: &Digest) -> Option<Arc<Layer>> {
        if !self.paths.layer(blob).join(paths::INDEX).exists() {
            return None;
        }
        match self.opened(blob) {
            Ok(layer) => Some(layer),
            Err(error) => {
                tracing::warn!(layer = %blob, error = %error, "layer cannot be used, it will be made again");
                None
            }
        }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        self.paths.root()
    }

    /// The small files.
    pub fn documents(&self) -> Documents {
        Documents::new(&self.paths)
    }

    /// What the floor above has once for each node, made when it is asked for first: a node has one store, so it hangs on that. There is
    /// room for one kind of thing.
    pub fn companion<T: Any + Send + Sync>(&self, make: fn() -> T) -> Arc<T> {
        let kept = self.companion.get_or_init(|| Arc::new(make())).clone();
        kept.downcast().unwrap_or_else(|_| Arc::new(make()))
    }

    /// Bytes of layer data the store may keep.
    pub const fn quota_bytes(&self) -> Option<u64> {
        self.options.quota_bytes
    }

    pub(crate) const fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Whether somebody holds the layer.
    pub(crate) fn is_open(&self, blob: &Digest) -> bool {
        let _pause = self.flusher.pause();
        self.holders.is_open(blob)
    }

    /// Why the layer that somebody holds cannot be read, if that is so.
    pub(crate) fn held_in_distrust(&self, blob: &Digest) -> Option<StoreError> {
        let _pause = self.flusher.pause();
        self.holders.open_layers().iter().find(|layer| layer.index().blob == *blob)?.distrusted()
    }

    /// The layer of `blob` for oneself; nothing when somebody holds it.
    pub(crate) fn alone(&self, blob: &Digest) -> Option<Hold<Layer>> {
        let _pause = self.flusher.pause();
        self.holders.alone(blob)
    }

    /// The layer of `blob`, opened once however many ask. One that is distrusted is for nobody new.
    pub(crate) fn opened(&self, blob: &Digest) -> Result<Arc<Layer>, StoreError> {
        match self.holders.layer(blob) {
            Ok(layer) => layer.distrusted().map_or(Ok(layer), Err),
            Err(hold) => self.open_held(blob, hold),
        }
    }

    /// Opens a layer for everybody.
    pub(crate) fn open_held(&self, blob: &Digest, hold: Hold<Layer>) -> Result<Arc<Layer>, StoreError> {
        let layer = Arc::new(Layer::open(&self.paths.layer(blob), blob, hold)?);
        self.holders.publish(blob, &layer);
        self.flusher.add(&layer);
        Ok(layer)
    }
}

fn layer_dirs(paths: &Paths) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(paths.layers()).into_iter().flatten().flatten().map(|dir| dir.path())
}

/// After an unclean end no journal is believed before its spans were checked. Whether every layer could be marked.
fn mark_all_suspect(paths: &Paths) -> bool {
    layer_dirs(paths).filter(|dir| dir.join(paths::PRESENCE).exists()).all(|dir| mark::suspect(&dir).is_ok())
}

/// What was interrupted while it was written: files that are not finished, and layers without an index.
fn remove_unfinished(paths: &Paths) {
    for dir in layer_dirs(paths) {
        match (dir.join(paths::INDEX).exists(), mark::is_distrusted(&dir)) {
            (true, _) => {}
            // The mark outlives what it is about.
            (false, true) => _ = mark::discard(&dir),
            (false, false) => _ = std::fs::remove_dir_all(&dir),
        }
        remove_unfinished_in(&dir);
    }
    for kind in std::fs::read_dir(paths.documents()).into_iter().flatten().flatten() {
        remove_unfinished_in(&kind.path());
    }
}

fn remove_unfinished_in(dir: &Path) {
    for file in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().ends_with(paths::UNFINISHED) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

fn check_format(paths: &Paths) -> Result<(), StoreError> {
    let path = paths.format();
    match std::fs::read_to_string(&path) {
        Ok(found) if found.trim_end() == FORMAT => Ok(()),
        Ok(found) => Err(StoreError::Foreign {
            path: paths.root().to_owned(),
            found: found.chars().take(80).collect(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::write(&path, format!("{FORMAT}\n")).map_err(|e| StoreError::io("write", &path, e))
        }
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.flusher.stop();
        if let Some(thread) = self.flusher_thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        // Whoever holds a layer beyond the store may be ended without warning.
        for layer in self.holders.open_layers() {
            if let Err(error) = layer.flush() {
                self.holders.distrust(&error);
            }
        }
    }
}

impl Flusher {
    fn pause(&self) -> MutexGuard<'_, ()> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_all(&self) {
        let _round = self.pause();
        let layers = self.state.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        for layer in layers.iter().filter_map(Weak::upgrade) {
            if let Err(error) = layer.flush() {
                tracing::warn!(%error, "presence could not be made durable, trying again later");
            }
        }
    }

    fn add(&self, layer: &Arc<Layer>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0.retain(|layer| layer.strong_count() > 0);
        state.0.push(Arc::downgrade(layer));
    }

    fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.wake.notify_all();
    }

    fn run(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.1 {
            state = self.wake.wait_timeout(state, FLUSH_EVERY).unwrap_or_else(PoisonError::into_inner).0;
            drop(state);
            self.flush_all();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}
