//! Kernel interfaces that need `unsafe`, or that no crate wraps well: mounts, namespaces, networks, cgroups, seccomp, fork and exec.
//!
//! Everything is a thin, typed wrapper that says what the kernel said: no policy lives here. This crate is the
//! only one that may use `libc`; callers forbid `unsafe` and stay safe because every function here either checks its
//! precondition (such as *the process has one thread*) or has none.
//!
//! Needs Linux 5.12 (`mount_setattr`); newer features are asked for and their absence reported.

pub mod caps;
pub mod cgroup;
pub mod link;
pub mod load;
pub mod mount;
pub mod namespaces;
pub mod netlink;
pub mod netns;
pub mod nftables;
pub mod pidfd;
pub mod probe;
pub mod process;
pub mod seccomp;
pub mod signal;
