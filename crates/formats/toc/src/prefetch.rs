//! The list of spans of one layer that the image's owner wants fetched first.
//!
//! Source of the format: `soci/prefetch.go` of the SOCI snapshotter.

use serde::{Deserialize, Serialize};

/// Media type of the list in an index manifest.
pub const MEDIA_TYPE: &str = "application/vnd.amazon.soci.prefetch.v1+json";

const VERSION: &str = "1.0";
/// Largest list taken, in bytes; an entry has about 40.
const MAX_BYTES: usize = 16 << 20;

/// Spans to fetch first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefetch {
    /// Ranges of spans. The list is never empty.
    pub spans: Vec<PrefetchSpan>,
}

/// A range of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefetchSpan {
    /// Number of the first span.
    pub start_span: u32,
    /// Number of the last span, which belongs to the range; never below the first.
    pub end_span: u32,
    /// Lower ones first; 0 if its maker had no opinion.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(priority: &i64) -> bool {
    *priority == 0
}

/// Why bytes are no prefetch list.
#[derive(Debug, thiserror::Error)]
pub enum PrefetchError {
    /// More than 16 MiB.
    #[error("{0} bytes are too many for a prefetch list")]
    TooLarge(usize),
    /// No JSON, or not that of a prefetch list.
    #[error("malformed prefetch list")]
    Json(#[from] serde_json::Error),
    /// The version is not 1.0.
    #[error("unsupported version {0:?}")]
    Version(String),
    /// No spans at all.
    #[error("empty prefetch list")]
    Empty,
    /// A range ends before it begins.
    #[error("range {index} of spans ends before it begins")]
    Range {
        /// Position in the list.
        index: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: String,
    prefetch_spans: Vec<PrefetchSpan>,
}

impl Prefetch {
    /// Parses a list.
    ///
    /// # Errors
    /// [`PrefetchError`] if the bytes are no list of version 1.0 or an empty one.
    pub fn parse(bytes: &[u8]) -> Result<Self, PrefetchError> {
        if bytes.len() > MAX_BYTES {
            return Err(PrefetchError::TooLarge(bytes.len()));
        }
        let document: Document = serde_json::from_slice(bytes)?;
        if document.version != VERSION {
            return Err(PrefetchError::Version(document.version.chars().take(20).collect()));
        }
        let spans = document.prefetch_spans;
        if spans.is_empty() {
            return Err(PrefetchError::Empty);
        }
        match spans.iter().position(|span| span.end_span < span.start_span) {
            Some(index) => Err(PrefetchError::Range { index }),
            None => Ok(Self { spans }),
        }
    }

    /// The bytes of the list, equal to those of the reference tool for the same spans.
    pub fn encode(&self) -> Vec<u8> {
        let document = Document { version: VERSION.to_owned(), prefetch_spans: self.spans.clone() };
        serde_json::to_vec(&document).expect("numbers and texts can always be written")
    }
}
