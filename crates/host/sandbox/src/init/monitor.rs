//! The helper as supervisor: makes the cgroup, forks the container's first process, and stays until it is gone.
//!
//! Cgroup and first process are made before there is an order. Joining a cgroup takes the kernel longer than everything else together,
//! so a helper that was started early has that behind it when the image is there.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::exit;

use glowplug_linux::cgroup::{Cgroup, Layout, Limits};
use glowplug_linux::namespaces::{Namespace, unshare};
use glowplug_linux::process::{Fork, fork};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use super::{Channel, child};
use crate::wire::{self, Ended, Failure, FromHelper, Order, ToHelper, now_ns};

/// What supervisor and first process say to each other. The first process's end closes when it becomes the program.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// Supervisor: this is what to make. Descriptors as glowplug sent them.
    Order,
    /// Supervisor: you are in your cgroup, and its limits hold.
    Confined,
    /// Supervisor: run the program.
    Go,
    /// First process: everything is set up.
    Ready,
    /// First process: I told glowplug what went wrong.
    Failed,
}

/// Descriptors that come with an order: the order, and three standard streams.
pub(super) const ORDER_FDS: usize = 4;

/// Runs as the supervisor of a container in this cgroup.
pub(super) fn run(channel: Channel, cgroup: &Path) -> ! {
    // Signals typed at the terminal are for glowplug, which passes on what it wants to.
    let _ = rustix::process::setsid();
    match prepare(&channel, cgroup) {
        Ok(mut container) => container.supervise(channel),
        Err(failure) => channel.fail(failure),
    }
}

struct Supervised {
    pid: Pid,
    pidfd: OwnedFd,
    /// To the first process, until its program runs or it gives up.
    sync: Option<OwnedFd>,
    cgroup: Cgroup,
    gave_up: bool,
}

fn prepare(channel: &Channel, path: &Path) -> Result<Supervised, Failure> {
    let cgroup = channel.step("cgroup", || {
        Layout::detect().and_then(|l| Cgroup::create(&l, path)).map_err(|e| Failure::new("cgroup", e))
    })?;
    let undo = |failure| {
        let _ = cgroup.remove();
        failure
    };
    let (ours, theirs) = wire::pair().map_err(|e| undo(Failure::io("fork", "socket pair", e)))?;
    unshare(&[Namespace::Pid]).map_err(|e| undo(Failure::io("fork", "new pid namespace", e)))?;
    match fork().map_err(|e| undo(Failure::new("fork", e)))? {
        Fork::Child => {
            drop(ours);
            child::run(channel, theirs, &cgroup)
        }
        Fork::Parent(raw) => {
            drop(theirs);
            let pid = Pid::from_raw(raw).ok_or_else(|| undo(Failure::text("fork", "no process id")))?;
            let pidfd =
                glowplug_linux::pidfd::open(raw).map_err(|e| undo(Failure::io("fork", "pidfd", e)))?;
            let container = Supervised { pid, pidfd, sync: Some(ours), cgroup, gave_up: false };
            let join = || container.cgroup.join(raw).map_err(|e| Failure::new("cgroup", e));
            match channel.step("cgroup join", join) {
                Ok(()) => Ok(container),
                Err(failure) => Err(container.give_up(failure)),
            }
        }
    }
}

impl Supervised {
    fn say(&self, word: &Word, fds: &[OwnedFd]) {
        if let Some(sync) = &self.sync {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            // A dead first process is noticed through its pidfd.
            let _ = wire::send(sync, word, &fds);
        }
    }

    fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Ends what there is of the container.
    fn give_up(&self, failure: Failure) -> Failure {
        self.kill();
        self.reap();
        failure
    }

    fn supervise(&mut self, channel: Channel) -> ! {
        let mut glowplug = Some(channel);
        loop {
            let news = self.wait_for_news(glowplug.as_ref());
            if news.first
                && let Some(channel) = &glowplug
            {
                self.hear_first_process(channel);
            }
            if news.ended {
                let ended = self.reap();
                if let Some(channel) = &glowplug {
                    channel.tell(&FromHelper::Exited(ended));
                }
                exit(0)
            }
            if news.glowplug && glowplug.take_if(|channel| !self.hear_glowplug(channel)).is_some() {
                self.kill();
            }
        }
    }

    fn wait_for_news(&self, glowplug: Option<&Channel>) -> News {
        let mut polled = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
        let first = self.sync.as_ref().map(|fd| add(&mut polled, fd.as_fd()));
        let from_glowplug = glowplug.map(|channel| add(&mut polled, channel.0.as_fd()));
        while poll(&mut polled, None).is_err() {}
        let ready = |at: Option<usize>| at.is_some_and(|i| !polled[i].revents().is_empty());
        News { ended: ready(Some(0)), first: ready(first), glowplug: ready(from_glowplug) }
    }

    /// A word from the first process, or its end of the socket closed by exec.
    fn hear_first_process(&mut self, channel: &Channel) {
        let Some(sync) = &self.sync else { return };
        match wire::recv::<Word>(sync) {
            Ok(Some((Word::Ready, _))) => {
                let (pid, cgroups) = (self.pid.as_raw_nonzero().get(), self.cgroup.paths());
                let _ = wire::send(&channel.0, &FromHelper::Created { pid, cgroups }, &[self.pidfd.as_fd()]);
            }
            Ok(Some((Word::Failed, _))) => self.gave_up = true,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                self.sync = None;
                if !self.gave_up {
                    channel.tell(&FromHelper::Started { at_ns: now_ns() });
                }
            }
        }
    }

    /// A message from glowplug; false when it is gone, or there is no going on.
    fn hear_glowplug(&self, channel: &Channel) -> bool {
        match wire::recv::<ToHelper>(&channel.0) {
            Ok(Some((ToHelper::Create, fds))) => match self.pass_order(fds) {
                Ok(()) => true,
                Err(failure) => {
                    channel.tell(&FromHelper::Failed(failure));
                    false
                }
            },
            Ok(Some((ToHelper::Start, _))) => {
                self.say(&Word::Go, &[]);
                true
            }
            Ok(Some((ToHelper::Exec, _)) | None) | Err(_) => false,
        }
    }

    /// Hands the order on and sets its limits, both at once.
    fn pass_order(&self, fds: Vec<OwnedFd>) -> Result<(), Failure> {
        if fds.len() != ORDER_FDS {
            return Err(Failure::text("receive", "unexpected descriptors"));
        }
        self.say(&Word::Order, &fds);
        let order = wire::read_order(fds[0].as_fd()).map_err(|e| Failure::io("receive", "order", e))?;
        self.cgroup.limit(&limits(&order)).map_err(|e| Failure::new("cgroup", e))?;
        self.say(&Word::Confined, &[]);
        Ok(())
    }

    /// Waits for the first process, then ends and removes everything that was around it.
    fn reap(&self) -> Ended {
        let status = loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => break Some(status),
                Err(rustix::io::Errno::INTR) | Ok(None) => {}
                Err(_) => break None,
            }
        };
        let _ = self.cgroup.kill();
        let usage = self.cgroup.usage();
        if let Err(e) = self.cgroup.remove() {
            eprintln!("cannot remove a container's cgroup: {e}");
        }
        let signal = status.and_then(|s| s.terminating_signal());
        let code =
            status.and_then(|s| s.exit_status()).or(signal.map(|n| 128 + n)).unwrap_or(super::OWN_FAILURE);
        let (memory_peak_bytes, cpu_ns, oom_kills) = (usage.memory_peak_bytes, usage.cpu_ns, usage.oom_kills);
        Ended { code, signal, memory_peak_bytes, cpu_ns, oom_kills }
    }
}

/// Which descriptors have something to say.
struct News {
    ended: bool,
    first: bool,
    glowplug: bool,
}

fn add<'a>(polled: &mut Vec<PollFd<'a>>, fd: std::os::fd::BorrowedFd<'a>) -> usize {
    polled.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
    polled.len() - 1
}

/// Whether the container is in a namespace of this kind that is not the host's.
pub(super) fn has_namespace(spec: &Spec, kind: LinuxNamespaceType) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    namespaces.is_some_and(|list| list.iter().any(|n| n.typ() == kind))
}

/// The network namespace that was made for the container in advance. No other kind may be: the container's first process refuses it.
pub(super) fn network_made_before(spec: &Spec) -> Option<&Path> {
    let mut namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref()).into_iter().flatten();
    namespaces.find(|n| n.typ() == LinuxNamespaceType::Network)?.path().as_deref()
}

fn limits(order: &Order) -> Limits {
    let resources = order.spec.linux().as_ref().and_then(|l| l.resources().as_ref());
    let memory = resources.and_then(|r| r.memory().as_ref());
    let cpu = resources.and_then(|r| r.cpu().as_ref());
    // The specification writes "no limit" as a negative number.
    let positive = |n: i64| u64::try_from(n).ok();
    Limits {
        memory_bytes: memory.and_then(|m| m.limit()).and_then(positive),
        memory_swap_bytes: memory.and_then(|m| m.swap()).and_then(positive),
        cpu_quota_us: cpu.and_then(|c| c.quota()).and_then(positive),
        cpu_shares: cpu.and_then(|c| c.shares()),
        pids: resources.and_then(|r| r.pids().as_ref()).and_then(|p| positive(p.limit())).filter(|n| *n > 0),
    }
}
