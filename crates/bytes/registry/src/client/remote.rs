//! A repository in a registry: documents and referrers, from mirrors where there are some.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Limits, Reference, media, referrers_tag};
use glowplug_source::{Kind, RangeSource, RetryPolicy, SourceError};
use reqwest::header::{self, HeaderMap, HeaderValue};

use super::blob::RemoteBlob;
use super::upstream::{Upstream, pause};
use super::wire::Wire;
use crate::endpoint::Endpoint;
use crate::http::{self, Call};
use crate::repository::verify;
use crate::{BlobFile, Error, Fetched, Ranges, Repository, Target};

/// Pages of referrers that are followed.
const MAX_PAGES: usize = 16;
/// Referrers that are listed altogether.
const MAX_REFERRERS: usize = 4096;

/// A handle on a repository in a registry.
#[derive(Debug)]
pub(crate) struct Remote(Arc<Upstream>);

/// A small answer, read completely.
struct Small {
    bytes: Bytes,
    headers: HeaderMap,
}

/// A request for a small answer.
struct Wanted<'a> {
    name: &'a str,
    path: String,
    query: Vec<(&'a str, &'a str)>,
    accept: String,
    expected: Option<Digest>,
}

impl Remote {
    pub(crate) fn new(wire: Arc<Wire>, reference: &Reference) -> Result<Self, Error> {
        Ok(Self(Arc::new(Upstream::new(wire, reference)?)))
    }
}

impl Upstream {
    /// Fetches from whoever has it, patiently.
    async fn small(&self, wanted: &Wanted<'_>) -> Result<Small, Error> {
        let policy = self.wire.options.retry;
        let mut failures = 0;
        loop {
            match self.small_once(wanted).await {
                Err(error) if error.is_retryable() && failures + 1 < policy.attempts => {
                    failures += 1;
                    tokio::time::sleep(pause(&policy, failures, &error)).await;
                }
                result => return result,
            }
        }
    }

    async fn small_once(&self, wanted: &Wanted<'_>) -> Result<Small, Error> {
        let mut result = Err(Error::Source(SourceError::new(wanted.name, Kind::NotFound)));
        for endpoint in self.candidates() {
            result = self.small_at(endpoint, wanted).await;
            match &result {
                Ok(_) => break,
                Err(Error::Source(error)) => self.failed(endpoint, error),
                Err(_) => {}
            }
        }
        result
    }

    async fn small_at(&self, endpoint: &Endpoint, wanted: &Wanted<'_>) -> Result<Small, Error> {
        let accept = HeaderValue::from_str(&wanted.accept).ok();
        let make = |endpoint: &Endpoint| {
            let mut call = Call::get(endpoint.url(&wanted.path, &wanted.query));
            call.headers.extend(accept.clone().map(|accept| (header::ACCEPT, accept)));
            call
        };
        let answer = self.wire.send(wanted.name, endpoint, &self.access(endpoint, false), &make).await?;
        if !answer.response.status().is_success() {
            return Err(http::refused(wanted.name, answer.response).await.into());
        }
        let headers = answer.response.headers().clone();
        let bytes = http::read(wanted.name, answer.response, Limits::default().document_bytes).await?;
        let told = headers.get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse().ok());
        if let Some(digest) = wanted.expected.or(told) {
            verify(wanted.name, &bytes, digest)?;
        }
        Ok(Small { bytes, headers })
    }

    pub(super) async fn document(&self, target: &Target) -> Result<Fetched, Error> {
        let (separator, expected) = match target {
            Target::Digest(digest) => ('@', Some(*digest)),
            _ => (':', None),
        };
        let name = format!("{}{separator}{target}", self.name);
        let path = format!("{}/manifests/{target}", self.repository);
        let accept = media::DOCUMENTS.join(", ");
        let small = self.small(&Wanted { name: &name, path, query: Vec::new(), accept, expected }).await?;
        let media_type = small.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let digest = expected.unwrap_or_else(|| Digest::of(&small.bytes));
        Ok(Fetched { media_type: media_type.map(media::bare), digest, bytes: small.bytes })
    }

    /// What the referrers API lists; nothing where there is no such API.
    async fn referrers_api(
        &self,
        subject: &Digest,
        kind: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, Error> {
        let name = format!("referrers of {}@{subject}", self.name);
        let path = format!("{}/referrers/{subject}", self.repository);
        let accept = media::OCI_INDEX.to_owned();
        let mut found = Vec::new();
        let mut page: Vec<(String, String)> =
            kind.map(|kind| ("artifactType".into(), kind.into())).into_iter().collect();
        for _ in 0..MAX_PAGES {
            let query = page.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let wanted =
                Wanted { name: &name, path: path.clone(), query, accept: accept.clone(), expected: None };
            let small = match self.small(&wanted).await {
                Ok(small) => small,
                Err(error) if has_no_api(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let told = small
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(media::bare);
            if told.as_deref() != Some(media::OCI_INDEX) {
                // A registry that answers every path with a page of its own.
                return Ok(None);
            }
            found.extend(manifests(&name, &small.bytes)?);
            match next_page(&small.headers) {
                Some(next) if found.len() < MAX_REFERRERS => page = next,
                _ => break,
            }
        }
        Ok(Some(found))
    }

    /// What the tag lists that stands in for the API.
    pub(super) async fn referrers_tag(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        match self.document(&Target::Tag(referrers_tag(subject))).await {
            Ok(fetched) => manifests(&self.name, &fetched.bytes),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether this is how a registry without the referrers API answers.
fn has_no_api(error: &Error) -> bool {
    let Error::Source(error) = error else { return false };
    match &error.kind {
        Kind::NotFound | Kind::Server(501) => true,
        Kind::Protocol(what) => {
            ["400", "405", "406", "415"].iter().any(|s| what.starts_with(&format!("unexpected status {s}")))
        }
        _ => false,
    }
}

fn manifests(name: &str, bytes: &[u8]) -> Result<Vec<Descriptor>, Error> {
    match Document::parse(bytes, Some(media::OCI_INDEX), &Limits::default()) {
        Ok(Document::Index(index)) => Ok(index.manifests),
        Ok(Document::Manifest(_)) => Ok(Vec::new()),
        Err(source) => Err(Error::Document { name: name.to_owned(), source }),
    }
}

/// The query of the next page, from `Link: <URL>; rel="next"` (RFC 8288). Only the query is taken: the path is known,
/// and a registry behind a proxy may not know its own address.
fn next_page(headers: &HeaderMap) -> Option<Vec<(String, String)>> {
    let link = headers.get(header::LINK)?.to_str().ok()?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    let next = parameters.split([';', ',']).any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next"));
    let base = reqwest::Url::parse("http://registry/").ok()?.join(target).ok()?;
    next.then(|| base.query_pairs().into_owned().collect())
}

impl Repository for Remote {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>> {
        Box::pin(self.0.document(target))
    }

    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        Arc::new(RemoteBlob::new(self.0.clone(), descriptor))
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>> {
        Box::pin(async move {
            let mut found = match self.0.referrers_api(subject, artifact_type).await? {
                Some(found) => found,
                None => self.0.referrers_tag(subject).await?,
            };
            // Registries may ignore the filter.
            found.retain(|entry| artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type);
            Ok(found)
        })
    }

    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.0.check_push())
    }

    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        Box::pin(self.0.push_blob(bytes))
    }

    fn push_file<'a>(&'a self, blob: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.0.push_file(blob))
    }

    fn push_manifest<'a>(
        &'a self,
        target: &'a Target,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        Box::pin(self.0.push_manifest(target, bytes, media_type))
    }

    fn ranges(&self) -> Ranges {
        self.0.ranges()
    }

    fn distrust(&self) -> bool {
        self.0.distrust()
    }

    fn retry(&self) -> RetryPolicy {
        self.0.wire.options.retry
    }
}
