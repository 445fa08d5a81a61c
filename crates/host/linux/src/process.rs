//! Fork and exec for single-threaded helpers.
//!
//! `fork` in a threaded process leaves the child with locks that nobody will ever release. [`fork`] therefore refuses
//! unless the process has exactly one thread; then the child may do anything, allocate included.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, FdFlags};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The process that forked, with the child's id in its own pid namespace.
    Parent(i32),
    /// The new process.
    Child,
}

/// Why there was no fork.
#[derive(Debug, thiserror::Error)]
pub enum ForkError {
    /// The process has more than one thread.
    #[error("cannot fork a process with {0} threads")]
    Threads(usize),
    /// The thread count could not be read.
    #[error("cannot count threads in /proc/self/task")]
    Count(#[source] io::Error),
    /// The kernel refused.
    #[error("fork failed")]
    Fork(#[source] Errno),
}

/// Duplicates this process, which must have a single thread.
pub fn fork() -> Result<Fork, ForkError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(ForkError::Count)?.count();
    if threads != 1 {
        return Err(ForkError::Threads(threads));
    }
    // SAFETY: the only thread is this one, so no lock is held by anybody else and the child is as free as the parent.
    match unsafe { libc::fork() } {
        -1 => Err(ForkError::Fork(last_errno())),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}

/// Replaces this process by the program at `path`; returns only if that failed.
pub fn exec(path: &CStr, args: &[CString], env: &[CString]) -> Errno {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
    };
    let (argv, envp) = (pointers(args), pointers(env));
    // SAFETY: all three are nul-terminated strings or null-terminated arrays of them, alive across the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    last_errno()
}

/// Closes every descriptor from 3 up that this process was started with rather than opened itself.
///
/// What Rust opens is close-on-exec; a descriptor without that flag was inherited, and keeping it would keep somebody's pipe or
/// device open for as long as a container lives.
pub fn close_inherited() -> io::Result<()> {
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        if let Some(fd) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) {
            // SAFETY: borrowed for one fcntl; if it is closed by now, that answers EBADF.
            let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
            if fd > 2 && rustix::io::fcntl_getfd(borrowed).is_ok_and(|f| !f.contains(FdFlags::CLOEXEC)) {
                inherited.push(fd);
            }
        }
    }
    for fd in inherited {
        // SAFETY: without close-on-exec it was not opened by this program, so no owner in it is left with a dead number.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Marks every descriptor from `first` up close-on-exec.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: only sets a flag on descriptors; none is closed now.
    let r = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if r == 0 { Ok(()) } else { Err(last_errno()) }
}

/// The error number of the C library's last failed call on this thread.
pub(crate) fn last_errno() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threaded_process_does_not_fork() {
        // The test harness runs tests on threads of their own.
        assert!(matches!(fork(), Err(ForkError::Threads(n)) if n > 1));
    }

    #[test]
    fn exec_says_what_is_wrong() {
        assert_eq!(exec(c"/nonexistent", &[c"x".to_owned()], &[]), Errno::NOENT);
    }
}
