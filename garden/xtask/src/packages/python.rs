//! A private Python with pip, made from Debian's packages, and what it is for: fetching wheels by a lock file with
//! hashes, making such a lock file, and installing wheels the way an image build does.
//!
//! Fetching runs on the machine's file system, so that the machine's own settings for pip hold. Installing and compiling
//! run in the private root, with an empty environment and without network, so that no path of the machine gets into what
//! is installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use super::debian::{Debian, fingerprint};
use crate::interrupt::Partial;
use crate::tree::Tree;
use crate::{paths, step};

/// Where pip puts packages in Debian's Python, relative to the root.
pub const DIST_PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// A root folder with Python 3.11 and pip in it.
#[derive(Debug, Clone)]
pub struct Python {
    root: PathBuf,
}

impl Python {
    /// Makes the private Python, or finds it made.
    pub fn open(debian: &Debian) -> anyhow::Result<Self> {
        let debs = debian.closure(&["python3", "python3-pip", "bash", "coreutils", "ca-certificates"])?;
        let root = paths::rig().join("tools").join(format!("python_{:016x}", fingerprint(&debs)));
        if !root.exists() {
            step::say("unpacking a private Python under target/glowplug-rig/tools");
            let partial = Partial::folder(&root)?;
            Tree::from_debs(debs.iter().map(|deb| &*deb.file))?.write_to(partial.path())?;
            for folder in ["dev", "proc", "tmp", "wheels", "out", "root"] {
                std::fs::create_dir_all(partial.path().join(folder))?;
            }
            partial.commit()?;
        }
        Ok(Self { root })
    }

    /// Fetches exactly the wheels that the lock file `requirements` names, each with its hash, into a folder of
    /// their own.
    pub fn wheels(&self, label: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
        let lock =
            std::fs::read(requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
        let digest = glowplug_base::Digest::of(&lock).hex();
        let place = paths::rig().join("wheels").join(format!("{label}_{}", &digest[..16]));
        if !place.exists() {
            step::say(format!("fetching the Python packages of `{label}` from PyPI"));
            let (partial, scratch) = (Partial::folder(&place)?, scratch()?);
            step::run(
                self.pip_outside(&scratch)
                    .args(["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
                    .arg("--dest")
                    .arg(partial.path())
                    .arg("--requirement")
                    .arg(requirements),
            )?;
            partial.commit()?;
        }
        Ok(place)
    }

    /// Resolves `wanted` (a requirements file without hashes) by the packages' metadata alone and gives the lock file:
    /// every package with its version and the hash of its wheel.
    pub fn lock(&self, wanted: &Path) -> anyhow::Result<String> {
        let scratch = scratch()?;
        let report = scratch.path().join("report.json");
        step::run(
            self.pip_outside(&scratch)
                .env_remove("PIP_FIND_LINKS")
                .args(["install", "--quiet", "--dry-run", "--ignore-installed", "--break-system-packages"])
                .args(["--only-binary", ":all:", "--report"])
                .arg(&report)
                .arg("--requirement")
                .arg(wanted),
        )?;
        let report: Report = serde_json::from_slice(&std::fs::read(&report)?)?;
        let mut lines: Vec<String> = report
            .install
            .iter()
            .map(|item| {
                format!(
                    "{}=={} --hash=sha256:{}",
                    item.metadata.name.to_lowercase(),
                    item.metadata.version,
                    item.download_info.archive_info.hashes.sha256
                )
            })
            .collect();
        lines.sort();
        let head = format!(
            "# Made from {} by `cargo xtask image NAME --relock`; wheels for Python 3.11 on x86-64 Linux.\n",
            wanted.file_name().unwrap_or_default().to_string_lossy()
        );
        Ok(head + &lines.join("\n") + "\n")
    }

    /// The packages that the lock file `requirements` names, unpacked for this Python alone: a folder for its `PYTHONPATH`.
    pub fn module(&self, label: &str, requirements: &Path) -> anyhow::Result<PathBuf> {
        let wheels = self.wheels(label, requirements)?;
        let name = wheels.file_name().context("a folder without a name")?;
        let place = paths::rig().join("tools").join(name);
        if !place.exists() {
            let (partial, scratch) = (Partial::folder(&place)?, scratch()?);
            let mut install = self.pip_outside(&scratch);
            install.args([
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--require-hashes",
                "--find-links",
            ]);
            install.arg(&wheels).arg("--target").arg(partial.path()).arg("--requirement").arg(requirements);
            step::run(&mut install)?;
            partial.commit()?;
        }
        Ok(place)
    }

    /// The interpreter on the machine's file system, by its own loader, so that it matters neither which Python the machine has nor
    /// which C library.
    pub fn command(&self) -> Command {
        let root = &self.root;
        let mut command = Command::new(root.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(root.join("usr/lib/x86_64-linux-gnu"))
            .arg(root.join("usr/bin/python3.11"))
            .env("PYTHONHOME", root.join("usr"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONPATH");
        command
    }

    /// Installs all wheels of `wheels` below `out` as `pip install` in an image build does, without bytecode.
    pub fn install(&self, wheels: &Path, requirements: &Path, out: &Path) -> anyhow::Result<()> {
        let list = wheels.join("requirements.txt");
        std::fs::copy(requirements, &list)?;
        let script = "pip install --quiet --no-index --no-deps --no-compile --ignore-installed --require-hashes \
            --break-system-packages --root-user-action ignore --no-warn-script-location \
            --find-links /wheels --root /out --requirement /wheels/requirements.txt";
        let done = self.inside(wheels, out, script);
        std::fs::remove_file(&list)?;
        done
    }

    /// Compiles all modules below `folder` of `out`; the bytecode carries the paths of the image and no time, so that it
    /// is the same each time and valid whatever times the sources get.
    pub fn compile(&self, out: &Path, folder: &str) -> anyhow::Result<()> {
        // Some packages carry templates that are no Python; an ordinary build passes over them too.
        let script = format!(
            "python3 -m compileall -q -j 1 --invalidation-mode unchecked-hash -s /out -p / /out/{folder} || true"
        );
        self.inside(&self.root.join("wheels"), out, &script)
    }

    /// pip on the machine's file system.
    fn pip_outside(&self, scratch: &Partial) -> Command {
        let mut command = self.command();
        command
            .args(["-m", "pip", "--disable-pip-version-check", "--no-input", "--no-cache-dir"])
            .env("TMPDIR", scratch.path());
        if !Path::new("/etc/ssl/certs/ca-certificates.crt").exists() {
            command.env("PIP_CERT", self.root.join("etc/ssl/certs/ca-certificates.crt"));
        }
        command
    }

    fn inside(&self, wheels: &Path, out: &Path, script: &str) -> anyhow::Result<()> {
        let scratch = scratch()?;
        // The mounts are in a namespace of their own and end with it.
        let outer = "set -e; mount --rbind /dev \"$0/dev\"; mount --bind \"$1\" \"$0/wheels\"; \
            mount --bind \"$2\" \"$0/out\"; mount --bind \"$3\" \"$0/tmp\"; umask 022; \
            exec chroot \"$0\" /bin/bash -ec \"$4\"";
        step::run(
            Command::new("unshare")
                .args(["--mount", "--net", "--propagation", "private", "--", "sh", "-c", outer])
                .arg(&self.root)
                .arg(wheels)
                .arg(out)
                .arg(scratch.path())
                .arg(script)
                .env_clear()
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/root")
                .env("LC_ALL", "C")
                .env("PYTHONUTF8", "1")
                .env("PYTHONHASHSEED", "0"),
        )
    }
}

/// Where pip has its temporary files, which it leaves there when it is interrupted: hundreds of megabytes.
fn scratch() -> anyhow::Result<Partial> {
    Partial::folder(&paths::rig().join("scratch/pip"))
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    metadata: Metadata,
    download_info: DownloadInfo,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    archive_info: ArchiveInfo,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    hashes: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: String,
}
