//! Trouble on demand: the network's bad days, for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_timeline::Cause;

use crate::{ByteStream, Kind, RangeSource, SourceError};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is refused with this status.
    Status(u16),
    /// The connection breaks after so many bytes.
    Reset(u64),
    /// The stream ends after so many bytes as if all were well.
    Short(u64),
    /// One bit in the middle of the first piece is wrong.
    Flip,
    /// Nothing ever comes after so many bytes.
    Hang(u64),
}

/// A source that misbehaves as a schedule says.
pub struct Faulty {
    inner: Arc<dyn RangeSource>,
    schedule: Box<dyn Fn(u64) -> Fault + Send + Sync>,
    requests: AtomicU64,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Faulty {
    /// Wraps `inner`; `schedule` maps the number of a request, from 0, to its fate.
    pub fn new(inner: Arc<dyn RangeSource>, schedule: impl Fn(u64) -> Fault + Send + Sync + 'static) -> Self {
        Self { inner, schedule: Box::new(schedule), requests: AtomicU64::new(0) }
    }

    /// How many requests were made.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl RangeSource for Faulty {
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
        let fault = (self.schedule)(self.requests.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            if let Fault::Status(status) = fault {
                return Err(SourceError::new(self.name(), Kind::Server(status)));
            }
            let stream = self.inner.open(range, cause).await?;
            let name = self.name().to_owned();
            Ok(match fault {
                Fault::None | Fault::Status(_) => stream,
                Fault::Reset(after) => {
                    let broken =
                        SourceError::new(name, Kind::Connection("reset by fault injection".to_owned()));
                    Box::pin(first(stream, after).chain(futures::stream::iter([Err(broken)])))
                }
                Fault::Short(after) => first(stream, after),
                Fault::Hang(after) => Box::pin(first(stream, after).chain(futures::stream::pending())),
                Fault::Flip => {
                    let mut done = false;
                    Box::pin(stream.map(move |piece| {
                        let mut bytes = piece?.to_vec();
                        let middle = bytes.len() / 2;
                        if let (false, Some(byte)) = (done, bytes.get_mut(middle)) {
                            *byte ^= 1;
                            done = true;
                        }
                        Ok(Bytes::from(bytes))
                    }))
                }
            })
        })
    }
}

/// The first `limit` bytes of a stream.
fn first(stream: ByteStream, limit: u64) -> ByteStream {
    Box::pin(stream.scan(limit, |left, piece| {
        let cut = piece.map(|bytes| {
            let take = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            bytes.slice(..take)
        });
        let ended = *left == 0;
        if let Ok(bytes) = &cut {
            *left -= bytes.len() as u64;
        }
        std::future::ready(if ended { None } else { Some(cut) })
    }))
}
