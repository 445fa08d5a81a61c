//! Our own side: the release binary with a store of its own, as a person would call it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use serde::Deserialize;

use crate::{paths, step};

/// How long a start may take to end after SIGTERM.
const STOP_WITHIN: Duration = Duration::from_secs(30);

fn timeline() -> PathBuf {
    super::nodes().join("timeline.jsonl")
}

/// A node with a store.
pub struct Node {
    program: PathBuf,
    store: PathBuf,
}

impl Node {
    /// Builds the release binary. Outside the enclosure.
    pub fn prepare() -> anyhow::Result<()> {
        step::say("building glowplug (release)");
        step::run(Command::new(env!("CARGO")).current_dir(paths::workspace()).args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "glowplug",
        ]))
    }

    /// A node that knows nothing, with the built binary or another.
    pub fn new(program: Option<&Path>) -> anyhow::Result<Self> {
        let built = paths::target().join("release/glowplug");
        let node = Self {
            program: program.map_or(built, Path::to_path_buf),
            store: super::nodes().join("glowplug"),
        };
        if !node.program.exists() {
            bail!("{} is not there", node.program.display());
        }
        node.empty()?;
        Ok(node)
    }

    /// Forgets everything: bytes, indexes, orders.
    pub fn empty(&self) -> anyhow::Result<()> {
        if self.store.exists() {
            std::fs::remove_dir_all(&self.store)?;
        }
        Ok(())
    }

    /// Drops the bytes; indexes and orders stay.
    pub fn drop_data(&self) -> anyhow::Result<()> {
        step::read(self.command().args(["store", "rm", "--data", "--all"])).map(drop)
    }

    /// Drops the bytes and the orders; indexes stay.
    pub fn drop_data_and_orders(&self) -> anyhow::Result<()> {
        self.drop_data()?;
        // No command forgets an order, for no user needs to: this is where the store keeps them.
        let orders = self.store.join("documents/profiles");
        if orders.exists() {
            std::fs::remove_dir_all(&orders)?;
        }
        Ok(())
    }

    /// Starts a container of `reference` that publishes port 8080 and is ready when `ready_path` answers.
    pub fn run(&self, reference: &str, ready_path: &str) -> anyhow::Result<Start> {
        let (timeline, output) = (timeline(), super::nodes().join("glowplug.log"));
        let _ = std::fs::remove_file(&timeline);
        let log = File::create(&output)?;
        let child = self
            .command()
            .args([
                "run",
                "--plain-http",
                "-p",
                "8080",
                "--name",
                &super::enclosure::group()?,
                "--ready",
                &format!("http://:8080{ready_path}"),
                "--timeline",
            ])
            .arg(&timeline)
            .arg(reference)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start glowplug")?;
        Ok(Start { child, timeline, output })
    }

    /// Copies the timeline of the last start, which has ended.
    pub fn keep_timeline(&self, to: &Path) -> anyhow::Result<()> {
        std::fs::copy(timeline(), to).map(drop).with_context(|| format!("cannot write {}", to.display()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("NO_COLOR", "1").arg("--store").arg(&self.store);
        command
    }
}

/// A `glowplug run` that goes on.
pub struct Start {
    child: Child,
    timeline: PathBuf,
    output: PathBuf,
}

impl Start {
    /// An error with what it printed if it has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("glowplug ended early ({status}):\n{}", self.printed().trim_end()),
        }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// When every byte was here, from its begin, if the timeline says so.
    pub fn complete_after(&self) -> Option<Duration> {
        complete_after(&std::fs::read_to_string(&self.timeline).ok()?)
    }

    /// Asks it to end, as Ctrl-C would, and waits.
    pub fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("glowplug did not end within {STOP_WITHIN:?} of SIGTERM:\n{}", self.printed())
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let _ = self.child.kill();
        // One that waits for its own mount would never end.
        super::fuse::abort_below(&super::nodes());
        let _ = self.child.wait();
    }
}

/// A line of a timeline, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    at_ns: u64,
}

fn complete_after(timeline: &str) -> Option<Duration> {
    timeline
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .find(|line| line.event == "mark" && line.name == "complete")
        .map(|line| Duration::from_nanos(line.at_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_says_when_everything_was_here() {
        let timeline = "{\"event\":\"span\",\"phase\":\"pull\",\"name\":\"complete\",\"start_ns\":1,\"end_ns\":2}\n\
            {\"event\":\"mark\",\"at_ns\":5,\"name\":\"ready\"}\n{\"event\":\"mark\",\"at_ns\":7,\"name\":\"complete\"}\n";
        assert_eq!(complete_after(timeline), Some(Duration::from_nanos(7)));
        assert_eq!(complete_after("{}\nnonsense\n"), None);
    }
}
