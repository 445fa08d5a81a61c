//! The binary under test and its node.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal};

/// One node: a store of its own, emptied with it.
#[derive(Debug)]
pub struct Glowplug {
    store: tempfile::TempDir,
}

impl Default for Glowplug {
    fn default() -> Self {
        Self::new()
    }
}

/// A port of loopback that nobody listens on now.
///
/// # Panics
/// Loopback does not work.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback works");
    listener.local_addr().expect("a listener has an address").port()
}

impl Glowplug {
    /// A node that has never seen an image.
    ///
    /// # Panics
    /// No temporary folder can be made.
    pub fn new() -> Self {
        Self { store: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// The store's folder.
    pub fn store(&self) -> &Path {
        self.store.path()
    }

    /// The command, ready for a subcommand's arguments.
    ///
    /// # Panics
    /// `GLOWPLUG_BIN` is not set.
    pub fn command(&self) -> Command {
        let binary =
            std::env::var_os("GLOWPLUG_BIN").expect("GLOWPLUG_BIN is not set: run `cargo xtask test e2e`");
        let mut command = Command::new(PathBuf::from(binary));
        command.arg("--store").arg(self.store()).stdin(Stdio::null());
        command
    }

    /// Runs a subcommand to its end.
    ///
    /// # Panics
    /// The binary cannot be run.
    pub fn output(&self, args: &[&str]) -> Output {
        self.command().args(args).output().expect("the binary runs")
    }

    /// Runs a subcommand that must succeed; gives its standard output.
    ///
    /// # Panics
    /// It failed.
    pub fn succeed(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "glowplug {args:?}: {}\n{errors}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `glowplug run` and returns once it says that the container is ready.
    ///
    /// # Panics
    /// It ended before.
    pub fn run(&self, args: &[&str]) -> Running {
        // The waterfall's headline is the event.
        self.start(&[&["run"], args].concat(), "ready in")
    }

    /// Starts a subcommand and returns once it says a line with `sign` in it.
    ///
    /// # Panics
    /// It ended before.
    pub fn start(&self, args: &[&str], sign: &str) -> Running {
        let mut command = self.command();
        command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("it was piped"));
        let mut said = String::new();
        while !said.lines().last().is_some_and(|line| line.contains(sign)) {
            let more = stderr.read_line(&mut said).expect("its output is text");
            assert!(more > 0, "glowplug {args:?} ended before {sign:?}: {:?}\n{said}", child.wait());
        }
        // Somebody must read on, or the container's output blocks it.
        let reader = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = stderr.read_to_string(&mut rest);
            rest
        });
        Running { child, said, reader: Some(reader) }
    }
}

/// A run that is ready. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: String,
    reader: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    /// What it said until it was ready.
    pub fn said(&self) -> &str {
        &self.said
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// It cannot be sent.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("process ids fit");
        rustix::process::kill_process(pid, signal).expect("a child that was not waited for is there");
    }

    /// Asks it to end and waits for that; gives its status and all that it said.
    ///
    /// # Panics
    /// It cannot be asked or waited for.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end; gives its status and all that it said.
    ///
    /// # Panics
    /// It cannot be waited for.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child can be waited for");
        let rest = self.reader.take().map(|reader| reader.join().unwrap_or_default()).unwrap_or_default();
        (status, format!("{}{rest}", self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
