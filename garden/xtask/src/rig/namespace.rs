//! A further network namespace. It is held by a process that sleeps, and vanishes with it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// A network namespace beside this one.
pub struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Makes an empty one.
    pub fn make() -> anyhow::Result<Self> {
        let holder = Command::new("unshare")
            .args(["--net", "--", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .context("cannot make a network namespace")?;
        let namespace = Self { holder };
        namespace.wait()?;
        Ok(namespace)
    }

    /// The process that holds it.
    pub fn holder(&self) -> u32 {
        self.holder.id()
    }

    /// A command that runs `program` in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder().to_string(), "--net", "--"]).arg(program);
        command
    }

    fn wait(&self) -> anyhow::Result<()> {
        let ours = std::fs::read_link("/proc/self/ns/net")?;
        let theirs = format!("/proc/{}/ns/net", self.holder());
        for _ in 0..500 {
            if std::fs::read_link(&theirs).is_ok_and(|namespace| namespace != ours) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the network namespace did not come up within 5 s")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
