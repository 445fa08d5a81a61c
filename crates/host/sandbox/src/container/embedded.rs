//! The embedded runtime, from glowplug's side: the helper process and the conversation with it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use glowplug_linux::mount::{Attributes, Detached};
use glowplug_linux::pidfd;
use oci_spec::runtime::Spec;
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{CreateError, Exit, Phase, Settings, Step, TheirEnds};
use crate::init;
use crate::spec::is_valid_id;
use crate::wire::{self, FromHelper, Order, ToHelper, now_ns};

/// A helper process that waits for its order.
///
/// Starting it takes some milliseconds, and making the cgroup and putting the container's first process into it up to twenty more; it
/// costs nothing to keep. So start one while the image is still on its way. Dropped unused, it goes away and leaves nothing.
#[derive(Debug)]
pub struct Helper {
    id: String,
    channel: Channel,
    child: Child,
    spawned_ns: (u64, u64),
}

/// Our end of the socket. It keeps message boundaries, which a stream does not; only its readiness is used as that of one.
#[derive(Debug, Clone)]
struct Channel(Arc<UnixStream>);

impl Channel {
    async fn recv(&self) -> std::io::Result<Option<(FromHelper, Vec<OwnedFd>)>> {
        self.0.async_io(Interest::READABLE, || wire::recv(&self.0)).await
    }

    fn send(&self, message: &impl Serialize, fds: &[std::os::fd::BorrowedFd<'_>]) -> std::io::Result<()> {
        wire::send(&self.0, message, fds)
    }
}

impl Helper {
    /// Starts one that will create the container of this name. Must be called inside a tokio runtime.
    pub fn spawn(id: &str) -> Result<Self, CreateError> {
        if !is_valid_id(id) {
            return Err(CreateError::Id(id.to_owned()));
        }
        Self::spawn_as(init::CREATE, id)
    }

    fn spawn_as(role: &str, id: &str) -> Result<Self, CreateError> {
        let start_ns = now_ns();
        let (ours, theirs) = wire::pair().map_err(CreateError::io("make a socket for the helper"))?;
        let spawn = || -> std::io::Result<Child> {
            // A container whose program is /proc/self/exe would be this binary, and could then open it for writing. On a read-only
            // mount of its own it cannot.
            let binary =
                Detached::clone_of(Path::new("/proc/self/exe"), false).map_err(std::io::Error::other)?;
            binary.set_attributes(Attributes::MOUNT_ATTR_RDONLY, false).map_err(std::io::Error::other)?;
            tokio::process::Command::new(format!("/proc/self/fd/{}", binary.as_fd().as_raw_fd()))
                .arg0("glowplug")
                .arg(role)
                .arg(crate::spec::cgroup_path(id))
                .env_clear()
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::null())
                .spawn()
        };
        let child = spawn().map_err(CreateError::io("start the helper process"))?;
        let stream = std::os::unix::net::UnixStream::from(ours);
        let channel = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
        let channel = channel.map_err(CreateError::io("watch the helper's socket"))?;
        Ok(Self {
            id: id.to_owned(),
            channel: Channel(Arc::new(channel)),
            child,
            spawned_ns: (start_ns, now_ns()),
        })
    }
}

/// A container made by a helper.
#[derive(Debug)]
pub(super) struct Embedded {
    channel: Option<Channel>,
    reader: JoinHandle<()>,
    pid: i32,
    pidfd: OwnedFd,
    cgroups: Vec<PathBuf>,
    spec: Spec,
    id: String,
    bundle: PathBuf,
}

impl Embedded {
    pub async fn create(
        spec: Spec,
        settings: Settings,
        theirs: TheirEnds,
        began_ns: u64,
    ) -> Result<(Self, watch::Receiver<Phase>, Vec<Step>), CreateError> {
        let Settings { id, bundle, helper, .. } = settings;
        if spec.hooks().is_some() {
            super::external::write_config(&bundle, &spec)?;
        }
        let helper = helper.map_or_else(|| Helper::spawn(&id), Ok)?;
        if helper.id != id {
            return Err(CreateError::Id(id));
        }
        let since = |ns: u64| ns.saturating_sub(began_ns);
        let (start, end) = helper.spawned_ns;
        let mut steps = Vec::new();
        if start >= began_ns {
            steps.push(Step { name: "spawn helper".into(), start_ns: since(start), end_ns: since(end) });
        }
        let order = Order { id: id.clone(), bundle: bundle.clone(), spec, cgroups: Vec::new() };
        let file = wire::write_order(&order).map_err(CreateError::io("write the order"))?;
        let [stdin, stdout, stderr] = &theirs;
        let fds = [file.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        let channel = helper.channel;
        // A helper that could not prepare has said why and is gone; what it said is still to be read.
        let sent = channel.send(&ToHelper::Create, &fds).map_err(CreateError::io("talk to the helper"));
        drop(theirs);
        loop {
            let message = channel.recv().await.map_err(CreateError::io("listen to the helper"))?;
            match message {
                Some((FromHelper::Step { name, start_ns, end_ns }, _)) => {
                    // What was done in advance is not part of this creation.
                    if end_ns > began_ns {
                        steps.push(Step { name, start_ns: since(start_ns), end_ns: since(end_ns) });
                    }
                }
                Some((FromHelper::Created { pid, cgroups }, mut fds)) if fds.len() == 1 => {
                    let (phase, seen) = watch::channel(Phase::Created);
                    let reader = tokio::spawn(follow(channel.clone(), helper.child, phase));
                    let (pidfd, spec) = (fds.remove(0), order.spec);
                    let made = Self { channel: Some(channel), reader, pid, pidfd, cgroups, spec, id, bundle };
                    return Ok((made, seen, steps));
                }
                Some((FromHelper::Failed(failure), _)) => return Err(failure.into()),
                Some(_) | None => return Err(sent.err().unwrap_or(CreateError::Lost)),
            }
        }
    }

    pub fn start(&self) -> Result<(), CreateError> {
        let Some(channel) = &self.channel else { return Err(CreateError::Lost) };
        channel.send(&ToHelper::Start, &[]).map_err(CreateError::io("talk to the helper"))
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    pub fn kill(&self, signal: i32) -> Result<(), CreateError> {
        match pidfd::send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(e) => Err(CreateError::io("send a signal to the container")(e.into())),
        }
    }

    pub async fn exec(&self, args: &[String]) -> Result<i32, CreateError> {
        let mut spec = self.spec.clone();
        if let Some(process) = spec.process_mut() {
            process.set_args(Some(args.to_vec()));
        }
        let order =
            Order { id: self.id.clone(), bundle: self.bundle.clone(), spec, cgroups: self.cgroups.clone() };
        let file = wire::write_order(&order).map_err(CreateError::io("write the order"))?;
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.map_err(CreateError::io("open /dev/null"))?;
        let helper = Helper::spawn_as(init::EXEC, &self.id)?;
        let mut killed_when_dropped = KillOnDrop(helper.child);
        let fds = [file.as_fd(), null.as_fd(), null.as_fd(), null.as_fd(), self.pidfd.as_fd()];
        helper.channel.send(&ToHelper::Exec, &fds).map_err(CreateError::io("talk to the helper"))?;
        loop {
            match helper.channel.recv().await.map_err(CreateError::io("listen to the helper"))? {
                Some((FromHelper::Exited(ended), _)) => return Ok(ended.code),
                Some((FromHelper::Failed(failure), _)) => {
                    // The helper has yet to reap the process that failed. Killed before, it would leave a zombie to whoever
                    // is this machine's first process, and the container's process namespace could not end until then.
                    let _ = tokio::time::timeout(REAPING, killed_when_dropped.0.wait()).await;
                    return Err(failure.into());
                }
                Some(_) => {}
                None => return Err(CreateError::Lost),
            }
        }
    }
}

/// How long a helper may take to reap a process that has ended.
const REAPING: std::time::Duration = std::time::Duration::from_secs(5);

impl Drop for Embedded {
    fn drop(&mut self) {
        // Both ends of ours closed tell the helper to kill the container.
        self.reader.abort();
        self.channel = None;
    }
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // It may have ended by itself, which is the usual way.
        let _ = self.0.start_kill();
    }
}

/// Follows a container's life until it is over.
async fn follow(channel: Channel, mut child: Child, phase: watch::Sender<Phase>) {
    let mut failed = false;
    while let Ok(Some((message, _))) = channel.recv().await {
        match message {
            FromHelper::Started { at_ns } => drop(phase.send(Phase::Running { at_ns })),
            FromHelper::Failed(failure) => {
                failed = true;
                drop(phase.send(Phase::Failed(failure.into())));
            }
            // Why it did not run is what the owner wants to know.
            FromHelper::Exited(ended) if !failed => drop(phase.send(Phase::Exited(Exit::from(ended)))),
            FromHelper::Exited(_) | FromHelper::Step { .. } | FromHelper::Created { .. } => {}
        }
    }
    let _ = child.wait().await;
}
