//! `/glowplug/peer/1/`: pieces for peers, counters for people; see `lore` for the rest.

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use glowplug_peer::PieceId;

use crate::answer::{content, empty, failure};
use crate::door::Door;
use crate::query::{Path, parameter};

/// Answers what stands after `/glowplug/peer/1/`; pieces only where `pieces` is set.
pub(crate) async fn answer(door: &Door, parts: &Parts, rest: &str, pieces: bool) -> Response {
    if rest == "stats" {
        let counted = serde_json::to_vec_pretty(&door.node.stats()).unwrap_or_default();
        return content(counted, "application/json", parts.method == "HEAD");
    }
    let wanted = Path::parse(rest).filter(|path| path.kind == "blobs" && pieces);
    let Some((name, piece)) = wanted.and_then(|path| Some((path.name, piece(&path.rest)?))) else {
        return empty(StatusCode::NOT_FOUND);
    };
    let repository = match door.repository(&parts.uri, &name) {
        Ok(repository) => repository,
        Err(refused) => return *refused,
    };
    let told = parameter(&parts.uri, "size").and_then(|size| size.parse().ok());
    match door.node.piece_for_peer(&repository, piece, told).await {
        Ok(bytes) => content(bytes, "application/octet-stream", parts.method == "HEAD"),
        Err(error) => failure("BLOB_UNKNOWN", &error),
    }
}

/// `<digest>/pieces/<number>`.
fn piece(rest: &str) -> Option<PieceId> {
    let (digest, number) = rest.split_once("/pieces/")?;
    Some(PieceId { blob: digest.parse().ok()?, number: number.parse().ok()? })
}
