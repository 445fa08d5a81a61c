//! Holds an index against its limits while it is made, so that what no reader would take is refused at the first entry
//! or span too many.

use serde::Serialize;

use crate::{Entry, Limits, Span};

/// Bytes of the body beside entries and spans, rounded up: a digest, five numbers and two lengths.
const FIXED_BYTES: u64 = 128;

/// What an index has so far.
#[derive(Debug, Clone)]
pub struct Tally {
    limits: Limits,
    entries: u64,
    spans: u64,
    body_bytes: u64,
}

/// Something that an index may not have so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit} {what}")]
pub struct Excess {
    /// What there is too much of, its unit included.
    pub what: &'static str,
    /// The limit.
    pub limit: u64,
}

impl Tally {
    /// Nothing counted yet.
    pub const fn new(limits: Limits) -> Self {
        Self { limits, entries: 0, spans: 0, body_bytes: FIXED_BYTES }
    }

    /// Counts an entry.
    ///
    /// # Errors
    /// It is one too many, or the index gets too long.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), Excess> {
        self.entries += 1;
        within(self.entries, self.limits.entries as u64, "entries")?;
        self.body(entry)
    }

    /// Counts a span.
    ///
    /// # Errors
    /// It is one too many or too long, or the index gets too long.
    pub fn span(&mut self, span: &Span) -> Result<(), Excess> {
        self.spans += 1;
        within(self.spans, self.limits.spans as u64, "spans")?;
        self.open_span(span.stream.len(), span.data.len())?;
        self.body(span)
    }

    /// Checks a span that goes on: its pieces of the stream and of the data file, in bytes.
    ///
    /// # Errors
    /// It is too long already.
    pub fn open_span(&self, stream: u64, data: u64) -> Result<(), Excess> {
        within(stream, self.limits.span_bytes, "bytes of the archive without a place to cut it")?;
        within(data, self.limits.span_data_bytes, "bytes of files in one piece")
    }

    /// Checks the length that the data file will have, in bytes.
    ///
    /// # Errors
    /// It is too long.
    pub fn data_file(&self, bytes: u64) -> Result<(), Excess> {
        within(bytes, self.limits.data_bytes, "bytes of files")
    }

    fn body(&mut self, part: &impl Serialize) -> Result<(), Excess> {
        // Counting cannot fail; if it did, the part would be longer than memory.
        let counted = postcard::serialize_with_flavor(part, postcard::ser_flavors::Size::default());
        self.body_bytes = self.body_bytes.saturating_add(counted.map_or(u64::MAX, |bytes| bytes as u64));
        within(self.body_bytes, self.limits.body_bytes, "bytes of names, attributes and places in its index")
    }
}

const fn within(value: u64, limit: u64, what: &'static str) -> Result<(), Excess> {
    if value <= limit { Ok(()) } else { Err(Excess { what, limit }) }
}
