//! The report for a terminal.

use std::fmt::Write as _;

use glowplug_base::size::human;
use glowplug_convert::diet::{Finding, Item};

use super::{ESTIMATES, Report, beginning, instruction, seconds, start_seconds};
use crate::page::words::{count, terminal};

/// Columns of text before what belongs to a finding.
const INDENT: usize = 4;
/// Columns of the widest lines; longer ones are hard to read.
const MAX_WIDTH: usize = 130;
/// Less of a note tells nothing.
const NOTE_MIN_CHARS: usize = 16;
/// Columns of the narrowest.
const MIN_WIDTH: usize = 60;

/// The table, `top` files for each finding, at most `width` columns wide where paths allow it.
pub fn table(report: &Report<'_>, top: usize, width: usize) -> String {
    let width = width.clamp(MIN_WIDTH, MAX_WIDTH);
    let (diet, inventory) = (report.diet, report.inventory);
    let mut out = String::new();
    let _ = writeln!(out, "{}\n{}\n", terminal(report.image, true), report.manifest);
    let pull = format!(
        "{} to pull in {}, {} unpacked in {}; at {} Mbit/s a pull takes {}.",
        human(inventory.blob_bytes()),
        count(inventory.layers.len() as u64, "layer"),
        human(inventory.bytes()),
        count(inventory.files.len() as u64, "file"),
        diet.link_mbit,
        seconds(diet.seconds(inventory.blob_bytes())),
    );
    paragraph(&mut out, &pull, 0, width);
    let mut verdict = format!(
        "{} of that need not be there, {} of the pull.",
        human(diet.spare.blob_bytes),
        seconds(diet.seconds(diet.spare.blob_bytes)),
    );
    if diet.idle.files > 0 {
        let _ = write!(
            verdict,
            " {} more, {}, no recorded start touched.",
            human(diet.idle.blob_bytes),
            seconds(diet.seconds(diet.idle.blob_bytes))
        );
    }
    let start: f64 = diet.findings.iter().map(|finding| finding.start_seconds).sum();
    if start > 0.0 {
        let _ = write!(verdict, " Every start loses {} beside that.", start_seconds(start));
    }
    paragraph(&mut out, &verdict, 0, width);
    let _ = writeln!(
        out,
        "\n{:>2}  {:>8}  {:>7}  {:>7}  {:>8}  finding",
        "", "to pull", "pull", "start", "unpacked"
    );
    for (number, finding) in diet.findings.iter().enumerate() {
        entry(&mut out, number + 1, finding, report, top, width);
    }
    if diet.findings.is_empty() {
        out.push_str("nothing found\n");
    }
    beside(&mut out, report, top, width);
    let _ = writeln!(out, "\nlayers");
    for (number, layer) in inventory.layers.iter().enumerate() {
        let made_by = report.made_by.get(number).and_then(Option::as_deref).map_or("", instruction);
        let made_by =
            beginning(&terminal(&made_by.replace(['\n', '\t'], " "), true), width.saturating_sub(23));
        let _ = writeln!(out, "{number:>2}  {:>8}  {:>7}  {made_by}", human(layer.blob_bytes), layer.files);
    }
    out.push('\n');
    paragraph(&mut out, ESTIMATES, 0, width);
    if let Some(left_out) = report.not_looked_at() {
        paragraph(&mut out, &left_out, 0, width);
    }
    out
}

/// What lies beside the image already.
fn beside(out: &mut String, report: &Report<'_>, top: usize, width: usize) {
    let (Some(artifact), Some(words)) = (report.beside, report.lies_beside()) else { return };
    out.push_str("\nmodels beside the image\n");
    paragraph(out, &words, INDENT, width);
    let files = &artifact.models.files;
    for file in files.iter().take(top) {
        let _ = writeln!(out, "{:INDENT$}{:>8}  {}", "", human(file.size), terminal(&file.path, true));
    }
    more(out, files.len(), top);
}

/// Says how many are not named.
fn more(out: &mut String, all: usize, top: usize) {
    let more = all.saturating_sub(top);
    if more > 0 && top > 0 {
        let _ = writeln!(out, "{:INDENT$}{:>8}  {more} more", "", "");
    }
}

fn entry(out: &mut String, number: usize, finding: &Finding, report: &Report<'_>, top: usize, width: usize) {
    let own = finding.own;
    let _ = writeln!(
        out,
        "{number:>2}  {:>8}  {:>7}  {:>7}  {:>8}  {}",
        human(own.blob_bytes),
        if own.blob_bytes > 0 { seconds(finding.pull_seconds) } else { "–".to_owned() },
        start_seconds(finding.start_seconds),
        human(own.bytes),
        finding.rule.title(),
    );
    let mut facts = format!("{}, paid by {}", count(own.files as u64, "file"), finding.cost.words());
    if finding.all != own {
        let more = finding.all.blob_bytes - own.blob_bytes;
        let _ = write!(facts, "; {} more are counted at other findings", human(more));
    }
    paragraph(out, &facts, INDENT, width);
    paragraph(out, &finding.way_out, INDENT, width);
    for item in finding.items.iter().take(top) {
        line(out, item, report, width);
    }
    more(out, finding.items.len(), top);
    out.push('\n');
}

fn line(out: &mut String, item: &Item, report: &Report<'_>, width: usize) {
    let file = &report.inventory.files[item.file];
    let bytes = if item.bytes > 0 { human(item.blob_bytes) } else { human(file.bytes) };
    let path = terminal(&file.path, true);
    let note = item.note.as_ref().map_or(String::new(), |note| format!(" ({})", terminal(note, true)));
    let used = INDENT + 10;
    // A path is for copying: only what is said about it is shortened.
    let room = width.saturating_sub(used + path.chars().count());
    let note = if room < NOTE_MIN_CHARS { String::new() } else { beginning(&note, room) };
    let _ = writeln!(out, "{:INDENT$}{bytes:>8}  {path}{note}", "");
}

/// Text broken between words, `indent` columns from the left.
fn paragraph(out: &mut String, text: &str, indent: usize, width: usize) {
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && indent + used + 1 + length > width {
            out.push('\n');
            used = 0;
        }
        let gap = if used == 0 { " ".repeat(indent) } else { " ".to_owned() };
        let _ = write!(out, "{gap}{}", terminal(word, true));
        used += length + usize::from(used > 0);
    }
    out.push('\n');
}
