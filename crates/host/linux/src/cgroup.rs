//! Control groups of version 1, version 2 and the hybrid of both, behind one handle.
//!
//! A [`Cgroup`] is a directory of the same name in every hierarchy that matters. In version 2 that is one; in version 1 one for each
//! controller, and in the hybrid layout one more without controllers, which is still worth having: it can kill a group at once.
//! A controller that is missing is no error until a limit needs it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use crate::mount::unescape;

mod limits;
#[cfg(test)]
mod tests;

pub use limits::{CPU_PERIOD_US, Limits, Usage};

/// Controllers a group joins where they exist: the limits offered, and the accounts for memory and CPU time.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];

/// Something wrong with control groups.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No cgroup file system is mounted.
    #[error("no cgroup file system is mounted")]
    NotMounted,
    /// A limit needs a controller that is not available.
    #[error("cannot limit {limit}: the {controller} controller is not available")]
    NoController {
        /// What was to be limited.
        limit: &'static str,
        /// What is missing.
        controller: &'static str,
    },
    /// A file or directory operation failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CgroupError + use<'a> {
    move |source| CgroupError::Io { action, path: path.to_owned(), source }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Its controllers; for version 2, those its root offers.
    pub controllers: Vec<String>,
    /// Whether it is the version 2 hierarchy.
    pub unified: bool,
}

/// The hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// In the order of the mount table.
    pub hierarchies: Vec<Hierarchy>,
}

impl Layout {
    /// Reads the mount table of the calling process.
    pub fn detect() -> Result<Self, CgroupError> {
        let path = Path::new("/proc/self/mountinfo");
        let layout = Self::parse(&fs::read_to_string(path).map_err(at("read", path))?, |root| {
            fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default()
        });
        if layout.hierarchies.is_empty() { Err(CgroupError::NotMounted) } else { Ok(layout) }
    }

    /// Layout from a mountinfo text; `offered` answers what a version 2 root lists as its controllers.
    fn parse(mountinfo: &str, offered: impl Fn(&Path) -> String) -> Self {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(point), mut tail) = (left.split(' ').nth(4), right.split(' ')) else { continue };
            let (kind, options) = (tail.next(), tail.nth(1).unwrap_or_default());
            let root = PathBuf::from(unescape(point));
            let (controllers, unified) = match kind {
                Some("cgroup2") => (offered(&root).split_whitespace().map(str::to_owned).collect(), true),
                Some("cgroup") => (options.split(',').map(str::to_owned).collect::<Vec<_>>(), false),
                _ => continue,
            };
            // The same hierarchy may be mounted twice; the first is the usual place.
            let known = |h: &Hierarchy| h.unified == unified && (unified || h.controllers == controllers);
            if !hierarchies.iter().any(known) {
                hierarchies.push(Hierarchy { root, controllers, unified });
            }
        }
        Self { hierarchies }
    }

    /// `v1`, `v2` or `hybrid`.
    pub fn kind(&self) -> &'static str {
        let unified = self.hierarchies.iter().any(|h| h.unified);
        let legacy = self.hierarchies.iter().any(|h| !h.unified);
        match (unified, legacy) {
            (true, false) => "v2",
            (true, true) => "hybrid",
            _ => "v1",
        }
    }
}

/// A group's directory in one hierarchy.
#[derive(Debug, Clone)]
struct Seat {
    path: PathBuf,
    root: PathBuf,
    controllers: Vec<String>,
    unified: bool,
}

/// A group that this handle created. Dropping it leaves the group: see [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    seats: Vec<Seat>,
}

impl Cgroup {
    /// Creates the group `name` in every hierarchy that matters.
    pub fn create(layout: &Layout, name: &Path) -> Result<Self, CgroupError> {
        let name: PathBuf =
            name.components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect();
        let mut group = Self { seats: Vec::new() };
        for hierarchy in &layout.hierarchies {
            let controllers: Vec<String> =
                hierarchy.controllers.iter().filter(|c| CONTROLLERS.contains(&c.as_str())).cloned().collect();
            if controllers.is_empty() && !hierarchy.unified {
                continue;
            }
            let (path, root) = (hierarchy.root.join(&name), hierarchy.root.clone());
            group.seats.push(Seat { path, root, controllers, unified: hierarchy.unified });
        }
        match group.make_directories() {
            Ok(()) => Ok(group),
            Err(e) => {
                // The error worth reporting is the first one.
                let _ = group.remove();
                Err(e)
            }
        }
    }

    fn make_directories(&mut self) -> Result<(), CgroupError> {
        for seat in &mut self.seats {
            create_tree(&seat.path)?;
            if seat.unified {
                seat.controllers = enable(&seat.root, &seat.path, &seat.controllers);
            }
        }
        Ok(())
    }

    /// Sets limits; what is `None` stays as it is.
    pub fn limit(&self, limits: &Limits) -> Result<(), CgroupError> {
        for (file, value, limit) in limits.files() {
            match self.seat(file.controller) {
                Some(seat) => match if seat.unified { file.v2 } else { file.v1 } {
                    Some(name) => write(&seat.path.join(name), &value.text(seat.unified))?,
                    None => continue,
                },
                None if value.optional() => continue,
                None => return Err(CgroupError::NoController { limit, controller: file.controller }),
            }
        }
        Ok(())
    }

    fn seat(&self, controller: &str) -> Option<&Seat> {
        self.seats.iter().find(|s| s.controllers.iter().any(|c| c == controller))
    }

    /// Moves a process, with all its threads, into the group in every hierarchy.
    ///
    /// Slow for what it is: the kernel waits for every running task to pass through a quiet state first, which takes 5 to 20 ms.
    /// Do it in advance or beside something else.
    pub fn join(&self, pid: i32) -> Result<(), CgroupError> {
        self.seats.iter().try_for_each(|seat| write(&seat.path.join("cgroup.procs"), &pid.to_string()))
    }

    /// The directories of the group, for another process to join by [`join_paths`].
    pub fn paths(&self) -> Vec<PathBuf> {
        self.seats.iter().map(|s| s.path.clone()).collect()
    }

    /// Where a process in the group's cgroup namespace finds each hierarchy: relative name below `/sys/fs/cgroup` (empty for the root
    /// itself), and the options to mount it with (`None` for version 2).
    pub fn views(&self) -> Vec<View> {
        let only_unified = self.seats.iter().all(|s| s.unified);
        self.seats
            .iter()
            .map(|seat| {
                let name = if only_unified {
                    PathBuf::new()
                } else {
                    seat.root.file_name().map(PathBuf::from).unwrap_or_default()
                };
                let all = if seat.unified { None } else { Some(self.hierarchy_options(seat)) };
                View { name, controllers: all }
            })
            .collect()
    }

    fn hierarchy_options(&self, seat: &Seat) -> Vec<String> {
        // A hierarchy is named by all its controllers, also those this group does not care for.
        let mounted =
            Layout::detect().ok().and_then(|l| l.hierarchies.into_iter().find(|h| h.root == seat.root));
        let all = mounted.map_or_else(|| seat.controllers.clone(), |h| h.controllers);
        all.into_iter().filter(|c| !matches!(c.as_str(), "rw" | "ro")).collect()
    }

    /// Kills every process in the group and below. They are dead, though perhaps not yet reaped, some moments later.
    pub fn kill(&self) -> Result<(), CgroupError> {
        for seat in self.seats.iter().filter(|s| s.unified) {
            // Linux 5.14; without it, or without version 2 at all, one by one.
            if fs::write(seat.path.join("cgroup.kill"), "1").is_ok() {
                return Ok(());
            }
        }
        /// Rounds after which something outside keeps feeding the group, and giving up beats spinning.
        const ROUNDS: usize = 100;
        for _ in 0..ROUNDS {
            let mut any = false;
            for seat in &self.seats {
                for pid in processes(&seat.path) {
                    any = true;
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
            if !any {
                break;
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// What the group has used so far. Unknown figures are `None`.
    pub fn usage(&self) -> Usage {
        let read = |controller: &str, v1: &str, v2: &str| -> Option<String> {
            let seat = self.seat(controller)?;
            fs::read_to_string(seat.path.join(if seat.unified { v2 } else { v1 })).ok()
        };
        limits::usage(
            read("memory", "memory.max_usage_in_bytes", "memory.peak"),
            read("cpuacct", "cpuacct.usage", "cpu.stat").or_else(|| read("cpu", "cpuacct.usage", "cpu.stat")),
            read("memory", "memory.oom_control", "memory.events"),
        )
    }

    /// Removes the group's directories; it must be empty of processes, and waits a moment for the kernel to notice that it is.
    ///
    /// Directories above that held nothing else go too.
    pub fn remove(&self) -> Result<(), CgroupError> {
        // All of them, whatever becomes of one; the first error is the one to report.
        let remove = |seat: &Seat| {
            remove_tree(&seat.path)?;
            // One that holds another group refuses, and that is as far as it goes.
            let above =
                seat.path.ancestors().skip(1).take_while(|p| *p != seat.root && p.starts_with(&seat.root));
            above.take_while(|p| fs::remove_dir(p).is_ok()).for_each(drop);
            Ok(())
        };
        let outcomes: Vec<_> = self.seats.iter().map(remove).collect();
        outcomes.into_iter().collect()
    }
}

/// How a hierarchy looks from inside a container; see [`Cgroup::views`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Directory below `/sys/fs/cgroup`.
    pub name: PathBuf,
    /// The hierarchy's controllers for version 1.
    pub controllers: Option<Vec<String>>,
}

/// Moves the process `pid` into the group whose directories are given.
pub fn join_paths(paths: &[PathBuf], pid: i32) -> Result<(), CgroupError> {
    paths.iter().try_for_each(|path| write(&path.join("cgroup.procs"), &pid.to_string()))
}

/// Turns controllers on for `path` in every ancestor; answers those that `path` ended up with.
///
/// One write each: one that is refused must not take the others with it. They are refused in a namespace whose root has processes.
fn enable(root: &Path, path: &Path, wanted: &[String]) -> Vec<String> {
    let ancestors: Vec<&Path> = path.ancestors().skip(1).take_while(|p| p.starts_with(root)).collect();
    for ancestor in ancestors.into_iter().rev() {
        let on = fs::read_to_string(ancestor.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in wanted.iter().filter(|w| !on.split_whitespace().any(|c| c == w.as_str())) {
            let _ = fs::write(ancestor.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    let has = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
    wanted.iter().filter(|w| has.split_whitespace().any(|c| c == w.as_str())).cloned().collect()
}

fn processes(path: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|l| Pid::from_raw(l.trim().parse().ok()?)).collect()
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    fs::write(path, text).map_err(at("write to", path))
}

/// Makes a directory and those above it, also while another process removes those as empty.
fn create_tree(path: &Path) -> Result<(), CgroupError> {
    /// More than any number of containers that end just then.
    const ATTEMPTS: usize = 100;
    for _ in 1..ATTEMPTS {
        match fs::create_dir_all(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(at("create", path)),
        }
    }
    fs::create_dir_all(path).map_err(at("create", path))
}

fn remove_tree(path: &Path) -> Result<(), CgroupError> {
    for child in fs::read_dir(path).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&child.path())?;
        }
    }
    // The kernel lets go of a group some time after its last process was reaped, and version 1 has no event for it.
    let mut pause = std::time::Duration::from_micros(100);
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && pause.as_millis() < 500 => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            Err(e) => return Err(at("remove", path)(e)),
        }
    }
}
