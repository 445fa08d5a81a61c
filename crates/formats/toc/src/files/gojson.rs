//! JSON as Go's `encoding/json` writes it, so that our tables are equal to those of tools in Go.
//!
//! It differs from what serde_json writes in the letters that it escapes: `<`, `>`, `&` and the two line separators of
//! Unicode, which HTML or JavaScript would take for something else. Indented, it has a tab for each level.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, PrettyFormatter};

/// The document, indented or on one line.
pub(crate) fn to_vec(value: &impl Serialize, indented: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let written = if indented {
        let formatter = Escaping(PrettyFormatter::with_indent(b"\t"));
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, formatter))
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Escaping(CompactFormatter)))
    };
    written.expect("maps have text keys and nothing else can fail");
    out
}

/// A formatter that also escapes what Go escapes.
struct Escaping<F>(F);

/// Passes calls on to the formatter within.
macro_rules! pass {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(
            fn $name<W: ?Sized + Write>(&mut self, writer: &mut W, $($argument: $kind),*) -> io::Result<()> {
                self.0.$name(writer, $($argument),*)
            }
        )*
    };
}

impl<F: Formatter> Formatter for Escaping<F> {
    pass! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
        write_char_escape(escape: CharEscape);
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        mut fragment: &str,
    ) -> io::Result<()> {
        while let Some(at) = fragment.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, rest) = fragment.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut letters = rest.chars();
            if let Some(letter) = letters.next() {
                write!(writer, "\\u{:04x}", u32::from(letter))?;
            }
            fragment = letters.as_str();
        }
        writer.write_all(fragment.as_bytes())
    }
}
