//! Leaving and entering namespaces.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

/// The namespaces a container is made of; user and time namespaces are not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// Mount points.
    Mount,
    /// Process ids. Takes effect for the children of the caller, not for the caller.
    Pid,
    /// Network devices, addresses, ports.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// The root of the cgroup tree as seen from inside: the cgroup the caller is in at the time of the call.
    Cgroup,
}

impl Namespace {
    /// The name in the OCI runtime specification.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Network => "network",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Cgroup => "cgroup",
        }
    }

    fn unshare_flag(self) -> UnshareFlags {
        match self {
            Self::Mount => UnshareFlags::NEWNS,
            Self::Pid => UnshareFlags::NEWPID,
            Self::Network => UnshareFlags::NEWNET,
            Self::Ipc => UnshareFlags::NEWIPC,
            Self::Uts => UnshareFlags::NEWUTS,
            Self::Cgroup => UnshareFlags::NEWCGROUP,
        }
    }

    fn thread_flag(self) -> ThreadNameSpaceType {
        match self {
            Self::Mount => ThreadNameSpaceType::MOUNT,
            Self::Pid => ThreadNameSpaceType::PROCESS_ID,
            Self::Network => ThreadNameSpaceType::NETWORK,
            Self::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
            Self::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
            Self::Cgroup => ThreadNameSpaceType::CONTROL_GROUP,
        }
    }
}

/// Moves the calling thread (for [`Namespace::Pid`]: its future children) into new namespaces of these kinds.
pub fn unshare(kinds: &[Namespace]) -> Result<(), Errno> {
    let flags = kinds.iter().fold(UnshareFlags::empty(), |flags, kind| flags | kind.unshare_flag());
    // SAFETY: CLONE_FILES, the one flag that would pull descriptors from under other threads, cannot be asked for here.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Moves the calling thread into the namespaces of these kinds of the process held by `pidfd`, all or none (Linux 5.8).
///
/// Entering a mount namespace also moves the root and working directory to that namespace's root, and needs a single thread.
pub fn enter(pidfd: impl AsFd, kinds: &[Namespace]) -> Result<(), Errno> {
    let flags = kinds.iter().fold(ThreadNameSpaceType::empty(), |flags, kind| flags | kind.thread_flag());
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), flags)
}

/// Moves the calling thread, and it alone, into the network namespace behind a `/proc/PID/ns/net` descriptor.
pub fn enter_network(namespace: impl AsFd) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}
