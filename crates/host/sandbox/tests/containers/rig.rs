//! A root file system out of the host's, and containers in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use glowplug_sandbox::logs::Logs;
use glowplug_sandbox::spec::{self, BindMount, RunOptions};
use glowplug_sandbox::user::Accounts;
use glowplug_sandbox::{Container, CreateError, Exit, Settings, StdStream};
use oci_spec::image::ImageConfiguration;

/// A directory with everything a container needs, removed at the end.
pub struct Rig {
    pub dir: tempfile::TempDir,
    pub options: RunOptions,
}

/// Where this binary is inside a container.
pub const SELF: &str = "/test-binary";

impl Rig {
    pub fn new(args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let (root, state) = (dir.path().join("root"), dir.path().join("state"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir_all(&state).unwrap();
        let accounts = accounts();
        fs::write(root.join("etc/passwd"), accounts.passwd.unwrap()).unwrap();
        fs::write(root.join("etc/group"), accounts.group.unwrap()).unwrap();
        let id = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut options = RunOptions::new(id, root, state);
        options.args = args.iter().map(|s| (*s).to_owned()).collect();
        for path in ["/bin", "/sbin", "/usr", "/lib", "/lib64"].into_iter().filter(|p| Path::new(p).exists())
        {
            options.mounts.push(BindMount { host: path.into(), container: path.into(), readonly: true });
        }
        let binary = std::env::current_exe().unwrap();
        options.mounts.push(BindMount { host: binary, container: SELF.into(), readonly: true });
        Self { dir, options }
    }

    /// A shell script, as the container's command, with its errors in its output.
    pub fn script(text: &str) -> Self {
        Self::new(&["sh", "-c", &format!("exec 2>&1; {text}")])
    }

    pub fn settings(&self) -> Settings {
        let mut settings = Settings::new(&self.options.id, &self.options.state_dir);
        settings.stdout = StdStream::Pipe;
        settings.stderr = StdStream::Pipe;
        settings
    }

    pub async fn create(&self) -> Result<Container, CreateError> {
        let spec = spec::build(&image(), &accounts(), &self.options).unwrap();
        Container::create(spec, self.settings()).await
    }

    /// Starts it, with its output going to the logs.
    pub async fn start(&self) -> Result<(Container, Logs), CreateError> {
        let mut container = self.create().await?;
        let logs = follow(&mut container);
        container.start().await?;
        Ok((container, logs))
    }

    /// Runs it to its end; answers how it ended and what it said.
    pub async fn run(&self) -> (Exit, String) {
        let (container, logs) = self.start().await.unwrap();
        let exit = container.wait().await;
        logs.closed().await;
        (exit, logs.tail(usize::MAX).join("\n"))
    }

    /// The container's cgroup directories that exist.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let layout = glowplug_linux::cgroup::Layout::detect().unwrap();
        let paths = layout.hierarchies.iter().map(|h| h.root.join("glowplug").join(&self.options.id));
        paths.filter(|p| p.exists()).collect()
    }
}

pub fn follow(container: &mut Container) -> Logs {
    let logs = Logs::new();
    tokio::spawn(logs.pump(container.take_stdout().unwrap(), None::<tokio::io::Sink>));
    tokio::spawn(logs.pump(container.take_stderr().unwrap(), None::<tokio::io::Sink>));
    logs
}

pub fn accounts() -> Accounts {
    Accounts {
        passwd: Some(b"root:x:0:0::/root:\nsvc:x:1000:1001::/srv:\n".to_vec()),
        group: Some(b"extra:x:77:svc\n".to_vec()),
    }
}

pub fn image() -> ImageConfiguration {
    let text = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},
        "config":{"Env":["FROM_IMAGE=1","PATH=/usr/bin:/bin"],"Cmd":["true"]}}"#;
    serde_json::from_str(text).unwrap()
}

/// Starts a container, tells its process id and name, and waits to be killed.
pub fn hold() -> ! {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let rig = Rig::script("sleep 1000 & sleep 1000");
        let (container, _logs) = rig.start().await.unwrap();
        println!("{} {}", container.pid().unwrap(), rig.options.id);
        std::future::pending::<()>().await;
    });
    unreachable!()
}
