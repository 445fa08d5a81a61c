//! Asking a peer: one request for one piece, with a token or a certificate of this node's own.
//!
//! ```text
//! GET /glowplug/peer/1/<name>/blobs/<digest>/pieces/<number>?ns=<registry>&size=<bytes of the blob>
//! ```
//!
//! The answer is the piece. `size` spares a peer that sees the blob for the first time a question to the registry; it is
//! believed no further than the registry bears it out. No credentials for a registry ever travel here. `Glowplug-Via` names
//! the node that asks: one that finds its own name there has another address of its own among its peers.

mod lore;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use glowplug_base::Secret;
use glowplug_registry::Via;
use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, Url};

use crate::lore::{LoreHead, LoreId, Saying};
use crate::{OpenError, PieceId, RepositoryName};

pub(crate) use lore::head;
pub use lore::{DIGEST_HEADER, FROM_HEADER, MARK_HEADER};

/// How long connecting to a neighbour may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a peer may be silent: it may be waiting for the registry, which is waited for as long.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a piece may take altogether: below that a link is no use to anybody.
const ALTOGETHER: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request: less than a peer's door keeps one that is silent.
const IDLE: Duration = Duration::from_secs(10);

/// How nodes know each other.
#[derive(Clone, Default)]
pub enum Security {
    /// Not at all: only for nodes on one machine, or in a network of their own.
    #[default]
    None,
    /// By a secret that all of them have. Over plain HTTP whoever listens in learns it.
    Token(String),
    /// By certificates of one authority; for addresses that begin with `https`.
    Tls {
        /// This node's certificate and key, as PEM.
        identity_pem: Vec<u8>,
        /// The authority that all nodes' certificates are of, as PEM. No other is trusted.
        authority_pem: Vec<u8>,
    },
}

impl std::fmt::Debug for Security {
    /// Secrets are not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::Tls { .. } => "Tls",
        })
    }
}

/// Why a peer gave no piece.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// It cannot be reached, broke off or was silent.
    #[error("no answer: {0}")]
    Silent(String),
    /// It answered that it cannot: that is about the registry or the blob, not about the peer.
    #[error("status {0}")]
    Cannot(u16),
    /// It does not take us for one of its own, or does not speak this protocol.
    #[error("refused with status {0}")]
    Refused(u16),
    /// It is this node, under another address.
    #[error("it is this node itself")]
    Own,
    /// What it gave is not as agreed.
    #[error("not as agreed: {0}")]
    Unlike(&'static str),
    /// What it gave is no such piece.
    #[error("{got} bytes instead of {expected}")]
    Length {
        /// Bytes of the piece.
        expected: u64,
        /// Bytes that came, at least.
        got: u64,
    },
}

/// The HTTP client for peers.
#[derive(Debug)]
pub(crate) struct Wire {
    client: Client,
    authorization: Option<HeaderValue>,
    /// What all nodes know, where that is how they know each other.
    secret: Option<Secret>,
    /// Whether a peer that answers has shown that it is one.
    vouched: bool,
    /// This node's name.
    via: HeaderValue,
}

impl Wire {
    pub(crate) fn new(security: &Security, via: &Via) -> Result<Self, OpenError> {
        let tls = |error: reqwest::Error| OpenError::Tls(error.without_url().to_string());
        let mut builder = Client::builder()
            .http1_only()
            // A neighbour is not behind a proxy, and does not send us elsewhere.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .pool_idle_timeout(IDLE)
            .timeout(ALTOGETHER);
        let (mut authorization, mut secret) = (None, None);
        match security {
            Security::None => builder = builder.tls_certs_only([]),
            Security::Token(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut value =
                    value.map_err(|_| OpenError::Tls("the token is no line of text".to_owned()))?;
                value.set_sensitive(true);
                authorization = Some(value);
                secret = Some(Secret::new(token.as_bytes()));
                builder = builder.tls_certs_only([]);
            }
            Security::Tls { identity_pem, authority_pem } => {
                let authority = reqwest::Certificate::from_pem_bundle(authority_pem).map_err(tls)?;
                let identity = reqwest::Identity::from_pem(identity_pem).map_err(tls)?;
                builder = builder.tls_certs_only(authority).identity(identity).https_only(true);
            }
        }
        // What a peer is asked for it does not pass on, so who lies behind this node does not matter to it.
        let via = HeaderValue::from_str(via.own());
        Ok(Self {
            client: builder.build().map_err(tls)?,
            authorization,
            secret,
            vouched: !matches!(security, Security::None),
            via: via.map_err(|_| OpenError::Tls("a node's name is letters and digits".to_owned()))?,
        })
    }

    /// Asks `peer` for a piece of a blob of `size` bytes.
    pub(crate) async fn piece(
        &self,
        peer: &str,
        repository: &RepositoryName,
        piece: &PieceId,
        size: u64,
    ) -> Result<Bytes, WireError> {
        let expected = piece.range(size).len();
        let path = format!("{}/blobs/{}/pieces/{}", repository.name(), piece.blob, piece.number);
        let mut url = Url::parse(&format!("{peer}/glowplug/peer/1/{path}"))
            .map_err(|error| WireError::Silent(error.to_string()))?;
        url.query_pairs_mut().append_pair("ns", repository.registry()).append_pair("size", &size.to_string());
        let silent = |error: reqwest::Error| WireError::Silent(reason(error));
        let mut response = self.send(Method::GET, url).await?;
        let wrong = |got: u64| WireError::Length { expected, got };
        if let Some(got) = response.content_length().filter(|got| *got != expected) {
            return Err(wrong(got));
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
        while let Some(more) = response.chunk().await.map_err(silent)? {
            bytes.extend_from_slice(&more);
            if bytes.len() as u64 > expected {
                break;
            }
        }
        if bytes.len() as u64 == expected { Ok(bytes.freeze()) } else { Err(wrong(bytes.len() as u64)) }
    }

    /// The mark by which this node vouches for an index; nothing where certificates say who it is.
    pub(crate) fn vouch(&self, id: &LoreId, head: &LoreHead) -> Option<String> {
        let secret = self.secret.as_ref().filter(|_| id.wants_trust())?;
        Some(Saying::Vouch.mark(secret, id, head, ""))
    }

    /// Sends a request. An answer that is a success is one.
    async fn send(&self, method: Method, url: Url) -> Result<Response, WireError> {
        let mut request = self.client.request(method, url);
        request = request.header(HeaderName::from_static(Via::HEADER), &self.via);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let response = request.send().await.map_err(|error| WireError::Silent(reason(error)))?;
        match response.status().as_u16() {
            200 => Ok(response),
            508 => Err(WireError::Own),
            status @ (300..=399 | 401 | 405) => Err(WireError::Refused(status)),
            status => Err(WireError::Cannot(status)),
        }
    }
}

/// What is at the bottom of a failed request.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut deepest: &dyn std::error::Error = &error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
