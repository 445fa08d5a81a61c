//! What came over the network, why, and how fast.

use serde::Serialize;

use crate::{Cause, Fetch, Interval};

/// What came over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Bytes by cause, in the order of [`Cause::ALL`].
    pub by_cause: [CauseBytes; 4],
    /// Time until ready in which at least one request was under way, nanoseconds.
    pub busy_ns: u64,
}

/// Bytes of one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CauseBytes {
    /// The cause.
    pub cause: Cause,
    /// Requests in the whole timeline.
    pub requests: u64,
    /// Bytes in the whole timeline.
    pub bytes: u64,
    /// Bytes that had come when the start was over; a request under way counts in proportion.
    pub bytes_until_ready: u64,
}

impl Link {
    pub(super) fn of(fetches: &[&Fetch], wall_ns: u64) -> Self {
        let by_cause = Cause::ALL.map(|cause| {
            let mut sum = CauseBytes { cause, requests: 0, bytes: 0, bytes_until_ready: 0 };
            for fetch in fetches.iter().filter(|f| f.cause == cause) {
                sum.requests += 1;
                sum.bytes = sum.bytes.saturating_add(fetch.bytes);
                sum.bytes_until_ready = sum.bytes_until_ready.saturating_add(fetch.bytes_until(wall_ns));
            }
            sum
        });
        let wall = Interval::new(0, wall_ns);
        let busy = Interval::union(fetches.iter().map(|f| Interval::from(*f).intersect(wall)));
        Self { by_cause, busy_ns: Interval::total_ns(&busy) }
    }

    /// All bytes that had come when the start was over.
    pub fn bytes_until_ready(&self) -> u64 {
        self.by_cause.iter().fold(0, |sum, c| sum.saturating_add(c.bytes_until_ready))
    }

    /// All bytes in the whole timeline.
    pub fn bytes(&self) -> u64 {
        self.by_cause.iter().fold(0, |sum, c| sum.saturating_add(c.bytes))
    }

    /// Bytes a second while a request was under way, until ready; `None` when there was no request.
    pub fn bytes_per_second(&self) -> Option<u64> {
        let rate = u128::from(self.bytes_until_ready()) * 1_000_000_000 / u128::from(self.busy_ns).max(1);
        (self.busy_ns > 0).then(|| u64::try_from(rate).unwrap_or(u64::MAX))
    }
}

impl Fetch {
    /// Bytes that had come at `at_ns`, as if they came evenly from the first to the last.
    pub fn bytes_until(&self, at_ns: u64) -> u64 {
        if at_ns >= self.end_ns {
            return self.bytes;
        }
        let body = Interval::new(self.first_byte_ns, self.end_ns);
        let come = body.intersect(Interval::new(0, at_ns));
        let share = u128::from(self.bytes) * u128::from(come.len_ns()) / u128::from(body.len_ns()).max(1);
        u64::try_from(share).unwrap_or(self.bytes)
    }
}
