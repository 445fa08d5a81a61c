//! One repository's addresses and what is known about them: shared by its documents, its blobs and pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use glowplug_oci::Reference;
use glowplug_source::{Kind, RetryPolicy, SourceError};

use super::wire::Wire;
use crate::auth::Access;
use crate::endpoint::Endpoint;
use crate::{Error, Ranges};

/// One repository in a registry.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(super) wire: Arc<Wire>,
    pub(super) name: String,
    pub(super) repository: String,
    /// Mirrors, then the registry itself; never empty.
    endpoints: Vec<Endpoint>,
    ranges: AtomicU8,
}

impl Upstream {
    pub(super) fn new(wire: Arc<Wire>, reference: &Reference) -> Result<Self, Error> {
        let endpoints = Endpoint::all(reference.registry(), reference.api_host(), &wire.options)?;
        let name = format!("{}/{}", reference.registry(), reference.repository());
        let repository = reference.repository().to_owned();
        Ok(Self { wire, name, repository, endpoints, ranges: AtomicU8::new(0) })
    }

    /// The registry's host.
    pub(super) fn host(&self) -> &str {
        self.name.split_once('/').map_or(&self.name, |(host, _)| host)
    }

    /// Mirrors that are not down, then the registry.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Endpoint> {
        let now_ns = self.wire.now_ns();
        let last = self.endpoints.len() - 1;
        self.endpoints
            .iter()
            .enumerate()
            .filter(move |(at, e)| *at == last || !e.is_down(now_ns))
            .map(|(_, e)| e)
    }

    /// The registry itself.
    pub(super) fn origin(&self) -> &Endpoint {
        &self.endpoints[self.endpoints.len() - 1]
    }

    pub(super) fn access(&self, endpoint: &Endpoint, push: bool) -> Access {
        Access { host: endpoint.host.clone(), repository: self.repository.clone(), push }
    }

    /// Remembers that `endpoint` was of no use.
    pub(super) fn failed(&self, endpoint: &Endpoint, error: &SourceError) {
        if std::ptr::eq(endpoint, self.origin()) {
            // Nothing is left to try, so everything is tried the next time.
            self.endpoints.iter().for_each(Endpoint::wake);
            return;
        }
        tracing::debug!(mirror = endpoint.host, %error, "mirror failed");
        if matches!(error.kind, Kind::Connection(_) | Kind::Stalled(_)) {
            endpoint.rest(self.wire.now_ns());
        }
    }

    pub(super) fn saw_ranges(&self, supported: bool) {
        self.ranges.store(1 + u8::from(supported), Ordering::Relaxed);
    }

    pub(super) fn ranges(&self) -> Ranges {
        match self.ranges.load(Ordering::Relaxed) {
            0 => Ranges::Unknown,
            1 => Ranges::Unsupported,
            _ => Ranges::Supported,
        }
    }

    /// Passes every mirror over for a while; whether there was one that was trusted.
    pub(super) fn distrust(&self) -> bool {
        let now_ns = self.wire.now_ns();
        let trusted = self.candidates().count() - 1;
        self.endpoints.iter().for_each(|endpoint| endpoint.rest(now_ns));
        trusted > 0
    }
}

/// How long to wait before the next attempt, of which `failures` went wrong.
pub(super) fn pause(policy: &RetryPolicy, failures: u32, error: &Error) -> Duration {
    let doubled = policy.first_pause.saturating_mul(1 << (failures - 1).min(16));
    let asked = match error {
        Error::Source(SourceError { kind: Kind::Throttled { retry_after: Some(asked) }, .. }) => *asked,
        _ => Duration::ZERO,
    };
    doubled.max(asked).min(policy.longest_pause)
}
