//! Members from Kubernetes: the EndpointSlices of a headless service in front of the nodes' pods.
//!
//! The slices are listed once, then watched. A watch that ends, as each does after some minutes, and one that breaks off go
//! on from what was seen last: a thousand nodes must not list a thousand endpoints each time an API server is restarted.
//! Only where the server says that this is too long ago (410 Gone), or allows no watch, are they listed again. While the
//! server is away the last members stay. Plain JSON over HTTP: of the whole API this needs one kind and four fields. The
//! service account needs to `list` and `watch` `endpointslices` in `discovery.k8s.io`.

mod document;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Response, Url, header};
use tokio::time::Instant;

use self::document::{Event, FollowError, List, Slice, Status};
use crate::{Node, OpenError};

/// How long a watch is asked to stay open, at least and at most: nodes that began together do not end together.
const WATCH_SECONDS: (u64, u64) = (300, 600);
/// A watch that ended sooner than this with nothing said is taken for a failure, or it would be asked for without end.
const SHORT: Duration = Duration::from_secs(1);
/// How long the API server may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch that says nothing for longer than it was asked to stay open is broken. That the other side is gone is noticed
/// sooner, by the keep-alive of its connection.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS.1 + 30);
/// How long to wait after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What one event or list may be long: 1000 endpoints of 300 bytes in each of a hundred slices.
const MOST_BYTES: usize = 32 << 20;
/// What a refusal may be long.
const MOST_STATUS_BYTES: usize = 64 << 10;
/// The label by which a slice belongs to a service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Where the API server is, and how it knows us.
#[derive(Debug, Clone)]
pub struct ApiServer {
    /// `https://HOST:PORT`.
    pub url: String,
    /// Its authority, as a PEM file; the system's without.
    pub ca_file: Option<PathBuf>,
    /// Holds the service account's token; read for each request, since it is replaced from time to time.
    pub token_file: Option<PathBuf>,
}

/// The slices of one service.
#[derive(Debug)]
pub struct EndpointSlices {
    client: Client,
    slices: Url,
    namespace: String,
    service: String,
    token_file: Option<PathBuf>,
    scheme: &'static str,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Addresses of each slice, by its name.
    slices: BTreeMap<String, Vec<String>>,
    /// The moment that the slices are of; none where they are to be listed first.
    version: Option<String>,
    /// Failures since something was last heard.
    failures: u32,
    /// Refusals, one after the other.
    refusals: u32,
}

impl EndpointSlices {
    /// The slices of `service`; nothing is asked yet. `tls` is whether the nodes speak TLS with each other.
    ///
    /// # Errors
    /// When the server's address or its authority cannot be used.
    pub fn new(server: &ApiServer, namespace: &str, service: &str, tls: bool) -> Result<Self, OpenError> {
        let mut slices = Url::parse(&server.url).map_err(|_| OpenError::Member(server.url.clone()))?;
        let path = ["apis", "discovery.k8s.io", "v1", "namespaces", namespace, "endpointslices"];
        match slices.path_segments_mut() {
            Ok(mut segments) => _ = segments.pop_if_empty().extend(path),
            Err(()) => return Err(OpenError::Member(server.url.clone())),
        }
        let unusable = |error: reqwest::Error| OpenError::Tls(error.without_url().to_string());
        let mut builder =
            Client::builder().http1_only().no_proxy().connect_timeout(CONNECT).read_timeout(SILENCE);
        if let Some(path) = &server.ca_file {
            let pem = std::fs::read(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
            builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).map_err(unusable)?);
        }
        Ok(Self {
            client: builder.build().map_err(unusable)?,
            slices,
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            token_file: server.token_file.clone(),
            scheme: if tls { "https" } else { "http" },
        })
    }

    /// Keeps the members of `node` as the slices say, for ever.
    pub async fn follow(&self, node: &Node) {
        let mut seen = Seen::default();
        loop {
            let Err(error) = self.list_and_watch(node, &mut seen).await else { continue };
            seen.refusals = if error.is_refusal() { seen.refusals + 1 } else { 0 };
            // A server that has just begun refuses everybody until it has read its roles.
            let passing = seen.refusals == 1;
            if error.wants_list() && !passing {
                seen.version = None;
            }
            if passing {
                tracing::debug!(%error, "asking again, it may have been for the moment");
            } else if matches!(error, FollowError::Expired(_)) {
                tracing::debug!(%error, "listing the members again");
            } else {
                let cause = std::error::Error::source(&error).map(innermost);
                tracing::warn!(%error, cause, "the cluster's members cannot be learned, the last ones stay");
            }
            let pause = PAUSE.0.saturating_mul(1 << u32::min(seen.failures, 8)).min(PAUSE.1);
            seen.failures += 1;
            tokio::time::sleep(pause.mul_f64(0.5 + chance() / 2.0)).await;
        }
    }

    /// Until the watch ends, as it always does.
    async fn list_and_watch(&self, node: &Node, seen: &mut Seen) -> Result<(), FollowError> {
        let version = match seen.version.clone() {
            Some(version) => version,
            None => self.list(node, seen).await?,
        };
        let (least, most) = WATCH_SECONDS;
        let seconds = (least + ((most - least) as f64 * chance()) as u64).to_string();
        let began = Instant::now();
        let query = [
            ("watch", "1"),
            // Told from time to time how far it is, a watch can go on later from there.
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", &version),
            ("timeoutSeconds", &seconds),
        ];
        let mut response = self.ask("watch", &query).await?;
        seen.refusals = 0;
        let mut held = Vec::new();
        let mut events = 0_u64;
        while let Some(more) = response.chunk().await? {
            held.extend_from_slice(&more);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                self.apply(&line, seen)?;
                tell(node, seen)?;
                seen.failures = 0;
                events += 1;
            }
            if held.len() > MOST_BYTES {
                return Err(FollowError::TooLong);
            }
        }
        if events == 0 && began.elapsed() < SHORT {
            return Err(FollowError::Short);
        }
        seen.failures = 0;
        Ok(())
    }

    /// All slices as they are now; gives the moment that they are of.
    async fn list(&self, node: &Node, seen: &mut Seen) -> Result<String, FollowError> {
        let bytes = read(self.ask("list", &[]).await?, MOST_BYTES).await?;
        let list: List = serde_json::from_slice(&bytes)?;
        let slices = list.items.unwrap_or_default();
        if slices.is_empty() {
            tracing::warn!(
                namespace = self.namespace,
                service = self.service,
                "no EndpointSlice belongs to this service yet: this node is on its own"
            );
        }
        let addresses = |slice: Slice| (slice.metadata.name.clone(), slice.addresses(self.scheme));
        seen.slices = slices.into_iter().map(addresses).collect();
        seen.version = Some(list.metadata.resource_version.clone());
        tell(node, seen)?;
        Ok(list.metadata.resource_version)
    }

    /// One event of the watch.
    fn apply(&self, line: &[u8], seen: &mut Seen) -> Result<(), FollowError> {
        let event: Event = serde_json::from_slice(line)?;
        if event.kind == "ERROR" {
            let status: Status = serde_json::from_value(event.object)?;
            // 410: the moment that was watched from is too long ago. With any other reason a list helps as well.
            return Err(FollowError::Expired(status.message));
        }
        let slice: Slice = serde_json::from_value(event.object)?;
        let Slice { metadata, .. } = &slice;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                seen.slices.insert(metadata.name.clone(), slice.addresses(self.scheme));
            }
            "DELETED" => _ = seen.slices.remove(&metadata.name),
            // A bookmark: nothing happened until now.
            _ => {}
        }
        if !metadata.resource_version.is_empty() {
            seen.version = Some(metadata.resource_version.clone());
        }
        Ok(())
    }

    async fn ask(&self, verb: &'static str, query: &[(&str, &str)]) -> Result<Response, FollowError> {
        let mut url = self.slices.clone();
        let selector = format!("{SERVICE_LABEL}={}", self.service);
        url.query_pairs_mut().append_pair("labelSelector", &selector).extend_pairs(query);
        let mut request = self.client.get(url).header(header::ACCEPT, "application/json");
        if let Some(path) = &self.token_file {
            let token = tokio::fs::read_to_string(path).await.map_err(FollowError::Token)?;
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await?;
        let code = response.status().as_u16();
        if code == 200 {
            return Ok(response);
        }
        let said = read(response, MOST_STATUS_BYTES).await.unwrap_or_default();
        let message = serde_json::from_slice::<Status>(&said).unwrap_or_default().message;
        Err(match code {
            401 => FollowError::Unknown { file: self.token_file.clone(), message },
            403 => FollowError::Forbidden { verb, namespace: self.namespace.clone(), message },
            410 => FollowError::Expired(message),
            code => FollowError::Status { code, message },
        })
    }
}

/// The whole of an answer of at most so many bytes.
async fn read(mut response: Response, most: usize) -> Result<Vec<u8>, FollowError> {
    let mut bytes = Vec::new();
    while let Some(more) = response.chunk().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() > most {
            return Err(FollowError::TooLong);
        }
    }
    Ok(bytes)
}

/// Slices may overlap while endpoints move from one to another; members are a set.
fn tell(node: &Node, seen: &Seen) -> Result<(), FollowError> {
    let addresses: Vec<String> = seen.slices.values().flatten().cloned().collect();
    Ok(node.set_members(&addresses)?)
}

/// What is at the bottom of an error: that of a request says nothing itself.
fn innermost(mut error: &(dyn std::error::Error + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Some number from 0 to 1: it only has to differ from node to node.
fn chance() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
