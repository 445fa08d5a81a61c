//! Words and numbers as both renderers print them, and what keeps hostile names from doing harm.

use std::fmt::Write as _;

use glowplug_base::size::nanos;
use glowplug_timeline::Cause;

/// `text` for a terminal: without control characters and directional overrides; all ASCII unless `unicode`.
pub(super) fn terminal(text: &str, unicode: bool) -> String {
    let harmless = |c: char| match c {
        'µ' if !unicode => 'u',
        c if c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            '?'
        }
        c if !c.is_ascii() && !unicode => '?',
        c => c,
    };
    text.chars().map(harmless).collect()
}

/// `text` for an element or a quoted attribute of a page.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && c != '\n' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// At most `max` characters: what is too long loses its middle, since names differ at their ends.
pub(super) fn shorten(text: &str, max: usize, ellipsis: &str) -> String {
    let count = text.chars().count();
    if count <= max {
        return text.to_owned();
    }
    let kept = max.saturating_sub(ellipsis.chars().count());
    let head = kept / 3;
    let mut short: String = text.chars().take(head).collect();
    short.push_str(ellipsis);
    short.extend(text.chars().skip(count - (kept - head)));
    short
}

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

/// `part` of `whole` in whole percent; a part that is there but small is `<1 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    match part as f64 * 100.0 / whole.max(1) as f64 {
        p if part > 0 && p < 1.0 => "<1 %".to_owned(),
        p => format!("{p:.0} %"),
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

/// `1 stall`, `37 stalls`.
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
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
    fn hostile_names_become_harmless() {
        assert_eq!(terminal("a\u{1b}[31m\u{202e}é µ", true), "a?[31m?é µ");
        assert_eq!(terminal("é µ", false), "? u");
        assert_eq!(html("<a href=\"x\">'&\u{0}"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}");
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shorten("/usr/lib/python3/torch.so", 12, "…"), "/us…torch.so");
        assert_eq!(shorten("short", 12, "…"), "short");
        assert_eq!(shorten("abc", 0, "…"), "…");
    }

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
        assert_eq!([percent(0, 10), percent(1, 1000), percent(1, 3)], ["0 %", "<1 %", "33 %"]);
    }
}
