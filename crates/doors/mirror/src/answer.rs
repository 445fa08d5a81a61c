//! Answers: statuses, headers, and errors as the distribution specification writes them.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use glowplug_peer::Error;

/// An answer without content.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An answer of `bytes`, of which only the head goes out where `head` is set.
pub(crate) fn content(bytes: impl Into<bytes::Bytes>, media_type: &str, head: bool) -> Response {
    let bytes: bytes::Bytes = bytes.into();
    let mut response = with(empty(StatusCode::OK), header::CONTENT_TYPE, media_type);
    response = with(response, header::CONTENT_LENGTH, &bytes.len().to_string());
    if !head {
        *response.body_mut() = Body::from(bytes);
    }
    response
}

/// The same answer with one more header; one that no header can hold is left out.
pub(crate) fn with(mut response: Response, name: HeaderName, value: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A refusal: its status, and what the distribution specification calls it.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    let mut response = content(body, "application/json", false);
    *response.status_mut() = status;
    response
}

/// What `error` is to whoever asked for `what`.
pub(crate) fn failure(what: &str, error: &Error) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let code = match status {
        StatusCode::NOT_FOUND => what,
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    };
    tracing::debug!(%error, %status, "cannot be served");
    refusal(status, code, &error.to_string())
}
