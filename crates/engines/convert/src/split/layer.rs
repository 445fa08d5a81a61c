//! One layer of a slim image: as it is, or without files that go elsewhere.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use glowplug_base::{ByteRange, Digest};
use glowplug_image::models::ModelFile;
use glowplug_oci::{Compression, Descriptor, media};
use glowplug_registry::{BlobFile, Repository, ResolvedLayer};
use glowplug_source::{RangeSource, read_all};
use glowplug_timeline::Cause;
use glowplug_toc::estargz::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_DIGEST_ANNOTATION, TOC_NAME};

use super::sieve::{Halt, Sieve, Taken};
use crate::documents::NewLayer;
use crate::settings::Settings;
use crate::spool::{Spool, SpooledTar};
use crate::workers::Workers;
use crate::{ConvertError, layer, publish};

/// Pieces of a tar that may wait to be sieved, each of some 256 KiB.
const PIECES_AHEAD: usize = 8;
/// What eStargz puts into a tar, and what no reader would hide any more without its table.
const ESTARGZ_OWN: [&str; 3] = [TOC_NAME, PREFETCH_LANDMARK, NO_PREFETCH_LANDMARK];

/// A layer as slim images have it.
#[derive(Debug, Clone)]
pub(super) struct Slim {
    /// What their manifests list.
    pub(super) layer: NewLayer,
    /// The files that were taken out of it.
    pub(super) files: Vec<ModelFile>,
}

/// How and where layers are made over.
pub(super) struct Maker<'a> {
    pub(super) from: &'a dyn Repository,
    pub(super) model: &'a dyn Repository,
    pub(super) slim: &'a dyn Repository,
    pub(super) settings: Settings,
    pub(super) workers: Arc<Workers>,
}

impl Maker<'_> {
    /// A layer as it is, copied where it is not there yet.
    pub(super) async fn keep(
        &self,
        layer: &ResolvedLayer,
        source: Arc<dyn RangeSource>,
    ) -> Result<Slim, ConvertError> {
        let descriptor = &layer.descriptor;
        if self.from.name() != self.slim.name() && !has(self.slim, descriptor).await {
            let copy = copy(&*source, descriptor.digest, self.slim.spool_dir()).await?;
            publish::file(self.slim, &copy.0).await?;
        }
        let media_type = match layer.kind.compression {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
        };
        let layer = NewLayer {
            descriptor: Descriptor::new(media_type, descriptor.digest, descriptor.size),
            diff_id: layer.diff_id,
            annotations: descriptor.annotations.clone(),
        };
        Ok(Slim { layer, files: Vec::new() })
    }

    /// A layer without the files of these normalised paths, which are pushed.
    pub(super) async fn make_over(
        &self,
        original: &ResolvedLayer,
        source: Arc<dyn RangeSource>,
        paths: Vec<Vec<u8>>,
    ) -> Result<Slim, ConvertError> {
        let (slim_dir, model_dir) = (self.slim.spool_dir(), self.model.spool_dir());
        let blob = original.descriptor.digest;
        let (tar, taken) = sieve(original, &*source, paths, slim_dir, model_dir).await?;
        let mut files = Vec::new();
        for taken in taken {
            let table = taken.table.encode();
            publish::file(self.model, &taken.blob).await?;
            let chunks = publish::blob(self.model, table.clone().into()).await?;
            files.push(file(&taken, chunks, table.len() as u64));
        }
        let made =
            layer::pack(blob, Arc::new(tar), None, &self.settings, self.workers.clone(), slim_dir).await?;
        publish::file(self.slim, &made.blob).await?;
        let descriptor =
            Descriptor::new(self.settings.encoding.media_type(), made.blob.digest, made.blob.size);
        let layer = NewLayer { descriptor, diff_id: made.diff_id, annotations: made.annotations.clone() };
        Ok(Slim { layer, files })
    }
}

/// What an image says of a file that was taken out.
fn file(taken: &Taken, chunks: Digest, chunks_size: u64) -> ModelFile {
    let entry = &taken.entry;
    let path = glowplug_tarwalk::normalise(&entry.path).unwrap_or_default();
    ModelFile {
        path: format!("/{}", String::from_utf8_lossy(&path)),
        digest: taken.blob.digest,
        size: taken.blob.size,
        chunks,
        chunks_size,
        mode: entry.mode,
        // The sieve takes only what fits.
        uid: entry.uid as u32,
        gid: entry.gid as u32,
        mtime: entry.mtime_s,
        mtime_nanoseconds: entry.mtime_ns,
    }
}

/// Takes files out of a layer: the tar without them, in a file in `slim_dir`, and the files, in `model_dir`.
async fn sieve(
    layer: &ResolvedLayer,
    source: &dyn RangeSource,
    paths: Vec<Vec<u8>>,
    slim_dir: Option<&Path>,
    model_dir: Option<&Path>,
) -> Result<(SpooledTar, Vec<Taken>), ConvertError> {
    let blob = layer.descriptor.digest;
    let spool = |(path, source)| ConvertError::Spool { path, source };
    let mut tar = Spool::create(slim_dir).map_err(spool)?;
    let estargz = layer.descriptor.annotations.contains_key(TOC_DIGEST_ANNOTATION);
    let mut sieve = Sieve::new(&paths, if estargz { &ESTARGZ_OWN } else { &[] }, model_dir);
    let (sender, pieces) = std::sync::mpsc::sync_channel::<Option<Vec<u8>>>(PIECES_AHEAD);
    let sieving = tokio::task::spawn_blocking(move || {
        let mut whole = glowplug_base::Hasher::new();
        let mut keep =
            |bytes: &[u8]| tar.append(bytes).map_err(|error| Halt::Spool(tar.path().to_owned(), error));
        for piece in pieces {
            let Some(piece) = piece else {
                let taken = sieve.finish(&mut keep)?;
                return Ok(Some((whole.finish(), tar.finish_tar().0, taken)));
            };
            whole.update(&piece);
            sieve.push(&piece, &mut keep)?;
        }
        Ok::<_, Halt>(None)
    });
    let sink = move |piece| sender.send(piece).is_ok();
    let decoded = glowplug_image::stream_by(source, blob, layer.kind.compression, sink).await;
    let sieved = sieving.await.map_err(|error| ConvertError::layer(blob, error))?;
    let sieved = sieved.map_err(|halt| match halt {
        Halt::Tar(error) => ConvertError::layer(blob, error),
        Halt::Spool(path, source) => ConvertError::Spool { path, source },
        Halt::Entry { path, what } => {
            let path = String::from_utf8_lossy(&path).into_owned();
            ConvertError::Taken { layer: blob, path, what: what.to_owned() }
        }
    })?;
    decoded?;
    let (found, tar, taken) = sieved.ok_or_else(|| ConvertError::layer(blob, "it could not be decoded"))?;
    if found != layer.diff_id {
        return Err(ConvertError::DiffId { layer: blob, expected: layer.diff_id, found });
    }
    Ok((tar, taken))
}

/// Whether a repository has a blob, as far as it can be told by asking for a byte of it.
async fn has(repository: &dyn Repository, descriptor: &Descriptor) -> bool {
    let first = ByteRange::new(0, descriptor.size.min(1));
    read_all(&*repository.blob(descriptor), first, Cause::Metadata).await.is_ok()
}

/// A blob in a file of its own, which goes with what is beside it.
async fn copy(
    source: &dyn RangeSource,
    digest: Digest,
    dir: Option<&Path>,
) -> Result<(BlobFile, impl Drop), ConvertError> {
    let mut spool = Spool::create(dir).map_err(|(path, source)| ConvertError::Spool { path, source })?;
    let read = |source| ConvertError::Read(glowplug_image::ImageError::Source { layer: digest, source });
    let mut stream = source.open(ByteRange::new(0, source.size()), Cause::Background).await.map_err(read)?;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(read)?;
        let written = tokio::task::spawn_blocking(move || (spool.append(&piece), spool));
        let (outcome, back) = written.await.map_err(|error| ConvertError::layer(digest, error))?;
        spool = back;
        outcome.map_err(|source| ConvertError::Spool { path: spool.path().to_owned(), source })?;
    }
    let (blob, path) = spool.finish();
    if blob.digest != digest {
        return Err(ConvertError::layer(digest, "its bytes do not match its digest"));
    }
    Ok((blob, path))
}
