//! Ctrl-C and termination: end the programs that we run, remove what is half made, then go.
//!
//! One thread waits for the signals. What has to be ended or removed is registered in one list by [`Known`] and
//! [`Partial`]; both deregister themselves when dropped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long a program may take to end after it was asked to; then it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// How often the removal of something half made is tried: what was ended a moment ago may still make files in it.
const REMOVALS: usize = 100;
/// Between two of them.
const REMOVE_AGAIN_AFTER: Duration = Duration::from_millis(10);
/// What a shell reports for a command that was ended by Ctrl-C.
const EXIT_INTERRUPTED: i32 = 130;

#[derive(Default)]
struct Registered {
    groups: BTreeSet<u32>,
    partial: BTreeSet<PathBuf>,
    last: Vec<fn()>,
}

static REGISTERED: Mutex<Registered> =
    Mutex::new(Registered { groups: BTreeSet::new(), partial: BTreeSet::new(), last: Vec::new() });
static CHANGED: Condvar = Condvar::new();
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn registered() -> MutexGuard<'static, Registered> {
    REGISTERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on signals end this program in order. Call it once, before the first program is started.
pub fn watch() -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            // Inside the rig's namespaces we are the first process; the one outside has said it.
            if std::process::id() != 1 {
                eprintln!("interrupted: ending what runs, removing what is half made");
            }
            leave();
        }
    });
    Ok(())
}

/// Has `action` done when a signal ends this program, after everything that it ran has ended.
pub fn at_last(action: fn()) {
    registered().last.push(action);
}

/// Called where a program has ended: if that was because of a signal, this thread waits for the end here instead of
/// reporting the program's death as a failure.
pub fn stop_here_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

fn leave() -> ! {
    signal_all(Signal::TERM);
    let (guard, timeout) = CHANGED
        .wait_timeout_while(registered(), GRACE, |r| !r.groups.is_empty())
        .unwrap_or_else(PoisonError::into_inner);
    drop(guard);
    if timeout.timed_out() {
        signal_all(Signal::KILL);
    }
    let registered = registered();
    for path in &registered.partial {
        for _ in 0..REMOVALS {
            remove(path);
            if !path.exists() {
                break;
            }
            std::thread::sleep(REMOVE_AGAIN_AFTER);
        }
    }
    for action in &registered.last {
        action();
    }
    std::process::exit(EXIT_INTERRUPTED);
}

fn signal_all(signal: Signal) {
    let registered = registered();
    let pid = |raw: &u32| i32::try_from(*raw).ok().and_then(Pid::from_raw);
    for group in registered.groups.iter().filter_map(pid) {
        // One that has just ended is no longer there to be signalled, which is what we want.
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

fn remove(path: &Path) {
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

/// A program of ours that runs, with whatever it started; forgotten when dropped.
pub struct Known {
    leader: u32,
}

impl Known {
    /// The leader of a process group.
    pub fn group(leader: u32) -> Self {
        registered().groups.insert(leader);
        Self { leader }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        registered().groups.remove(&self.leader);
        CHANGED.notify_all();
    }
}

/// A folder or file under construction: it lies beside its final place and takes it at once by [`commit`](Self::commit).
/// Dropped before that, or interrupted, it is removed.
pub struct Partial {
    making: PathBuf,
    place: PathBuf,
}

impl Partial {
    /// Begins the construction of `place`; an earlier one that was left behind is removed.
    pub fn of(place: &Path) -> anyhow::Result<Self> {
        let mut making = place.as_os_str().to_owned();
        making.push(".partial");
        let making = PathBuf::from(making);
        remove(&making);
        if let Some(parent) = place.parent() {
            std::fs::create_dir_all(parent)?;
        }
        registered().partial.insert(making.clone());
        Ok(Self { making, place: place.to_path_buf() })
    }

    /// Begins the construction of the folder `place`.
    pub fn folder(place: &Path) -> anyhow::Result<Self> {
        let partial = Self::of(place)?;
        std::fs::create_dir_all(&partial.making)?;
        Ok(partial)
    }

    /// Where to construct.
    pub fn path(&self) -> &Path {
        &self.making
    }

    /// Puts the finished thing in its place, instead of what was there.
    pub fn commit(self) -> anyhow::Result<()> {
        remove(&self.place);
        std::fs::rename(&self.making, &self.place)?;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        registered().partial.remove(&self.making);
        remove(&self.making);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_construction_leaves_nothing_and_a_committed_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("thing");
        let dropped = Partial::folder(&place).unwrap();
        std::fs::write(dropped.path().join("a"), "a").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        let kept = Partial::folder(&place).unwrap();
        std::fs::write(kept.path().join("a"), "a").unwrap();
        kept.commit().unwrap();
        assert_eq!(std::fs::read_to_string(place.join("a")).unwrap(), "a");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
