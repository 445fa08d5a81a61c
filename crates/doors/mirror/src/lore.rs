//! `/glowplug/peer/1/indexes/…` and `…/profiles/…`: what nodes learned, for peers and for processes of this machine.
//!
//! At the cluster's door it can be read, as far as it was offered on this node. At this machine's door it can be read from
//! wherever it is, and be offered and refuted by who knows the node's key: that this door asks nobody who he is goes for reading.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::Response;
use glowplug_peer::{DIGEST_HEADER, FROM_HEADER, LoreHead, LoreId, MARK_HEADER, OfferError, Saying};

use crate::answer::{empty, refusal, with};
use crate::door::Door;

/// Answers a request for lore, or with lore.
pub(crate) async fn answer(door: &Door, parts: &Parts, id: &LoreId, body: Body) -> Response {
    match parts.method {
        Method::PUT if !door.peers => offer(door, parts, id, body).await,
        Method::DELETE if !door.peers => refute(door, parts, id).await,
        Method::GET if door.peers => match door.node.lore_for_peer(id).await {
            Some((lore, mark)) => {
                door.node.gave_lore();
                filled(headed(&lore.head, None, mark), Body::from_stream(lore.bytes))
            }
            None => empty(StatusCode::NOT_FOUND),
        },
        Method::HEAD if door.peers => match door.node.head_for_peer(id).await {
            Some((head, mark)) => headed(&head, None, mark),
            None => empty(StatusCode::NOT_FOUND),
        },
        Method::GET => match door.node.lore(id).await {
            Some(lore) => {
                let mark = door.node.answer_mark(id, &lore.head, lore.from.as_deref());
                filled(headed(&lore.head, lore.from.as_deref(), Some(mark)), Body::from_stream(lore.bytes))
            }
            None => empty(StatusCode::NOT_FOUND),
        },
        _ => {
            let found = match parts.uri.query() {
                Some("kept") => door.node.kept_head(id).await.map(|head| (head, None)),
                _ => door.node.lore_head(id).await,
            };
            let Some((head, from)) = found else { return empty(StatusCode::NOT_FOUND) };
            let mark = door.node.answer_mark(id, &head, from.as_deref());
            headed(&head, from.as_deref(), Some(mark))
        }
    }
}

async fn offer(door: &Door, parts: &Parts, id: &LoreId, body: Body) -> Response {
    let length = text(parts, header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
    let Some(length) = length else { return empty(StatusCode::LENGTH_REQUIRED) };
    if length > id.most_bytes() {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", &OfferError::TooLong.to_string());
    }
    let Some(digest) = text(parts, DIGEST_HEADER).and_then(|digest| digest.parse().ok()) else {
        return refusal(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "no digest of what is offered");
    };
    let head = LoreHead { length, digest };
    if !is_ours(door, parts, Saying::Offer, id, &head) {
        return unknown();
    }
    match door.node.keep_lore(id, &head, body.into_data_stream()).await {
        Ok(()) => empty(StatusCode::CREATED),
        Err(error) => {
            tracing::warn!(lore = id.path(), %error, "what was offered is not kept");
            let status = match error {
                OfferError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
                OfferError::Other | OfferError::BrokenOff(_) => StatusCode::BAD_REQUEST,
                OfferError::Disk(_) => StatusCode::INSUFFICIENT_STORAGE,
            };
            refusal(status, "UNKNOWN", &error.to_string())
        }
    }
}

async fn refute(door: &Door, parts: &Parts, id: &LoreId) -> Response {
    if !is_ours(door, parts, Saying::Refute, id, &LoreHead::of(&[])) {
        return unknown();
    }
    door.node.refute(id, text(parts, FROM_HEADER)).await;
    empty(StatusCode::NO_CONTENT)
}

/// Whether whoever sent this knows the node's key.
fn is_ours(door: &Door, parts: &Parts, saying: Saying, id: &LoreId, head: &LoreHead) -> bool {
    let mark = text(parts, MARK_HEADER).unwrap_or_default();
    door.node.is_of_this_machine(saying, mark, id, head, text(parts, FROM_HEADER))
}

fn unknown() -> Response {
    refusal(
        StatusCode::UNAUTHORIZED,
        "UNAUTHORIZED",
        "this door takes only what was marked with the node's key",
    )
}

fn text<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name)?.to_str().ok()
}

/// The head of an answer with lore.
fn headed(head: &LoreHead, from: Option<&str>, mark: Option<String>) -> Response {
    let mut response = with(empty(StatusCode::OK), header::CONTENT_TYPE, "application/octet-stream");
    response = with(response, header::CONTENT_LENGTH, &head.length.to_string());
    response = with(response, HeaderName::from_static(DIGEST_HEADER), &head.digest.to_string());
    for (name, value) in [(FROM_HEADER, from), (MARK_HEADER, mark.as_deref())] {
        if let Some(value) = value {
            response = with(response, HeaderName::from_static(name), value);
        }
    }
    response
}

fn filled(mut response: Response, body: Body) -> Response {
    *response.body_mut() = body;
    response
}
