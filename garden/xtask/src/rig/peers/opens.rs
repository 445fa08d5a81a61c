//! Which files a start opens, and in which order: what the peers' converters are told, so that each peer is measured at its
//! best.
//!
//! The image is pulled, mounted and started in a root of its own, watched by fanotify, until the first right answer.
//! The list is kept beside the peers' images until the image changes.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};

use super::prepared;
use crate::images::{Name, layout::Layout};
use crate::interrupt::Partial;
use crate::packages::debian::Debian;
use crate::rig::containerd::Containerd;
use crate::rig::{enclosure, measure};
use crate::step::{self, say};

/// After this a start counts as failed.
const DEADLINE: Duration = Duration::from_secs(900);

/// The list, recorded now or earlier, of the image `name`, which the registry has as `reference`.
pub fn record(
    containerd: &Containerd,
    image: Name,
    layout: &Layout,
    name: &str,
    reference: &str,
) -> anyhow::Result<PathBuf> {
    let folder = prepared::folder(name).join("opens");
    let (list, inputs, root) = (folder.join("list"), folder.join("inputs"), layout.root()?);
    if std::fs::read_to_string(&inputs).is_ok_and(|inputs| inputs == root) {
        return Ok(list);
    }
    say(format!("recording which files a start of `{name}` opens, once"));
    let partial = Partial::folder(&folder)?;
    containerd.pull(reference)?;
    let mounted = Mounted::new(containerd, reference)?;
    let recorder = Recorder::start(&mounted.folder, &partial.path().join("list"))?;
    let server = mounted.start(image)?;
    let mut server = Ended(server);
    image.question()?.ask_until_right(measure::server(), Instant::now() + DEADLINE, || {
        if let Some(status) = server.0.try_wait()? {
            bail!("the server ended early ({status}): see {}", log().display());
        }
        Ok(())
    })?;
    drop(server);
    recorder.stop()?;
    drop(mounted);
    let count = std::fs::read_to_string(partial.path().join("list"))?.lines().count();
    say(format!("{count} files"));
    std::fs::write(partial.path().join("inputs"), root)?;
    partial.commit()?;
    Ok(list)
}

fn log() -> PathBuf {
    crate::rig::nodes().join("opens.log")
}

/// A child that is killed when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The image as a root folder.
struct Mounted<'a> {
    containerd: &'a Containerd,
    folder: PathBuf,
}

impl<'a> Mounted<'a> {
    fn new(containerd: &'a Containerd, reference: &str) -> anyhow::Result<Self> {
        let folder = crate::rig::nodes().join("opens");
        std::fs::create_dir_all(&folder)?;
        containerd.mount(reference, &folder)?;
        let mounted = Self { containerd, folder };
        for device in ["dev", "sys"] {
            let place = mounted.folder.join(device);
            std::fs::create_dir_all(&place)?;
            step::read(Command::new("mount").args(["--rbind", &format!("/{device}")]).arg(place))?;
        }
        std::fs::create_dir_all(mounted.folder.join("proc"))?;
        Ok(mounted)
    }

    /// Runs what a container of the image would run.
    fn start(&self, image: Name) -> anyhow::Result<Child> {
        let process = image.recipe(&Debian::open()?)?.process();
        let program = |name: &str| enclosure::find(name).with_context(|| format!("`{name}` is missing"));
        let log = std::fs::File::create(log())?;
        let mut command = Command::new(program("setpriv")?);
        command.args(["--pdeathsig", "KILL", "--"]).arg(program("unshare")?);
        command.args(["--pid", "--fork", "--kill-child=KILL", "--mount", "--mount-proc"]);
        command.arg("--root").arg(&self.folder).arg("--wd").arg(&process.folder).arg("--");
        command.args(&process.command).env_clear();
        command.envs(process.env.iter().filter_map(|pair| pair.split_once('=')));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.spawn().context("cannot start the server")
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        for device in ["dev", "sys"] {
            let place = self.folder.join(device);
            let _ = step::read(Command::new("umount").args(["--recursive", "--lazy"]).arg(place));
        }
        let _ = self.containerd.unmount(&self.folder);
    }
}

/// The program that watches.
struct Recorder {
    child: Ended,
}

impl Recorder {
    /// Starts it and waits until nothing escapes it.
    fn start(mount: &Path, list: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(super::program("prepare", "record-opens"))
            .arg(mount)
            .arg(list)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start record-opens")?;
        let mut line = String::new();
        let output = child.stdout.take().context("no output")?;
        let recorder = Self { child: Ended(child) };
        BufReader::new(output).read_line(&mut line)?;
        if line.trim_end() != "recording" {
            bail!("record-opens ended early: see above");
        }
        Ok(recorder)
    }

    fn stop(mut self) -> anyhow::Result<()> {
        let child = &mut self.child.0;
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            rustix::process::kill_process(pid, Signal::TERM)?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("record-opens failed: {status}");
        }
        Ok(())
    }
}
