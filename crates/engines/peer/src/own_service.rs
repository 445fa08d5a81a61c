//! This node's own service, as the processes of its machine see it: they offer what they learned, and get what others did.
//!
//! ```text
//! HEAD, GET /glowplug/peer/1/<lore>         offered here, else of a peer; `?kept`: offered here
//! PUT       /glowplug/peer/1/<lore>         offers it
//! DELETE    /glowplug/peer/1/<lore>         it proved wrong; Glowplug-From: the peer that gave it, where one did
//! Glowplug-Digest, Glowplug-From            as between peers
//! Glowplug-Mark: <64 hex digits>              made with the node's key: of offers and refutations by whoever makes them, of
//!                                           answers by the service; see `Saying`
//! ```
//!
//! The service is one of the mirrors that this machine was told of, if it answers as one: nothing but a question goes to a
//! mirror that does not. Nothing here fails: whoever gets nothing does without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use glowplug_base::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, Url};

use crate::lore::{LoreHead, LoreId, Saying};
use crate::wire::{DIGEST_HEADER, FROM_HEADER, MARK_HEADER, head};

/// How long connecting to this machine may take.
const CONNECT: Duration = Duration::from_millis(500);
/// How long the service may be silent: it may be waiting for peers, which is bounded below that.
const SILENCE: Duration = Duration::from_secs(5);
/// How long one thing may take altogether.
const ALTOGETHER: Duration = Duration::from_secs(30);
/// Header by which the service is known.
const SERVICE_HEADER: &str = "glowplug-peer";

/// A mirror on this machine that may be the node's service.
#[derive(Debug)]
pub struct OwnService {
    root: String,
    client: Client,
    key: Option<Secret>,
    /// It turned out to be something else, or not to answer: nothing waits for it a second time.
    is_useless: AtomicBool,
    /// It answered as a service does.
    answered: AtomicBool,
}

/// Lore that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its bytes, whole.
    pub bytes: Bytes,
    /// The peer that gave it; nothing where it was offered on this node.
    pub from: Option<String>,
}

impl OwnService {
    /// The service at a mirror's address, `[http://]HOST[:PORT]`, with the node's key if this process may read it. `None` for
    /// addresses that are not on this machine.
    pub fn at(mirror: &str, key: Option<Secret>) -> Option<Self> {
        let url = if mirror.contains("://") { mirror.to_owned() } else { format!("http://{mirror}") };
        let url = Url::parse(&url).ok().filter(|url| url.scheme() == "http")?;
        let host = url.host_str()?.trim_matches(['[', ']']);
        let is_here = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if !is_here || !matches!(url.path(), "" | "/") {
            return None;
        }
        let client = Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_certs_only([])
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(ALTOGETHER)
            .build();
        let root = format!("{}glowplug/peer/1/", url.as_str());
        Some(Self {
            root,
            client: client.ok()?,
            key,
            is_useless: AtomicBool::default(),
            answered: AtomicBool::default(),
        })
    }

    /// Whether what this process offers would be taken, and indexes can be believed.
    pub const fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Something of at most `most_bytes`, from this node or a peer.
    pub async fn get(&self, id: &LoreId, most_bytes: u64) -> Option<Found> {
        if id.wants_trust() && self.key.is_none() {
            return None;
        }
        let (head, from, mut response) = self.ask(Method::GET, id, "").await?;
        if head.length > most_bytes {
            tracing::debug!(lore = id.path(), bytes = head.length, "longer than it is worth");
            return None;
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(head.length).ok()?);
        loop {
            match response.chunk().await {
                Ok(Some(more)) if (bytes.len() + more.len()) as u64 <= head.length => {
                    bytes.extend_from_slice(&more)
                }
                Ok(None) => break,
                _ => return None,
            }
        }
        let bytes = bytes.freeze();
        let whole = bytes.clone();
        let found = tokio::task::spawn_blocking(move || LoreHead::of(&whole)).await.ok()?;
        (found == head).then_some(Found { bytes, from })
    }

    /// How many bytes there are of something, and the peer that has it.
    pub async fn look(&self, id: &LoreId) -> Option<(u64, Option<String>)> {
        if id.wants_trust() && self.key.is_none() {
            return None;
        }
        let (head, from, _) = self.ask(Method::HEAD, id, "").await?;
        Some((head.length, from))
    }

    /// Whether something was offered on this node already.
    pub async fn keeps(&self, id: &LoreId) -> bool {
        self.ask(Method::HEAD, id, "?kept").await.is_some()
    }

    /// Offers something. Whether it was taken.
    pub async fn offer(&self, id: &LoreId, bytes: Bytes) -> bool {
        let Some(key) = self.key.as_ref() else { return false };
        if !self.is_there(id).await {
            return false;
        }
        let whole = bytes.clone();
        let Ok(head) = tokio::task::spawn_blocking(move || LoreHead::of(&whole)).await else { return false };
        let request = self.marked(Method::PUT, id, key, Saying::Offer, &head, None);
        let request = request.header(CONTENT_TYPE, "application/octet-stream").body(bytes);
        self.tell(id, request).await
    }

    /// An index proved wrong, which `from` had given. Whether that was heard.
    pub async fn refute(&self, id: &LoreId, from: Option<&str>) -> bool {
        let Some(key) = self.key.as_ref() else { return false };
        if !self.is_there(id).await {
            return false;
        }
        let request = self.marked(Method::DELETE, id, key, Saying::Refute, &LoreHead::of(&[]), from);
        self.tell(id, request).await
    }

    /// Whether a service answers there: nothing but a question is sent to a mirror that is something else.
    async fn is_there(&self, id: &LoreId) -> bool {
        if !self.answered.load(Ordering::Relaxed) {
            self.keeps(id).await;
        }
        self.answered.load(Ordering::Relaxed) && !self.is_useless.load(Ordering::Relaxed)
    }

    /// A request with the mark of what it says.
    fn marked(
        &self,
        method: Method,
        id: &LoreId,
        key: &Secret,
        saying: Saying,
        head: &LoreHead,
        from: Option<&str>,
    ) -> RequestBuilder {
        let mark = saying.mark(key, id, head, from.unwrap_or_default());
        let request = self.client.request(method, format!("{}{}", self.root, id.path()));
        let request = request.header(DIGEST_HEADER, head.digest.to_string()).header(MARK_HEADER, mark);
        match from {
            Some(from) => request.header(FROM_HEADER, from),
            None => request,
        }
    }

    async fn tell(&self, id: &LoreId, request: RequestBuilder) -> bool {
        match request.send().await {
            Ok(response) if response.status().is_success() => true,
            Ok(response) => {
                tracing::debug!(lore = id.path(), status = %response.status(), "the node's service does not take it");
                false
            }
            Err(error) => {
                self.gone(error);
                false
            }
        }
    }

    fn gone(&self, error: reqwest::Error) {
        self.is_useless.store(true, Ordering::Relaxed);
        tracing::debug!(at = self.root, error = %error.without_url(), "the node's service does not answer");
    }

    /// Asks, and believes no more of the answer than its mark bears out.
    async fn ask(
        &self,
        method: Method,
        id: &LoreId,
        query: &str,
    ) -> Option<(LoreHead, Option<String>, Response)> {
        if self.is_useless.load(Ordering::Relaxed) {
            return None;
        }
        let url = format!("{}{}{query}", self.root, id.path());
        let response = match self.client.request(method, url).send().await {
            Ok(response) => response,
            Err(error) => {
                self.gone(error);
                return None;
            }
        };
        if !response.headers().contains_key(SERVICE_HEADER) {
            self.is_useless.store(true, Ordering::Relaxed);
            return None;
        }
        self.answered.store(true, Ordering::Relaxed);
        if !response.status().is_success() {
            return None;
        }
        let head = head(response.headers())?;
        let from = text(response.headers(), FROM_HEADER);
        if id.wants_trust() {
            let mark = text(response.headers(), MARK_HEADER).unwrap_or_default();
            let told = from.as_deref().unwrap_or_default();
            let is_ours = |key| Saying::Answer.is_made(&mark, key, id, &head, told);
            if !self.key.as_ref().is_some_and(is_ours) {
                tracing::warn!(
                    at = self.root,
                    "whoever answers there does not know this node's key, and is not believed"
                );
                return None;
            }
        }
        Some((head, from, response))
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
