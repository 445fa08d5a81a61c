//! A blob in a registry, read by ranges.
//!
//! Registries commonly answer with a redirect to a presigned URL of an object store. That URL is kept and asked
//! directly, without credentials, until it is refused; then the registry is asked once more.
//!
//! Bytes that were wrong are asked for with `Cache-Control: no-cache` the next time, so that a mirror learns of it and
//! fetches them itself; if they are wrong again, the mirrors are passed over for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{ByteRange, RangeSet};
use glowplug_oci::Descriptor;
use glowplug_source::{ByteStream, Kind, RangeSource, SourceError};
use glowplug_timeline::Cause;
use reqwest::header::{self, HeaderValue};
use reqwest::{Response, StatusCode, Url};

use super::upstream::Upstream;
use crate::endpoint::Endpoint;
use crate::http::{self, Call};

/// One blob.
#[derive(Debug)]
pub(crate) struct RemoteBlob {
    repository: Arc<Upstream>,
    /// The digest: what the timeline calls it.
    name: String,
    size: u64,
    /// Where the last redirect led.
    presigned: Mutex<Option<Url>>,
    doubts: Mutex<Doubts>,
}

/// Where bytes were wrong.
#[derive(Debug, Default)]
struct Doubts {
    /// Everywhere so far.
    ever: RangeSet,
    /// Where nobody has asked anew yet.
    due: Vec<ByteRange>,
}

impl RemoteBlob {
    pub(super) fn new(repository: Arc<Upstream>, descriptor: &Descriptor) -> Self {
        let name = descriptor.digest.to_string();
        Self {
            repository,
            name,
            size: descriptor.size,
            presigned: Mutex::new(None),
            doubts: Mutex::default(),
        }
    }

    fn error(&self, kind: Kind) -> SourceError {
        SourceError::new(&self.name, kind)
    }

    fn protocol(&self, what: impl Into<String>) -> SourceError {
        self.error(Kind::Protocol(what.into()))
    }

    fn presigned(&self) -> Option<Url> {
        self.presigned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, url: Option<Url>) {
        *self.presigned.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether bytes of `range` were wrong and are now asked for anew, for the first time.
    fn is_due(&self, range: ByteRange) -> bool {
        let mut doubts = self.doubts();
        let before = doubts.due.len();
        doubts.due.retain(|due| !due.overlaps(&range));
        doubts.due.len() < before
    }

    /// The request for `range` at `url`; the whole blob needs no Range header, which caches like best. `anew` asks
    /// whoever lies between not to answer from what it keeps.
    fn call(&self, url: Url, range: ByteRange, anew: bool) -> Call {
        let mut call = Call::get(url);
        if anew {
            call.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if range.start > 0 || range.end < self.size {
            let value = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1));
            call.headers.extend(value.ok().map(|value| (header::RANGE, value)));
        }
        call
    }

    async fn connect(&self, range: ByteRange) -> Result<Response, SourceError> {
        let anew = self.is_due(range);
        if let Some(response) = self.connect_presigned(range, anew).await? {
            return Ok(response);
        }
        let mut result = Err(self.error(Kind::NotFound));
        for endpoint in self.repository.candidates() {
            result = self.connect_at(endpoint, range, anew).await;
            match &result {
                Ok(_) => break,
                Err(error) => self.repository.failed(endpoint, error),
            }
        }
        result
    }

    /// Nothing where there is no such URL, or none that is still good.
    async fn connect_presigned(&self, range: ByteRange, anew: bool) -> Result<Option<Response>, SourceError> {
        let Some(url) = self.presigned() else { return Ok(None) };
        let call = self.call(url, range, anew);
        let result = self.repository.wire.http.exchange(&self.name, &call, None).await;
        let response = match result {
            Ok(answer) => answer.response,
            Err(error) => {
                self.remember(None);
                return Err(error);
            }
        };
        match response.status().as_u16() {
            408 | 416 | 429 => {}
            // Object stores say 403 when a signature has expired, some say 400 or 401.
            400..500 => {
                self.remember(None);
                http::drain(response).await;
                return Ok(None);
            }
            _ => {}
        }
        self.accept(response).await.map(Some)
    }

    async fn connect_at(
        &self,
        endpoint: &Endpoint,
        range: ByteRange,
        anew: bool,
    ) -> Result<Response, SourceError> {
        let path = format!("{}/blobs/{}", self.repository.repository, self.name);
        let make = |endpoint: &Endpoint| self.call(endpoint.url(&path, &[]), range, anew);
        let access = self.repository.access(endpoint, false);
        let answer = self.repository.wire.send(&self.name, endpoint, &access, &make).await?;
        let asked = endpoint.url(&path, &[]);
        let response = self.accept(answer.response).await?;
        if answer.url.origin() != asked.origin() {
            self.remember(Some(answer.url));
        }
        Ok(response)
    }

    /// Lets only answers with content through.
    async fn accept(&self, response: Response) -> Result<Response, SourceError> {
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE => {
                http::drain(response).await;
                Err(self.protocol(format!(
                    "the registry's blob is shorter than the {} bytes of its descriptor",
                    self.size
                )))
            }
            _ => Err(http::refused(&self.name, response).await),
        }
    }

    /// What must be skipped of the answer before `range` begins.
    fn skipped(&self, response: &Response, range: ByteRange) -> Result<u64, SourceError> {
        let partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let whole = range == ByteRange::new(0, self.size);
        if !partial {
            // A shorter one may be a broken proxy's; it is read to its end and the rest asked for again.
            if let Some(length) = response.content_length().filter(|length| *length > self.size) {
                return Err(
                    self.protocol(format!("the blob has {length} bytes, its descriptor says {}", self.size))
                );
            }
            if !whole {
                self.repository.saw_ranges(false);
            }
            return Ok(range.start);
        }
        let headers = response.headers();
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if header(header::CONTENT_TYPE).is_some_and(|value| value.starts_with("multipart/byteranges")) {
            return Err(self.protocol("the answer has several ranges, one was asked for"));
        }
        match header(header::CONTENT_RANGE).map(parse_content_range) {
            Some(Some((start, _, total)))
                if start == range.start && total.is_none_or(|total| total == self.size) => {}
            None if response.content_length() == Some(range.len()) => {}
            _ => return Err(self.protocol("the answer is another range than was asked for")),
        }
        self.repository.saw_ranges(true);
        Ok(0)
    }
}

/// `bytes START-LAST/TOTAL` (RFC 9110, section 14.4); TOTAL may be `*`.
pub(super) fn parse_content_range(value: &str) -> Option<(u64, u64, Option<u64>)> {
    let (unit, rest) = value.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    unit.eq_ignore_ascii_case("bytes").then_some((start.parse().ok()?, last.parse().ok()?, total))
}

impl RangeSource for RemoteBlob {
    fn name(&self) -> &str {
        &self.name
    }

    fn host(&self) -> &str {
        self.repository.host()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn distrust(&self, range: ByteRange) {
        let mut doubts = self.doubts();
        if doubts.ever.contains(range) {
            self.repository.distrust();
            self.remember(None);
        } else {
            doubts.ever.insert(range);
            doubts.due.push(range);
        }
    }

    fn open(&self, range: ByteRange, _cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        Box::pin(async move {
            if range.end > self.size {
                return Err(self
                    .protocol(format!("bytes up to {} were asked for, there are {}", range.end, self.size)));
            }
            if range.is_empty() {
                return Ok(Box::pin(futures::stream::empty()) as ByteStream);
            }
            let response = self.connect(range).await?;
            let skip = self.skipped(&response, range)?;
            let body = Body { response, name: self.name.clone(), range, skip, got: 0 };
            Ok(Box::pin(futures::stream::unfold(Some(body), |body| async {
                let mut body = body?;
                match body.next().await {
                    Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                }
            })) as ByteStream)
        })
    }
}

/// The bytes on their way.
struct Body {
    response: Response,
    name: String,
    range: ByteRange,
    skip: u64,
    got: u64,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        let left = self.range.len() - self.got;
        if left == 0 {
            return Ok(None);
        }
        let piece = self.response.chunk().await.map_err(|error| http::failed(&self.name, error))?;
        let Some(mut piece) = piece else { return Err(SourceError::short(&self.name, self.range, self.got)) };
        // A piece that is skipped is passed on empty: whoever watches for stalls must see that bytes move.
        let skipped = piece.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
        self.skip -= skipped as u64;
        let _ = piece.split_to(skipped);
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        self.got += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_content_range;

    #[test]
    fn content_ranges() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, 9, Some(10))));
        assert_eq!(parse_content_range("bytes 0-0/*"), Some((0, 0, None)));
        for bad in ["", "bytes", "bytes */10", "lines 1-2/3", "bytes 1-2", "bytes -1-2/3", "bytes 1-2/x"] {
            assert_eq!(parse_content_range(bad), None, "{bad}");
        }
    }
}
