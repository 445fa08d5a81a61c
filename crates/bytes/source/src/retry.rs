//! Resumes broken streams where they broke, with a pause that grows, until an attempt budget or a deadline is used up.
//!
//! A stream that delivers bytes earns its attempts back: what counts is progress, not the number of breaks. A stream
//! that delivers nothing for [`RetryPolicy::stall`] is cut and asked for again.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_timeline::Cause;

use crate::{ByteStream, Kind, RangeSource, SourceError};

/// How patient to be.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// Attempts without a byte of progress before the error is passed on.
    pub attempts: u32,
    /// First pause; each further one is twice as long.
    pub first_pause: Duration,
    /// Longest pause, also for what a server asks by Retry-After.
    pub longest_pause: Duration,
    /// How long a stream may deliver nothing.
    pub stall: Duration,
}

impl Default for RetryPolicy {
    /// Six attempts within about six seconds of pauses; ten seconds of silence count as broken. A reader behind a
    /// page fault waits for this, so it must end before people give up, yet outlive a registry's restart.
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            stall: Duration::from_secs(10),
        }
    }
}

/// A source that does not give up at the first trouble.
#[derive(Debug, Clone)]
pub struct Retry {
    inner: Arc<dyn RangeSource>,
    policy: RetryPolicy,
}

impl Retry {
    /// Retries `inner` as `policy` says.
    pub fn new(inner: Arc<dyn RangeSource>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }
}

impl RangeSource for Retry {
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
            let mut attempt = Attempt {
                inner: self.inner.clone(),
                policy: self.policy,
                left: range,
                cause,
                failures: 0,
                stream: None,
            };
            attempt.connect().await?;
            Ok(Box::pin(futures::stream::unfold(Some(attempt), |attempt| async move {
                let mut attempt = attempt?;
                match attempt.next().await {
                    Ok(Some(piece)) => Some((Ok(piece), Some(attempt))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            })) as ByteStream)
        })
    }
}

/// One range on its way, through as many requests as it takes.
struct Attempt {
    inner: Arc<dyn RangeSource>,
    policy: RetryPolicy,
    left: ByteRange,
    cause: Cause,
    failures: u32,
    stream: Option<ByteStream>,
}

impl Attempt {
    async fn connect(&mut self) -> Result<(), SourceError> {
        while self.stream.is_none() {
            let opening = self.inner.open(self.left, self.cause);
            match tokio::time::timeout(self.policy.stall, opening).await {
                Ok(Ok(stream)) => self.stream = Some(stream),
                Ok(Err(error)) => self.failed(error).await?,
                Err(_) => self.failed(self.stalled()).await?,
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<bytes::Bytes>, SourceError> {
        while !self.left.is_empty() {
            self.connect().await?;
            let Some(stream) = &mut self.stream else { continue };
            let trouble = match tokio::time::timeout(self.policy.stall, stream.next()).await {
                Ok(Some(Ok(piece))) if piece.is_empty() => continue,
                Ok(Some(Ok(mut piece))) => {
                    piece.truncate(usize::try_from(self.left.len()).unwrap_or(usize::MAX));
                    self.left.start += piece.len() as u64;
                    self.failures = 0;
                    return Ok(Some(piece));
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => SourceError::short(self.inner.name(), self.left, 0),
                Err(_) => self.stalled(),
            };
            self.stream = None;
            self.failed(trouble).await?;
        }
        Ok(None)
    }

    fn stalled(&self) -> SourceError {
        SourceError::new(self.inner.name(), Kind::Stalled(self.policy.stall))
    }

    /// Pauses before the next attempt, or passes the error on.
    async fn failed(&mut self, error: SourceError) -> Result<(), SourceError> {
        self.failures += 1;
        if !error.is_retryable() || self.failures >= self.policy.attempts {
            return Err(error);
        }
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        let pause = match error.kind {
            Kind::Throttled { retry_after: Some(asked) } => asked.max(doubled),
            _ => doubled,
        };
        tracing::debug!(%error, failures = self.failures, "fetch failed, trying again");
        tokio::time::sleep(pause.min(self.policy.longest_pause)).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, Faulty, MemorySource, read_all};

    fn run(schedule: fn(u64) -> Fault) -> (Result<Vec<u8>, SourceError>, u64) {
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        let faulty = Arc::new(Faulty::new(Arc::new(MemorySource::new("blob", bytes)), schedule));
        let retry = Retry::new(faulty.clone(), RetryPolicy::default());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let result = runtime.block_on(read_all(&retry, ByteRange::new(10, 199_990), Cause::Fault));
        (result, faulty.requests())
    }

    fn expected() -> Vec<u8> {
        (0..200_000_u32).map(|i| (i % 251) as u8).collect::<Vec<_>>()[10..199_990].to_vec()
    }

    #[test]
    fn breaks_are_resumed_where_they_happened() {
        for schedule in [
            (|n| if n < 8 { Fault::Reset(20_000) } else { Fault::None }) as fn(u64) -> Fault,
            |n| if n < 3 { Fault::Short(1) } else { Fault::None },
            |n| if n < 4 { Fault::Status(503) } else { Fault::None },
            |n| if n == 0 { Fault::Hang(100_000) } else { Fault::None },
        ] {
            assert_eq!(run(schedule).0.unwrap(), expected());
        }
    }

    #[test]
    fn hopeless_cases_end() {
        let (result, requests) = run(|_| Fault::Status(500));
        assert_eq!((result.unwrap_err().kind, requests), (Kind::Server(500), 6));
        let (result, requests) = run(|_| Fault::Status(501));
        assert_eq!((result.unwrap_err().kind, requests), (Kind::Server(501), 1));
    }
}
