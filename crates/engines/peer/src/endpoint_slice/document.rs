//! What the API server says, as far as it matters here: of an EndpointSlice four fields, of a refusal its sentence.
//!
//! Fields that are not there are empty, and what a later release adds is passed over.

use std::path::PathBuf;

use serde::Deserialize;

use crate::OpenError;

/// The name of the port that is taken where a slice has several.
const PORT_NAME: &str = "peer";

/// Slices, and the moment that they are of.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) items: Option<Vec<Slice>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) resource_version: String,
}

/// Endpoints that have their ports in common.
#[derive(Debug, Deserialize)]
pub(super) struct Slice {
    #[serde(default)]
    pub(super) metadata: Metadata,
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

/// One line of a watch.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) object: serde_json::Value,
}

/// Why the server does not do what it was asked for.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Status {
    /// For people.
    #[serde(default)]
    pub(super) message: String,
}

impl Slice {
    /// The addresses of the nodes that are ready.
    pub(super) fn addresses(&self, scheme: &str) -> Vec<String> {
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

/// Why members could not be learned.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    #[error("asking the API server")]
    Http(#[source] reqwest::Error),
    /// The service account may not do this.
    #[error(
        "the API server does not let this service account {verb} EndpointSlices ({message}): allow it the verbs \
         list and watch on endpointslices of discovery.k8s.io in namespace {namespace}"
    )]
    Forbidden {
        verb: &'static str,
        namespace: String,
        /// What the server says: it names the account.
        message: String,
    },
    #[error("the API server does not take the token{}: {message}", in_file(.file))]
    Unknown {
        /// Where the token was read.
        file: Option<PathBuf>,
        message: String,
    },
    #[error("the API server answers with status {code}: {message}")]
    Status { code: u16, message: String },
    #[error("reading what the API server says")]
    Json(#[from] serde_json::Error),
    #[error("the API server says too much")]
    TooLong,
    #[error("reading the token")]
    Token(#[source] std::io::Error),
    /// What was seen last is too old to be watched from.
    #[error("the watch cannot go on: {0}")]
    Expired(String),
    #[error("the API server ends every watch at once")]
    Short,
    #[error(transparent)]
    Member(#[from] OpenError),
}

fn in_file(file: &Option<PathBuf>) -> String {
    file.as_ref().map(|file| format!(" in {}", file.display())).unwrap_or_default()
}

impl From<reqwest::Error> for FollowError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(error.without_url())
    }
}

impl FollowError {
    /// Whether the server knows what is wanted and does not do it.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Unknown { .. })
    }

    /// Whether what was seen so far is good for nothing any more, or may not be followed: the slices are to be listed
    /// again. A server that is away or has too much to do is not asked for more than before.
    pub(super) const fn wants_list(&self) -> bool {
        matches!(
            self,
            Self::Expired(_) | Self::Forbidden { .. } | Self::Json(_) | Self::TooLong | Self::Member(_)
        )
    }
}
