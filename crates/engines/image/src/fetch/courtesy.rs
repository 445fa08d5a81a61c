//! Work that must not take the processor from the application that is starting.

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
