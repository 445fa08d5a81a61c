//! One container: made from a mounted root file system, watched until it is ready, killed and cleaned up after.
//!
//! ```text
//! glowplug ── spawns ──> helper (the same binary, "__create", one thread, stays in the host's namespaces)
//!   spec::build            init: cgroup, fork                             init::child: namespaces, mounts, privileges, exec
//!   Container::create ─────> supervises, reports, cleans up ── pid 1 ────> the container's program
//!   Container::start ──────> "go"
//!   ready::wait
//! ```
//!
//! Why a helper: creating a container needs a process with one thread, and a program that serves files to the kernel never is one.
//! The helper outlives creation as the container's supervisor. It notices when glowplug is gone, however it went, kills the
//! container, and removes its cgroup; so a `kill -9` of glowplug leaves nothing behind.
//!
//! A program that uses this crate must call [`init::main_if_invoked`] first thing in `main`, before it starts any thread.
//!
//! # What containers are not given
//! - **Device nodes by major and minor number.** Instead of a device cgroup, every mount in a container is `nodev` except single
//!   device files bound from the host's `/dev`. A node made with `mknod` inside exists and cannot be opened.
//! - **IPv6 out of a network of their own.** [`spec::Network::Private`] goes out through [`Outbound`], which is IPv4 only; published ports
//!   come in through [`forward::Forwarder`]. Out of [`spec::Network::Isolated`] nothing has a route, DNS included.
//! - **A terminal, user namespaces, AppArmor and SELinux labels.** A specification that asks for one is refused.
#![forbid(unsafe_code)]

pub mod cdi;
pub mod container;
pub mod forward;
pub mod init;
pub mod logs;
pub mod net;
pub mod outbound;
pub mod ready;
pub mod spec;
pub mod user;

mod wire;

pub use container::{Container, CreateError, Exit, Helper, Runtime, Settings, StdStream, Step, Usage};
pub use net::Dialer;
pub use outbound::Outbound;
