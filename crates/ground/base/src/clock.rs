//! Time as a value that is passed in, so that tests can hold it still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A monotonic clock in nanoseconds since the clock was made. Clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's monotonic clock, starting at zero now.
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// The machine's monotonic clock, reading `elapsed` now.
    pub fn system_from(elapsed: Duration) -> Self {
        let now = Instant::now();
        Self(Source::System(now.checked_sub(elapsed).unwrap_or(now)))
    }

    /// A clock that moves only by [`Clock::advance`].
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::default()))
    }

    /// Nanoseconds since the clock was made.
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::System(start) => u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            Source::Manual(now) => now.load(Ordering::Acquire),
        }
    }

    /// Moves a manual clock; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }
}
