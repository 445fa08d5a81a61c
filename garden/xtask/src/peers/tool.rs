//! One thing that is built: a few programs from one pinned source, in a folder of their own under `target/peers`.
//!
//! The folder is there whole or not at all, and says from what it was made and how long that took.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use glowplug_base::Digest;

use crate::interrupt::Partial;
use crate::packages::debian::Debian;
use crate::rig::enclosure;
use crate::{house, paths, step};

/// Raised whenever the way of building changes.
const RECIPE_VERSION: u32 = 1;

/// Where the programs come from.
pub enum Source {
    /// A Go module in `garden/peers`, named as the tool.
    Go {
        /// What `go build` is given; `tool` is everything that the module names as a tool.
        packages: &'static [&'static str],
        /// The module whose version people know.
        module: &'static str,
        /// Whether C code in it is linked with zlib's archive.
        zlib: bool,
    },
    /// A crate with the lock file that it was published with.
    Crate {
        /// Its name.
        name: &'static str,
        /// Its version.
        version: &'static str,
    },
}

/// Programs from one source.
pub struct Tool {
    /// The folder under `target/peers`.
    pub name: &'static str,
    /// What they are made of.
    pub source: Source,
    /// Their names.
    pub programs: &'static [&'static str],
}

impl Tool {
    /// What it is and which version, for people.
    pub fn version(&self) -> anyhow::Result<String> {
        Ok(match self.source {
            Source::Crate { name, version } => format!("{name} {version}"),
            Source::Go { module, .. } => {
                let place = paths::peer_modules().join(self.name).join("go.mod");
                let text = std::fs::read_to_string(&place)
                    .with_context(|| format!("cannot read {}", place.display()))?;
                let version = pinned(&text, module)
                    .with_context(|| format!("{} does not pin {module}", place.display()))?;
                format!("{} ({module} {version})", self.name)
            }
        })
    }

    /// Whether it is built, from the sources as they are.
    pub fn is_made(&self) -> bool {
        let made_from = std::fs::read_to_string(self.place().join("inputs"));
        made_from.is_ok_and(|made_from| self.inputs().is_ok_and(|inputs| made_from == inputs))
    }

    /// How long building it took.
    pub fn took(&self) -> Option<Duration> {
        let seconds = std::fs::read_to_string(self.place().join("seconds")).ok()?;
        Some(Duration::from_secs(seconds.trim().parse().ok()?))
    }

    /// Builds it; how long that took.
    pub fn make(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let partial = Partial::folder(&self.place())?;
        // Compilers leave what they were at where they are interrupted.
        let scratch = Partial::folder(&paths::peers().join("scratch"))?;
        match self.source {
            Source::Go { packages, zlib, .. } => {
                self.build(packages, zlib, partial.path(), scratch.path())?
            }
            Source::Crate { name, version } => install(name, version, partial.path(), scratch.path())?,
        }
        for program in self.programs {
            if !partial.path().join(program).exists() {
                bail!("building {} gave no `{program}`", self.name);
            }
        }
        let took = began.elapsed();
        std::fs::write(partial.path().join("seconds"), took.as_secs().to_string())?;
        std::fs::write(partial.path().join("inputs"), self.inputs()?)?;
        partial.commit()?;
        Ok(took)
    }

    fn place(&self) -> PathBuf {
        paths::peers().join(self.name)
    }

    /// A text that changes whenever the programs would.
    fn inputs(&self) -> anyhow::Result<String> {
        let mut text = format!("{RECIPE_VERSION}\n{}\n", self.version()?);
        if let Source::Go { packages, .. } = self.source {
            text += &format!("{}\n", packages.join(" "));
            describe(&paths::peer_modules().join(self.name), "", &mut text)?;
        }
        Ok(text)
    }

    fn build(&self, packages: &[&str], zlib: bool, into: &Path, scratch: &Path) -> anyhow::Result<()> {
        let go =
            enclosure::find("go").context("`go` is missing: the peers need Go 1.26, https://go.dev/dl")?;
        let caches = paths::peers().join("go");
        let mut command = Command::new(go);
        command
            .current_dir(paths::peer_modules().join(self.name))
            .args(["build", "-trimpath", "-buildvcs=false", "-modcacherw", "-o"])
            .arg(format!("{}/", into.display()))
            .args(packages)
            .env("GOCACHE", caches.join("build"))
            .env("GOMODCACHE", caches.join("modules"))
            .env("GOTMPDIR", scratch)
            .env("TMPDIR", scratch)
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", if zlib { "1" } else { "0" });
        if zlib {
            enclosure::check_build()?;
            let root = Debian::open()?.tool("zlib", &["zlib1g-dev"])?;
            command
                .env("CGO_CFLAGS", format!("-O2 -I{}", root.join("usr/include").display()))
                .env("CGO_LDFLAGS", format!("-L{}", root.join("usr/lib/x86_64-linux-gnu").display()));
        }
        step::run(&mut command)
    }
}

/// `cargo install` into `into` itself, without the `bin` in between.
fn install(name: &str, version: &str, into: &Path, scratch: &Path) -> anyhow::Result<()> {
    enclosure::check_build()?;
    let root = scratch.join("root");
    let mut command = house::cargo();
    command
        .args(["install", name, "--version", version, "--locked", "--quiet", "--no-track", "--root"])
        .arg(&root)
        .env("CARGO_TARGET_DIR", scratch.join("build"))
        .env("TMPDIR", scratch)
        // It is a crate of its own: what we are built with does not concern it.
        .current_dir(scratch);
    step::run(&mut command)?;
    for entry in std::fs::read_dir(root.join("bin"))? {
        let entry = entry?;
        std::fs::rename(entry.path(), into.join(entry.file_name()))?;
    }
    Ok(())
}

/// The version of a module in the text of a `go.mod`: what it is replaced by, where it is.
fn pinned<'t>(text: &'t str, module: &str) -> Option<&'t str> {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .windows(2)
        .rfind(|pair| pair[0] == module && pair[1].starts_with('v') && pair[1] != "v0.0.0-local")
        .map(|pair| pair[1])
}

/// Adds names and digests of all files below `folder`, in the order of their names.
fn describe(folder: &Path, below: &str, text: &mut String) -> anyhow::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            describe(&entry.path(), &format!("{name}/"), text)?;
        } else {
            *text += &format!("{name} {}\n", Digest::of(&std::fs::read(entry.path())?).hex());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_version_is_the_one_that_is_built() {
        let text = "require (\n\ta/b v1.2.3 // indirect\n\ta/b/c v9.0.0\n\td v0.0.0-local\n)\n\
            replace (\n\td v0.0.0-local => d v0.16.1\n\te => f v3.0.0\n)\n";
        assert_eq!(pinned(text, "a/b"), Some("v1.2.3"));
        assert_eq!(pinned(text, "d"), Some("v0.16.1"));
        assert_eq!(pinned(text, "g"), None);
    }
}
