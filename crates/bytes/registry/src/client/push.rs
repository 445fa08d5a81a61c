//! Pushing to a registry what is in memory: blobs in one piece, manifests, and the referrers tag where the API is
//! missing.

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Index, Limits, media, referrers_tag};
use glowplug_source::{Kind, SourceError};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::upstream::{Upstream, pause};
use crate::endpoint::Endpoint;
use crate::http::{self, Answer, Call};
use crate::{Error, Target};

impl Upstream {
    /// Sends to the registry itself, patiently; mirrors are for reading.
    pub(super) async fn push(
        &self,
        name: &str,
        make: &(dyn Fn(&Endpoint) -> Call + Send + Sync),
    ) -> Result<HeaderMap, Error> {
        let policy = self.wire.options.retry;
        let mut failures = 0;
        loop {
            let sent = self.wire.send(name, self.origin(), &self.access(self.origin(), true), make).await;
            let error = match sent {
                Ok(Answer { response, .. }) if response.status().is_success() => {
                    let headers = response.headers().clone();
                    http::drain(response).await;
                    return Ok(headers);
                }
                Ok(answer) => http::refused(name, answer.response).await,
                Err(error) => error,
            };
            let error = Error::Source(error);
            failures += 1;
            if !error.is_retryable() || failures >= policy.attempts {
                return Err(error);
            }
            tokio::time::sleep(pause(&policy, failures, &error)).await;
        }
    }

    /// Whether the blob is there already. A registry that cannot tell is answered by pushing.
    pub(super) async fn has_blob(&self, digest: &Digest) -> bool {
        let path = format!("{}/blobs/{digest}", self.repository);
        let make = |endpoint: &Endpoint| Call { method: Method::HEAD, ..Call::get(endpoint.url(&path, &[])) };
        let access = self.access(self.origin(), true);
        let answer = self.wire.send(&digest.to_string(), self.origin(), &access, &make).await;
        answer.is_ok_and(|answer| answer.response.status().is_success())
    }

    pub(super) async fn push_blob(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        if self.has_blob(&digest).await {
            return Ok(digest);
        }
        let name = digest.to_string();
        let mut place = self.begin_upload(&name).await?;
        // The registry's own parameters stay as they are; it may have signed them.
        place.query_pairs_mut().append_pair("digest", &name);
        let put = |_: &Endpoint| {
            let mut call =
                Call { method: Method::PUT, body: Some(bytes.clone()), ..Call::get(place.clone()) };
            call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            call
        };
        self.push(&name, &put).await?;
        Ok(digest)
    }

    /// A place for an upload.
    pub(super) async fn begin_upload(&self, name: &str) -> Result<Url, Error> {
        let path = format!("{}/blobs/uploads/", self.repository);
        let begin = |endpoint: &Endpoint| Call {
            method: Method::POST,
            body: Some(Bytes::new()),
            ..Call::get(endpoint.url(&path, &[]))
        };
        let headers = self.push(name, &begin).await?;
        upload_place(name, &self.origin().url(&path, &[]), &headers)
    }

    pub(super) async fn push_manifest(
        &self,
        target: &Target,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let name = format!("{}/{}:{target}", self.origin().host, self.repository);
        if let Target::Digest(wanted) = target
            && *wanted != digest
        {
            return Err(SourceError::new(name, Kind::Corrupt).into());
        }
        let document = Document::parse(&bytes, Some(media_type), &Limits::default())
            .map_err(|source| Error::Document { name: name.clone(), source })?;
        let headers = self.put_manifest(&name, &target.to_string(), bytes.clone(), media_type).await?;
        // A registry with the referrers API says that it has seen the subject.
        let Some(subject) = document.subject().filter(|_| !headers.contains_key("oci-subject")) else {
            return Ok(digest);
        };
        let mut listed = self.referrers_tag(&subject).await?;
        if listed.iter().all(|entry| entry.digest != digest) {
            let mut entry = Descriptor::of(media_type, &bytes);
            (entry.artifact_type, entry.annotations) = match document {
                Document::Manifest(m) => (m.artifact_type.or(Some(m.config.media_type)), m.annotations),
                Document::Index(index) => (index.artifact_type, index.annotations),
            };
            listed.push(entry);
            let index = serde_json::to_vec(&Index::new(listed))
                .map_err(|error| Error::Document { name: name.clone(), source: error.into() })?;
            self.put_manifest(&name, &referrers_tag(&subject), index.into(), media::OCI_INDEX).await?;
        }
        Ok(digest)
    }

    async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<HeaderMap, Error> {
        let path = format!("{}/manifests/{reference}", self.repository);
        let content_type = HeaderValue::from_str(media_type)
            .map_err(|_| SourceError::new(name, Kind::Protocol("malformed media type".to_owned())))?;
        let make = |endpoint: &Endpoint| {
            let mut call = Call {
                method: Method::PUT,
                body: Some(bytes.clone()),
                ..Call::get(endpoint.url(&path, &[]))
            };
            call.headers.insert(header::CONTENT_TYPE, content_type.clone());
            call
        };
        self.push(name, &make).await
    }
}

/// Where an upload goes on, as the answer of `asked` says.
pub(super) fn upload_place(name: &str, asked: &Url, headers: &HeaderMap) -> Result<Url, Error> {
    let wrong = |what: &str| Error::Source(SourceError::new(name, Kind::Protocol(what.to_owned())));
    let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| wrong("the registry names no place for the upload"))?;
    asked.join(location).map_err(|_| wrong("malformed upload location"))
}
