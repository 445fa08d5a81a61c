//! Work that must not take the processor from the application that is starting.

use std::sync::Arc;
use std::time::Duration;

/// Tells whether a processor is free.
pub type Spare = Arc<dyn Fn() -> bool + Send + Sync>;

/// How often to look for a free processor, and how often at most for one request: a machine that is busy for good gets
/// its image all the same, if slowly.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: usize = 15;

/// Waits until a processor is free, for a while; tells whether one is.
pub(super) async fn a_free_processor(spare: &Spare) -> bool {
    for _ in 0..LOOKS {
        if spare() {
            return true;
        }
        // The kernel has no event for this.
        tokio::time::sleep(LOOK_EVERY).await;
    }
    false
}

/// The lowest priority: a thread that has it runs where nothing else wants to.
const NICEST: i32 = 19;

/// Does `work` on this thread at the lowest priority, and gives the thread its own back.
///
/// Where the priority cannot be raised again afterwards, by want of privilege, it is left alone from the beginning.
pub(super) fn politely<T>(work: impl FnOnce() -> T) -> T {
    // On Linux a priority belongs to a thread, and no process id means the calling one.
    let before = rustix::process::getpriority_process(None).unwrap_or(0);
    let changed =
        rustix::process::geteuid().is_root() && rustix::process::setpriority_process(None, NICEST).is_ok();
    let result = work();
    if changed {
        let _ = rustix::process::setpriority_process(None, before);
    }
    result
}
