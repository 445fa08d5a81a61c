//! Pushing a blob of any size from a file, in pieces, so that an interruption costs a piece at most.
//!
//! OCI distribution specification 1.1, "Pushing a blob in chunks": a place is asked for, pieces are sent to it in
//! order, and a last request names the digest. After trouble the registry is asked how much it has, and the push goes
//! on from there; one that does not know any more gets everything again, at a new place. What counts is progress: a
//! push that moves is never given up.

use glowplug_base::ByteRange;
use glowplug_source::{Kind, SourceError};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::push::upload_place;
use super::upstream::{Upstream, pause};
use crate::endpoint::Endpoint;
use crate::http::{self, Answer, Call};
use crate::local::FileSource;
use crate::{BlobFile, Error};

/// The registry's wish for the least length of a piece, in bytes.
const MIN_PIECE_HEADER: &str = "oci-chunk-min-length";

/// How far an upload is.
struct Upload {
    /// Where the next piece goes.
    place: Url,
    /// Bytes that the registry has.
    taken: u64,
    /// Bytes of a piece at least, as the registry wants it.
    least: u64,
}

impl Upstream {
    pub(super) async fn push_file(&self, blob: &BlobFile) -> Result<(), Error> {
        if self.has_blob(&blob.digest).await {
            return Ok(());
        }
        let name = blob.digest.to_string();
        let file = FileSource::new(name.clone(), blob.path.clone(), 0, blob.size);
        let policy = self.wire.options.retry;
        let mut upload = self.begin(&name).await?;
        let mut failures = 0;
        while upload.taken < blob.size {
            let error = match self.send_piece(&name, &mut upload, &file, blob.size).await {
                Ok(()) => {
                    failures = 0;
                    continue;
                }
                Err(error) => error,
            };
            failures += 1;
            if !may_resume(&error) || failures >= policy.attempts {
                return Err(error);
            }
            tracing::debug!(blob = name, taken = upload.taken, %error, "upload interrupted");
            tokio::time::sleep(pause(&policy, failures, &error)).await;
            upload = match self.progress(&name, &upload).await {
                Ok(known) => {
                    failures = if known.taken > upload.taken { 0 } else { failures };
                    known
                }
                Err(_) => self.begin(&name).await?,
            };
        }
        self.end(&name, upload, blob).await
    }

    async fn begin(&self, name: &str) -> Result<Upload, Error> {
        Ok(Upload { place: self.begin_upload(name).await?, taken: 0, least: 0 })
    }

    /// Sends what comes next.
    async fn send_piece(
        &self,
        name: &str,
        upload: &mut Upload,
        file: &FileSource,
        size: u64,
    ) -> Result<(), Error> {
        let length = self.wire.options.upload_piece_bytes.max(upload.least).max(1);
        let piece = ByteRange::at(upload.taken, length.min(size - upload.taken));
        let range = HeaderValue::from_str(&format!("{}-{}", piece.start, piece.end - 1));
        let range =
            range.map_err(|_| SourceError::new(name, Kind::Protocol("malformed range".to_owned())))?;
        let place = upload.place.clone();
        let make = |_: &Endpoint| {
            let mut call = Call::get(place.clone());
            call.method = Method::PATCH;
            call.upload = Some((file.clone(), piece));
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            call.headers.insert(header::CONTENT_RANGE, range.clone());
            call
        };
        let headers = self.ask(name, &make).await?;
        upload.place = upload_place(name, &upload.place, &headers)?;
        // A registry may take less than it was sent.
        let taken = taken(&headers).unwrap_or(piece.end);
        if taken <= piece.start || taken > piece.end {
            let what = format!("bytes {} to {} were sent, it has {taken}", piece.start, piece.end);
            return Err(SourceError::new(name, Kind::Protocol(what)).into());
        }
        upload.taken = taken;
        upload.least = least(&headers).unwrap_or(upload.least);
        Ok(())
    }

    /// How far the registry says that an upload is. An error where it does not know, or has nothing.
    async fn progress(&self, name: &str, upload: &Upload) -> Result<Upload, Error> {
        let place = upload.place.clone();
        let headers = self.ask(name, &move |_: &Endpoint| Call::get(place.clone())).await?;
        let taken = taken(&headers).ok_or_else(|| SourceError::new(name, Kind::NotFound))?;
        let place = upload_place(name, &upload.place, &headers).unwrap_or_else(|_| upload.place.clone());
        Ok(Upload { place, taken, least: least(&headers).unwrap_or(upload.least) })
    }

    /// Names the digest, which makes a blob of what was sent.
    async fn end(&self, name: &str, upload: Upload, blob: &BlobFile) -> Result<(), Error> {
        let mut place = upload.place;
        // The registry's own parameters stay as they are; it may have signed them.
        place.query_pairs_mut().append_pair("digest", name);
        let nothing = FileSource::new(name.to_owned(), blob.path.clone(), 0, 0);
        let make = |_: &Endpoint| Call {
            method: Method::PUT,
            // An upload of nothing, since the answer may take as long as one.
            upload: Some((nothing.clone(), ByteRange::default())),
            ..Call::get(place.clone())
        };
        match self.push(name, &make).await {
            // The answer to an earlier attempt was lost.
            Err(error) if error.is_not_found() && self.has_blob(&blob.digest).await => Ok(()),
            answer => answer.map(|_| ()),
        }
    }

    /// One request, once.
    pub(super) async fn ask(
        &self,
        name: &str,
        make: &(dyn Fn(&Endpoint) -> Call + Send + Sync),
    ) -> Result<HeaderMap, Error> {
        let sent = self.wire.send(name, self.origin(), &self.access(self.origin(), true), make).await;
        match sent {
            Ok(Answer { response, .. }) if response.status().is_success() => {
                let headers = response.headers().clone();
                http::drain(response).await;
                Ok(headers)
            }
            Ok(answer) => Err(http::refused(name, answer.response).await.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether asking how far the upload is may lead further. A registry that lost it says that it is not found, or that
/// the range does not go on where it stopped.
fn may_resume(error: &Error) -> bool {
    let lost = matches!(error, Error::Source(SourceError { kind: Kind::Protocol(what), .. })
        if what.starts_with("unexpected status 416"));
    error.is_retryable() || error.is_not_found() || lost
}

/// Bytes that the registry has, by its `Range` header, `0-LAST`. Some say `0-0` for nothing, too: nothing it is.
fn taken(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(header::RANGE)?.to_str().ok()?;
    let (first, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let last = last.parse::<u64>().ok().filter(|last| *last > 0 && first == "0")?;
    last.checked_add(1)
}

fn least(headers: &HeaderMap) -> Option<u64> {
    headers.get(MIN_PIECE_HEADER)?.to_str().ok()?.parse().ok()
}
