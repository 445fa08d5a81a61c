//! What glowplug and its helper say to each other: JSON messages, each whole or not at all, over a socket pair that also
//! carries descriptors.
//!
//! The order itself can be larger than a socket takes, so it lies in a memory file whose descriptor travels with [`ToHelper::Create`].
//! Both ends are the same binary, so the messages have no version.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::Spec;
use rustix::fs::MemfdFlags;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::time::{ClockId, clock_gettime};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The most one message may take; what is longer than that was cut by its sender.
const MESSAGE_BYTES: usize = 64 << 10;
/// The most descriptors one message carries.
const DESCRIPTORS: usize = 8;
/// The largest order read: far above a specification with every option used, far below trouble.
const ORDER_BYTES: u64 = 16 << 20;

/// From glowplug to the helper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToHelper {
    /// Make a container. Descriptors: the [`Order`], standard input, output, error.
    Create,
    /// Run its program.
    Start,
    /// Run a program in an existing container. Descriptors as for `Create`, then a pidfd of its first process.
    Exec,
}

/// From the helper to glowplug.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromHelper {
    /// A step of creation took this long, in nanoseconds of the monotonic clock.
    Step { name: String, start_ns: u64, end_ns: u64 },
    /// The container waits for `Start`. Descriptor: a pidfd of its first process.
    Created { pid: i32, cgroups: Vec<PathBuf> },
    /// The program runs.
    Started { at_ns: u64 },
    /// It will not.
    Failed(Failure),
    /// The program ended, and nothing of the container is left.
    Exited(Ended),
}

/// Why a container, or a program in it, could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub step: String,
    pub message: String,
    pub errno: Option<i32>,
    pub exit_code: i32,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub code: i32,
    pub signal: Option<i32>,
    pub memory_peak_bytes: Option<u64>,
    pub cpu_ns: Option<u64>,
    pub oom_kills: Option<u64>,
}

/// What to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub id: String,
    /// Directory with `config.json`, which hooks read.
    pub bundle: PathBuf,
    pub spec: Spec,
    /// For `Exec`: the container's cgroup directories.
    pub cgroups: Vec<PathBuf>,
}

/// Now, in nanoseconds of the monotonic clock, which all processes share.
pub(crate) fn now_ns() -> u64 {
    let t = clock_gettime(ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// Two connected ends that keep message boundaries.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message with descriptors.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one message with its descriptors; `None` when the other side is gone.
pub(crate) fn recv<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            // The other process died with messages of ours unread.
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, fds)))
}

/// Puts an order into a memory file.
pub(crate) fn write_order(order: &Order) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("glowplug-order", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(order)?)?;
    Ok(file)
}

/// Reads an order back.
///
/// At its offset zero whatever was read before: several processes share the descriptor.
pub(crate) fn read_order(file: impl AsFd) -> io::Result<Order> {
    let length = rustix::fs::fstat(&file)?.st_size.cast_unsigned();
    let mut bytes = vec![0; length.min(ORDER_BYTES) as usize];
    let n = rustix::io::pread(&file, &mut bytes, 0)?;
    Ok(serde_json::from_slice(&bytes[..n])?)
}

impl Failure {
    /// A failure of glowplug's own, exit code 125.
    pub fn new(step: &str, error: impl std::error::Error) -> Self {
        /// Room for a chain of messages; a path can be 4 KiB.
        const MESSAGE_CHARS: usize = 8 << 10;
        let mut message = error.to_string();
        let mut errno = None;
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            errno = errno.or_else(|| errno_of(cause));
            source = cause.source();
        }
        let message = message.chars().take(MESSAGE_CHARS).collect();
        Self { step: step.to_owned(), message, errno, exit_code: 125 }
    }

    /// A failed system call or file operation on something.
    pub fn io(step: &str, what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        let mut failure = Self::new(step, &error);
        failure.message = format!("{}: {}", what.into(), failure.message);
        failure.errno = error.raw_os_error();
        failure
    }

    /// Something that is wrong without any call having failed.
    pub fn text(step: &str, message: impl Into<String>) -> Self {
        Self { step: step.to_owned(), message: message.into(), errno: None, exit_code: 125 }
    }
}

fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    if let Some(errno) = error.downcast_ref::<rustix::io::Errno>() {
        return Some(errno.raw_os_error());
    }
    error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_boundaries_and_descriptors() {
        let (a, b) = pair().unwrap();
        let order =
            Order { id: "x".into(), bundle: "/b".into(), spec: Spec::default(), cgroups: vec!["/c".into()] };
        let file = write_order(&order).unwrap();
        send(&a, &ToHelper::Create, &[file.as_fd()]).unwrap();
        send(&a, &ToHelper::Start, &[]).unwrap();
        let (first, mut fds) = recv::<ToHelper>(&b).unwrap().unwrap();
        assert!(matches!(first, ToHelper::Create));
        let back = read_order(fds.remove(0)).unwrap();
        assert_eq!((back.id, back.cgroups), (order.id, order.cgroups));
        assert!(matches!(recv::<ToHelper>(&b).unwrap().unwrap().0, ToHelper::Start));
        drop(a);
        assert!(recv::<ToHelper>(&b).unwrap().is_none());
    }

    #[test]
    fn failures_carry_the_errno_at_the_bottom() {
        let error = glowplug_linux::mount::MountError {
            step: "open",
            what: "x".into(),
            errno: rustix::io::Errno::PERM,
            log: vec!["because".into()],
        };
        let failure = Failure::new("mounts", error);
        assert_eq!(failure.errno, Some(1));
        assert!(failure.message.starts_with("cannot open x (because): "), "{}", failure.message);
    }
}
