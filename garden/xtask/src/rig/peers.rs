//! The peers at work: loaders that start a container before every byte is here, each behind one trait.
//!
//! A peer says how its image is made, how its daemon is started and how many FUSE mounts a lazy start of it has; the
//! rest is alike for all and lies here: empty stores, containerd beside it, the check that the start was lazy (SOCI
//! falls back to a full pull without a word), and an end that leaves no process, no mount and no file. A daemon that is
//! to outlive its snapshotter, as nydusd is, is ended too.
//!
//! The programs are those of `cargo xtask peers`.

mod nydus;
pub mod opens;
pub mod prepared;
mod soci;
mod stargz;

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};

pub use self::nydus::{Nydus, Prefetch};
pub use self::soci::Soci;
pub use self::stargz::Stargz;
use super::containerd::{Containerd, RUN, Snapshotter};
use super::fuse;
use crate::images::layout::{Layout, Manifest};
use crate::{paths, step};

/// A lazy loader with its settings.
pub trait Peer {
    /// What containerd calls its snapshotter.
    fn snapshotter(&self) -> &'static str;

    /// What its image is called, in tags and in folder names.
    fn image(&self) -> &'static str;

    /// The tools under `target/peers` that its image depends on.
    fn tools(&self) -> &'static [&'static str];

    /// Makes its image of `from` in the folder `to`, which is not there yet. `opens` names the files that a start opens,
    /// one a line, in the order of their first use.
    fn convert(&self, from: &Layout, opens: &Path, to: &Path) -> anyhow::Result<()>;

    /// Writes its settings and gives the command of its daemon.
    fn daemon(&self, place: &Place<'_>) -> anyhow::Result<Command>;

    /// How many FUSE mounts a start of `image` has where it is lazy.
    fn mounts(&self, image: &Manifest) -> usize;
}

/// Where a daemon is to work.
pub struct Place<'a> {
    /// For its settings.
    pub settings: &'a Path,
    /// For its stores; empty.
    pub store: &'a Path,
    /// Where it is to listen.
    pub socket: &'a Path,
    /// The registry that it may ask without encryption, `HOST:PORT`.
    pub registry: &'a str,
}

/// For the sockets of a peer's daemons.
fn sockets() -> PathBuf {
    Path::new(RUN).join("peer")
}

/// A program of a tool that `cargo xtask peers` built.
fn program(tool: &str, name: &str) -> PathBuf {
    paths::peers().join(tool).join(name)
}

/// A snapshotter's daemon that is told of its place by flags, with these settings.
fn snapshotter(tool: &str, name: &str, place: &Place<'_>, settings: &str) -> anyhow::Result<Command> {
    let file = place.settings.join("config.toml");
    std::fs::write(&file, settings)?;
    let mut command = Command::new(program(tool, name));
    command.arg("--address").arg(place.socket).arg("--root").arg(place.store).arg("--config").arg(file);
    Ok(command)
}

/// A node where a peer and containerd run; it began with empty stores and leaves nothing when it is dropped.
pub struct Node<'a> {
    peer: &'a dyn Peer,
    root: PathBuf,
    daemon: Option<Child>,
    containerd: Option<Containerd>,
}

impl<'a> Node<'a> {
    /// Starts the peer's daemon and containerd, with empty stores.
    pub fn start(peer: &'a dyn Peer, registry: &str) -> anyhow::Result<Self> {
        let mut node = Self { peer, root: super::nodes().join("peer"), daemon: None, containerd: None };
        let (store, socket) = (node.root.join("store"), sockets().join("snapshotter"));
        node.end();
        std::fs::create_dir_all(&store)?;
        std::fs::create_dir_all(sockets())?;
        let place = Place { settings: &node.root, store: &store, socket: &socket, registry };
        let mut command = peer.daemon(&place)?;
        let log = std::fs::File::create(node.log())?;
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        node.daemon = Some(daemon.with_context(|| format!("cannot start {}", peer.snapshotter()))?);
        node.wait_for_socket(&socket)?;
        node.containerd =
            Some(Containerd::start_with(Snapshotter { name: peer.snapshotter(), socket: socket.clone() })?);
        Ok(node)
    }

    /// containerd, with this peer as its snapshotter.
    pub fn containerd(&self) -> anyhow::Result<&Containerd> {
        self.containerd.as_ref().context("the peer has ended")
    }

    /// The daemons that start containers here: the peer's and containerd.
    pub fn daemons(&self) -> Vec<u32> {
        let peer = self.daemon.as_ref().map(Child::id);
        peer.into_iter().chain(self.containerd.as_ref().and_then(Containerd::pid)).collect()
    }

    /// An error unless a container of `image`, which runs now, reads its layers lazily.
    pub fn check_lazy(&self, image: &Manifest) -> anyhow::Result<()> {
        let (there, wanted) = (fuse::count_below(&self.root)?, self.peer.mounts(image));
        if there < wanted {
            bail!(
                "{} did not start lazily: {there} FUSE mounts where {wanted} should be; its log ends with\n{}",
                self.peer.snapshotter(),
                self.log_tail()
            );
        }
        Ok(())
    }

    fn wait_for_socket(&mut self, socket: &Path) -> anyhow::Result<()> {
        for _ in 0..500 {
            if UnixStream::connect(socket).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.daemon.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("{} ended at once ({status}):\n{}", self.peer.snapshotter(), self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not answer:\n{}", self.peer.snapshotter(), self.log_tail())
    }

    fn log(&self) -> PathBuf {
        super::nodes().join("peer.log")
    }

    fn log_tail(&self) -> String {
        const LINES: usize = 8;
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Ends everything and empties the stores.
    fn end(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let _ = self.containerd.take().map(|mut containerd| containerd.end());
        for process in strays() {
            let _ = rustix::process::kill_process(process, Signal::KILL);
        }
        fuse::abort_below(&self.root);
        for mount in mounts_below(&self.root) {
            let _ = step::read(Command::new("umount").arg("--lazy").arg(mount));
        }
        for folder in [&self.root, &sockets()] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processes of the enclosure whose program is a peer's.
fn strays() -> Vec<Pid> {
    let Ok(peers) = paths::peers().canonicalize() else { return Vec::new() };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| std::fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe.starts_with(&peers)))
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

/// What is mounted below `folder`, the last first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(folder) = folder.canonicalize() else { return Vec::new() };
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .filter(|place| place.starts_with(&folder))
        .collect();
    mounts.reverse();
    mounts
}
