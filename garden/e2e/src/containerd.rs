//! The peer: a private containerd that pulls an image, unpacks it with overlayfs and mounts what a container would see; or
//! that pulls as the kubelet asks it to, through mirrors.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::cri::{self, Login};

/// The containerd namespace of everything but what the kubelet's interface does.
const NAMESPACE: &str = "glowplug";
/// How long the daemon may take to answer first; `ctr` waits for its socket by itself.
const PATIENCE: &str = "60s";
/// The same for what is not there yet and for what does not listen yet.
const COMING_UP: Duration = Duration::from_secs(60);

/// A containerd with a store of its own. Dropped, it is ended and its store emptied.
#[derive(Debug)]
pub struct Containerd {
    // Ended before its folder goes.
    daemon: Daemon,
    folder: tempfile::TempDir,
    programs: PathBuf,
}

#[derive(Debug)]
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Containerd {
    /// Starts one and waits until it answers.
    ///
    /// # Panics
    /// `GLOWPLUG_CONTAINERD`, the folder that containerd's packages are unpacked in, is not set, or it does not start.
    pub fn start() -> Self {
        Self::configured(false)
    }

    /// The same as a Kubernetes node has it: with the kubelet's interface, and a folder for what is known of registries.
    ///
    /// # Panics
    /// As [`Containerd::start`].
    pub fn start_for_kubelet() -> Self {
        Self::configured(true)
    }

    fn configured(kubelet: bool) -> Self {
        let programs = PathBuf::from(
            std::env::var_os("GLOWPLUG_CONTAINERD")
                .expect("GLOWPLUG_CONTAINERD is not set: run `cargo xtask test e2e`"),
        );
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = folder.path().join("config.toml");
        std::fs::write(&config, configuration(folder.path(), kubelet))
            .expect("a temporary folder is writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("a temporary folder is writable");
        let daemon = command(&programs, "containerd")
            .arg("--config")
            .arg(&config)
            .stdout(log.try_clone().expect("a file can be opened twice"))
            .stderr(log)
            .spawn()
            .expect("containerd runs");
        let containerd = Self { daemon: Daemon(daemon), folder, programs };
        let began = Instant::now();
        // `ctr` waits for the socket, but not while it is there and nobody listens yet.
        while let Err(error) = containerd.ctr(["version"]) {
            let log = std::fs::read_to_string(containerd.folder.path().join("log")).unwrap_or_default();
            assert!(
                began.elapsed() < COMING_UP,
                "containerd ({}) does not answer: {error}\n{log}",
                containerd.daemon.0.id()
            );
        }
        containerd
    }

    /// Pulls an image over plain HTTP and unpacks it.
    ///
    /// # Errors
    /// What `ctr` says.
    pub fn pull(&self, reference: &str) -> Result<(), String> {
        self.ctr(["images", "pull", "--plain-http", "--snapshotter", "overlayfs", reference])
    }

    /// Says what is to be known of a registry: the text of its `hosts.toml`.
    ///
    /// # Panics
    /// The folder cannot be written to.
    pub fn know(&self, registry: &str, hosts: &str) {
        let place = self.folder.path().join("certs.d").join(registry);
        std::fs::create_dir_all(&place).expect("a temporary folder is writable");
        std::fs::write(place.join("hosts.toml"), hosts).expect("a temporary folder is writable");
    }

    /// Pulls an image as the kubelet asks for it; gives the image's id, the digest of its configuration.
    ///
    /// # Errors
    /// What containerd says.
    pub fn pull_for_kubelet(&self, reference: &str, login: Option<&Login>) -> Result<String, String> {
        cri::pull(&self.folder.path().join("c.sock"), reference, login)
    }

    /// Mounts a pulled image with a writable directory on top, as a container gets it.
    ///
    /// # Panics
    /// It cannot be mounted.
    pub fn mount(&self, reference: &str) -> Unpacked {
        let target = tempfile::tempdir_in(self.folder.path()).expect("a temporary folder can be made");
        let path = target.path().to_str().expect("temporary folders have plain names");
        self.ctr(["images", "mount", "--rw", "--snapshotter", "overlayfs", reference, path])
            .expect("a pulled image can be mounted");
        Unpacked { target }
    }

    fn ctr<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
        let socket = self.folder.path().join("c.sock");
        let output = command(&self.programs, "ctr")
            .arg("--address")
            .arg(socket)
            .args(["--namespace", NAMESPACE, "--connect-timeout", PATIENCE])
            .args(words)
            .output()
            .expect("ctr runs");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()),
        }
    }
}

/// An image as containerd shows it. Dropped, it is unmounted.
#[derive(Debug)]
pub struct Unpacked {
    target: tempfile::TempDir,
}

impl Unpacked {
    /// The image's root.
    pub fn path(&self) -> &Path {
        self.target.path()
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.target.path()).status();
    }
}

fn command(programs: &Path, name: &str) -> Command {
    let library = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut search: Vec<PathBuf> = vec![programs.join("usr/bin"), programs.join("usr/sbin")];
    search.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let search: OsString = std::env::join_paths(search).expect("what was split can be joined");
    // Found by the PATH that is given to it, not by our own.
    let mut command = Command::new(name);
    command.env("PATH", search).env("LD_LIBRARY_PATH", programs.join(library)).stdin(Stdio::null());
    command
}

/// Without what a pull does not need; the plugin for optional programs would make a folder in the machine's `/opt`, and the
/// kubelet's interface, where it is wanted, others in `/etc` and `/opt`.
fn configuration(folder: &Path, kubelet: bool) -> String {
    const CRI: &str = "io.containerd.grpc.v1.cri";
    let place = |name: &str| folder.join(name).display().to_string();
    let edges = format!(
        "version = 2\nroot = \"{}\"\nstate = \"{}\"\n\
         [grpc]\naddress = \"{}\"\n[ttrpc]\naddress = \"{}\"\n[debug]\nlevel = \"warn\"\n",
        place("root"),
        place("state"),
        place("c.sock"),
        place("t.sock"),
    );
    if !kubelet {
        return format!("disabled_plugins = [\"{CRI}\", \"io.containerd.internal.v1.opt\"]\n{edges}");
    }
    format!(
        "disabled_plugins = [\"io.containerd.internal.v1.opt\"]\n{edges}\
         [plugins.\"{CRI}\".cni]\nbin_dir = \"{}\"\nconf_dir = \"{}\"\n\
         [plugins.\"{CRI}\".registry]\nconfig_path = \"{}\"\n",
        place("cni"),
        place("cni"),
        place("certs.d"),
    )
}
