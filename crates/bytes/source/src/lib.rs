//! Where remote bytes come from: one trait and its decorators, one file each.
//!
//! A [`RangeSource`] hands out byte ranges of one immutable blob as streams. It promises nothing about truth: whoever
//! keeps the bytes verifies them. A stream yields exactly the bytes asked for, or an error; never fewer, never zeros.
#![forbid(unsafe_code)]

mod elsewhere;
mod error;
mod fault;
mod memory;
mod retry;
mod trace;

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_timeline::Cause;

pub use elsewhere::Elsewhere;
pub use error::{Kind, SourceError};
pub use fault::{Fault, Faulty};
pub use memory::MemorySource;
pub use retry::{Retry, RetryPolicy};
pub use trace::Traced;

/// The bytes of one range, in order.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

/// One immutable blob that can be read by ranges.
pub trait RangeSource: Send + Sync + Debug {
    /// What is read, for messages: a digest or a file name.
    fn name(&self) -> &str;

    /// Who sends the bytes, so that requests to one host can be counted together; empty where nobody else does.
    fn host(&self) -> &str {
        ""
    }

    /// Length of the blob in bytes.
    fn size(&self) -> u64;

    /// Opens `range`, which must lie inside the blob.
    ///
    /// # Errors
    /// Whatever kept the first byte from coming; later trouble arrives inside the stream.
    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>>;

    /// Says that bytes of `range` that came from here were wrong: the next time it is opened, what lies between may not
    /// answer from what it keeps. A source that nothing lies before does nothing.
    fn distrust(&self, _range: ByteRange) {}
}

/// Reads a whole range into memory.
///
/// # Errors
/// The source's own, or [`Kind::Short`] when fewer or more bytes came than asked for.
pub async fn read_all(
    source: &dyn RangeSource,
    range: ByteRange,
    cause: Cause,
) -> Result<Vec<u8>, SourceError> {
    use futures::StreamExt as _;
    let mut stream = source.open(range, cause).await?;
    let mut bytes = Vec::with_capacity(usize::try_from(range.len()).unwrap_or(0));
    while let Some(piece) = stream.next().await {
        bytes.extend_from_slice(&piece?);
        if bytes.len() as u64 > range.len() {
            break;
        }
    }
    if bytes.len() as u64 != range.len() {
        return Err(SourceError::short(source.name(), range, bytes.len() as u64));
    }
    Ok(bytes)
}
