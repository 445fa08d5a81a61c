//! The client: opens sources, and everything that repositories of one process share.

mod blob;
mod length;
mod permission;
mod push;
mod remote;
mod upload;
mod upstream;
mod wire;

use std::sync::Arc;

use glowplug_base::Digest;
use glowplug_oci::{Reference, Source};
use glowplug_source::SourceError;

use crate::auth::Access;
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::http::{self, Call};
use crate::local;
use crate::{Error, Options, Repository, Via};
use remote::Remote;
use upstream::Upstream;
use wire::Wire;

/// Opens images. Clones share connections, tokens and options.
#[derive(Debug, Clone)]
pub struct Client {
    wire: Arc<Wire>,
}

/// How a registry answered.
#[derive(Debug)]
pub struct Reachability {
    /// The address that was asked, the mirrors' first.
    pub url: String,
    /// Nothing, or why it is of no use.
    pub result: Result<(), SourceError>,
}

impl Client {
    /// A client; nothing is connected yet.
    ///
    /// # Errors
    /// When a certificate file cannot be read.
    pub fn new(options: Options) -> Result<Self, Error> {
        let credentials = Credentials {
            config: options.docker_config.clone(),
            helper_path: options.helper_path.clone(),
            helper_timeout: options.helper_timeout,
        };
        Ok(Self { wire: Arc::new(Wire::new(options, credentials)?) })
    }

    /// The repository of `source`. A registry is not asked yet; archives are looked through.
    ///
    /// # Errors
    /// When a local source cannot be read or is none, or a mirror's address is malformed.
    pub async fn open(&self, source: &Source) -> Result<Arc<dyn Repository>, Error> {
        match source {
            Source::Registry(reference) => self.registry(reference),
            Source::Layout { dir, .. } => local::open_layout(dir.clone()).await,
            Source::OciArchive { file } => local::open_oci_archive(file.clone()).await,
            Source::DockerArchive { file } => local::open_docker_archive(file.clone()).await,
        }
    }

    /// The repository of `source`, to be pushed to: a layout directory is made if it is not there.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] for archives; see [`Self::open`] for the others.
    pub async fn create(&self, source: &Source) -> Result<Arc<dyn Repository>, Error> {
        match source {
            Source::Registry(reference) => self.registry(reference),
            Source::Layout { dir, .. } => local::create_layout(dir.clone()).await,
            Source::OciArchive { .. } | Source::DockerArchive { .. } => {
                Err(Error::ReadOnly(source.to_string()))
            }
        }
    }

    /// Which node asks, if one does.
    pub fn via(&self) -> Option<&Via> {
        self.wire.options.via.as_ref()
    }

    /// The repository of a reference.
    ///
    /// # Errors
    /// When a mirror's address is malformed.
    pub fn registry(&self, reference: &Reference) -> Result<Arc<dyn Repository>, Error> {
        Ok(Arc::new(Remote::new(self.wire.clone(), reference)?))
    }

    /// Length in bytes of the blob `digest` in a reference's repository, as the registry or a mirror says.
    ///
    /// # Errors
    /// When a mirror's address is malformed, nobody has the blob, or nobody says how long it is.
    pub async fn blob_size(&self, reference: &Reference, digest: &Digest) -> Result<u64, Error> {
        Upstream::new(self.wire.clone(), reference)?.blob_size(digest).await
    }

    /// Asks every address of a reference's registry whether it answers and lets us in.
    ///
    /// # Errors
    /// When a mirror's address is malformed.
    pub async fn reach(&self, reference: &Reference) -> Result<Vec<Reachability>, Error> {
        let mut found = Vec::new();
        for endpoint in Endpoint::all(reference.registry(), reference.api_host(), &self.wire.options)? {
            let access = Access { host: endpoint.host.clone(), repository: String::new(), push: false };
            let make = |endpoint: &Endpoint| Call::get(endpoint.url("", &[]));
            let result = match self.wire.send(&endpoint.host, &endpoint, &access, &make).await {
                Ok(answer) if answer.response.status().is_success() => Ok(()),
                Ok(answer) => Err(http::refused(&endpoint.host, answer.response).await),
                Err(error) => Err(error),
            };
            found.push(Reachability { url: endpoint.url("", &[]).to_string(), result });
        }
        Ok(found)
    }
}
