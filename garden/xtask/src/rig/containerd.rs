//! The peer: Debian's containerd and runc, private, with an empty store: pull everything, unpack, start.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::packages::debian::Debian;
use crate::step;

const NAMESPACE: &str = "glowplug-rig";
const SOCKET: &str = "/run/glowplug-rig/containerd.sock";
const STATE: &str = "/run/glowplug-rig/containerd";
/// containerd, runc, and pigz, which containerd unpacks gzip with where it finds it.
const PACKAGES: [&str; 4] = ["containerd", "runc", "libseccomp2", "pigz"];

/// Where the programs are.
struct Programs {
    search_path: std::ffi::OsString,
    libraries: PathBuf,
    version: String,
}

/// A containerd that answers.
pub struct Containerd {
    programs: Programs,
    root: PathBuf,
    daemon: Option<Child>,
}

impl Containerd {
    /// Fetches the programs. Outside the enclosure.
    pub fn prepare() -> anyhow::Result<()> {
        Self::programs().map(drop)
    }

    /// Fetches the programs; gives the folder that their packages are unpacked in.
    pub fn fetch() -> anyhow::Result<PathBuf> {
        Debian::open()?.tool("containerd", &PACKAGES)
    }

    fn programs() -> anyhow::Result<Programs> {
        let root = Self::fetch()?;
        let version = |name: &str| -> anyhow::Result<String> {
            let debs = Debian::open()?.exactly(&PACKAGES)?;
            Ok(debs.into_iter().find(|deb| deb.name == name).context("a package went missing")?.version)
        };
        let mut search: Vec<PathBuf> = ["usr/bin", "usr/sbin"].map(|folder| root.join(folder)).into();
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
            Self { programs: Self::programs()?, root: super::nodes().join("containerd"), daemon: None };
        containerd.reset()?;
        Ok(containerd)
    }

    /// The versions, for the record.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// Ends the daemon, empties its store, starts it again.
    pub fn reset(&mut self) -> anyhow::Result<()> {
        self.end_daemon();
        for folder in [self.root.as_path(), Path::new(STATE)] {
            if folder.exists() {
                std::fs::remove_dir_all(folder)
                    .with_context(|| format!("cannot empty {}", folder.display()))?;
            }
        }
        std::fs::create_dir_all(&self.root)?;
        std::fs::create_dir_all("/run/glowplug-rig")?;
        let config = self.root.join("config.toml");
        std::fs::write(&config, configuration(&self.root))?;
        let log = std::fs::File::create(super::nodes().join("containerd.log"))?;
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
            if Path::new(SOCKET).exists() && self.ctr(&["version"]).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(40));
        }
        bail!("containerd does not answer: see {}", super::nodes().join("containerd.log").display())
    }

    /// Pulls the whole image over plain HTTP and unpacks it.
    pub fn pull(&self, reference: &str) -> anyhow::Result<()> {
        self.ctr(&["images", "pull", "--plain-http", "--snapshotter", "overlayfs", reference])
    }

    /// Starts a container of a pulled image on the node's network.
    pub fn run(&self, reference: &str, id: &str) -> anyhow::Result<()> {
        let log = format!("file://{}", container_log().display());
        self.ctr(&[
            "run",
            "--detach",
            "--net-host",
            "--snapshotter",
            "overlayfs",
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
        step::read(self.command("ctr").args(["--address", SOCKET, "--namespace", NAMESPACE]).args(args))
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

fn configuration(root: &Path) -> String {
    format!(
        "version = 2\nroot = \"{}\"\nstate = \"{STATE}\"\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\naddress = \"{SOCKET}\"\n[debug]\nlevel = \"warn\"\n",
        root.join("root").display()
    )
}
