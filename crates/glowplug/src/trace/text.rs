//! Words and numbers as both renderers print them.

use std::fmt::Write as _;

use glowplug_base::size::nanos;
use glowplug_timeline::Cause;

pub(super) use crate::page::words::{count, html, percent, shorten, terminal};

/// A rate of bytes as links are sold: `880 Mbit/s`, `1.04 Gbit/s`.
pub(super) fn rate(bytes_per_second: u64) -> String {
    let bits = bytes_per_second as f64 * 8.0;
    match bits {
        b if b < 1e6 => format!("{:.0} kbit/s", b / 1e3),
        b if b < 1e7 => format!("{:.1} Mbit/s", b / 1e6),
        b if b < 1e9 => format!("{:.0} Mbit/s", b / 1e6),
        b => format!("{:.2} Gbit/s", b / 1e9),
    }
}

/// The cause as a word in a list of amounts.
pub(super) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Fault => "faults",
        Cause::Metadata => "metadata",
        Cause::Profile => "profile",
        Cause::Background => "background",
    }
}

/// A moment of the start.
pub(super) fn moment_in(at_ns: u64) -> String {
    if at_ns == 0 { "0".to_owned() } else { nanos(at_ns) }
}

/// A sentence broken after its punctuation into lines of at most `width` characters; what has none stays whole.
pub(super) fn wrap(sentence: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut used = 0;
    for part in sentence.split_inclusive([',', ';', ':']) {
        // Punctuation inside a word, as in a path, is no place to break at.
        let (gap, part) = part.strip_prefix(' ').map_or(("", part), |part| (" ", part));
        let length = part.chars().count();
        if !gap.is_empty() && used + 1 + length > width {
            wrapped.push_str("\n  ");
            used = 2 + length;
        } else {
            wrapped.push_str(gap);
            used += gap.len() + length;
        }
        wrapped.push_str(part);
    }
    wrapped
}

/// A wall-clock moment, `2025-10-09 08:53:20 UTC`.
pub(super) fn moment(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000;
    let (mut days, of_day) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for length in lengths {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let mut text = String::new();
    let _ = write!(text, "{year:04}-{month:02}-{:02} ", days + 1);
    let _ = write!(text, "{:02}:{:02}:{:02} UTC", of_day / 3600, of_day / 60 % 60, of_day % 60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_after_punctuation() {
        assert_eq!(
            wrap("2 MB moved: 1 MB faults, 1 MB profile", 20),
            "2 MB moved:\n  1 MB faults,\n  1 MB profile"
        );
        assert_eq!(wrap("longest: /a,b/c:d/e f: 3 ms", 10), "longest:\n  /a,b/c:d/e f:\n  3 ms");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(moment(1_760_000_000_000_000_000), "2025-10-09 08:53:20 UTC");
        assert_eq!(moment(u64::MAX), "2554-07-21 23:34:33 UTC");
        assert_eq!(
            [rate(1_000), rate(1_000_000), rate(125_000_000)],
            ["8 kbit/s", "8.0 Mbit/s", "1.00 Gbit/s"]
        );
    }
}
