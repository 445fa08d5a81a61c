//! Timelines as JSON lines: one event a line, the header first.
//!
//! Old reader, new data: a header of a newer version is refused with the version that is needed; within one version new
//! kinds of events and new fields may be added, so an unknown `event` is left out and counted, and unknown fields are
//! ignored. New reader, old data: every version up to [`Header::VERSION`] is read. A file is hostile until it is read:
//! [`Limits`] bound it, and nothing panics.

use std::borrow::Cow;

use glowplug_base::{Hint, Hinted};
use serde::Deserialize;

use crate::{Event, Header};

/// How much a reader takes before it calls a file broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole text.
    pub total_bytes: usize,
    /// Bytes of one line.
    pub line_bytes: usize,
    /// Lines that are not empty.
    pub lines: usize,
}

impl Default for Limits {
    /// A start that stalls 10 000 times a second for a minute fits; what is longer is not a timeline.
    fn default() -> Self {
        Self { total_bytes: 256 << 20, line_bytes: 64 << 10, lines: 1_000_000 }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The events in the order of the file; the first is the header.
    pub events: Vec<Event>,
    /// Lines whose kind of event this version does not know; they were left out.
    pub unknown: usize,
}

/// Why a text is not a timeline that can be read. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// There is nothing in it.
    #[error("timeline is empty")]
    Empty,
    /// It does not begin with a header.
    #[error("line {line}: expected the timeline's header, found {found}")]
    NoHeader {
        /// The line.
        line: usize,
        /// What stands there instead.
        found: String,
    },
    /// A header that is not the first line: two timelines in one file.
    #[error("line {line}: a second header; the file holds more than one timeline")]
    SecondHeader {
        /// The line.
        line: usize,
    },
    /// It was written by a program whose schema is newer.
    #[error("line {line}: timeline version {version} is not supported, only versions 1 to {supported} are")]
    Version {
        /// The line.
        line: usize,
        /// The version in the header.
        version: u64,
        /// The newest version that can be read here.
        supported: u32,
    },
    /// A line is not an event.
    #[error("line {line}: not an event")]
    Malformed {
        /// The line.
        line: usize,
        /// What the JSON parser says.
        #[source]
        source: serde_json::Error,
    },
    /// The text, or one line of it, is longer than the limits allow.
    #[error("line {line}: the timeline is longer than {limit} {what}")]
    TooLong {
        /// The line at which the limit was passed.
        line: usize,
        /// The limit.
        limit: usize,
        /// What is counted.
        what: &'static str,
    },
}

impl Hinted for CodecError {
    fn hint(&self) -> Option<Hint> {
        Some(Hint::new(match self {
            Self::Version { .. } => "read it with the glowplug that wrote it, or a newer one",
            Self::SecondHeader { .. } => "split the file before each header and read the parts one by one",
            Self::Malformed { .. } => "if the recording was cut off, remove the incomplete last line",
            Self::Empty | Self::NoHeader { .. } | Self::TooLong { .. } => {
                "give a file written by `glowplug run --timeline FILE`"
            }
        }))
    }
}

/// Writes events one a line. The first must be the [`Header`] for [`read()`] to take the text back.
pub fn write(events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        text.push_str(&serde_json::to_string(event).expect("strings and integers always have a JSON form"));
        text.push('\n');
    }
    text
}

/// Reads what [`write()`] wrote; empty lines are skipped.
///
/// # Errors
/// [`CodecError`], with the line: no header first, a newer version, something that is not an event, a limit passed.
pub fn read(text: &str, limits: Limits) -> Result<Reading, CodecError> {
    let mut reading = Reading { events: Vec::new(), unknown: 0 };
    let too_long = |line, limit, what| Err(CodecError::TooLong { line, limit, what });
    if text.len() > limits.total_bytes {
        return too_long(1, limits.total_bytes, "bytes");
    }
    let lines = text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    for (taken, (index, text)) in lines.enumerate() {
        let line = index + 1;
        if taken >= limits.lines {
            return too_long(line, limits.lines, "lines");
        }
        if text.len() > limits.line_bytes {
            return too_long(line, limits.line_bytes, "bytes in one line");
        }
        let tag: Tag<'_> = serde_json::from_str(text).map_err(|source| match taken {
            0 => CodecError::NoHeader { line, found: format!("something else ({source})") },
            _ => CodecError::Malformed { line, source },
        })?;
        match (taken, tag.event.as_ref()) {
            (0, "header") => check_version(line, tag.version)?,
            (0, other) => return Err(CodecError::NoHeader { line, found: format!("event {other:?}") }),
            (_, "header") => return Err(CodecError::SecondHeader { line }),
            (_, "span" | "stall" | "fetch" | "mark") => {}
            (_, _) => {
                reading.unknown += 1;
                continue;
            }
        }
        let event = serde_json::from_str(text).map_err(|source| CodecError::Malformed { line, source })?;
        reading.events.push(event);
    }
    if reading.events.is_empty() { Err(CodecError::Empty) } else { Ok(reading) }
}

/// As much of a line as every version has: its kind, and the version in a header.
#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(default)]
    version: u64,
}

/// The version is looked at before the rest of the header, which a newer version may have changed.
fn check_version(line: usize, version: u64) -> Result<(), CodecError> {
    if (1..=u64::from(Header::VERSION)).contains(&version) {
        return Ok(());
    }
    Err(CodecError::Version { line, version, supported: Header::VERSION })
}

#[cfg(test)]
mod tests;
