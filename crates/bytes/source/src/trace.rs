//! Records every request of a source in the timeline.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use glowplug_base::ByteRange;
use glowplug_timeline::{Cause, Fetch, Timeline};

use crate::{ByteStream, RangeSource, SourceError};

/// A source whose requests appear in a timeline.
#[derive(Debug)]
pub struct Traced {
    inner: Arc<dyn RangeSource>,
    timeline: Timeline,
}

impl Traced {
    /// Traces `inner` into `timeline`.
    pub fn new(inner: Arc<dyn RangeSource>, timeline: Timeline) -> Self {
        Self { inner, timeline }
    }
}

impl RangeSource for Traced {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn host(&self) -> &str {
        self.inner.host()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn distrust(&self, range: ByteRange) {
        self.inner.distrust(range);
    }

    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        Box::pin(async move {
            let start_ns = self.timeline.now_ns();
            let stream = self.inner.open(range, cause).await?;
            let fetch = Fetch {
                cause,
                what: self.name().to_owned(),
                start_ns,
                first_byte_ns: self.timeline.now_ns(),
                end_ns: 0,
                offset: range.start,
                bytes: 0,
            };
            Ok(Box::pin(Counted { stream, open: Some(fetch), timeline: self.timeline.clone() }) as ByteStream)
        })
    }
}

/// Counts until the stream ends or is dropped; a request given up halfway is recorded too.
struct Counted {
    stream: ByteStream,
    open: Option<Fetch>,
    timeline: Timeline,
}

impl Stream for Counted {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        let polled = self.stream.poll_next_unpin(context);
        if let (std::task::Poll::Ready(Some(Ok(piece))), Some(fetch)) = (&polled, &mut self.open) {
            fetch.bytes += piece.len() as u64;
        }
        polled
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut fetch) = self.open.take() {
            fetch.end_ns = self.timeline.now_ns();
            self.timeline.fetch(fetch);
        }
    }
}
