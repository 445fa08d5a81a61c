//! Names of files as people read them: a name is any bytes, and what is no text must not play with a terminal.

use std::fmt::Write as _;

/// The bytes as one line of text that shows every one of them: letters of any script stay, control characters, marks that change the
/// direction of writing, and bytes that are no UTF-8 become escapes as a shell's `$'…'` reads them, and so does the backslash.
pub fn printable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                c if c.is_ascii_control() => _ = write!(text, "\\x{:02x}", u32::from(c)),
                c if c.is_control() || turns_writing(c) => _ = write!(text, "\\u{:04x}", u32::from(c)),
                c => text.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| _ = write!(text, "\\x{byte:02x}"));
    }
    text
}

/// Whether a character is not seen, but changes the order in which others are.
const fn turns_writing(character: char) -> bool {
    matches!(
        character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_seen_and_none_is_obeyed() {
        assert_eq!(printable("straße/日本".as_bytes()), "straße/日本");
        assert_eq!(printable(b"a\xff\xfeb\x1b[31m\n\\n\x7f"), "a\\xff\\xfeb\\x1b[31m\\n\\\\n\\x7f");
        assert_eq!(printable("x\u{202e}gpj\u{85}".as_bytes()), "x\\u202egpj\\u0085");
        assert_eq!(printable(b""), "");
    }
}
