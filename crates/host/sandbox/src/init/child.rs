//! The container's first process before it becomes the container's program.
//!
//! The order matters: mounts need all privileges and the host's view of paths; the cgroup namespace must be made after the process is
//! in its cgroup; nothing that names a directory of the host may be open when the working directory is entered.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::process::exit;

use glowplug_linux::cgroup::Cgroup;
use glowplug_linux::namespaces::{Namespace, enter_network, unshare};
use glowplug_linux::{mount, netns, process, signal};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType as Kind, Process, Spec};
use rustix::process::Signal;

use super::monitor::{Word, has_namespace, network_made_before};
use super::rootfs::Tree;
use super::{Channel, hooks, privileges};
use crate::wire::{self, Failure, FromHelper};

/// Waits for an order, sets the container up and becomes its program.
pub(super) fn run(channel: &Channel, sync: OwnedFd, cgroup: &Cgroup) -> ! {
    let sync = Sync(sync);
    let failure = match set_up(channel, &sync, cgroup) {
        Ok(never) => match never {},
        Err(failure) => failure,
    };
    let code = failure.exit_code;
    channel.tell(&FromHelper::Failed(failure));
    sync.say(&Word::Failed);
    exit(code)
}

/// To the supervisor.
struct Sync(OwnedFd);

impl Sync {
    fn say(&self, word: &Word) {
        // A dead supervisor takes this process with it.
        let _ = wire::send(&self.0, word, &[]);
    }

    /// Waits for a word and answers what came with it; a supervisor that is gone means the end.
    fn wait_for(&self, word: &Word) -> Vec<OwnedFd> {
        match wire::recv::<Word>(&self.0) {
            Ok(Some((heard, fds))) if heard == *word => fds,
            _ => exit(super::OWN_FAILURE),
        }
    }
}

fn set_up(channel: &Channel, sync: &Sync, cgroup: &Cgroup) -> Result<Infallible, Failure> {
    die_with_parent()?;
    let _ = rustix::process::setsid();
    let mut stdio = sync.wait_for(&Word::Order);
    let order = &wire::read_order(stdio.remove(0)).map_err(|e| Failure::io("receive", "order", e))?;
    let spec = &order.spec;
    let process = spec
        .process()
        .as_ref()
        .ok_or_else(|| Failure::text("process", "the specification has no process"))?;
    refuse_unsupported(spec, process)?;
    channel.step("namespaces", || namespaces(spec))?;
    let tree = channel.step("mounts", || {
        let tree = Tree::enter(spec)?;
        tree.mount_all(spec)?;
        Ok(tree)
    })?;
    channel.step("cgroup wait", || {
        sync.wait_for(&Word::Confined);
        if has_namespace(spec, Kind::Cgroup) {
            unshare(&[Namespace::Cgroup]).map_err(|e| Failure::io("namespaces", "cgroup namespace", e))?;
        }
        Ok(())
    })?;
    let root = channel.step("cgroup mount", || {
        tree.mount_cgroups(spec, &cgroup.views())?;
        tree.finish(spec, process.cwd())
    })?;
    if hooks::any(spec) {
        channel.step("hooks", || hooks::run_create_container(order))?;
    }
    channel.step("pivot", || {
        mount::pivot_into(&root).map_err(|e| Failure::new("pivot", e))?;
        if spec.root().as_ref().and_then(|r| r.readonly()).unwrap_or(false) {
            mount::add_attributes(&root, mount::Attributes::MOUNT_ATTR_RDONLY)
                .map_err(|e| Failure::new("read-only root", e))?;
        }
        drop(root);
        Ok(())
    })?;
    let program = privileges::prepare(process, spec.linux().as_ref().and_then(|l| l.seccomp().as_ref()))?;
    sync.say(&Word::Ready);
    sync.wait_for(&Word::Go);
    become_program(&program, &stdio)
}

/// The last steps, the same for a container's first program and for one that joins later.
pub(super) fn become_program(
    program: &privileges::Program<'_>,
    stdio: &[OwnedFd],
) -> Result<Infallible, Failure> {
    let [stdin, stdout, stderr] = stdio else {
        return Err(Failure::text("stdio", "expected three descriptors"));
    };
    let connected = rustix::stdio::dup2_stdin(stdin)
        .and_then(|()| rustix::stdio::dup2_stdout(stdout))
        .and_then(|()| rustix::stdio::dup2_stderr(stderr));
    connected.map_err(|e| Failure::io("stdio", "standard descriptors", e))?;
    process::close_on_exec_from(3).map_err(|e| Failure::io("stdio", "descriptors", e))?;
    signal::reset_all();
    program.give_up_privileges()?;
    // A change of user ids switched this off.
    die_with_parent()?;
    program.exec()
}

fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Failure::io("process", "parent death signal", e))
}

fn refuse_unsupported(spec: &Spec, process: &Process) -> Result<(), Failure> {
    let refuse = |what: &str| Err(Failure::text("specification", format!("{what} is not supported")));
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    let mut kinds = namespaces.into_iter().flatten();
    let joins = |n: &LinuxNamespace| n.path().is_some() && n.typ() != Kind::Network;
    if kinds.any(|n| joins(n) || matches!(n.typ(), Kind::User | Kind::Time)) {
        return refuse("a user or time namespace, or joining an existing namespace other than a network");
    }
    if !has_namespace(spec, Kind::Mount) || !has_namespace(spec, Kind::Pid) {
        return refuse("a container without its own mount and pid namespace");
    }
    if process.terminal().unwrap_or(false) {
        return refuse("a terminal");
    }
    if process.apparmor_profile().is_some() || process.selinux_label().is_some() {
        return refuse("an AppArmor profile or SELinux label");
    }
    Ok(())
}

fn namespaces(spec: &Spec) -> Result<(), Failure> {
    let wanted = [
        (Kind::Mount, Namespace::Mount),
        (Kind::Uts, Namespace::Uts),
        (Kind::Ipc, Namespace::Ipc),
        (Kind::Network, Namespace::Network),
    ];
    let network = network_made_before(spec);
    if let Some(path) = network {
        let entered = std::fs::File::open(path).and_then(|namespace| Ok(enter_network(namespace)?));
        entered.map_err(|e| Failure::io("namespaces", format!("network {}", path.display()), e))?;
    }
    let is_new = |kind| has_namespace(spec, kind) && (kind != Kind::Network || network.is_none());
    let kinds: Vec<Namespace> = wanted.iter().filter(|(kind, _)| is_new(*kind)).map(|w| w.1).collect();
    unshare(&kinds).map_err(|e| {
        let names: Vec<_> = kinds.iter().map(|k| k.name()).collect();
        Failure::io("namespaces", format!("new {} namespaces", names.join(", ")), e)
    })?;
    if kinds.contains(&Namespace::Network) {
        netns::loopback_up().map_err(|e| Failure::io("namespaces", "loopback device", e))?;
    }
    if let (true, Some(name)) = (kinds.contains(&Namespace::Uts), spec.hostname()) {
        rustix::system::sethostname(name.as_bytes())
            .map_err(|e| Failure::io("hostname", name.as_str(), e))?;
    }
    Ok(())
}
