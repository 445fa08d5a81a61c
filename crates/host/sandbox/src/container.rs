//! A container as its owner holds it: create, start, signal, wait.
//!
//! Dropping the handle kills the container; so does the death of the process that holds it, with the embedded runtime. An external
//! runtime's container outlives a `kill -9` of glowplug: that is the price of running it through one.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use glowplug_base::{Hint, Hinted};
use oci_spec::runtime::Spec;
use tokio::net::unix::pipe;
use tokio::sync::watch;

use crate::net::Dialer;
use crate::spec::is_valid_id;
use crate::wire::{Ended, Failure, now_ns};

mod embedded;
mod external;
mod stdio;

use embedded::Embedded;
pub use embedded::Helper;
use external::External;
pub use glowplug_linux::cgroup::Usage;
pub use stdio::StdStream;

/// Why a container was not created or started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CreateError {
    /// The name would not do as a directory.
    #[error("{0:?} is not a container name")]
    Id(String),
    /// The helper, or the external runtime, could not be run or talked to.
    #[error("cannot {action}")]
    Helper {
        /// What was being done, as a verb.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The helper ended without saying why, so something killed it.
    #[error("the container's helper process ended unexpectedly")]
    Lost,
    /// A step failed.
    #[error("{step}: {message}")]
    Step {
        /// Which one: `cgroup`, `namespaces`, `mounts`, `privileges`, `exec`, …
        step: String,
        /// What was tried, and what the kernel said.
        message: String,
        /// The kernel's error number, if it was its refusal.
        errno: Option<i32>,
        /// What glowplug should exit with: 125, or 126 and 127 as a shell would for its program.
        exit_code: i32,
    },
}

impl CreateError {
    /// What glowplug should exit with: 127 if there is no such program, 126 if it cannot be run, else 125.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Step { exit_code, .. } => *exit_code,
            _ => 125,
        }
    }

    pub(crate) fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Helper { action, source: Arc::new(source) }
    }
}

impl From<Failure> for CreateError {
    fn from(f: Failure) -> Self {
        Self::Step { step: f.step, message: f.message, errno: f.errno, exit_code: f.exit_code }
    }
}

impl Hinted for CreateError {
    fn hint(&self) -> Option<Hint> {
        let Self::Step { step, errno, exit_code, .. } = self else { return None };
        match (step.as_str(), exit_code, errno) {
            (_, 127, _) => {
                Some(Hint::new("the image has no such program; check the command and the image's PATH"))
            }
            (_, 126, _) => {
                Some(Hint::new("the file is there but cannot be run; check its mode and architecture"))
            }
            ("cgroup", ..) => {
                Some(Hint::new("run glowplug doctor to see which cgroup controllers are available"))
            }
            // EPERM.
            (_, _, Some(1)) => Some(Hint::new("creating containers needs root with CAP_SYS_ADMIN")),
            _ => None,
        }
    }
}

/// Which program makes the container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Runtime {
    /// Glowplug itself.
    #[default]
    Embedded,
    /// An OCI runtime with runc's command line: a name looked up in `PATH`, or a path.
    External(PathBuf),
}

impl Runtime {
    /// `embedded`, or the name or path of an external runtime.
    pub fn parse(text: &str) -> Self {
        if text == "embedded" { Self::Embedded } else { Self::External(text.into()) }
    }
}

/// How a container is run, apart from what is in it.
#[derive(Debug)]
pub struct Settings {
    /// Its name; also of its cgroup, whatever the specification says.
    pub id: String,
    /// An existing directory of its own. Gets `config.json` if a hook or an external runtime will read it.
    pub bundle: PathBuf,
    /// Standard input.
    pub stdin: StdStream,
    /// Standard output.
    pub stdout: StdStream,
    /// Standard error.
    pub stderr: StdStream,
    /// Who makes it.
    pub runtime: Runtime,
    /// A helper that was started in advance under the same name; only of use to the embedded runtime.
    pub helper: Option<Helper>,
}

impl Settings {
    /// The embedded runtime, nothing on standard input, output and error shared with glowplug.
    pub fn new(id: impl Into<String>, bundle: impl Into<PathBuf>) -> Self {
        let (stdin, stdout, stderr) = (StdStream::Null, StdStream::Inherit, StdStream::Inherit);
        Self {
            id: id.into(),
            bundle: bundle.into(),
            stdin,
            stdout,
            stderr,
            runtime: Runtime::Embedded,
            helper: None,
        }
    }
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The program's exit code, or 128 plus the signal that ended it.
    pub code: i32,
    /// The signal, if one did.
    pub signal: Option<i32>,
    /// What it used; unknown with an external runtime.
    pub usage: Usage,
    /// When glowplug heard of it, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
}

impl Exit {
    /// Whether the kernel killed something in it for want of memory under its limit.
    pub fn out_of_memory(&self) -> bool {
        self.usage.oom_kills.is_some_and(|n| n > 0)
    }

    pub(crate) fn from_code(code: i32) -> Self {
        Self { code, signal: None, usage: Usage::default(), at_ns: now_ns() }
    }
}

impl From<Ended> for Exit {
    fn from(e: Ended) -> Self {
        let usage =
            Usage { memory_peak_bytes: e.memory_peak_bytes, cpu_ns: e.cpu_ns, oom_kills: e.oom_kills };
        Self { code: e.code, signal: e.signal, usage, at_ns: now_ns() }
    }
}

/// One step of creation. Steps of the helper and of the container's first process overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `spawn helper`, `cgroup`, `cgroup join`, `namespaces`, `mounts`, `cgroup wait`, `cgroup mount`, `hooks`, `pivot`, `exec`.
    pub name: String,
    /// Start in nanoseconds since creation began.
    pub start_ns: u64,
    /// End in nanoseconds since creation began.
    pub end_ns: u64,
}

/// Where a container is in its life.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    Created,
    Running { at_ns: u64 },
    Failed(CreateError),
    Exited(Exit),
}

/// A container that was created.
#[derive(Debug)]
pub struct Container {
    id: String,
    began_ns: u64,
    steps: Vec<Step>,
    phase: watch::Receiver<Phase>,
    maker: Maker,
    streams: Streams,
}

#[derive(Debug)]
enum Maker {
    Embedded(Embedded),
    External(External),
}

/// Our ends of the container's pipes.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pub stdin: Option<pipe::Sender>,
    pub stdout: Option<pipe::Receiver>,
    pub stderr: Option<pipe::Receiver>,
}

impl Container {
    /// Creates a container up to the point where its program could run.
    ///
    /// An external runtime is only prepared for here and does its work in [`Container::start`].
    pub async fn create(spec: Spec, mut settings: Settings) -> Result<Self, CreateError> {
        if !is_valid_id(&settings.id) {
            return Err(CreateError::Id(settings.id));
        }
        let began_ns = now_ns();
        let id = settings.id.clone();
        let (streams, theirs) =
            stdio::connect(&mut settings).map_err(CreateError::io("connect standard streams"))?;
        let (maker, phase, mut steps) = match settings.runtime.clone() {
            Runtime::Embedded => {
                let (made, phase, steps) = Embedded::create(spec, settings, theirs, began_ns).await?;
                (Maker::Embedded(made), phase, steps)
            }
            Runtime::External(program) => {
                let (made, phase) = External::prepare(program, &id, &settings.bundle, &spec, theirs)?;
                (Maker::External(made), phase, Vec::new())
            }
        };
        steps.sort_by_key(|s| s.start_ns);
        Ok(Self { id, began_ns, steps, phase, maker, streams })
    }

    /// Runs the program; returns once it does. An error has the exit code that tells why not.
    pub async fn start(&mut self) -> Result<(), CreateError> {
        let asked_ns = now_ns();
        match &mut self.maker {
            Maker::Embedded(made) => made.start()?,
            Maker::External(made) => made.start().await?,
        }
        let mut phase = self.phase.clone();
        let reached = phase.wait_for(|p| !matches!(p, Phase::Created)).await;
        let end_ns = match reached.as_deref() {
            Ok(Phase::Running { at_ns }) => *at_ns,
            Ok(Phase::Failed(error)) => return Err(error.clone()),
            // So short-lived that it is over; it did run.
            Ok(Phase::Exited(exit)) => exit.at_ns,
            Ok(Phase::Created) | Err(_) => return Err(CreateError::Lost),
        };
        let since = |ns: u64| ns.saturating_sub(self.began_ns);
        self.steps.push(Step { name: "exec".into(), start_ns: since(asked_ns), end_ns: since(end_ns) });
        Ok(())
    }

    /// The container's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Process id of its first process on the host; an external runtime tells it only once it has started.
    pub fn pid(&self) -> Option<i32> {
        match &self.maker {
            Maker::Embedded(made) => Some(made.pid()),
            Maker::External(made) => made.pid(),
        }
    }

    /// The steps creation took so far, by start.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// When creation began, in nanoseconds of the monotonic clock: what the steps count from.
    pub fn began_ns(&self) -> u64 {
        self.began_ns
    }

    /// Sends a signal to its first process. One that has ended is no error.
    pub fn kill(&self, signal: i32) -> Result<(), CreateError> {
        match &self.maker {
            Maker::Embedded(made) => made.kill(signal),
            Maker::External(made) => made.kill(signal),
        }
    }

    /// How it ended, once it has and nothing of it is left. Many may wait, and again afterwards.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + 'static {
        let mut phase = self.phase.clone();
        async move {
            match phase.wait_for(|p| matches!(p, Phase::Exited(_) | Phase::Failed(_))).await.as_deref() {
                Ok(Phase::Exited(exit)) => *exit,
                Ok(Phase::Failed(error)) => Exit::from_code(error.exit_code()),
                // The helper was killed; the container died with it.
                _ => Exit { signal: Some(9), ..Exit::from_code(137) },
            }
        }
    }

    /// Waits for the end.
    pub async fn wait(&self) -> Exit {
        self.exited().await
    }

    /// Kills it and waits until nothing of it is left.
    pub async fn remove(self) -> Exit {
        /// The signal that cannot be caught.
        const SIGKILL: i32 = 9;
        // The only error is that there is nothing to kill.
        let _ = self.kill(SIGKILL);
        self.wait().await
    }

    /// Runs another program in the container, as its user and under its limits, and answers its exit code. Nothing is read or shown.
    ///
    /// Dropping the future kills the program.
    pub async fn exec(&self, args: &[String]) -> Result<i32, CreateError> {
        match &self.maker {
            Maker::Embedded(made) => made.exec(args).await,
            Maker::External(made) => made.exec(args).await,
        }
    }

    /// Connects to ports inside the container: through the host's network, or from within its own.
    pub fn dialer(&self) -> Result<Dialer, CreateError> {
        let (spec, pid) = match &self.maker {
            Maker::Embedded(made) => (made.spec(), Some(made.pid())),
            Maker::External(made) => (made.spec(), made.pid()),
        };
        let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
        let own =
            |n: &oci_spec::runtime::LinuxNamespace| n.typ() == oci_spec::runtime::LinuxNamespaceType::Network;
        match (namespaces.is_some_and(|list| list.iter().any(own)), pid) {
            (false, _) => Ok(Dialer::host()),
            (true, Some(pid)) => {
                Dialer::of_process(pid).map_err(CreateError::io("enter the container's network"))
            }
            (true, None) => Err(CreateError::Lost),
        }
    }

    /// Our end of standard input, once, if it is a pipe.
    pub fn take_stdin(&mut self) -> Option<pipe::Sender> {
        self.streams.stdin.take()
    }

    /// Our end of standard output, once, if it is a pipe.
    pub fn take_stdout(&mut self) -> Option<pipe::Receiver> {
        self.streams.stdout.take()
    }

    /// Our end of standard error, once, if it is a pipe.
    pub fn take_stderr(&mut self) -> Option<pipe::Receiver> {
        self.streams.stderr.take()
    }
}

/// The container's ends of its standard streams.
pub(crate) type TheirEnds = [OwnedFd; 3];
