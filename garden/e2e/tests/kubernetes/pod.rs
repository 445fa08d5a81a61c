//! A node as a pod has it: its service account's files where pods find them, and the API server's address in its environment.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use glowplug_e2e::free_port;

use crate::server::Server;
use crate::{NAMESPACE, SERVICE};

/// Where Kubernetes puts them.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long the node may take to learn something: twice its longest pause.
const PATIENCE: Duration = Duration::from_secs(60);

/// The files of a service account, replaced all at once as the kubelet does it: by a link to their folder.
#[derive(Debug)]
pub struct Volume {
    folder: tempfile::TempDir,
    ca_pem: String,
    versions: AtomicUsize,
}

impl Volume {
    /// With this token.
    pub fn new(server: &Server, token: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let volume = Self { folder, ca_pem: server.ca_pem().to_owned(), versions: AtomicUsize::new(0) };
        volume.replace_token(token);
        for name in ["token", "ca.crt"] {
            symlink(PathBuf::from("..data").join(name), volume.folder.path().join(name)).unwrap();
        }
        volume
    }

    /// From now on with this one.
    pub fn replace_token(&self, token: &str) {
        let name = format!("..version-{}", self.versions.fetch_add(1, Ordering::Relaxed));
        let version = self.folder.path().join(&name);
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("token"), token).unwrap();
        std::fs::write(version.join("ca.crt"), &self.ca_pem).unwrap();
        let link = self.folder.path().join("..data_tmp");
        symlink(&name, &link).unwrap();
        std::fs::rename(link, self.folder.path().join("..data")).unwrap();
    }
}

/// A node that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Pod {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
    _store: tempfile::TempDir,
}

impl Pod {
    /// Starts the node 10.0.0.1, which knows the API server at `port` of loopback.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(volume: &Volume, port: u16) -> Self {
        let binary = std::env::var_os("GLOWPLUG_BIN").expect("run `cargo xtask kubernetes`");
        std::fs::create_dir_all(ACCOUNT).unwrap();
        let store = tempfile::tempdir().unwrap();
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .args([&format!("mount --bind \"$1\" {ACCOUNT} && shift && exec \"$@\""), "sh"])
            .arg(volume.folder.path())
            .arg(binary)
            .args(["--verbose", "--store"])
            .arg(store.path())
            .args(["peer", "serve", "--self", "http://10.0.0.1:5378"])
            .args(["--endpoint-slice", &format!("{NAMESPACE}/{SERVICE}")])
            .args(["--listen", &format!("127.0.0.1:{}", free_port())])
            .args(["--local", &format!("127.0.0.1:{}", free_port())])
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .env("KUBERNETES_SERVICE_PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (tell, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines, said: Vec::new(), _store: store }
    }

    /// Returns once it says a line with `sign` in it, from now on.
    ///
    /// # Panics
    /// It does not, or ends.
    pub fn waits_for(&mut self, sign: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = line.contains(sign);
                    self.said.push(line);
                    if found {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("it never said {sign:?}:\n{}", self.all()),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended:\n{}", self.all()),
            }
        }
    }

    /// Returns once it has so many members.
    pub fn members(&mut self, count: usize) {
        self.waits_for(&format!("the cluster's members changed members={count}"));
    }

    /// Whether it said such a line until now.
    pub fn heard(&mut self, sign: &str) -> bool {
        self.said.extend(self.lines.try_iter());
        self.said.iter().any(|line| line.contains(sign))
    }

    /// All that it said.
    pub fn all(&self) -> String {
        self.said.join("\n")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
