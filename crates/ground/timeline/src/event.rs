//! The event schema. Times are nanoseconds since the command began, on one monotonic clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The four waits of a cold start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Finding somewhere to run.
    Place,
    /// Getting the bytes; stalls of the application on missing bytes count here too.
    Pull,
    /// Making the container.
    Create,
    /// The application gets ready.
    Init,
}

impl Phase {
    /// All phases in the order of a start.
    pub const ALL: [Self; 4] = [Self::Place, Self::Pull, Self::Create, Self::Init];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "place",
            Self::Pull => "pull",
            Self::Create => "create",
            Self::Init => "init",
        })
    }
}

/// Why bytes were fetched, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// A reader waits for them.
    Fault,
    /// Metadata without which nothing can start: manifests, configurations, indexes.
    Metadata,
    /// The start profile says that they will be read.
    Profile,
    /// Nothing else wanted the link.
    Background,
}

impl Cause {
    /// All causes, most urgent first.
    pub const ALL: [Self; 4] = [Self::Fault, Self::Metadata, Self::Profile, Self::Background];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fault => "fault",
            Self::Metadata => "metadata",
            Self::Profile => "profile",
            Self::Background => "background",
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The first line of every timeline.
    Header(Header),
    /// A piece of work with a begin and an end.
    Span(Span),
    /// A reader of the image waited for bytes that were not here.
    Stall(Stall),
    /// Bytes came over the network.
    Fetch(Fetch),
    /// A moment.
    Mark(Mark),
}

/// What the timeline is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Schema version; readers refuse a newer one.
    pub version: u32,
    /// The image as the user named it.
    pub image: String,
    /// Wall-clock time at which `t = 0`, in nanoseconds since the Unix epoch.
    pub unix_start_ns: u64,
    /// Version of the program that recorded.
    pub recorder: String,
    /// Bytes of all layers of the image as they travel, when the manifest was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_bytes: Option<u64>,
}

impl Header {
    /// The schema version that this crate writes, and the newest that it reads.
    pub const VERSION: u32 = 1;

    /// A header of this version for a start of `image` at `unix_start_ns`, recorded by program version `recorder`.
    pub fn new(image: impl Into<String>, unix_start_ns: u64, recorder: impl Into<String>) -> Self {
        Self {
            version: Self::VERSION,
            image: image.into(),
            unix_start_ns,
            recorder: recorder.into(),
            image_bytes: None,
        }
    }
}

/// A piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The wait it belongs to.
    pub phase: Phase,
    /// What was done, in a few words: `resolve manifest`, `mount`, `exec`.
    pub name: String,
    /// Begin, nanoseconds.
    pub start_ns: u64,
    /// End, nanoseconds.
    pub end_ns: u64,
    /// Free text for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A reader waited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Begin, nanoseconds.
    pub start_ns: u64,
    /// End, nanoseconds.
    pub end_ns: u64,
    /// The file that was read, inside the image.
    pub path: String,
    /// Bytes the reader asked for.
    pub bytes: u64,
}

/// Bytes came over the network in one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Why.
    pub cause: Cause,
    /// What was read: a blob digest or a document's name.
    pub what: String,
    /// Begin of the request, nanoseconds.
    pub start_ns: u64,
    /// First byte of the answer, nanoseconds.
    pub first_byte_ns: u64,
    /// Last byte, nanoseconds.
    pub end_ns: u64,
    /// Offset of the first byte in the blob.
    pub offset: u64,
    /// Bytes that came.
    pub bytes: u64,
}

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, nanoseconds.
    pub at_ns: u64,
    /// What: one of the names below, or free text.
    pub name: String,
}

impl Mark {
    /// The container's first process was executed: *init* begins.
    pub const EXEC: &'static str = "exec";
    /// The application answered that it is ready: the cold start is over.
    pub const READY: &'static str = "ready";
    /// Every byte of the image is on this node.
    pub const COMPLETE: &'static str = "complete";
    /// A layer was held as a whole against the index that was published for it, which is right; once for each such layer.
    pub const CONFIRMED: &'static str = "confirmed";
    /// A layer turned out to be something else than the index says that was published for it; once for each such layer.
    pub const CONTRADICTED: &'static str = "contradicted";
    /// The container ended.
    pub const EXIT: &'static str = "exit";
}
