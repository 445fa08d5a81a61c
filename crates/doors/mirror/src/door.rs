//! What a door opens, and for whom.

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use glowplug_peer::{Node, RepositoryName};

use crate::answer::refusal;
use crate::guard::Guard;
use crate::query::parameter;

/// A door of a node.
#[derive(Debug, Clone)]
pub struct Door {
    pub(crate) node: Node,
    pub(crate) guard: Guard,
    /// Registries that are served; the first is meant where a request names none. Any that is named, where there are none.
    upstreams: Arc<[String]>,
    /// Whether pieces are given out.
    pub(crate) peers: bool,
}

impl Door {
    /// The door for this machine. It asks nobody who he is, so it must not be reachable from elsewhere.
    ///
    /// `upstreams` are the registries that are served, the first of them where a request names none; where it is empty,
    /// any that a request names is.
    pub fn local(node: Node, upstreams: Vec<String>) -> Self {
        Self { node, guard: Guard::Open, upstreams: upstreams.into(), peers: false }
    }

    /// The door for the cluster: `token` is asked for, where TLS does not decide who comes in. `upstreams` as for the
    /// door of this machine.
    pub fn cluster(node: Node, upstreams: Vec<String>, token: Option<&str>) -> Self {
        let guard = token.map_or(Guard::Open, Guard::token);
        Self { node, guard, upstreams: upstreams.into(), peers: true }
    }

    /// The repository `name` of the registry that the query names.
    pub(crate) fn repository(&self, uri: &Uri, name: &str) -> Result<RepositoryName, Box<Response>> {
        let bad = |message: &str| Box::new(refusal(StatusCode::BAD_REQUEST, "NAME_INVALID", message));
        let named = parameter(uri, "ns");
        let registry = named.as_deref().or(self.upstreams.first().map(String::as_str));
        let Some(registry) = registry else { return Err(bad("which registry? add ?ns=REGISTRY")) };
        let repository = RepositoryName::new(registry, name).map_err(|error| bad(&error.to_string()))?;
        let served = self.upstreams.is_empty()
            || self.upstreams.iter().any(|upstream| upstream.eq_ignore_ascii_case(repository.registry()));
        if !served {
            let refused = refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "this registry is not served here");
            return Err(Box::new(refused));
        }
        Ok(repository)
    }
}
