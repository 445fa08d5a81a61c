//! When the last byte of an image came, of a loader that does not say so: seen from the link alone.
//!
//! Every byte counts as here when as many came as the layers have and then none for a while; the time is that of the last
//! one. Bytes that were fetched twice count twice, so this may be early, in the loader's favour, and never late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::link;
use super::NOISE_BYTES;

/// A loader that has not moved everything so long after the answer counts as never doing so.
pub const WITHIN: Duration = Duration::from_secs(60);
/// stargz holds its background fetch for 5 s after a read: only a longer silence is an end.
const QUIET: Duration = Duration::from_secs(6);
/// What of the layers' bytes must have come: some loaders leave out archive headers.
const WHOLE: f64 = 0.98;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What came so far.
#[derive(Debug, Clone, Copy)]
struct Seen {
    bytes: u64,
    last: Instant,
}

/// Watches the link from a start on.
pub struct Arrival {
    begin: Instant,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Arrival {
    /// Begins; the start began at `begin`, which is now.
    pub fn watch(begin: Instant) -> Self {
        let seen = Arc::new(Mutex::new(Seen { bytes: 0, last: begin }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let Ok(before) = link::received_now() else { return };
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(now) = link::received_now() {
                    let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    if now - before > seen.bytes + NOISE_BYTES {
                        *seen = Seen { bytes: now - before, last: Instant::now() };
                    }
                }
                std::thread::sleep(LOOK_EVERY);
            }
        });
        Self { begin, seen, stop, thread: Some(thread) }
    }

    /// Waits until `layer_bytes` are here; how long after the begin that was, or nothing where it was not to be. The
    /// answer is now.
    pub fn complete(&self, layer_bytes: u64) -> Option<Duration> {
        let answered = Instant::now();
        loop {
            let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let whole = seen.bytes as f64 >= layer_bytes as f64 * WHOLE;
            if whole && seen.last.elapsed() > QUIET {
                return Some(seen.last - self.begin);
            }
            // What came in time needs its silence too.
            let late = if whole { WITHIN + QUIET } else { WITHIN };
            if answered.elapsed() > late {
                return None;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
