//! Debian's docker-registry at the far end of the link.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::link::REGISTRY_ADDRESS;
use crate::packages::debian::Debian;

/// Where it listens.
pub const PORT: u16 = 5000;

/// A registry that answers.
pub struct Registry {
    child: Child,
    storage: PathBuf,
}

impl Registry {
    /// Fetches the registry. Outside the enclosure.
    pub fn prepare() -> anyhow::Result<PathBuf> {
        Ok(Debian::open()?.tool("docker-registry", &["docker-registry"])?.join("usr/bin/docker-registry"))
    }

    /// Starts it with an empty storage in the network namespace that `holder` holds and waits until it answers.
    pub fn start(holder: u32) -> anyhow::Result<Self> {
        let program = Self::prepare()?;
        let root = super::nodes().join("registry");
        let storage = root.join("storage");
        std::fs::create_dir_all(&storage)?;
        let config = root.join("config.yml");
        std::fs::write(&config, configuration(&storage))?;
        let log = std::fs::File::create(root.join("log"))?;
        let child = Command::new("nsenter")
            .args(["--target", &holder.to_string(), "--net", "--"])
            .arg(program)
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the registry")?;
        let mut registry = Self { child, storage };
        registry.wait_for_answer().with_context(|| format!("see {}", root.join("log").display()))?;
        Ok(registry)
    }

    /// Where it keeps its blobs.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        let address: SocketAddr = format!("{REGISTRY_ADDRESS}:{PORT}").parse()?;
        for _ in 0..500 {
            if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the registry ended at once: {status}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the registry does not answer")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(storage: &Path) -> String {
    format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
         rootdirectory: {}\nhttp:\n  addr: 0.0.0.0:{PORT}\n",
        storage.display()
    )
}
