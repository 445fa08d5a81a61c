//! One request: who asks, what for, and who answers.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use axum::response::Response;
use glowplug_peer::LoreId;
use glowplug_registry::Via;

use crate::answer::{empty, refusal, with};
use crate::door::Door;
use crate::{lore, peers, registry};

/// Where pieces, lore and counters lie.
const PEER_ROOT: &str = "/glowplug/peer/1/";
/// Where the registry's API lies.
const REGISTRY_ROOT: &str = "/v2/";
/// Header by which whoever asks knows that a service like this one answers.
const SERVICE_HEADER: HeaderName = HeaderName::from_static("glowplug-peer");
/// Version of what answers below [`PEER_ROOT`].
const SERVICE_VERSION: &str = "1";

/// Answers a request at `door`.
pub(crate) async fn answer(door: &Door, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if !door.guard.admits(&parts.headers) {
        let refused =
            refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "this door wants the cluster's token");
        return with(refused, header::WWW_AUTHENTICATE, "Bearer");
    }
    let via = parts.headers.get(Via::HEADER).and_then(|via| via.to_str().ok());
    if let Err(circle) = via.map_or(Ok(()), |via| door.node.enter(via)) {
        return refusal(StatusCode::LOOP_DETECTED, "UNSUPPORTED", &circle.to_string());
    }
    match parts.uri.path().strip_prefix(PEER_ROOT) {
        Some(rest) => {
            let answered = match LoreId::parse(rest) {
                Some(id) if !door.peers || is_read(&parts) => lore::answer(door, &parts, &id, body).await,
                _ if !is_read(&parts) => read_only(),
                _ => peers::answer(door, &parts, rest, door.peers).await,
            };
            with(answered, SERVICE_HEADER, SERVICE_VERSION)
        }
        None if !is_read(&parts) => read_only(),
        None => {
            let path = parts.uri.path();
            match path.strip_prefix(REGISTRY_ROOT).or((path == "/v2").then_some("")) {
                Some(rest) => registry::answer(door, &parts, rest).await,
                None => empty(StatusCode::NOT_FOUND),
            }
        }
    }
}

fn is_read(parts: &Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD)
}

fn read_only() -> Response {
    let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this mirror is read-only");
    with(refused, header::ALLOW, "GET, HEAD")
}
