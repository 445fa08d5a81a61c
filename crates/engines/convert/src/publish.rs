//! What was made goes to where it is published: blobs, then documents, each behind those that it lists.

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, media};
use glowplug_registry::{BlobFile, Error, Repository, Target};

use crate::ConvertError;
use crate::documents;
use crate::plan::Node;

/// A document and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Its media type.
    pub(crate) media_type: String,
}

impl Document {
    fn descriptor(&self) -> Descriptor {
        Descriptor::of(&*self.media_type, &self.bytes)
    }
}

fn refused(place: &dyn Repository) -> impl Fn(Error) -> ConvertError {
    let place = place.name().to_owned();
    move |source| ConvertError::Push { place: place.clone(), source }
}

/// Asks whether pushes are taken, before the work that makes what is pushed.
///
/// # Errors
/// [`ConvertError::Push`] if the place refuses them.
pub async fn check(place: &dyn Repository) -> Result<(), ConvertError> {
    place.check_push().await.map_err(refused(place))
}

/// Pushes a blob from a file.
pub(crate) async fn file(to: &dyn Repository, blob: &BlobFile) -> Result<(), ConvertError> {
    to.push_file(blob).await.map_err(refused(to))
}

/// Pushes a blob.
pub(crate) async fn blob(to: &dyn Repository, bytes: Bytes) -> Result<Digest, ConvertError> {
    to.push_blob(bytes).await.map_err(refused(to))
}

/// Pushes a document by `name`, or by its digest.
pub(crate) async fn document(
    to: &dyn Repository,
    name: Option<&Target>,
    document: &Document,
) -> Result<Digest, ConvertError> {
    let by_digest = Target::Digest(Digest::of(&document.bytes));
    let pushed = to.push_manifest(name.unwrap_or(&by_digest), document.bytes.clone(), &document.media_type);
    pushed.await.map_err(refused(to))
}

/// Pushes what `node` stands for now, behind what it lists: `manifests` are those of the images, by their numbers, and the
/// indexes above them are rewritten. Gives what is above all, which goes by `name`, or by its digest.
pub(crate) fn tree<'a>(
    node: &'a Node,
    manifests: &'a [Document],
    to: &'a dyn Repository,
    name: Option<&'a Target>,
) -> BoxFuture<'a, Result<Document, ConvertError>> {
    Box::pin(async move {
        let made = match node {
            Node::Image(number) => manifests[*number].clone(),
            Node::Index(index, children) => {
                let mut new = Vec::new();
                for (old, child) in children {
                    new.push((*old, tree(child, manifests, to, None).await?.descriptor()));
                }
                let bytes = documents::index(&index.bytes, &new)
                    .map_err(|source| ConvertError::Document { image: index.name.clone(), source })?;
                Document { bytes: bytes.into(), media_type: media::OCI_INDEX.to_owned() }
            }
        };
        document(to, name, &made).await?;
        Ok(made)
    })
}
