//! `/v2/`: the reading half of the OCI distribution API.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::Response;
use glowplug_base::{ByteRange, Digest};
use glowplug_oci::{Document, Index, Limits, is_tag, media};
use glowplug_peer::{Freshness, RepositoryName};
use glowplug_registry::{Fetched, Target};

use crate::answer::{content, empty, failure, refusal, with};
use crate::door::Door;
use crate::query::{Path, Wanted, parameter, range, wants_anew};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers what stands after `/v2/`.
pub(crate) async fn answer(door: &Door, parts: &Parts, rest: &str) -> Response {
    let Some(path) = Path::parse(rest) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            "this mirror has manifests, blobs and referrers",
        );
    };
    if path.kind.is_empty() {
        return with(content("{}", "application/json", parts.method == "HEAD"), API_VERSION, "registry/2.0");
    }
    let repository = match door.repository(&parts.uri, &path.name) {
        Ok(repository) => repository,
        Err(refused) => return *refused,
    };
    let digest = path.rest.parse::<Digest>();
    match (path.kind, digest) {
        ("manifests", Ok(digest)) => manifest(door, parts, &repository, Target::Digest(digest)).await,
        ("manifests", Err(_)) if is_tag(&path.rest) => {
            manifest(door, parts, &repository, Target::Tag(path.rest)).await
        }
        ("blobs", Ok(digest)) => blob(door, parts, &repository, &digest).await,
        ("referrers", Ok(digest)) => referrers(door, parts, &repository, &digest).await,
        _ => refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "neither a digest of SHA-256 nor a tag"),
    }
}

async fn manifest(door: &Door, parts: &Parts, repository: &RepositoryName, target: Target) -> Response {
    match door.node.document(repository, &target).await {
        Ok(fetched) => {
            let digest = fetched.digest.to_string();
            let response = content(fetched.bytes.clone(), &media_type(&fetched), parts.method == "HEAD");
            with(response, CONTENT_DIGEST, &digest)
        }
        Err(error) => failure("MANIFEST_UNKNOWN", &error),
    }
}

/// What the registry said that it is, else what it says itself.
fn media_type(fetched: &Fetched) -> String {
    let told = fetched.media_type.as_deref();
    let parsed = || Document::parse(&fetched.bytes, told, &Limits::default()).ok();
    match told {
        Some(told) if media::is_index(told) || media::is_manifest(told) => told.to_owned(),
        _ => match parsed() {
            Some(Document::Index(index)) => index.media_type.unwrap_or_else(|| media::OCI_INDEX.to_owned()),
            Some(Document::Manifest(manifest)) => {
                manifest.media_type.unwrap_or_else(|| media::OCI_MANIFEST.to_owned())
            }
            None => told.unwrap_or("application/octet-stream").to_owned(),
        },
    }
}

async fn blob(door: &Door, parts: &Parts, repository: &RepositoryName, digest: &Digest) -> Response {
    let size = match door.node.blob_size(repository, digest).await {
        Ok(size) => size,
        Err(error) => return failure("BLOB_UNKNOWN", &error),
    };
    let (status, wanted) = match range(&parts.headers, size) {
        Wanted::Whole => (StatusCode::OK, ByteRange::new(0, size)),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let refused =
                refusal(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "the blob has no such bytes");
            return with(refused, header::CONTENT_RANGE, &format!("bytes */{size}"));
        }
    };
    let mut response = with(empty(status), header::CONTENT_TYPE, "application/octet-stream");
    for (name, value) in [
        (header::CONTENT_LENGTH, wanted.len().to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ] {
        response = with(response, name, &value);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        let told = format!("bytes {}-{}/{size}", wanted.start, wanted.end - 1);
        response = with(response, header::CONTENT_RANGE, &told);
    }
    if parts.method == "HEAD" {
        return response;
    }
    let freshness = if wants_anew(&parts.headers) { Freshness::Anew } else { Freshness::Kept };
    match door.node.open_range(repository, digest, size, wanted, freshness).await {
        Ok(passage) => {
            *response.body_mut() = Body::from_stream(passage);
            response
        }
        Err(error) => failure("BLOB_UNKNOWN", &error),
    }
}

async fn referrers(door: &Door, parts: &Parts, repository: &RepositoryName, subject: &Digest) -> Response {
    let kind = parameter(&parts.uri, "artifactType");
    let found = match door.node.referrers(repository, subject, kind.as_deref()).await {
        Ok(found) => found,
        Err(error) => return failure("MANIFEST_UNKNOWN", &error),
    };
    let listed = serde_json::to_vec(&Index::new(found)).unwrap_or_default();
    let response = content(listed, media::OCI_INDEX, parts.method == "HEAD");
    if kind.is_some() { with(response, FILTERS_APPLIED, "artifactType") } else { response }
}
