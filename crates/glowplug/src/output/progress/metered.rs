//! Counts the bytes of a layer as they pass.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt as _};
use glowplug_base::ByteRange;
use glowplug_source::{ByteStream, RangeSource, SourceError};
use glowplug_timeline::Cause;

use super::{Meter, Progress};

/// A source whose bytes move bars. It stands above whatever retries, so that each byte counts once.
#[derive(Debug)]
pub(super) struct Metered {
    progress: Progress,
    number: usize,
    inner: Arc<dyn RangeSource>,
}

impl Metered {
    pub(super) fn new(progress: Progress, number: usize, inner: Arc<dyn RangeSource>) -> Self {
        Self { progress, number, inner }
    }
}

impl RangeSource for Metered {
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
            let whole = cause == Cause::Metadata && range == ByteRange::new(0, self.size());
            let name = format!("layer {}", self.number);
            let counter = if whole {
                Counter::Layer(self.progress.add(&name, range.len(), Arc::default()))
            } else {
                Counter::Pieces(self.progress.0.arrived.clone())
            };
            let stream = self.inner.open(range, cause).await?;
            Ok(Box::pin(Counted { stream, counter }) as ByteStream)
        })
    }
}

enum Counter {
    Layer(Meter),
    Pieces(Arc<AtomicU64>),
}

struct Counted {
    stream: ByteStream,
    counter: Counter,
}

impl Stream for Counted {
    type Item = Result<Bytes, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.stream.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            let bytes = piece.len() as u64;
            match &self.counter {
                Counter::Layer(meter) => meter.count(bytes),
                Counter::Pieces(arrived) => _ = arrived.fetch_add(bytes, Ordering::Relaxed),
            }
        }
        polled
    }
}
