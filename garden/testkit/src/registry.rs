//! A registry in this process, on real sockets, in its own runtime, so that tests may hold their own clock still.
//!
//! It answers the distribution API and a second address that plays the content delivery network behind presigned
//! URLs. Everything that was asked of it can be read back.

mod auth;
mod fault;
mod http;
mod state;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Index, Limits, media};

pub use auth::Auth;
pub use fault::{Fault, Rule};
pub use state::Logged;
use state::State;

/// The running registry; it ends when dropped.
#[derive(Debug)]
pub struct TestRegistry {
    state: Arc<State>,
    runtime: Option<tokio::runtime::Runtime>,
    addr: SocketAddr,
    cdn: SocketAddr,
    tls: Option<tls::Identity>,
}

impl TestRegistry {
    /// Starts on two free loopback ports, without TLS.
    pub fn start() -> Self {
        Self::new(None)
    }

    /// Starts with TLS and a certificate for `localhost` and 127.0.0.1 whose authority is [`TestRegistry::ca_pem`].
    pub fn start_tls() -> Self {
        Self::new(Some(tls::Identity::generate()))
    }

    fn new(tls: Option<tls::Identity>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut registry = Self { state: Arc::default(), runtime: None, addr: any, cdn: any, tls };
        registry.restart();
        registry
    }

    /// Goes away: every connection breaks, new ones are refused. What it stores stays.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Comes back on the same addresses.
    pub fn restart(&mut self) {
        self.stop();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let _inside = runtime.enter();
        for (addr, cdn) in [(&mut self.addr, false), (&mut self.cdn, true)] {
            let listener = std::net::TcpListener::bind(*addr).expect("a loopback port is free");
            listener.set_nonblocking(true).expect("a socket can be non-blocking");
            *addr = listener.local_addr().expect("a bound socket has an address");
            let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
            let router = http::router(self.state.clone(), cdn);
            match &self.tls {
                Some(identity) => {
                    let listener = identity.listener(listener);
                    runtime.spawn(async { axum::serve(listener, router).await });
                }
                None => drop(runtime.spawn(async { axum::serve(listener, router).await })),
            }
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.state.set_origins(format!("{scheme}://{}", self.addr), format!("{scheme}://{}", self.cdn));
        self.runtime = Some(runtime);
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where its content delivery network listens.
    pub fn cdn_addr(&self) -> SocketAddr {
        self.cdn
    }

    /// Its name in references: `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.addr.to_string()
    }

    /// A complete reference: `127.0.0.1:PORT/repository:tag`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.addr)
    }

    /// The authority that signed its certificate, as PEM; empty without TLS.
    pub fn ca_pem(&self) -> String {
        self.tls.as_ref().map(|identity| identity.ca_pem.clone()).unwrap_or_default()
    }

    /// Stores a blob in every repository.
    pub fn put_blob(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.state.lock().blobs.insert(digest, bytes);
        digest
    }

    /// Serves `bytes` under a digest that is not theirs.
    pub fn put_wrong_blob(&self, digest: Digest, bytes: impl Into<Bytes>) {
        self.state.lock().blobs.insert(digest, bytes.into());
    }

    /// Forgets a blob.
    pub fn remove_blob(&self, digest: &Digest) {
        self.state.lock().blobs.remove(digest);
    }

    /// A stored blob.
    pub fn blob(&self, digest: &Digest) -> Option<Bytes> {
        self.state.lock().blobs.get(digest).cloned()
    }

    /// How many uploads were begun, and neither ended nor given back.
    pub fn open_uploads(&self) -> usize {
        self.state.lock().uploads.len()
    }

    /// Stores a manifest or index under its digest and, if given, a tag.
    pub fn put_manifest(
        &self,
        repository: &str,
        tag: Option<&str>,
        bytes: impl Into<Bytes>,
        media_type: &str,
    ) -> Digest {
        self.state.lock().put_manifest(repository, tag, bytes.into(), media_type)
    }

    /// Stores an index of `manifests`.
    pub fn put_index(&self, repository: &str, tag: Option<&str>, manifests: Vec<Descriptor>) -> Digest {
        let bytes = serde_json::to_vec(&Index::new(manifests)).expect("an index is JSON");
        self.put_manifest(repository, tag, bytes, media::OCI_INDEX)
    }

    /// A stored manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        self.state
            .lock()
            .manifests
            .get(&(repository.to_owned(), reference.to_owned()))
            .map(|stored| stored.bytes.clone())
    }

    /// A stored index by tag or digest, parsed.
    pub fn index(&self, repository: &str, reference: &str) -> Option<Index> {
        match Document::parse(&self.manifest(repository, reference)?, None, &Limits::default()) {
            Ok(Document::Index(index)) => Some(index),
            _ => None,
        }
    }

    /// Makes requests go wrong from now on; rules are tried in the order they were added.
    pub fn inject(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.state.lock().rules.clear();
    }

    /// Asks for credentials from now on.
    pub fn set_auth(&self, auth: Auth) {
        self.state.lock().gate.auth = auth;
    }

    /// Forgets every token it gave out.
    pub fn expire_tokens(&self) {
        self.state.lock().gate.tokens.clear();
    }

    /// Answers blob requests with a redirect to the content delivery network.
    pub fn redirect_blobs(&self, on: bool) {
        self.state.redirect.store(on, Ordering::Relaxed);
    }

    /// Makes every presigned URL invalid that was given out so far.
    pub fn expire_presigned(&self) {
        self.state.presign_epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Switches the referrers API on or off; it is on at first.
    pub fn set_referrers_api(&self, on: bool) {
        self.state.no_referrers.store(!on, Ordering::Relaxed);
    }

    /// Lists at most so many referrers in one answer; 0 is all.
    pub fn set_referrers_page(&self, entries: usize) {
        self.state.referrers_page.store(entries, Ordering::Relaxed);
    }

    /// What was asked so far, oldest first.
    pub fn log(&self) -> Vec<Logged> {
        self.state.lock().log.clone()
    }

    /// Forgets what was asked.
    pub fn clear_log(&self) {
        self.state.lock().log.clear();
    }

    /// The requests for blobs so far, on either address.
    pub fn blob_requests(&self) -> Vec<Logged> {
        self.log().into_iter().filter(Logged::is_blob).collect()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        self.stop();
    }
}
