//! One request: who asks, what for, and who answers.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::Response;

use crate::answer::{empty, refusal, with};
use crate::door::Door;
use crate::{peers, registry};

/// Where pieces and counters lie.
const PEER_ROOT: &str = "/glowplug/peer/1/";
/// Where the registry's API lies.
const REGISTRY_ROOT: &str = "/v2/";

/// Answers every request at `door`.
pub(crate) fn router(door: Door) -> Router {
    Router::new().fallback(answer).with_state(door)
}

async fn answer(State(door): State<Door>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if !door.guard.admits(&parts.headers) {
        let refused =
            refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "this door wants the cluster's token");
        return with(refused, header::WWW_AUTHENTICATE, "Bearer");
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let refused = refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this mirror is read-only");
        return with(refused, header::ALLOW, "GET, HEAD");
    }
    let path = parts.uri.path();
    if let Some(rest) = path.strip_prefix(PEER_ROOT) {
        return peers::answer(&door, &parts, rest, door.peers).await;
    }
    match path.strip_prefix(REGISTRY_ROOT).or((path == "/v2").then_some("")) {
        Some(rest) => registry::answer(&door, &parts, rest).await,
        None => empty(StatusCode::NOT_FOUND),
    }
}
