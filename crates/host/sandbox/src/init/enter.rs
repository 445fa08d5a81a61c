//! A program that joins a running container: the helper enters its cgroup and namespaces and forks there.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::process::exit;

use glowplug_linux::cgroup::join_paths;
use glowplug_linux::namespaces::{Namespace, enter};
use glowplug_linux::process::{Fork, fork};
use oci_spec::runtime::LinuxNamespaceType as Kind;
use rustix::process::{Pid, WaitOptions};

use super::child::become_program;
use super::monitor::{ORDER_FDS, has_namespace};
use super::{Channel, privileges};
use crate::wire::{self, Ended, Failure, FromHelper, Order, ToHelper};

/// Runs as the helper for one program.
pub(super) fn run(channel: Channel) -> ! {
    let _ = rustix::process::setsid();
    match join(&channel) {
        Ok(pid) => {
            let status = loop {
                match rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::empty()) {
                    Err(rustix::io::Errno::INTR) | Ok(None) => {}
                    other => break other.ok().flatten().map(|(_, status)| status),
                }
            };
            let signal = status.and_then(|s| s.terminating_signal());
            let code = status
                .and_then(|s| s.exit_status())
                .or(signal.map(|n| 128 + n))
                .unwrap_or(super::OWN_FAILURE);
            channel.tell(&FromHelper::Exited(Ended {
                code,
                signal,
                memory_peak_bytes: None,
                cpu_ns: None,
                oom_kills: None,
            }));
            exit(0)
        }
        Err(failure) => channel.fail(failure),
    }
}

fn join(channel: &Channel) -> Result<i32, Failure> {
    let received = wire::recv::<ToHelper>(&channel.0).map_err(|e| Failure::io("receive", "order", e))?;
    // Glowplug lost interest.
    let Some((message, mut fds)) = received else { exit(0) };
    if !matches!(message, ToHelper::Exec) || fds.len() != ORDER_FDS + 1 {
        return Err(Failure::text("receive", "unexpected message"));
    }
    let order = wire::read_order(fds.remove(0)).map_err(|e| Failure::io("receive", "order", e))?;
    let container = fds.pop().ok_or_else(|| Failure::text("receive", "no container"))?;
    // In the container's cgroup the helper dies with the container, however that comes about.
    join_paths(&order.cgroups, std::process::id().cast_signed()).map_err(|e| Failure::new("cgroup", e))?;
    let kinds: Vec<Namespace> = [
        (Kind::Mount, Namespace::Mount),
        (Kind::Pid, Namespace::Pid),
        (Kind::Uts, Namespace::Uts),
        (Kind::Ipc, Namespace::Ipc),
        (Kind::Network, Namespace::Network),
        (Kind::Cgroup, Namespace::Cgroup),
    ]
    .into_iter()
    .filter_map(|(kind, namespace)| has_namespace(&order.spec, kind).then_some(namespace))
    .collect();
    // Only the child enters the rest: the container's /proc does not show this process, and fork looks itself up there.
    enter(&container, &[Namespace::Pid]).map_err(|e| Failure::io("enter", "pid namespace", e))?;
    match fork().map_err(|e| Failure::new("fork", e))? {
        Fork::Parent(pid) => Ok(pid),
        Fork::Child => {
            let rest: Vec<Namespace> = kinds.into_iter().filter(|k| *k != Namespace::Pid).collect();
            let failure = match become_inside(&order, &fds, &container, &rest) {
                Ok(never) => match never {},
                Err(failure) => failure,
            };
            channel.fail(failure)
        }
    }
}

fn become_inside(
    order: &Order,
    stdio: &[OwnedFd],
    container: &OwnedFd,
    kinds: &[Namespace],
) -> Result<Infallible, Failure> {
    let _ = rustix::process::setsid();
    enter(container, kinds).map_err(|e| Failure::io("enter", "namespaces", e))?;
    let process = order.spec.process().as_ref().ok_or_else(|| Failure::text("process", "nothing to run"))?;
    let seccomp = order.spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let program = privileges::prepare(process, seccomp)?;
    become_program(&program, stdio)
}
