//! Images in files: OCI layout directories, OCI archives, Docker archives.

mod docker;
mod files;
mod layout;
mod source;

use std::path::PathBuf;
use std::sync::Arc;

use crate::{Error, Repository};
use docker::DockerArchive;
use files::{Files, blocking};
use layout::Layout;

pub(crate) use source::FileSource;

/// An OCI layout in a directory.
pub(crate) async fn open_layout(dir: PathBuf) -> Result<Arc<dyn Repository>, Error> {
    blocking(dir.clone(), move || Ok(Arc::new(Layout::open(Files::directory(dir))?) as Arc<dyn Repository>))
        .await
}

/// An OCI layout in a directory, which is made if there is none.
pub(crate) async fn create_layout(dir: PathBuf) -> Result<Arc<dyn Repository>, Error> {
    let made = dir.clone();
    blocking(dir.clone(), move || Layout::create(&made)).await?;
    open_layout(dir).await
}

/// An OCI layout in a tar file.
pub(crate) async fn open_oci_archive(file: PathBuf) -> Result<Arc<dyn Repository>, Error> {
    blocking(file.clone(), move || Ok(Arc::new(Layout::open(Files::archive(file)?)?) as Arc<dyn Repository>))
        .await
}

/// What `docker save` writes.
pub(crate) async fn open_docker_archive(file: PathBuf) -> Result<Arc<dyn Repository>, Error> {
    blocking(file.clone(), move || {
        Ok(Arc::new(DockerArchive::open(Files::archive(file)?)?) as Arc<dyn Repository>)
    })
    .await
}
