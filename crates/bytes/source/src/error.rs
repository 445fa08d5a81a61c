//! One error for every source: what it was reading, what kind of trouble, and whether trying again can help.

use std::time::Duration;

use glowplug_base::{ByteRange, Hint, Hinted};

/// Why bytes could not be had.
#[derive(Debug, thiserror::Error)]
#[error("reading {name}: {kind}")]
pub struct SourceError {
    /// What was read.
    pub name: String,
    /// What went wrong.
    pub kind: Kind,
    /// The cause underneath, where there is one.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of trouble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The other side does not have it.
    #[error("not found")]
    NotFound,
    /// Credentials are missing or were refused.
    #[error("access denied ({0})")]
    Denied(String),
    /// The other side asks us to slow down.
    #[error("the server asks to wait")]
    Throttled {
        /// How long, where it said so.
        retry_after: Option<Duration>,
    },
    /// The other side failed.
    #[error("the server failed with status {0}")]
    Server(u16),
    /// The answer breaks the protocol.
    #[error("{0}")]
    Protocol(String),
    /// The connection failed or broke.
    #[error("connection failed: {0}")]
    Connection(String),
    /// Nothing came for too long.
    #[error("no byte came for {0:?}")]
    Stalled(Duration),
    /// Fewer or more bytes came than were asked for.
    #[error("bytes {start}..{end} were asked for, {got} bytes came")]
    Short {
        /// First byte asked for.
        start: u64,
        /// End of the range asked for.
        end: u64,
        /// Bytes that came.
        got: u64,
    },
    /// The bytes are not the ones their digest promises.
    #[error("the content does not match its digest")]
    Corrupt,
    /// A local file could not be read.
    #[error("{0}")]
    Io(String),
}

impl SourceError {
    /// An error without a cause underneath.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, source: None }
    }

    /// The same error with the cause underneath kept.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// A [`Kind::Short`].
    pub fn short(name: impl Into<String>, range: ByteRange, got: u64) -> Self {
        Self::new(name, Kind::Short { start: range.start, end: range.end, got })
    }

    /// Whether the same request may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match &self.kind {
            Kind::NotFound | Kind::Denied(_) | Kind::Protocol(_) | Kind::Corrupt | Kind::Io(_) => false,
            Kind::Server(status) => !matches!(status, 501 | 505),
            Kind::Throttled { .. } | Kind::Connection(_) | Kind::Stalled(_) | Kind::Short { .. } => true,
        }
    }
}

impl Hinted for SourceError {
    fn hint(&self) -> Option<Hint> {
        match &self.kind {
            Kind::Denied(_) => Some(Hint::new("log in with `docker login` or check the credential helper")),
            Kind::NotFound => Some(Hint::new("check the name and the tag; the registry has no such content")),
            Kind::Connection(_) => {
                Some(Hint::new("check that the registry is reachable; use --plain-http for one without TLS"))
            }
            Kind::Corrupt => {
                Some(Hint::new("the registry or a proxy serves wrong bytes; try another mirror"))
            }
            _ => None,
        }
    }
}
