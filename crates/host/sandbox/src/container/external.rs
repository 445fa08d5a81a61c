//! External OCI runtimes: the bundle they read, and the few of runc's commands that crun and others have too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use oci_spec::runtime::Spec;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{CreateError, Exit, Phase, TheirEnds};
use crate::wire::now_ns;

/// How often a starting runtime's pid file is looked for. It is written once, some 20 ms after the start, by a program that cannot tell
/// us in any other way.
const PID_FILE_POLL: Duration = Duration::from_millis(1);

/// Writes `config.json` into a bundle directory.
pub(super) fn write_config(bundle: &Path, spec: &Spec) -> Result<(), CreateError> {
    let text = serde_json::to_vec_pretty(spec).map_err(|e| CreateError::io("write config.json")(e.into()))?;
    fs::write(bundle.join("config.json"), text).map_err(CreateError::io("write config.json"))
}

/// A container run by an external runtime.
#[derive(Debug)]
pub(super) struct External {
    program: PathBuf,
    id: String,
    bundle: PathBuf,
    spec: Spec,
    phase: watch::Sender<Phase>,
    streams: Option<TheirEnds>,
    pid: Option<i32>,
}

impl External {
    pub fn prepare(
        program: PathBuf,
        id: &str,
        bundle: &Path,
        spec: &Spec,
        streams: TheirEnds,
    ) -> Result<(Self, watch::Receiver<Phase>), CreateError> {
        write_config(bundle, spec)?;
        let (phase, seen) = watch::channel(Phase::Created);
        let (id, bundle, spec) = (id.to_owned(), bundle.to_owned(), spec.clone());
        Ok((Self { program, id, bundle, spec, phase, streams: Some(streams), pid: None }, seen))
    }

    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Runs the container; the runtime stays as its parent and ends with its exit code.
    pub async fn start(&mut self) -> Result<(), CreateError> {
        let Some([stdin, stdout, stderr]) = self.streams.take() else { return Ok(()) };
        let pid_file = self.bundle.join("pid");
        let mut child = Command::new(&self.program)
            .arg("run")
            .arg("--bundle")
            .arg(&self.bundle)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(&self.id)
            .stdin(Stdio::from(stdin))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            // As with the embedded runtime, the terminal's signals are glowplug's to pass on.
            .process_group(0)
            .spawn()
            .map_err(CreateError::io("run the container runtime"))?;
        loop {
            // Asked first: the file of a runtime that has ended by now is there.
            let ended = child.try_wait().map_err(CreateError::io("wait for the container runtime"))?;
            if let Ok(text) = fs::read_to_string(&pid_file)
                && let Ok(pid) = text.trim().parse()
            {
                self.pid = Some(pid);
                let _ = self.phase.send(Phase::Running { at_ns: now_ns() });
                break;
            }
            if let Some(status) = ended {
                let message =
                    format!("{} ended with {status} before the container ran", self.program.display());
                return Err(CreateError::Step {
                    step: "runtime".into(),
                    message,
                    errno: None,
                    exit_code: 125,
                });
            }
            tokio::time::sleep(PID_FILE_POLL).await;
        }
        tokio::spawn(follow(child, self.program.clone(), self.id.clone(), self.phase.clone()));
        Ok(())
    }

    pub fn kill(&self, signal: i32) -> Result<(), CreateError> {
        let (program, id) = (&self.program, &self.id);
        // Short: a runtime sends the signal and ends. One that is refused because the container is gone is no error.
        let killed = std::process::Command::new(program)
            .args(["kill", id, &signal.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        killed.map(drop).map_err(CreateError::io("run the container runtime"))
    }

    pub async fn exec(&self, args: &[String]) -> Result<i32, CreateError> {
        let status = Command::new(&self.program)
            .args(["exec", &self.id])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status()
            .await
            .map_err(CreateError::io("run the container runtime"))?;
        Ok(exit_code(status))
    }
}

impl Drop for External {
    fn drop(&mut self) {
        if self.pid.is_some() && !matches!(*self.phase.borrow(), Phase::Exited(_)) {
            delete(&self.program, &self.id);
        }
    }
}

async fn follow(mut child: Child, program: PathBuf, id: String, phase: watch::Sender<Phase>) {
    let code = child.wait().await.map_or(125, exit_code);
    // `run` deletes its container itself unless it was killed.
    let _ = tokio::task::spawn_blocking(move || delete(&program, &id)).await;
    let signal = (code > 128).then_some(code - 128);
    let _ = phase.send(Phase::Exited(Exit { signal, ..Exit::from_code(code) }));
}

fn delete(program: &Path, id: &str) {
    let mut command = std::process::Command::new(program);
    command.args(["delete", "--force", id]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Most often there is nothing left to delete.
    let _ = command.status();
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(125)
}
