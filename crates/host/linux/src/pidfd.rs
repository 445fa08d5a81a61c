//! Processes held by descriptor: a signal through one can never reach a stranger who got the same number.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

/// A descriptor for a living or not yet reaped process. It becomes readable when the process ends.
pub fn open(pid: i32) -> Result<OwnedFd, Errno> {
    let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
}

/// Sends any signal number, real-time ones too, which the named signals of rustix leave out.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    // SAFETY: plain integers, and a null siginfo which the kernel fills in as kill(2) would.
    let r = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if r == 0 { Ok(()) } else { Err(crate::process::last_errno()) }
}
