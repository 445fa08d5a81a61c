//! How much memory the bytes may take that are on their way or being decoded, of all images together.
//!
//! Readers and prefetch have a budget each: a prefetch that pauses for a reader keeps what it has, and must not keep it from that
//! reader.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Budget of what readers wait for, and of everything else, in bytes each. A span is at most 32 MiB, and seldom more than half of
/// one.
const BUDGET_BYTES: u64 = 256 << 20;
/// What is counted together.
const UNIT_BYTES: u64 = 4096;

/// The budgets.
#[derive(Debug)]
pub(super) struct Memory {
    readers: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// Memory that is in use as long as this lives.
#[derive(Debug)]
pub(super) struct Room {
    _units: Option<OwnedSemaphorePermit>,
}

impl Memory {
    pub(super) fn new() -> Self {
        let budget = || Arc::new(Semaphore::new((BUDGET_BYTES / UNIT_BYTES) as usize));
        Self { readers: budget(), others: budget() }
    }

    /// Waits until `bytes` are free. Who wants more than there is gets all of it, alone.
    pub(super) async fn room(&self, bytes: u64, for_a_reader: bool) -> Room {
        let budget = if for_a_reader { &self.readers } else { &self.others };
        let units = bytes.min(BUDGET_BYTES).div_ceil(UNIT_BYTES) as u32;
        // Never closed.
        Room { _units: budget.clone().acquire_many_owned(units).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn more_than_there_is_waits_and_readers_do_not_wait_for_prefetch() {
        let memory = Memory::new();
        let first = memory.room(BUDGET_BYTES - UNIT_BYTES, false).await;
        let mut second = Box::pin(memory.room(UNIT_BYTES + 1, false));
        assert!((&mut second).now_or_never().is_none());
        assert!(memory.room(BUDGET_BYTES * 9, true).now_or_never().is_some(), "all of it, and no more");
        drop(first);
        assert!(second.now_or_never().is_some());
    }
}
