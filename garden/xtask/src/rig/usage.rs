//! What a start costs this machine: CPU seconds and peak memory of the processes that belong to it. Read from `/proc`, which
//! in the enclosure shows only what runs there.
//!
//! To a start belongs what begins after its own begin, and of what ran before only the daemons that start it, with what they
//! have started. The rig's registry, and a daemon that waits for its own turn, are beside it and do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::paths;

/// Between two looks at the memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);
/// `USER_HZ`: the unit of times in `/proc` on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

/// Memory of one moment, or the most of all moments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident bytes of what starts the container: runtime, daemons, clients.
    pub loader_bytes: u64,
    /// Resident bytes of what runs in the container.
    pub application_bytes: u64,
}

/// Which processes belong to a start.
#[derive(Debug, Clone)]
pub struct Belonging {
    /// What ran before it and has no part in it.
    others: BTreeSet<u32>,
}

impl Belonging {
    /// What begins from now on, and of what runs now `daemons` with what they have started.
    pub fn from_now(daemons: &[u32]) -> Self {
        let parent = |(pid, folder): (u32, PathBuf)| {
            Some((pid, Times::parse(&std::fs::read_to_string(folder.join("stat")).ok()?)?.parent))
        };
        Self::among(&processes().filter_map(parent).collect(), daemons)
    }

    /// Of `running`, processes and their parents.
    fn among(running: &BTreeMap<u32, u32>, daemons: &[u32]) -> Self {
        let belongs = |pid: &u32| {
            let line = std::iter::successors(Some(*pid), |pid| running.get(pid).copied());
            // No process is its own ancestor, but they end and begin while they are looked at.
            line.take(running.len() + 1).any(|ancestor| daemons.contains(&ancestor))
        };
        Self { others: running.keys().copied().filter(|pid| !belongs(pid)).collect() }
    }

    fn has(&self, pid: u32) -> bool {
        !self.others.contains(&pid)
    }

    /// CPU seconds that they have used so far, ended ones included.
    pub fn cpu_seconds(&self) -> f64 {
        let ours = std::process::id();
        let ticks: u64 = processes()
            .filter(|(pid, _)| *pid == ours || self.has(*pid))
            .filter_map(|(pid, folder)| {
                let times = Times::parse(&std::fs::read_to_string(folder.join("stat")).ok()?)?;
                // We are the parent of what ended: its time is with us, and our own does not count.
                Some(if pid == ours { times.of_children } else { times.own + times.of_children })
            })
            .sum();
        ticks as f64 / TICKS_PER_SECOND
    }

    fn memory(&self, target: &Path, page: u64) -> Memory {
        let mut memory = Memory::default();
        for (_, folder) in processes().filter(|(pid, _)| self.has(*pid)) {
            let Some(pages) = std::fs::read_to_string(folder.join("statm"))
                .ok()
                .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok())
            else {
                continue;
            };
            // What starts containers lies under target/; what runs in one has its program in the image.
            match std::fs::read_link(folder.join("exe")) {
                Ok(program) if program.starts_with(target) => memory.loader_bytes += pages * page,
                Ok(_) => memory.application_bytes += pages * page,
                Err(_) => {}
            }
        }
        memory
    }
}

struct Times {
    parent: u32,
    own: u64,
    of_children: u64,
}

impl Times {
    /// Field 4 and fields 14 to 17 of `/proc/PID/stat`; the second field may hold spaces and ends with the last parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let parent = fields.get(1)?.parse().ok()?;
        Some(Self { parent, own: ticks(14)? + ticks(15)?, of_children: ticks(16)? + ticks(17)? })
    }
}

fn processes() -> impl Iterator<Item = (u32, PathBuf)> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

/// Watches memory from now on until it is [stopped](Self::stop).
pub struct Watch {
    peak: Arc<Peak>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Peak {
    stop: AtomicBool,
    loader: AtomicU64,
    application: AtomicU64,
}

impl Watch {
    /// Begins to watch what belongs to a start.
    pub fn start(belonging: Belonging) -> Self {
        let peak = Arc::new(Peak::default());
        let shared = Arc::clone(&peak);
        let thread = std::thread::spawn(move || {
            let (target, page) = (paths::target(), rustix::param::page_size() as u64);
            let target = target.canonicalize().unwrap_or(target);
            while !shared.stop.load(Ordering::Relaxed) {
                let now = belonging.memory(&target, page);
                shared.loader.fetch_max(now.loader_bytes, Ordering::Relaxed);
                shared.application.fetch_max(now.application_bytes, Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        Self { peak, thread: Some(thread) }
    }

    /// Ends and gives the most of each that was seen.
    pub fn stop(mut self) -> Memory {
        self.end();
        Memory {
            loader_bytes: self.peak.loader.load(Ordering::Relaxed),
            application_bytes: self.peak.application.load(Ordering::Relaxed),
        }
    }

    fn end(&mut self) {
        self.peak.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_parentheses() {
        let stat = "12 (a) (b c) S 1 1 1 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5";
        let times = Times::parse(stat).unwrap();
        assert_eq!((times.parent, times.own, times.of_children), (1, 120, 7));
        assert!(Times::parse("12 (a) S 1").is_none());
    }

    #[test]
    fn a_daemon_that_waits_for_its_turn_does_not_belong_to_a_start() {
        // We, the rig's registry, an idle daemon, and the daemon of the start with a process of its own.
        let running = BTreeMap::from([(1, 0), (10, 1), (20, 1), (21, 20), (30, 1), (31, 30)]);
        let belonging = Belonging::among(&running, &[30]);
        assert_eq!(
            [1, 10, 20, 21, 30, 31].map(|pid| belonging.has(pid)),
            [false, false, false, false, true, true]
        );
        assert!(belonging.has(40), "what begins later");
        assert!(!Belonging::from_now(&[]).has(std::process::id()), "what runs beside it");
        assert!(Belonging::from_now(&[std::process::id()]).has(std::process::id()));
        // Two that say of each other that they are parents lead nowhere.
        assert!(!Belonging::among(&BTreeMap::from([(5, 6), (6, 5)]), &[1]).has(5));
    }

    #[test]
    fn our_own_processes_are_seen() {
        assert!(processes().any(|(pid, _)| pid == std::process::id()));
    }
}
