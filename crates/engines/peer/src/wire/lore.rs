//! Asking a peer for lore: what it has of its own, and nothing that came from others.
//!
//! ```text
//! HEAD, GET /glowplug/peer/1/indexes/<layer>/<dialect>
//! HEAD, GET /glowplug/peer/1/profiles/<image>/<SHA-256 of the command>
//! Glowplug-Digest: sha256:…      of the content
//! Glowplug-Mark: <64 hex digits>   the peer vouches for an index: it knows the cluster's token, see `Saying::Vouch`
//! ```
//!
//! With certificates there is no mark: the connection says who answers.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Method, Response};

use super::{Wire, WireError, reason};
use crate::Error;
use crate::lore::{LoreHead, LoreId, Saying};

/// Header: the digest of lore.
pub const DIGEST_HEADER: &str = "glowplug-digest";
/// Header: the mark of who vouches for it.
pub const MARK_HEADER: &str = "glowplug-mark";
/// Header: the peer that lore came from.
pub const FROM_HEADER: &str = "glowplug-from";

impl Wire {
    /// Whether peers show that they are of the cluster, so that what they vouch for counts.
    pub(crate) const fn knows_peers(&self) -> bool {
        self.vouched
    }

    /// What a peer has of this: how long it is, and its digest.
    pub(crate) async fn lore_head(&self, peer: &str, id: &LoreId) -> Result<Option<LoreHead>, WireError> {
        match self.ask_for_lore(Method::HEAD, peer, id).await {
            Ok((head, _)) => Ok(Some(head)),
            Err(WireError::Cannot(404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a peer has of this.
    pub(crate) async fn lore(
        &self,
        peer: &str,
        id: &LoreId,
    ) -> Result<(LoreHead, BoxStream<'static, Result<Bytes, Error>>), WireError> {
        let (head, response) = self.ask_for_lore(Method::GET, peer, id).await?;
        let (mut left, peer) = (head.length, peer.to_owned());
        let pieces = response.bytes_stream().map_err(move |error| {
            tracing::debug!(peer, error = reason(error), "a peer's lore broke off");
            Error::BrokenOff
        });
        let pieces = pieces.and_then(move |piece| {
            let within = left.checked_sub(piece.len() as u64);
            left = within.unwrap_or(0);
            std::future::ready(within.map(|_| piece).ok_or(Error::BrokenOff))
        });
        Ok((head, pieces.boxed()))
    }

    async fn ask_for_lore(
        &self,
        method: Method,
        peer: &str,
        id: &LoreId,
    ) -> Result<(LoreHead, Response), WireError> {
        let url = format!("{peer}/glowplug/peer/1/{}", id.path());
        let url = reqwest::Url::parse(&url).map_err(|error| WireError::Silent(error.to_string()))?;
        let response = self.send(method, url).await?;
        let head = head(response.headers()).ok_or(WireError::Unlike("no digest"))?;
        if head.length > id.most_bytes() {
            return Err(WireError::Length { expected: id.most_bytes(), got: head.length });
        }
        if let Some(secret) = self.secret.as_ref().filter(|_| id.wants_trust()) {
            let mark = response.headers().get(MARK_HEADER).and_then(|mark| mark.to_str().ok());
            if !mark.is_some_and(|mark| Saying::Vouch.is_made(mark, secret, id, &head, "")) {
                return Err(WireError::Unlike("no mark of one who knows the token"));
            }
        }
        Ok((head, response))
    }
}

/// What headers say about the lore behind them.
pub(crate) fn head(headers: &HeaderMap) -> Option<LoreHead> {
    let text = |value: Option<&reqwest::header::HeaderValue>| value?.to_str().ok().map(str::to_owned);
    let length = text(headers.get(CONTENT_LENGTH))?.parse().ok()?;
    Some(LoreHead { length, digest: text(headers.get(DIGEST_HEADER))?.parse().ok()? })
}
