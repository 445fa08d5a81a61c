//! The report on what an image is made of, for people and for machines: a table, JSON, and a page with a map.
//!
//! All three say the same numbers, those of `glowplug_convert::diet`; nothing here decides what is a finding.

mod blocks;
mod document;
mod map;
mod page;
mod squares;
mod table;
#[cfg(test)]
mod tests;

use glowplug_base::Digest;
use glowplug_base::size::human;
use glowplug_convert::diet::{Contents, Diet, Inventory};

pub use document::document;
pub use page::page;
pub use table::table;

use crate::node::Artifact;
use crate::page::words::count;

/// What the report is on.
#[derive(Debug)]
pub struct Report<'a> {
    /// The image as it was asked for.
    pub image: &'a str,
    /// Its manifest.
    pub manifest: Digest,
    /// Its files.
    pub inventory: &'a Inventory,
    /// What is in them; `None` where nobody looked.
    pub contents: Option<&'a Contents>,
    /// The findings.
    pub diet: &'a Diet,
    /// What made each layer, bottom first, as far as the image's history says.
    pub made_by: &'a [Option<String>],
    /// The models that lie beside it already: in no layer, and in none of the numbers.
    pub beside: Option<&'a Artifact>,
}

/// What is an estimate in the report.
const ESTIMATES: &str = "Compressed bytes of files are estimated from their share of the pieces that layers are cut into; \
                         seconds of starts are estimated from the size of the modules that are compiled.";

impl Report<'_> {
    /// What lies beside the image already, in a sentence; `None` if nothing does.
    fn lies_beside(&self) -> Option<String> {
        let artifact = self.beside?;
        Some(format!(
            "{}, {}, in {}: no layer has them, they come piece by piece where they are read, and count nowhere above.",
            count(artifact.models.files.len() as u64, "file"),
            human(artifact.bytes()),
            artifact.reference,
        ))
    }

    /// What was not looked at, in a sentence; `None` if nothing was left out.
    fn not_looked_at(&self) -> Option<String> {
        match self.contents {
            None => Some(
                "No file was read: copies, debug symbols and weights by other names are not found."
                    .to_owned(),
            ),
            Some(Contents { absent: 0, .. }) => None,
            Some(contents) => Some(format!(
                "{} files were not looked into, because bytes of them are not here: copies, debug symbols and weights by \
                 other names may be among them.",
                contents.absent
            )),
        }
    }
}

/// Seconds with a digit behind the point, as far as they count.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 0.05 => "<0.1 s".to_owned(),
        s if s < 100.0 => format!("{s:.1} s"),
        s => format!("{s:.0} s"),
    }
}

/// What it costs every start beside the link: an estimate, and marked as one.
fn start_seconds(estimate: f64) -> String {
    if estimate > 0.0 { format!("~{}", seconds(estimate)) } else { "–".to_owned() }
}

/// At most `max` characters of a text, from its beginning.
fn beginning(text: &str, max: usize) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

/// What made a layer, without the words that builders put before every instruction.
fn instruction(made_by: &str) -> &str {
    let plain = made_by.trim_end_matches("# buildkit").trim();
    let plain = plain.strip_prefix("/bin/sh -c #(nop)").unwrap_or(plain).trim_start();
    plain.strip_prefix("/bin/sh -c").map_or(plain, str::trim_start)
}
