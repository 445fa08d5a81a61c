//! What the images of one node share: a reader of any of them goes before the prefetch of all, decoding has the node's processors, and
//! bytes on their way its memory and its registries' patience.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Semaphore, watch};

use super::memory::Memory;
use super::pace::Pace;

/// Schedules the fetches of all images that are opened with it.
#[derive(Debug)]
pub struct Scheduler {
    /// Readers whose bytes nobody was bringing.
    pub(super) urgent: watch::Sender<usize>,
    /// Decoding takes a core; more at once than cores would only delay each other.
    pub(super) decoders: Semaphore,
    pub(super) memory: Memory,
    paces: Mutex<HashMap<String, Weak<Pace>>>,
}

impl Scheduler {
    /// A scheduler for this machine.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            urgent: watch::Sender::new(0),
            decoders: Semaphore::new(cores),
            memory: Memory::new(),
            paces: Mutex::default(),
        }
    }

    /// The pace of what comes from `host`.
    pub(super) fn pace(&self, host: &str) -> Arc<Pace> {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = paces.get(host).and_then(Weak::upgrade) {
            return pace;
        }
        paces.retain(|_, pace| pace.strong_count() > 0);
        let pace = Arc::new(Pace::new());
        paces.insert(host.to_owned(), Arc::downgrade(&pace));
        pace
    }

    /// Counts a reader for as long as the guard lives.
    pub(super) fn urgent(self: &Arc<Self>) -> Urgent {
        self.urgent.send_modify(|waiting| *waiting += 1);
        Urgent(self.clone())
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

/// A reader whose bytes nobody was bringing.
#[derive(Debug)]
pub(super) struct Urgent(Arc<Scheduler>);

impl Drop for Urgent {
    fn drop(&mut self) {
        self.0.urgent.send_modify(|waiting| *waiting -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_one_registry_have_one_pace() {
        let scheduler = Scheduler::new();
        let (first, second) = (scheduler.pace("registry.example"), scheduler.pace("registry.example"));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &scheduler.pace("elsewhere.example")));
        drop((first, second));
        scheduler.pace("third.example");
        assert_eq!(scheduler.paces.lock().unwrap().len(), 1, "what nobody uses is forgotten");
    }
}
