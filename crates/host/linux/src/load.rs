//! Whether the rest of the machine leaves a processor to spare: for work that should run only where nobody else wants to.
//!
//! Priorities do not tell: a nice thread in one cgroup weighs as much against another cgroup as the whole group does.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// How long a verdict stands. The kernel counts processor time in ticks of up to 10 ms; shorter windows see only noise.
const WINDOW: Duration = Duration::from_millis(40);
/// Kernel ticks per second in `/proc/stat`, the same on every architecture's user interface.
const TICKS_PER_SECOND: f64 = 100.0;
/// Others must leave this much: background work takes a whole processor when it is let go.
const SPARE_PROCESSORS: f64 = 1.0;

/// Watches the machine's load, this process left out.
#[derive(Debug)]
pub struct Load {
    last: Mutex<Option<Sample>>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    /// Processor time that everybody used since boot, seconds.
    busy: f64,
    /// Processor time that this process used, seconds.
    own: f64,
    verdict: bool,
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Load {
    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// Whether other processes left a processor unused lately. Where that cannot be seen: yes.
    pub fn has_spare(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(sample) = *last
            && now.duration_since(sample.at) < WINDOW
        {
            return sample.verdict;
        }
        let Some((busy, processors)) = std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(busy)
        else {
            return true;
        };
        let own = clock_gettime(ClockId::ProcessCPUTime);
        let own = own.tv_sec as f64 + own.tv_nsec as f64 / 1e9;
        let verdict = last.is_none_or(|before| {
            let others = (busy - before.busy) - (own - before.own);
            others / now.duration_since(before.at).as_secs_f64() <= processors as f64 - SPARE_PROCESSORS
        });
        *last = Some(Sample { at: now, busy, own, verdict });
        verdict
    }
}

/// Seconds of processor time used since boot, and the number of processors, from the text of `/proc/stat`.
fn busy(stat: &str) -> Option<(f64, usize)> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map(str::parse::<u64>);
    // user nice system idle iowait irq softirq steal; guests are within user.
    let mut times = [0; 8];
    for time in &mut times {
        *time = fields.next()?.ok()?;
    }
    let total: u64 = times.iter().sum();
    let processors = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    Some(((total - times[3] - times[4]) as f64 / TICKS_PER_SECOND, processors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_leaves_out_idle_and_waiting() {
        let stat =
            "cpu  100 20 30 4000 500 1 2 3 0 0\ncpu0 50 0 0 0 0 0 0 0\ncpu1 50 0 0 0 0 0 0 0\nintr 5\n";
        assert_eq!(busy(stat), Some((1.56, 2)));
        assert_eq!(busy("cpu 1 2\n"), None);
        assert_eq!(busy(""), None);
    }

    #[test]
    fn the_first_look_finds_a_processor() {
        assert!(Load::new().has_spare());
    }
}
