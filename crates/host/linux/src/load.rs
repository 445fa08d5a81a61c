//! Whether the machine has a processor to spare: for work that should run only where nobody else wants to.
//!
//! Priorities do not tell: a nice thread in one cgroup weighs as much against another cgroup as the whole group does. Nor
//! does the time that others used: where the background already holds a processor, they cannot show that they want it.

/// Whether fewer threads want to run now than there are processors. Where that cannot be seen: yes.
pub fn has_spare() -> bool {
    std::fs::read_to_string("/proc/stat").ok().as_deref().and_then(demand).is_none_or(
        |(wanting, processors)| {
            // The thread that looks is one of them.
            wanting.saturating_sub(1) < processors
        },
    )
}

/// Threads that run or want to, and the number of processors, from the text of `/proc/stat`.
fn demand(stat: &str) -> Option<(usize, usize)> {
    let wanting = stat.lines().find_map(|line| line.strip_prefix("procs_running "))?.trim().parse().ok()?;
    let processors = stat.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    Some((wanting, processors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_told_by_the_kernel() {
        let stat = "cpu  100 20 30\ncpu0 50 0\ncpu1 50 0\nintr 5\nprocs_running 3\nprocs_blocked 1\n";
        assert_eq!(demand(stat), Some((3, 2)));
        assert_eq!(demand("cpu 1 2\n"), None);
        assert_eq!(demand(""), None);
    }

    #[test]
    fn this_machine_tells_its_own() {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let (wanting, processors) = demand(&stat).unwrap();
        assert!(wanting >= 1 && processors >= 1);
    }
}
