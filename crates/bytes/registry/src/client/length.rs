//! How long a blob is, when no descriptor says it.
//!
//! Its first byte is asked for, and the answer tells the length of the whole. HEAD is not used: the addresses that
//! registries redirect to are commonly signed for GET alone.

use glowplug_base::Digest;
use glowplug_source::{Kind, SourceError};
use reqwest::StatusCode;
use reqwest::header::{self, HeaderValue};

use super::blob::parse_content_range;
use super::upstream::{Upstream, pause};
use crate::Error;
use crate::endpoint::Endpoint;
use crate::http::{self, Call};

impl Upstream {
    /// Length in bytes of the blob `digest`, as whoever has it says.
    pub(super) async fn blob_size(&self, digest: &Digest) -> Result<u64, Error> {
        let policy = self.wire.options.retry;
        let mut failures = 0;
        loop {
            match self.blob_size_once(digest).await.map_err(Error::Source) {
                Err(error) if error.is_retryable() && failures + 1 < policy.attempts => {
                    failures += 1;
                    tokio::time::sleep(pause(&policy, failures, &error)).await;
                }
                result => return result,
            }
        }
    }

    async fn blob_size_once(&self, digest: &Digest) -> Result<u64, SourceError> {
        let mut result = Err(SourceError::new(digest.to_string(), Kind::NotFound));
        for endpoint in self.candidates() {
            result = self.blob_size_at(endpoint, digest).await;
            match &result {
                Ok(_) => break,
                Err(error) => self.failed(endpoint, error),
            }
        }
        result
    }

    async fn blob_size_at(&self, endpoint: &Endpoint, digest: &Digest) -> Result<u64, SourceError> {
        let (name, path) = (digest.to_string(), format!("{}/blobs/{digest}", self.repository));
        let make = |endpoint: &Endpoint| {
            let mut call = Call::get(endpoint.url(&path, &[]));
            call.headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
            call
        };
        let response = self.wire.send(&name, endpoint, &self.access(endpoint, false), &make).await?.response;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let size = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                header(header::CONTENT_RANGE).and_then(parse_content_range).and_then(|(_, _, total)| total)
            }
            StatusCode::OK => response.content_length(),
            // An empty blob has no first byte.
            StatusCode::RANGE_NOT_SATISFIABLE => {
                header(header::CONTENT_RANGE).and_then(|value| value.strip_prefix("bytes */")?.parse().ok())
            }
            _ => return Err(http::refused(&name, response).await),
        };
        // The rest of a whole answer is not waited for.
        if response.status() == StatusCode::PARTIAL_CONTENT {
            http::drain(response).await;
        }
        size.ok_or_else(|| SourceError::new(name, Kind::Protocol("the blob's length is not told".to_owned())))
    }
}
