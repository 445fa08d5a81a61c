//! Limits as the files of both cgroup versions want them, and usage as those files tell it.

/// What a group may use; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory with page cache, in bytes.
    pub memory_bytes: Option<u64>,
    /// Memory and swap together, in bytes, as Docker's `--memory-swap`; ignored without a memory limit.
    pub memory_swap_bytes: Option<u64>,
    /// CPU time in microseconds in each period of [`CPU_PERIOD_US`].
    pub cpu_quota_us: Option<u64>,
    /// Relative weight under contention in version 1's unit: 2 to 262144, 1024 is normal.
    pub cpu_shares: Option<u64>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
}

/// The period CPU quotas refer to, the kernel's default: 100 ms.
pub const CPU_PERIOD_US: u64 = 100_000;

/// What a group has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Highest memory use, with page cache, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// CPU time, user and system, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Processes killed for want of memory under the group's limit.
    pub oom_kills: Option<u64>,
}

/// The file of a limit in each version.
pub(super) struct File {
    pub controller: &'static str,
    pub v1: Option<&'static str>,
    pub v2: Option<&'static str>,
}

/// The value of a limit, which the two versions write differently.
pub(super) enum Value {
    Plain(u64),
    /// A quota, with its period in version 2.
    Quota(u64),
    /// A weight on version 1's scale.
    Shares(u64),
    /// Memory and swap together, of which so much is memory. The kernel may be without swap accounting.
    Swap {
        total: u64,
        memory: u64,
    },
}

impl Value {
    pub fn text(&self, unified: bool) -> String {
        match (self, unified) {
            (Self::Plain(n), _) | (Self::Quota(n), false) | (Self::Shares(n), false) => n.to_string(),
            (Self::Swap { total, .. }, false) => total.to_string(),
            (Self::Quota(n), true) => format!("{n} {CPU_PERIOD_US}"),
            // The runtime specification's formula from 2..=262144 to 1..=10000.
            (Self::Shares(n), true) => (1 + (n.clamp(&2, &262_144) - 2) * 9_999 / 262_142).to_string(),
            (Self::Swap { total, memory }, true) => total.saturating_sub(*memory).to_string(),
        }
    }

    /// Whether going without is better than not starting.
    pub fn optional(&self) -> bool {
        matches!(self, Self::Shares(_))
    }
}

impl Limits {
    /// The files to write, in order: version 1 refuses a swap limit below the memory limit it already has.
    pub(super) fn files(&self) -> Vec<(File, Value, &'static str)> {
        let file = |controller, v1, v2| File { controller, v1: Some(v1), v2: Some(v2) };
        let mut files = Vec::new();
        if let Some(memory) = self.memory_bytes {
            files.push((
                file("memory", "memory.limit_in_bytes", "memory.max"),
                Value::Plain(memory),
                "memory",
            ));
            if let Some(total) = self.memory_swap_bytes {
                let swap = file("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
                files.push((swap, Value::Swap { total, memory }, "swap"));
            }
        }
        if let Some(quota) = self.cpu_quota_us {
            files.push((file("cpu", "cpu.cfs_quota_us", "cpu.max"), Value::Quota(quota), "CPU time"));
        }
        if let Some(shares) = self.cpu_shares {
            files.push((file("cpu", "cpu.shares", "cpu.weight"), Value::Shares(shares), "CPU shares"));
        }
        if let Some(pids) = self.pids {
            files.push((file("pids", "pids.max", "pids.max"), Value::Plain(pids), "processes"));
        }
        files
    }
}

/// Usage from the texts of: peak memory, CPU time (a bare number of ns, or version 2's `cpu.stat`), and out-of-memory events.
pub(super) fn usage(peak: Option<String>, cpu: Option<String>, oom: Option<String>) -> Usage {
    let keyed = |text: &str, key: &str| -> Option<u64> {
        text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    };
    Usage {
        memory_peak_bytes: peak.and_then(|t| t.trim().parse().ok()),
        cpu_ns: cpu.and_then(|t| {
            t.trim().parse().ok().or_else(|| keyed(&t, "usage_usec").and_then(|us| us.checked_mul(1000)))
        }),
        oom_kills: oom.and_then(|t| keyed(&t, "oom_kill")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_their_order_on_the_other_scale() {
        let weight = |n| Value::Shares(n).text(true).parse::<u64>().unwrap();
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
        assert_eq!(weight(0), 1);
    }

    #[test]
    fn version_2_counts_swap_apart() {
        let swap = Value::Swap { total: 300, memory: 200 };
        assert_eq!((swap.text(false), swap.text(true)), ("300".to_owned(), "100".to_owned()));
    }

    #[test]
    fn usage_of_both_versions() {
        let some = |t: &str| Some(t.to_owned());
        let v1 =
            usage(some("4096\n"), some("123456\n"), some("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"));
        assert_eq!(v1, Usage { memory_peak_bytes: Some(4096), cpu_ns: Some(123_456), oom_kills: Some(2) });
        let v2 =
            usage(some("4096\n"), some("usage_usec 7\nuser_usec 1\n"), some("low 0\noom 1\noom_kill 1\n"));
        assert_eq!(v2, Usage { memory_peak_bytes: Some(4096), cpu_ns: Some(7000), oom_kills: Some(1) });
        assert_eq!(usage(None, some("garbage"), None), Usage::default());
    }
}
