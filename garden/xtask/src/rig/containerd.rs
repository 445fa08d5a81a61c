//! containerd and runc, private, with an empty store. By itself it is the peer that pulls everything, unpacks and starts,
//! as Debian has it; beside a snapshotter of its own process it is what other peers are started by.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::packages::debian::Debian;
use crate::{paths, step};

const NAMESPACE: &str = "glowplug-rig";
/// Sockets and state lie here, which is gone with the rig.
pub const RUN: &str = "/run/glowplug-rig";
/// containerd, runc, and pigz, which containerd unpacks gzip with where it finds it.
const PACKAGES: [&str; 4] = ["containerd", "runc", "libseccomp2", "pigz"];

/// Where the programs are.
struct Programs {
    search_path: std::ffi::OsString,
    libraries: PathBuf,
    version: String,
}

/// A snapshotter that runs as a process of its own.
pub struct Snapshotter {
    /// Its name to containerd.
    pub name: &'static str,
    /// Where it listens.
    pub socket: PathBuf,
}

/// A containerd that answers.
pub struct Containerd {
    programs: Programs,
    /// Of its store, its socket and its log: two of them run side by side.
    name: &'static str,
    snapshotter: Option<Snapshotter>,
    daemon: Option<Child>,
}

impl Containerd {
    /// Fetches the programs. Outside the enclosure.
    pub fn prepare() -> anyhow::Result<()> {
        Self::programs(&[]).map(drop)
    }

    /// Fetches the programs; gives the folder that their packages are unpacked in.
    pub fn fetch() -> anyhow::Result<PathBuf> {
        Debian::open()?.tool("containerd", &PACKAGES)
    }

    /// Debian's, except what lies in the folders `before`.
    fn programs(before: &[PathBuf]) -> anyhow::Result<Programs> {
        let root = Self::fetch()?;
        let version = |name: &str| -> anyhow::Result<String> {
            let debs = Debian::open()?.exactly(&PACKAGES)?;
            Ok(debs.into_iter().find(|deb| deb.name == name).context("a package went missing")?.version)
        };
        let mut search = before.to_vec();
        search.extend(["usr/bin", "usr/sbin"].map(|folder| root.join(folder)));
        search.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        Ok(Programs {
            search_path: std::env::join_paths(search)?,
            libraries: root.join("usr/lib/x86_64-linux-gnu"),
            version: format!("containerd {}, runc {}, pigz", version("containerd")?, version("runc")?),
        })
    }

    /// Starts it with an empty store. Inside the enclosure.
    pub fn start() -> anyhow::Result<Self> {
        let mut containerd =
            Self { programs: Self::programs(&[])?, name: "containerd", snapshotter: None, daemon: None };
        containerd.reset()?;
        Ok(containerd)
    }

    /// Starts the containerd 2 of `cargo xtask peers`, with an empty store and this snapshotter alone.
    pub fn start_with(snapshotter: Snapshotter) -> anyhow::Result<Self> {
        let programs = Self::programs(&[paths::peers().join("containerd")])?;
        let mut containerd =
            Self { programs, name: "peer-containerd", snapshotter: Some(snapshotter), daemon: None };
        containerd.reset()?;
        Ok(containerd)
    }

    /// The versions, for the record.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// The daemon's process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// Ends the daemon, empties its store, starts it again.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.end()?;
        std::fs::create_dir_all(self.root())?;
        std::fs::create_dir_all(RUN)?;
        let config = self.root().join("config.toml");
        std::fs::write(&config, self.configuration())?;
        let log = std::fs::File::create(self.log())?;
        let daemon = self
            .command("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start containerd")?;
        self.daemon = Some(daemon);
        for _ in 0..250 {
            if self.socket().exists() && self.ctr(&["version"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(40));
        }
        bail!("containerd does not answer: see {}", self.log().display())
    }

    /// Ends the daemon and removes its store.
    pub fn end(&mut self) -> anyhow::Result<()> {
        self.end_daemon();
        for folder in [self.root(), self.state()] {
            if folder.exists() {
                std::fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot empty {}", folder.display()))?;
            }
        }
        Ok(())
    }

    /// Pulls an image over plain HTTP, as far as the snapshotter wants it, and unpacks that.
    pub fn pull(&self, reference: &str) -> anyhow::Result<()> {
        self.ctr(&["images", "pull", "--plain-http", "--snapshotter", self.snapshotter(), reference])
    }

    /// Mounts a pulled image, with a layer above it that may be written to.
    pub fn mount(&self, reference: &str, to: &Path) -> anyhow::Result<()> {
        let to = to.display().to_string();
        self.ctr(&["images", "mount", "--rw", "--snapshotter", self.snapshotter(), reference, &to])
    }

    /// Undoes [`mount`](Self::mount).
    pub fn unmount(&self, from: &Path) -> anyhow::Result<()> {
        let from = from.display().to_string();
        self.ctr(&["images", "unmount", "--rm", "--snapshotter", self.snapshotter(), &from])
    }

    /// Starts a container of a pulled image on the node's network.
    pub fn run(&self, reference: &str, id: &str) -> anyhow::Result<()> {
        let log = format!("file://{}", container_log().display());
        self.ctr(&[
            "run",
            "--detach",
            "--net-host",
            "--snapshotter",
            self.snapshotter(),
            "--log-uri",
            &log,
            reference,
            id,
        ])
    }

    /// An error with what the container printed if it does not run.
    pub fn check_alive(&self, id: &str) -> anyhow::Result<()> {
        let tasks = self.ctr_output(&["tasks", "list"])?;
        let runs = tasks.lines().any(|line| line.starts_with(id) && line.contains("RUNNING"));
        if !runs {
            bail!(
                "the container does not run:\n{}",
                std::fs::read_to_string(container_log()).unwrap_or_default().trim_end()
            );
        }
        Ok(())
    }

    /// Ends a container and removes it.
    pub fn remove(&self, id: &str) -> anyhow::Result<()> {
        self.ctr(&["tasks", "delete", "--force", id])?;
        self.ctr(&["containers", "delete", id])
    }

    fn ctr(&self, args: &[&str]) -> anyhow::Result<()> {
        self.ctr_output(args).map(drop)
    }

    fn ctr_output(&self, args: &[&str]) -> anyhow::Result<String> {
        step::read(
            self.command("ctr")
                .arg("--address")
                .arg(self.socket())
                .args(["--namespace", NAMESPACE])
                .args(args),
        )
    }

    fn snapshotter(&self) -> &'static str {
        self.snapshotter.as_ref().map_or("overlayfs", |snapshotter| snapshotter.name)
    }

    fn root(&self) -> PathBuf {
        super::nodes().join(self.name)
    }

    fn log(&self) -> PathBuf {
        super::nodes().join(format!("{}.log", self.name))
    }

    fn state(&self) -> PathBuf {
        Path::new(RUN).join(self.name)
    }

    fn socket(&self) -> PathBuf {
        Path::new(RUN).join(format!("{}.sock", self.name))
    }

    fn configuration(&self) -> String {
        let (root, state, socket) = (self.root().join("root"), self.state(), self.socket());
        let places = format!("root = \"{}\"\nstate = \"{}\"\n", root.display(), state.display());
        let edges = format!("[grpc]\naddress = \"{}\"\n[debug]\nlevel = \"warn\"\n", socket.display());
        let Some(Snapshotter { name, socket }) = &self.snapshotter else {
            return format!(
                "version = 2\n{places}\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n{edges}"
            );
        };
        let socket = socket.display();
        // Without the annotations a snapshotter does not learn which layer it is asked about; without the entry of the
        // transfer service nothing is unpacked with it.
        format!(
            "version = 3\n{places}\
             disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \
             \"io.containerd.cri.v1.runtime\", \"io.containerd.internal.v1.opt\", \
             \"io.containerd.nri.v1.nri\"]\n{edges}\
             [proxy_plugins.{name}]\ntype = \"snapshot\"\naddress = \"{socket}\"\n\
             [proxy_plugins.{name}.exports]\nenable_remote_snapshot_annotations = \"true\"\n\
             [[plugins.\"io.containerd.transfer.v1.local\".unpack_config]]\n\
             platform = \"linux/amd64\"\nsnapshotter = \"{name}\"\n"
        )
    }

    fn command(&self, program: &str) -> Command {
        // Not by our own PATH: Command finds the program by the PATH it gives to it.
        let mut command = Command::new(program);
        command.env("PATH", &self.programs.search_path).env("LD_LIBRARY_PATH", &self.programs.libraries);
        command
    }

    fn end_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.end_daemon();
    }
}

fn container_log() -> PathBuf {
    super::nodes().join("container.log")
}
