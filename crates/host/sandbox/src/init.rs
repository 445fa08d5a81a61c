//! The helper's side: everything that runs in the re-executed binary and in the container before its program does.
//!
//! Invariants: one thread from start to end; nothing here returns to the caller of [`main_if_invoked`]; whatever goes wrong travels
//! back over the socket on standard input with the step it happened in.

mod child;
mod enter;
mod hooks;
mod monitor;
mod privileges;
mod rootfs;

use std::os::fd::OwnedFd;
use std::process::exit;

use glowplug_linux::process::close_inherited;

use crate::wire::{self, Failure, FromHelper, now_ns};

/// First argument that makes the binary create a container.
pub(crate) const CREATE: &str = "__create";
/// First argument that makes the binary run a program in a container.
pub(crate) const EXEC: &str = "__exec";

/// Exit code for a failure that is glowplug's and not the program's, as Docker has it.
const OWN_FAILURE: i32 = 125;

/// Becomes the helper, and never returns, if this process was started as one; else returns at once.
///
/// Must be the first thing in `main`: the helper has to be single-threaded.
pub fn main_if_invoked() {
    match std::env::args_os().nth(1) {
        Some(word) if word == CREATE => {
            let cgroup = std::env::args_os().nth(2).unwrap_or_default();
            monitor::run(Channel::take(), cgroup.as_ref())
        }
        Some(word) if word == EXEC => enter::run(Channel::take()),
        _ => {}
    }
}

/// The socket to glowplug.
#[derive(Debug)]
struct Channel(OwnedFd);

impl Channel {
    /// Takes standard input's place, so that the container's own can have it.
    fn take() -> Self {
        let kept = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
        let Ok(socket) = kept.and_then(|fd| null_stdin().map(|()| fd)) else { exit(OWN_FAILURE) };
        if close_inherited().is_err() || rustix::net::sockopt::socket_type(&socket).is_err() {
            // Someone typed the word by hand.
            eprintln!("this is an internal command: it expects a socket on standard input");
            exit(OWN_FAILURE);
        }
        // While it sets up, and when it enters a running container, no one inside may read its memory or its open files.
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
        Self(socket)
    }

    fn tell(&self, message: &FromHelper) {
        // If glowplug is gone there is nobody to tell; the monitor sees that by itself.
        let _ = wire::send(&self.0, message, &[]);
    }

    /// Runs one step and reports how long it took.
    fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let start_ns = now_ns();
        let outcome = work();
        self.tell(&FromHelper::Step { name: name.to_owned(), start_ns, end_ns: now_ns() });
        outcome
    }

    fn fail(&self, failure: Failure) -> ! {
        let code = failure.exit_code;
        self.tell(&FromHelper::Failed(failure));
        exit(code)
    }
}

fn null_stdin() -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)
}
