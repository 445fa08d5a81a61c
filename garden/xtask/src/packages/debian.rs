//! Debian packages by `apt-get download`, unpacked by `dpkg-deb`.
//!
//! apt runs with package lists, cache and package database of its own; of the machine it takes the sources and the
//! trusted keys. A resolved set is written down and stays as it is until `target/` is removed, so that a second run
//! needs no network and gives the same.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::interrupt::Partial;
use crate::{paths, step};

/// One package, here as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb {
    /// Name of the package.
    pub name: String,
    /// Its version as Debian writes it.
    pub version: String,
    /// The `.deb` file.
    pub file: PathBuf,
}

impl Deb {
    /// `folder` and the file name that apt gave, `NAME_VERSION_ARCH.deb` with the colon of an epoch written `%3a`.
    fn in_folder(folder: &Path, file_name: &str) -> anyhow::Result<Self> {
        let mut parts = file_name.splitn(3, '_');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(version), Some(_)) => Ok(Self {
                name: name.to_owned(),
                version: version.replace("%3a", ":"),
                file: folder.join(file_name),
            }),
            _ => bail!("apt named a file `{file_name}`, which is not NAME_VERSION_ARCH.deb"),
        }
    }
}

/// Whether the packages that a named one depends on are wanted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reach {
    Closure,
    Exactly,
}

/// Debian, as this machine's apt knows it.
pub struct Debian {
    root: PathBuf,
}

impl Debian {
    /// The packages under `target/glowplug-rig/debian`.
    pub fn open() -> anyhow::Result<Self> {
        let root = paths::rig().join("debian");
        for folder in ["state/lists/partial", "cache/archives/partial", "debs", "resolved"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let status = root.join("state/status");
        if !status.exists() {
            std::fs::write(&status, "")?;
        }
        Ok(Self { root })
    }

    /// The named packages and everything that they depend on, without what is only recommended.
    pub fn closure(&self, names: &[&str]) -> anyhow::Result<Vec<Deb>> {
        self.get(names, Reach::Closure)
    }

    /// The named packages alone.
    pub fn exactly(&self, names: &[&str]) -> anyhow::Result<Vec<Deb>> {
        self.get(names, Reach::Exactly)
    }

    /// A folder with the named packages alone unpacked in it: a tool to be run from there with the machine's C library.
    pub fn tool(&self, label: &str, names: &[&str]) -> anyhow::Result<PathBuf> {
        let debs = self.exactly(names)?;
        let place = paths::rig().join("tools").join(format!("{label}_{:016x}", fingerprint(&debs)));
        if !place.exists() {
            step::say(format!("unpacking {label} under target/glowplug-rig/tools"));
            let partial = Partial::folder(&place)?;
            for deb in &debs {
                step::run(Command::new("dpkg").arg("-x").arg(&deb.file).arg(partial.path()))?;
            }
            partial.commit()?;
        }
        Ok(place)
    }

    fn get(&self, names: &[&str], reach: Reach) -> anyhow::Result<Vec<Deb>> {
        let debs_folder = self.root.join("debs");
        let record = self.root.join("resolved").join(record_name(names, reach));
        if let Ok(known) = std::fs::read_to_string(&record) {
            let debs = known
                .lines()
                .map(|line| Deb::in_folder(&debs_folder, line))
                .collect::<anyhow::Result<Vec<_>>>()?;
            if debs.iter().all(|deb| deb.file.exists()) {
                return Ok(debs);
            }
        }
        if !self.root.join("state/updated").exists() {
            self.update()?;
        }
        // Lists that have grown old name files that are no longer served: fetch the lists again, once.
        let file_names = match self.fetch(names, reach) {
            Ok(file_names) => file_names,
            Err(_) => {
                self.update()?;
                self.fetch(names, reach)?
            }
        };
        let partial = Partial::of(&record)?;
        std::fs::write(partial.path(), file_names.join("\n") + "\n")?;
        partial.commit()?;
        file_names.iter().map(|name| Deb::in_folder(&debs_folder, name)).collect()
    }

    /// Fetches Debian's package lists into our own state.
    fn update(&self) -> anyhow::Result<()> {
        step::say("fetching Debian's package lists (kept under target/glowplug-rig)");
        // What apt verifies by it makes in the temporary folder, and leaves there when it is interrupted.
        let scratch = Partial::folder(&self.root.join("scratch"))?;
        step::read(self.apt().arg("update").env("TMPDIR", scratch.path()))
            .context("cannot fetch Debian's package lists")?;
        std::fs::write(self.root.join("state/updated"), "")?;
        Ok(())
    }

    fn fetch(&self, names: &[&str], reach: Reach) -> anyhow::Result<Vec<String>> {
        let mut resolve = self.apt();
        match reach {
            Reach::Closure => resolve.args(["--yes", "--print-uris", "install"]),
            Reach::Exactly => resolve.args(["--print-uris", "download"]),
        };
        let answer = step::read(resolve.args(names))
            .with_context(|| format!("Debian has no way to install {}", names.join(", ")))?;
        let mut file_names: Vec<String> = answer.lines().filter_map(file_name).collect();
        file_names.sort();
        file_names.dedup();
        let debs_folder = self.root.join("debs");
        let missing: Vec<Deb> = file_names
            .iter()
            .map(|name| Deb::in_folder(&debs_folder, name))
            .filter(|deb| deb.as_ref().map_or(true, |deb| !deb.file.exists()))
            .collect::<anyhow::Result<_>>()?;
        if !missing.is_empty() {
            let listed: Vec<&str> = missing.iter().map(|deb| deb.name.as_str()).collect();
            step::say(format!("fetching {} Debian packages: {}", missing.len(), listed.join(" ")));
            let partial = Partial::folder(&self.root.join("incoming"))?;
            step::read(
                self.apt()
                    .current_dir(partial.path())
                    .arg("download")
                    .args(missing.iter().map(|deb| format!("{}={}", deb.name, deb.version))),
            )?;
            for entry in std::fs::read_dir(partial.path())? {
                let entry = entry?;
                std::fs::rename(entry.path(), debs_folder.join(entry.file_name()))?;
            }
        }
        Ok(file_names)
    }

    fn apt(&self) -> Command {
        let mut command = Command::new("apt-get");
        let state = self.root.join("state");
        for (key, value) in [
            ("Dir::State", state.clone()),
            ("Dir::State::lists", state.join("lists")),
            ("Dir::State::status", state.join("status")),
            ("Dir::Cache", self.root.join("cache")),
            ("Dir::Cache::archives", self.root.join("cache/archives")),
        ] {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        }
        // The unprivileged user of apt's downloads may have no way into target/; the files are verified all the same.
        command.args(["-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false"]);
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }
}

/// The file name in a line of `--print-uris`: `'URI' FILE SIZE HASH`.
fn file_name(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    words.next().filter(|uri| uri.starts_with('\''))?;
    words.next().filter(|file| file.ends_with(".deb")).map(str::to_owned)
}

fn record_name(names: &[&str], reach: Reach) -> String {
    let mut hasher = DefaultHasher::new();
    (names, reach).hash(&mut hasher);
    format!("{}_{:016x}", names.first().unwrap_or(&"nothing"), hasher.finish())
}

/// A number that changes when any package's version does.
pub fn fingerprint(debs: &[Deb]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for deb in debs {
        (&deb.name, &deb.version).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_print_uris_gives_its_file() {
        let line =
            "'http://host/pool/libattr1_2.5.1-4_amd64.deb' libattr1_1%3a2.5.1-4_amd64.deb 22164 SHA256:aa";
        let name = file_name(line).unwrap();
        let deb = Deb::in_folder(Path::new("/d"), &name).unwrap();
        assert_eq!((deb.name.as_str(), deb.version.as_str()), ("libattr1", "1:2.5.1-4"));
        assert_eq!(deb.file, Path::new("/d/libattr1_1%3a2.5.1-4_amd64.deb"));
        assert_eq!(file_name("Reading package lists..."), None);
        assert!(Deb::in_folder(Path::new("/d"), "odd.deb").is_err());
    }

    #[test]
    fn the_set_and_its_reach_have_records_of_their_own() {
        assert_ne!(record_name(&["a", "b"], Reach::Closure), record_name(&["a", "b"], Reach::Exactly));
        assert_ne!(record_name(&["a", "b"], Reach::Closure), record_name(&["a", "c"], Reach::Closure));
    }
}
