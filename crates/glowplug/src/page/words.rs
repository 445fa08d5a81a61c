//! Words as pages and terminals show them, and what keeps hostile names from doing harm.

/// `text` for a terminal: without control characters and directional overrides; all ASCII unless `unicode`.
pub fn terminal(text: &str, unicode: bool) -> String {
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
pub fn html(text: &str) -> String {
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
pub fn shorten(text: &str, max: usize, ellipsis: &str) -> String {
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

/// `part` of `whole` in whole percent; a part that is there but small is `<1 %`.
pub fn percent(part: u64, whole: u64) -> String {
    match part as f64 * 100.0 / whole.max(1) as f64 {
        p if part > 0 && p < 1.0 => "<1 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}

/// `1 stall`, `37 stalls`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
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
    fn small_parts_are_not_nothing() {
        assert_eq!([percent(0, 10), percent(1, 1000), percent(1, 3)], ["0 %", "<1 %", "33 %"]);
    }
}
