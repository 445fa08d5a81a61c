//! Sizes and durations as people read them.

use std::time::Duration;

/// One kibibyte in bytes.
pub const KIB: u64 = 1024;
/// One mebibyte in bytes.
pub const MIB: u64 = 1024 * KIB;
/// One gibibyte in bytes.
pub const GIB: u64 = 1024 * MIB;

/// Bytes in decimal units, as links and disks are sold: `999 B`, `1.2 kB`, `131 MB`, `3.46 GB`.
pub fn human(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        1_000_000_000..1_000_000_000_000 => (1e9, "GB"),
        _ => (1e12, "TB"),
    };
    let value = bytes as f64 / unit;
    match value {
        v if v < 10.0 => format!("{v:.2} {name}"),
        v if v < 100.0 => format!("{v:.1} {name}"),
        v => format!("{v:.0} {name}"),
    }
}

/// A duration with about three digits: `640 µs`, `12.4 ms`, `1.12 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1e-1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

/// Nanoseconds as [`duration`] prints them.
pub fn nanos(ns: u64) -> String {
    duration(Duration::from_nanos(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        assert_eq!(
            ["999 B", "1.00 kB", "131 MB", "3.46 GB"],
            [999, 1_000, 131_000_000, 3_460_000_000].map(human)[..]
        );
        assert_eq!(nanos(12_400_000), "12.4 ms");
        assert_eq!(nanos(1_120_000_000), "1.12 s");
    }
}
