//! The HTTP side: paths to answers, faults on the way out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use glowplug_base::Digest;
use glowplug_oci::{Index, media};

use super::auth::decode;
use super::fault::Fault;
use super::state::{Logged, State};

/// What a test may push.
const MAX_BODY: usize = 1 << 30;
/// Pieces in which bodies are sent.
const PIECE: usize = 64 * 1024;

pub(super) fn router(state: Arc<State>, cdn: bool) -> Router {
    Router::new().fallback(handle).with_state((state, cdn))
}

/// One request on its way through.
struct Call {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    origin: String,
    cdn_origin: String,
}

impl Call {
    fn parameter(&self, key: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(name, _)| *name == key).map(|(_, value)| decode(value)).next()
    }
}

async fn handle(Extract((state, cdn)): Extract<(Arc<State>, bool)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (origin, cdn_origin) = state.origins();
    let mut call = Call {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: axum::body::to_bytes(body, MAX_BODY).await.unwrap_or_default(),
        origin,
        cdn_origin,
    };
    let (at, fault) = begin(&state, &call, cdn);
    match &fault {
        Some(Fault::Silent) => std::future::pending::<()>().await,
        Some(Fault::Delay(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let response = match &fault {
        Some(Fault::Status(code)) => error(*code, "INJECTED", "fault injection"),
        Some(Fault::Throttle(after)) => {
            let mut response = error(429, "TOOMANYREQUESTS", "fault injection");
            if let Some(value) = after.as_ref().and_then(|after| HeaderValue::from_str(after).ok()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        Some(Fault::TakeOnly(bytes)) => {
            call.body.truncate(*bytes as usize);
            let _ = answer(&state, &call, None);
            error(502, "INJECTED", "fault injection")
        }
        _ if cdn => presigned(&state, &call, fault.as_ref()),
        _ => answer(&state, &call, fault.as_ref()),
    };
    if let Some(logged) = state.lock().log.get_mut(at) {
        logged.status = response.status().as_u16();
    }
    response
}

/// Writes the request down and finds its fault.
fn begin(state: &State, call: &Call, cdn: bool) -> (usize, Option<Fault>) {
    let text = |name| call.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let logged = Logged {
        method: call.method.to_string(),
        path: call.path.clone(),
        query: call.query.clone(),
        range: text(header::RANGE),
        content_range: text(header::CONTENT_RANGE),
        cache_control: text(header::CACHE_CONTROL),
        authorization: text(header::AUTHORIZATION),
        cdn,
        status: 0,
    };
    let mut inner = state.lock();
    inner.log.push(logged);
    let fault = inner.rules.iter_mut().find_map(|rule| rule.hit(call.method.as_str(), &call.path));
    (inner.log.len() - 1, fault)
}

fn status(code: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

fn with(mut response: Response, name: &'static str, value: impl AsRef<str>) -> Response {
    let value = HeaderValue::from_str(value.as_ref()).expect("the test's header value is valid");
    response.headers_mut().insert(name, value);
    response
}

/// An error as the distribution specification writes it.
fn error(code: u16, name: &str, message: &str) -> Response {
    let body =
        serde_json::json!({"errors": [{"code": name, "message": message, "detail": null}]}).to_string();
    let mut response = with(status(code), "content-type", "application/json");
    *response.body_mut() = Body::from(body);
    response
}

fn answer(state: &State, call: &Call, fault: Option<&Fault>) -> Response {
    if call.path == "/token" {
        let form = String::from_utf8_lossy(&call.body).into_owned();
        let (code, body) = state.lock().gate.token(&call.headers, &call.query, &form);
        let mut response = with(status(code), "content-type", "application/json");
        *response.body_mut() = Body::from(body);
        return response;
    }
    // A mirror may live below a path of its own.
    let Some((_, path)) = call.path.split_once("/v2/") else { return error(404, "NOTFOUND", "no such page") };
    let (repository, kind, rest) = match ["/manifests/", "/blobs/", "/referrers/"]
        .into_iter()
        .find_map(|kind| path.rsplit_once(kind).map(|(repository, rest)| (repository, kind, rest)))
    {
        Some(found) => found,
        None => (path.trim_end_matches('/'), "", ""),
    };
    let write = !matches!(call.method, Method::GET | Method::HEAD);
    if let Err(challenge) = state.lock().gate.admit(&call.origin, &call.headers, repository, write) {
        return with(error(401, "UNAUTHORIZED", "authentication required"), "www-authenticate", challenge);
    }
    match kind {
        "/manifests/" if call.method == Method::PUT => put_manifest(state, call, repository, rest),
        "/manifests/" => {
            let stored = state.lock().manifests.get(&(repository.to_owned(), rest.to_owned())).cloned();
            match stored {
                Some(stored) => {
                    let response = content(call, stored.bytes.clone(), fault);
                    let response = with(response, "content-type", stored.media_type);
                    with(response, "docker-content-digest", Digest::of(&stored.bytes).to_string())
                }
                None => error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
            }
        }
        "/blobs/" if rest.starts_with("uploads") => upload(state, call, repository, rest),
        "/blobs/" => blob(state, call, rest, fault),
        "/referrers/" if !state.no_referrers.load(Ordering::Relaxed) => {
            referrers(state, call, repository, rest)
        }
        "" if path.is_empty() => with(status(200), "docker-distribution-api-version", "registry/2.0"),
        _ => error(404, "NOTFOUND", "no such page"),
    }
}

fn blob(state: &State, call: &Call, digest: &str, fault: Option<&Fault>) -> Response {
    let Some(bytes) = digest.parse().ok().and_then(|digest: Digest| state.lock().blobs.get(&digest).cloned())
    else {
        return error(404, "BLOB_UNKNOWN", "blob unknown to registry");
    };
    if state.redirect.load(Ordering::Relaxed) {
        let epoch = state.presign_epoch.load(Ordering::Relaxed);
        let location = format!("{}/presigned/blobs/{digest}?signature={epoch}", call.cdn_origin);
        return with(status(307), "location", location);
    }
    with(content(call, bytes, fault), "content-type", "application/octet-stream")
}

/// The content delivery network: like an object store, it refuses credentials beside a signature.
fn presigned(state: &State, call: &Call, fault: Option<&Fault>) -> Response {
    let epoch = state.presign_epoch.load(Ordering::Relaxed).to_string();
    if call.headers.contains_key(header::AUTHORIZATION) {
        return error(400, "InvalidArgument", "only one auth mechanism allowed");
    }
    if call.parameter("signature") != Some(epoch) {
        return error(403, "AccessDenied", "request has expired");
    }
    let digest = call.path.rsplit('/').next().and_then(|digest| digest.parse::<Digest>().ok());
    match digest.and_then(|digest| state.lock().blobs.get(&digest).cloned()) {
        Some(bytes) => content(call, bytes, fault),
        None => error(404, "NoSuchKey", "the key does not exist"),
    }
}

fn put_manifest(state: &State, call: &Call, repository: &str, reference: &str) -> Response {
    let digest = Digest::of(&call.body);
    let tag = (!reference.contains(':')).then_some(reference);
    if tag.is_none() && reference != digest.to_string() {
        return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
    }
    let media_type = call.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = glowplug_oci::Document::parse(&call.body, media_type, &glowplug_oci::Limits::default());
    let Ok(document) = document else { return error(400, "MANIFEST_INVALID", "manifest invalid") };
    state.lock().put_manifest(repository, tag, call.body.clone(), media_type.unwrap_or_default());
    let response = with(status(201), "docker-content-digest", digest.to_string());
    match document.subject() {
        Some(subject) if !state.no_referrers.load(Ordering::Relaxed) => {
            with(response, "oci-subject", subject.to_string())
        }
        _ => response,
    }
}

/// Uploads: POST gives a place, PATCH adds to what is there, GET says how much that is, PUT adds the rest and ends it, DELETE
/// gives the place back.
fn upload(state: &State, call: &Call, repository: &str, rest: &str) -> Response {
    let mut inner = state.lock();
    let known = |name: &str| call.parameter(name).and_then(|digest| digest.parse::<Digest>().ok());
    let rest = rest.strip_prefix("uploads/").unwrap_or_default();
    if (&call.method, rest) == (&Method::POST, "") {
        if let Some(digest) = known("mount").filter(|digest| inner.blobs.contains_key(digest)) {
            return with(status(201), "docker-content-digest", digest.to_string());
        }
        inner.uploads_begun += 1;
        let id = inner.uploads_begun;
        inner.uploads.insert(id, Vec::new());
        return with(status(202), "location", format!("/v2/{repository}/blobs/uploads/{id}?state=x"));
    }
    let Some((id, taken)) = rest.parse().ok().and_then(|id: u64| Some((id, inner.uploads.get_mut(&id)?)))
    else {
        return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
    };
    let progress = |code, taken: &[u8]| {
        let place = format!("/v2/{repository}/blobs/uploads/{id}?state={}", taken.len());
        let range = format!("0-{}", taken.len().saturating_sub(1));
        with(with(status(code), "location", place), "range", range)
    };
    match call.method {
        Method::GET => progress(204, taken),
        Method::PATCH => {
            let range = call.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
            let start = range.and_then(|range| range.split_once('-')?.0.parse::<usize>().ok());
            if start.is_some_and(|start| start != taken.len()) {
                return progress(416, taken);
            }
            taken.extend_from_slice(&call.body);
            progress(202, taken)
        }
        Method::PUT => {
            let bytes: Bytes = [&taken[..], &call.body].concat().into();
            inner.uploads.remove(&id);
            match known("digest") {
                Some(digest) if digest == Digest::of(&bytes) => {
                    inner.blobs.insert(digest, bytes);
                    with(status(201), "docker-content-digest", digest.to_string())
                }
                _ => error(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
            }
        }
        Method::DELETE => {
            inner.uploads.remove(&id);
            status(204)
        }
        _ => error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn referrers(state: &State, call: &Call, repository: &str, subject: &str) -> Response {
    let Ok(subject) = subject.parse::<Digest>() else {
        return error(400, "DIGEST_INVALID", "invalid digest");
    };
    let mut found = state.lock().referrers(repository, &subject);
    let wanted = call.parameter("artifactType");
    if let Some(wanted) = &wanted {
        found.retain(|descriptor| descriptor.artifact_type.as_ref() == Some(wanted));
    }
    let page = state.referrers_page.load(Ordering::Relaxed);
    let skip = call.parameter("skip").and_then(|skip| skip.parse::<usize>().ok()).unwrap_or(0);
    let total = found.len();
    let mut found: Vec<_> = found.into_iter().skip(skip).collect();
    let mut response = with(status(200), "content-type", media::OCI_INDEX);
    if page > 0 && skip + page < total {
        found.truncate(page);
        let next = format!("</v2/{repository}/referrers/{subject}?skip={}>; rel=\"next\"", skip + page);
        response = with(response, "link", next);
    }
    if wanted.is_some() {
        response = with(response, "oci-filters-applied", "artifactType");
    }
    *response.body_mut() = Body::from(serde_json::to_vec(&Index::new(found)).expect("an index is JSON"));
    response
}

/// `bytes`, or the range of them that was asked for, spoiled as `fault` says.
fn content(call: &Call, mut bytes: Bytes, fault: Option<&Fault>) -> Response {
    if fault == Some(&Fault::WrongBytes) && !bytes.is_empty() {
        let mut wrong = bytes.to_vec();
        wrong[0] ^= 1;
        bytes = wrong.into();
    }
    let total = bytes.len() as u64;
    let range = call.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.filter(|_| fault != Some(&Fault::IgnoreRange));
    let (mut start, mut end) = (0, total);
    if let Some(range) = range {
        let numbers = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
        let Some((Ok(first), last)) = numbers.map(|(first, last)| (first.parse::<u64>(), last)) else {
            return error(400, "RANGE_INVALID", "one range only");
        };
        if first >= total {
            return with(
                error(416, "RANGE_INVALID", "range not satisfiable"),
                "content-range",
                format!("bytes */{total}"),
            );
        }
        start = first;
        end = last.parse::<u64>().map_or(total, |last| total.min(last + 1));
    }
    if fault == Some(&Fault::WrongRange) {
        start += 1;
    }
    if let Some(Fault::Short(bytes)) = fault {
        end = end.min(start + bytes);
    }
    let body = bytes.slice(start as usize..end.max(start) as usize);
    let mut response = if range.is_some() {
        with(status(206), "content-range", format!("bytes {start}-{}/{total}", end.saturating_sub(1)))
    } else {
        status(200)
    };
    response = with(response, "content-length", body.len().to_string());
    *response.body_mut() = if call.method == Method::HEAD { Body::empty() } else { stream(body, fault) };
    response
}

/// The body in pieces; a broken one breaks only after its good bytes were sent.
fn stream(body: Bytes, fault: Option<&Fault>) -> Body {
    let sent = match fault {
        Some(Fault::ResetAfter(bytes) | Fault::Hang(bytes)) => body.len().min(*bytes as usize),
        _ => body.len(),
    };
    let good = body.slice(..sent);
    let pieces: Vec<_> = good.chunks(PIECE).map(|piece| Ok(good.slice_ref(piece))).collect();
    let pieces = futures::stream::iter(pieces);
    match fault {
        Some(Fault::ResetAfter(_)) => Body::from_stream(pieces.chain(futures::stream::once(async {
            // Lets the server send what it has before the error closes the connection.
            tokio::task::yield_now().await;
            Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
        }))),
        Some(Fault::Hang(_)) => Body::from_stream(pieces.chain(futures::stream::pending())),
        _ => Body::from_stream(pieces),
    }
}
