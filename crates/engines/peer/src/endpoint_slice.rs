//! Members from Kubernetes: the EndpointSlices of a headless service in front of the nodes' pods.
//!
//! The slices are listed, then watched; when the watch ends, they are listed again. While the API server is away the last
//! members stay. Plain JSON over HTTP: of the whole API this needs one kind and four fields. The service account needs to
//! `list` and `watch` `endpointslices` in `discovery.k8s.io`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Url, header};
use serde::Deserialize;

use crate::{Node, OpenError};

/// How long a watch is asked to stay open; then the slices are listed again, so that nothing missed stays missed.
const WATCH_SECONDS: u32 = 300;
/// How long the API server may take to answer.
const CONNECT: Duration = Duration::from_secs(5);
/// A watch that says nothing for longer than it was asked to stay open is broken.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 30);
/// How long to wait after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What one event or list may be long: 1000 endpoints of 300 bytes in each of a hundred slices.
const MOST_BYTES: usize = 32 << 20;
/// The label by which a slice belongs to a service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// The name of the port that is taken where a slice has several.
const PORT_NAME: &str = "peer";

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
    service: String,
    token_file: Option<PathBuf>,
    scheme: &'static str,
}

/// Why members could not be learned.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("asking the API server")]
    Http(#[source] reqwest::Error),
    #[error("the API server answers with status {0}")]
    Status(u16),
    #[error("reading what the API server says")]
    Json(#[from] serde_json::Error),
    #[error("the API server says too much")]
    TooLong,
    #[error("reading the token")]
    Token(#[source] std::io::Error),
    #[error("the watch is over: {0}")]
    Over(String),
    #[error(transparent)]
    Member(#[from] OpenError),
}

impl From<reqwest::Error> for FollowError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    items: Option<Vec<Slice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    resource_version: String,
}

#[derive(Debug, Deserialize)]
struct Slice {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
}

#[derive(Debug, Default, Deserialize)]
struct Conditions {
    /// Nothing is to be read as yes.
    ready: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Port {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: serde_json::Value,
}

impl Slice {
    /// The addresses of the nodes that are ready.
    fn addresses(&self, scheme: &str) -> Vec<String> {
        let ports: Vec<&Port> = self.ports.iter().flatten().filter(|port| port.port.is_some()).collect();
        let named = ports.iter().find(|port| port.name.as_deref() == Some(PORT_NAME));
        let Some(port) = named.or(ports.first()).and_then(|port| port.port) else { return Vec::new() };
        let ready =
            self.endpoints.iter().flatten().filter(|endpoint| endpoint.conditions.ready != Some(false));
        // All addresses of an endpoint are one node; by convention the first is taken.
        let hosts = ready.filter_map(|endpoint| endpoint.addresses.first());
        let bracketed = |host: &String| if host.contains(':') { format!("[{host}]") } else { host.clone() };
        hosts.map(|host| format!("{scheme}://{}:{port}", bracketed(host))).collect()
    }
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
            service: service.to_owned(),
            token_file: server.token_file.clone(),
            scheme: if tls { "https" } else { "http" },
        })
    }

    /// Keeps the members of `node` as the slices say, for ever.
    pub async fn follow(&self, node: &Node) {
        let mut failures = 0;
        loop {
            let mut slices = BTreeMap::new();
            let outcome = self.list_and_watch(node, &mut slices, &mut failures).await;
            let Err(error) = outcome else { continue };
            if matches!(error, FollowError::Over(_)) {
                tracing::debug!(%error, "listing the members again");
            } else {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the cluster's members cannot be learned, the last ones stay");
            }
            let pause = PAUSE.0.saturating_mul(1 << u32::min(failures, 8)).min(PAUSE.1);
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Until the watch ends, as it always does.
    async fn list_and_watch(
        &self,
        node: &Node,
        slices: &mut BTreeMap<String, Vec<String>>,
        failures: &mut u32,
    ) -> Result<(), FollowError> {
        let mut response = self.ask(&[]).await?;
        let mut bytes = Vec::new();
        while let Some(more) = response.chunk().await? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MOST_BYTES {
                return Err(FollowError::TooLong);
            }
        }
        let list: List = serde_json::from_slice(&bytes)?;
        for slice in list.items.unwrap_or_default() {
            slices.insert(slice.metadata.name.clone(), slice.addresses(self.scheme));
        }
        tell(node, slices)?;
        *failures = 0;
        let seconds = WATCH_SECONDS.to_string();
        let version = list.metadata.resource_version;
        let watch = [("watch", "1"), ("resourceVersion", &version), ("timeoutSeconds", &seconds)];
        let mut response = self.ask(&watch).await?;
        let mut held = Vec::new();
        while let Some(more) = response.chunk().await? {
            held.extend_from_slice(&more);
            while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = held.drain(..=end).collect();
                self.apply(&line, slices)?;
                tell(node, slices)?;
            }
            if held.len() > MOST_BYTES {
                return Err(FollowError::TooLong);
            }
        }
        Ok(())
    }

    /// One event of the watch.
    fn apply(&self, line: &[u8], slices: &mut BTreeMap<String, Vec<String>>) -> Result<(), FollowError> {
        let event: Event = serde_json::from_slice(line)?;
        match event.kind.as_str() {
            "ADDED" | "MODIFIED" => {
                let slice: Slice = serde_json::from_value(event.object)?;
                slices.insert(slice.metadata.name.clone(), slice.addresses(self.scheme));
            }
            "DELETED" => {
                let slice: Slice = serde_json::from_value(event.object)?;
                slices.remove(&slice.metadata.name);
            }
            // The version that was watched from is too old, or the server has another reason.
            "ERROR" => return Err(FollowError::Over(event.object["message"].to_string())),
            _ => {}
        }
        Ok(())
    }

    async fn ask(&self, query: &[(&str, &str)]) -> Result<reqwest::Response, FollowError> {
        let mut url = self.slices.clone();
        let selector = format!("{SERVICE_LABEL}={}", self.service);
        url.query_pairs_mut().append_pair("labelSelector", &selector).extend_pairs(query);
        let mut request = self.client.get(url).header(header::ACCEPT, "application/json");
        if let Some(path) = &self.token_file {
            let token = tokio::fs::read_to_string(path).await.map_err(FollowError::Token)?;
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await?;
        match response.status().as_u16() {
            200 => Ok(response),
            status => Err(FollowError::Status(status)),
        }
    }
}

/// Slices may overlap while endpoints move from one to another; members are a set.
fn tell(node: &Node, slices: &BTreeMap<String, Vec<String>>) -> Result<(), FollowError> {
    let addresses: Vec<String> = slices.values().flatten().cloned().collect();
    Ok(node.set_members(&addresses)?)
}
