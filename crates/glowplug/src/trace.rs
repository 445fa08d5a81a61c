//! Timelines drawn for people: a waterfall for the terminal and a self-contained page.
//!
//! Both renderers draw the same [`rows`]: the four waits, and under each the work that was on the critical path, solid
//! where the start waited for it and faint where it went on beside something else. The numbers of the waits add up to
//! the time until ready. Nothing here decides what the critical path is; `glowplug_timeline::reduce` does.

mod canvas;
mod chart;
mod lanes;
mod page;
mod raster;
mod rows;
mod scale;
mod summary;
mod terminal;
mod text;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use glowplug_timeline::{Limits, read, reduce};

pub use page::page;
pub use terminal::{Style, waterfall};

/// `glowplug trace show FILE [--html OUT]`: draws a recorded timeline on standard output and, if asked, as a page.
///
/// # Errors
/// The file cannot be read or is not a timeline (a `CodecError` in the chain knows the way out), the page or standard
/// output cannot be written. A reader that closed standard output is no error.
pub fn show(file: &Path, html: Option<&Path>, style: Style) -> anyhow::Result<()> {
    let context = || format!("reading the timeline {}", file.display());
    let limits = Limits::default();
    let mut text = String::new();
    // One byte more than the limit is enough for the codec to see that the file is too long.
    let bound = limits.total_bytes as u64 + 1;
    fs::File::open(file).and_then(|file| file.take(bound).read_to_string(&mut text)).with_context(context)?;
    let events = read(&text, limits).with_context(context)?.events;
    let report = reduce(&events).with_context(context)?;
    if let Some(out) = html {
        fs::write(out, page(&report, &events)).with_context(|| format!("writing {}", out.display()))?;
    }
    match io::stdout().lock().write_all(waterfall(&report, &events, style).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("writing the waterfall")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
