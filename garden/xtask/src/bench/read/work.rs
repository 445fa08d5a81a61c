//! What is done with the files: the same work, whatever the door.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};
use serde::Serialize;

use super::super::targets::Spread;
use crate::step;

/// Files of at least this many bytes are read as wholes and at random: libraries and models.
const BIG_BYTES: u64 = 1 << 20;
/// Most bytes that are read sequentially in one run.
const SEQUENTIAL_BYTES: u64 = 512 << 20;
/// Bytes of one sequential read.
const BUFFER_BYTES: usize = 1 << 20;
/// Random reads of one run.
const RANDOM_READS: u64 = 4_000;
/// Bytes of one random read.
const RANDOM_BYTES: usize = 4096;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Big files from begin to end.
    Sequential,
    /// Blocks of 4 KiB anywhere in the big files.
    Random,
    /// Every entry's name and metadata.
    Walk,
    /// The image's own Python loads the modules that its server begins with.
    Import,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Sequential, Self::Random, Self::Walk, Self::Import];

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sequential => "sequential read",
            Self::Random => "4 KiB random reads",
            Self::Walk => "walk with stat",
            Self::Import => "Python import",
        }
    }
}

/// The work for one image.
pub struct Plan {
    /// Big files below the root, and their lengths.
    big: Vec<(PathBuf, u64)>,
    sequential_bytes: u64,
    entries: u64,
    /// The modules to be loaded.
    imports: Option<&'static str>,
}

impl Plan {
    /// The work for an image mounted at `root`; `imports` are the modules of its server.
    pub fn of(root: &Path, imports: Option<&'static str>) -> anyhow::Result<Self> {
        let (mut entries, mut files) = (0, Vec::new());
        walk(root, &mut |path, meta| {
            entries += 1;
            if meta.is_file() && meta.len() >= BIG_BYTES {
                files.push((path.to_path_buf(), meta.len()));
            }
        })?;
        files.sort();
        let (mut big, mut sequential_bytes) = (Vec::new(), 0);
        for (path, len) in files {
            if sequential_bytes < SEQUENTIAL_BYTES {
                sequential_bytes += len;
                big.push((path.strip_prefix(root)?.to_path_buf(), len));
            }
        }
        if big.is_empty() {
            bail!("the image has no file of {BIG_BYTES} bytes: choose a larger one");
        }
        Ok(Self { big, sequential_bytes, entries, imports })
    }

    /// For people.
    pub fn description(&self) -> String {
        format!(
            "{} entries; {} big files of {:.0} MB; {RANDOM_READS} random reads; import {}",
            self.entries,
            self.big.len(),
            self.sequential_bytes as f64 / 1e6,
            self.imports.unwrap_or("nothing")
        )
    }

    /// What there is to be done with this image.
    pub fn works(&self) -> impl Iterator<Item = Work> {
        Work::ALL.into_iter().filter(|work| *work != Work::Import || self.imports.is_some())
    }

    /// Does the work once: how many seconds it took.
    pub fn run(&self, work: Work, root: &Path) -> anyhow::Result<f64> {
        let began = Instant::now();
        match work {
            Work::Sequential => self.sequential(root)?,
            Work::Random => self.random(root)?,
            Work::Walk => {
                let mut entries = 0;
                walk(root, &mut |_, _| entries += 1)?;
                if entries != self.entries {
                    bail!("{} entries at {}, {} elsewhere", entries, root.display(), self.entries);
                }
            }
            Work::Import => self.import(root)?,
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// A time of the work, said as what people compare.
    pub fn figure(&self, work: Work, seconds: &Spread) -> String {
        match work {
            Work::Sequential => {
                let rate = |seconds: f64| self.sequential_bytes as f64 / 1e9 / seconds;
                let [median, least, most] = [seconds.median, seconds.max, seconds.min].map(rate);
                format!("{median:.2} ({least:.2}-{most:.2}) GB/s")
            }
            Work::Random => {
                let each = |seconds: f64| seconds / RANDOM_READS as f64 * 1e6;
                let [median, least, most] = [seconds.median, seconds.min, seconds.max].map(each);
                format!("{median:.1} ({least:.1}-{most:.1}) us each")
            }
            Work::Walk | Work::Import => {
                let [median, least, most] = [seconds.median, seconds.min, seconds.max].map(|s| s * 1e3);
                format!("{median:.0} ({least:.0}-{most:.0}) ms")
            }
        }
    }

    fn import(&self, root: &Path) -> anyhow::Result<()> {
        let Some(modules) = self.imports else { return Ok(()) };
        // Without bytecode written anew the second time finds what the first did. The mounts end with their namespace.
        let inside = "mount --rbind /dev \"$0/dev\" && mount --rbind /proc \"$0/proc\" && exec chroot \"$0\" python3 -c \"$1\"";
        let mut python = Command::new("unshare");
        python.args(["--mount", "--", "sh", "-c", inside]).arg(root).arg(format!("import {modules}"));
        step::read(
            python
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("PYTHONDONTWRITEBYTECODE", "1"),
        )?;
        Ok(())
    }

    fn sequential(&self, root: &Path) -> anyhow::Result<()> {
        let (mut buffer, mut bytes) = (vec![0; BUFFER_BYTES], 0);
        for (path, _) in &self.big {
            let mut file = File::open(root.join(path))?;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    read => bytes += read as u64,
                }
            }
        }
        if bytes != self.sequential_bytes {
            bail!("{bytes} bytes at {}, {} elsewhere", root.display(), self.sequential_bytes);
        }
        Ok(())
    }

    /// The same places each time, so that the second time finds them warm.
    fn random(&self, root: &Path) -> anyhow::Result<()> {
        let open = |(path, len): &(PathBuf, u64)| Ok((File::open(root.join(path))?, *len));
        let files: Vec<(File, u64)> = self.big.iter().map(open).collect::<anyhow::Result<_>>()?;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        };
        let mut buffer = [0; RANDOM_BYTES];
        for _ in 0..RANDOM_READS {
            // By bytes rather than by files, so that a large library gets its share.
            let mut at = below(self.sequential_bytes);
            let found = files.iter().find(|(_, len)| {
                let inside = at < *len;
                at -= if inside { 0 } else { *len };
                inside
            });
            let (file, len) = found.context("an offset behind the last file")?;
            file.read_exact_at(&mut buffer, at.min(len - RANDOM_BYTES as u64) / 4096 * 4096)?;
        }
        Ok(())
    }
}

fn walk(folder: &Path, seen: &mut dyn FnMut(&Path, &std::fs::Metadata)) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let meta = std::fs::symlink_metadata(&path)?;
        seen(&path, &meta);
        if meta.is_dir() {
            walk(&path, seen)?;
        }
    }
    Ok(())
}
