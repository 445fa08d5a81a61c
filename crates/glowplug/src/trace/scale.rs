//! The time axis: round steps and their labels.

/// A tick of the axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) at_ns: u64,
    pub(super) label: String,
}

/// Ticks from 0 up to but without `wall_ns`, at most about `most` of them, 1, 2 or 5 times a power of ten apart.
pub(super) fn ticks(wall_ns: u64, most: usize) -> Vec<Tick> {
    let step_ns = round_up(wall_ns / most.max(1) as u64);
    let (unit_ns, unit) = match wall_ns {
        1_000_000_000.. => (1_000_000_000, "s"),
        1_000_000.. => (1_000_000, "ms"),
        _ => (1_000, "µs"),
    };
    // As many decimals as the step has below the unit.
    let decimals =
        (0..9).find(|d| step_ns.saturating_mul(10u64.pow(*d)).is_multiple_of(unit_ns)).unwrap_or(0);
    let label = |at_ns: u64| match at_ns {
        0 => "0".to_owned(),
        at => format!("{:.*} {unit}", decimals as usize, at as f64 / unit_ns as f64),
    };
    let count = wall_ns.div_ceil(step_ns);
    (0..count).map(|i| i * step_ns).map(|at_ns| Tick { at_ns, label: label(at_ns) }).collect()
}

/// The smallest number that is not below `least` and 1, 2 or 5 times a power of ten; beyond 5 * 10^18 the largest.
pub(super) fn round_up(least: u64) -> u64 {
    let powers = (0..19).map(|e| 10u64.pow(e));
    let mut steps = powers.flat_map(|p| [p, p.saturating_mul(2), p.saturating_mul(5)]);
    steps.find(|step| *step >= least).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(wall_ns: u64, most: usize) -> Vec<String> {
        ticks(wall_ns, most).into_iter().map(|t| t.label).collect()
    }

    #[test]
    fn steps_are_round() {
        assert_eq!(labels(1_840_000_000, 5), ["0", "0.5 s", "1.0 s", "1.5 s"]);
        assert_eq!(labels(40_000_000, 4), ["0", "10 ms", "20 ms", "30 ms"]);
        assert_eq!(labels(2_500, 2), ["0", "2 µs"]);
        assert_eq!(labels(0, 4), [""; 0]);
        assert!(labels(u64::MAX, 4).len() <= 5);
        assert!(labels(3, 40).len() <= 3);
    }
}
