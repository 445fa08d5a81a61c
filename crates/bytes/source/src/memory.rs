//! A blob that is already in memory: for small documents and for tests.

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_timeline::Cause;

use crate::{ByteStream, RangeSource, SourceError};

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct MemorySource {
    name: String,
    bytes: Bytes,
}

impl MemorySource {
    /// A source over `bytes`.
    pub fn new(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl RangeSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn open(&self, range: ByteRange, _cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        Box::pin(async move {
            if range.end > self.size() {
                return Err(SourceError::short(&self.name, range, self.size().saturating_sub(range.start)));
            }
            // In pieces, so that tests see what a network would do.
            let whole = self.bytes.slice(range.start as usize..range.end as usize);
            let pieces: Vec<_> = whole.chunks(64 * 1024).map(|piece| Ok(whole.slice_ref(piece))).collect();
            Ok(Box::pin(futures::stream::iter(pieces)) as ByteStream)
        })
    }
}
