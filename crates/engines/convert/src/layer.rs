//! One layer made over.
//!
//! ```text
//! network (async) --pieces--> decode --tar--> cut --batches--> compress (all processors) --in order--> write
//!                             digest of       digest of the    digests of                digest of the new blob,
//!                             the blob        tar, headers     pieces                    of the new tar, of long files
//! ```
//!
//! Queues are short, so memory is bounded whatever the blob holds. Nothing is given out before the blob has matched its
//! digest and the tar the one of the configuration.
//!
//! A layer whose entries change their order, or that becomes several, goes the left half of the way beforehand, as far as
//! into a file: see [`mod@survey`]. What is cut then comes from there.

mod assemble;
mod batches;
mod entry;
mod feed;
mod plain;
mod survey;
mod table;

pub(crate) use survey::{Survey, survey};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use glowplug_base::{Digest, Hasher};
use glowplug_oci::Compression;
use glowplug_registry::BlobFile;
use glowplug_source::RangeSource;
use glowplug_toc::estargz::{
    NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK, TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION, footer,
    toc_tar,
};
use glowplug_toc::{Dialect, Toc, zstd_chunked};

use crate::ConvertError;
use crate::arrange::Piece;
use crate::compress::Compressor;
use crate::settings::Settings;
use crate::spool::{Spool, SpoolPath, SpooledTar};
use crate::workers::{Coming, Workers};
use assemble::{Assembler, Trouble};
use batches::Batches;
use feed::Fed;
use plain::PlainCutter;
use table::{Listed, Stop, TableCutter};

/// Pieces of the tar that may wait to be cut, each of some 256 KiB.
const PIECES_AHEAD: usize = 8;
/// Bytes of batches of one layer that may be in memory, their compressed form included. With chunks of 4 MiB this
/// keeps 15 processors busy.
const AHEAD_BYTES: u64 = 128 << 20;

/// A layer as it is.
#[derive(Debug, Clone)]
pub(crate) struct Original {
    /// Digest of the blob.
    pub(crate) blob: Digest,
    /// How it is compressed.
    pub(crate) compression: Compression,
    /// Digest of the tar, as the configuration has it.
    pub(crate) diff_id: Digest,
}

/// A layer made over, in a file that lasts as long as this.
#[derive(Debug)]
pub(crate) struct Made {
    /// The blob.
    pub(crate) blob: BlobFile,
    /// Digest of its tar.
    pub(crate) diff_id: Digest,
    /// What a manifest says of it.
    pub(crate) annotations: BTreeMap<String, String>,
    _path: SpoolPath,
}

/// What cutting found out.
struct Cut {
    tar: Digest,
    listed: Option<Listed>,
}

/// Makes `original`, whose blob comes from `source`, over into a file in `dir`.
pub(crate) async fn convert(
    original: &Original,
    source: &dyn RangeSource,
    settings: &Settings,
    workers: Arc<Workers>,
    dir: Option<&Path>,
) -> Result<Made, ConvertError> {
    let Original { blob, compression, diff_id } = *original;
    let packing = Packing { blob, settings, workers, dir, landmark_comes: false };
    let decode = async |tar: SyncSender<Fed>| {
        let sink = move |piece: Option<Vec<u8>>| tar.send(piece.map_or(Fed::End, Fed::Bytes)).is_ok();
        Ok(glowplug_image::stream_by(source, blob, compression, sink).await?)
    };
    let (found, made) = packing.run(decode).await?;
    if found != diff_id {
        return Err(ConvertError::DiffId { layer: blob, expected: diff_id, found });
    }
    Ok(made)
}

/// Makes what `piece` says of the `tar` of the layer `blob`, or all of it, into a layer in a file in `dir`.
pub(crate) async fn pack(
    blob: Digest,
    tar: Arc<SpooledTar>,
    piece: Option<Piece>,
    settings: &Settings,
    workers: Arc<Workers>,
    dir: Option<&Path>,
) -> Result<Made, ConvertError> {
    let landmark_comes = piece.as_ref().is_some_and(|piece| piece.ordered.is_some());
    let packing = Packing { blob, settings, workers, dir, landmark_comes };
    let read = async |cutter: SyncSender<Fed>| {
        let path = tar.path().to_owned();
        let feeding = tokio::task::spawn_blocking(move || feed::feed(&tar, piece.as_ref(), &cutter));
        let fed = feeding.await.map_err(|error| ConvertError::layer(blob, error))?;
        fed.map_err(|source| ConvertError::Spool { path, source })
    };
    Ok(packing.run(read).await?.1)
}

/// The way from a tar to a layer.
struct Packing<'a> {
    /// The old layer, for messages.
    blob: Digest,
    settings: &'a Settings,
    workers: Arc<Workers>,
    dir: Option<&'a Path>,
    /// Whether a landmark comes with the tar.
    landmark_comes: bool,
}

impl Packing<'_> {
    /// Goes it with the tar that `feed` sends; gives the digest of that, too.
    async fn run(
        self,
        feed: impl AsyncFnOnce(SyncSender<Fed>) -> Result<(), ConvertError>,
    ) -> Result<(Digest, Made), ConvertError> {
        let Self { blob, settings, workers, dir, landmark_comes } = self;
        let spool = Spool::create(dir).map_err(|(path, source)| ConvertError::Spool { path, source })?;
        let changes = settings.encoding.table() == Some(Dialect::Estargz);
        let (pieces, tar) = sync_channel::<Fed>(PIECES_AHEAD);
        let (queue, compressed) = sync_channel::<Coming>(ahead(settings, workers.count()));
        let (dialect, chunk_bytes) = (settings.encoding.table(), settings.chunk_bytes);
        let cutting = tokio::task::spawn_blocking(move || {
            let batches = Batches::new(workers, queue);
            match dialect {
                None => cut_plain(&tar, batches),
                Some(dialect) => {
                    let mut cutter = TableCutter::new(dialect, chunk_bytes, batches)?;
                    if dialect == Dialect::Estargz && !landmark_comes {
                        cutter.landmark(NO_PREFETCH_LANDMARK)?;
                    }
                    cut_listing(&tar, dialect, cutter)
                }
            }
        });
        let path = spool.path().to_owned();
        let writing = tokio::task::spawn_blocking(move || Assembler::new(spool, changes).run(&compressed));
        let fed = feed(pieces).await;
        let broken = |error: tokio::task::JoinError| ConvertError::layer(blob, error);
        let cut = cutting.await.map_err(broken)?;
        let written = writing.await.map_err(broken)?;
        // Each stage that fails makes those before it stop without a word, and those behind it end early.
        let assembler = written.map_err(|trouble| match trouble {
            Trouble::Io(source) => ConvertError::Spool { path: path.clone(), source },
            Trouble::Compress(reason) => ConvertError::layer(blob, reason),
        })?;
        let cut = cut.map_err(|stop| match stop {
            Stop::Gone => ConvertError::layer(blob, "nothing was written"),
            Stop::Tar(error) => ConvertError::layer(blob, error),
            Stop::Entry { path, what } => {
                ConvertError::Entry { layer: blob, path: String::from_utf8_lossy(&path).into_owned(), what }
            }
            Stop::Toc(source) => ConvertError::Toc { layer: blob, source },
        })?;
        fed?;
        let cut = cut.ok_or_else(|| ConvertError::layer(blob, "it could not be decoded"))?;
        let (found, settings) = (cut.tar, settings.clone());
        let finishing = tokio::task::spawn_blocking(move || finish(blob, assembler, cut, &settings));
        Ok((found, finishing.await.map_err(broken)??))
    }
}

/// Batches of one layer that may be under way.
fn ahead(settings: &Settings, threads: usize) -> usize {
    let largest = if settings.encoding.table().is_some() { settings.chunk_bytes } else { 0 };
    let affordable = AHEAD_BYTES / (2 * largest.max(1 << 20));
    usize::try_from(affordable).unwrap_or(usize::MAX).clamp(2, 2 * threads + 2)
}

/// Cuts the tar into equal pieces; nothing comes of one that ends without saying so. Blocks.
fn cut_plain(tar: &Receiver<Fed>, batches: Batches) -> Result<Option<Cut>, Stop> {
    let mut cutter = PlainCutter::new(batches);
    let tar = each(tar, |fed| match fed {
        Some(piece) => cutter.push(piece).map_err(Stop::from),
        None => Ok(()),
    })?;
    let Some(tar) = tar else { return Ok(None) };
    cutter.finish()?;
    Ok(Some(Cut { tar, listed: None }))
}

/// As [`cut_plain`], where files begin.
fn cut_listing(tar: &Receiver<Fed>, dialect: Dialect, mut cutter: TableCutter) -> Result<Option<Cut>, Stop> {
    let tar = each(tar, |fed| match fed {
        Some(piece) => cutter.push(piece),
        None if dialect == Dialect::Estargz => Ok(cutter.landmark(PREFETCH_LANDMARK)?),
        None => Ok(()),
    })?;
    let Some(tar) = tar else { return Ok(None) };
    Ok(Some(Cut { tar, listed: Some(cutter.finish()?) }))
}

/// Gives each piece of a tar to `take`, and nothing for the landmark; the digest of all of them.
fn each(
    tar: &Receiver<Fed>,
    mut take: impl FnMut(Option<&[u8]>) -> Result<(), Stop>,
) -> Result<Option<Digest>, Stop> {
    let mut hasher = Hasher::new();
    for fed in tar {
        match fed {
            Fed::End => return Ok(Some(hasher.finish())),
            Fed::Landmark => take(None)?,
            Fed::Bytes(piece) => {
                hasher.update(&piece);
                take(Some(&piece))?;
            }
        }
    }
    Ok(None)
}

/// Writes the table, if there is one. Blocks.
fn finish(blob: Digest, mut made: Assembler, cut: Cut, settings: &Settings) -> Result<Made, ConvertError> {
    let mut annotations = BTreeMap::new();
    if let (Some(dialect), Some(mut listed)) = (settings.encoding.table(), cut.listed) {
        made.complete(&mut listed.entries);
        let toc = Toc { entries: listed.entries.into_iter().flatten().collect() };
        let failed = |path: &Path, source| ConvertError::Spool { path: path.to_owned(), source };
        if dialect == Dialect::Estargz {
            let json = toc.encode(dialect);
            let tar = toc_tar(&json);
            let mut tail = Vec::new();
            let mut compressor =
                Compressor::new(settings).map_err(|reason| ConvertError::layer(blob, reason))?;
            compressor.append(&tar, &mut tail).map_err(|reason| ConvertError::layer(blob, reason))?;
            tail.extend_from_slice(&footer(made.spool.len()));
            made.spool.append(&tail).map_err(|source| failed(made.spool.path(), source))?;
            annotations.insert(TOC_DIGEST_ANNOTATION.to_owned(), Digest::of(&json).to_string());
            if let Some(new) = &mut made.tar {
                new.append(&tar);
                annotations.insert(UNCOMPRESSED_SIZE_ANNOTATION.to_owned(), new.len.to_string());
            }
        } else {
            let tail = zstd_chunked::tail(&toc, dialect, made.spool.len(), listed.tar_split.as_ref())
                .map_err(|source| ConvertError::Toc { layer: blob, source })?;
            made.spool.append(&tail.bytes).map_err(|source| failed(made.spool.path(), source))?;
            annotations = tail.annotations;
        }
    }
    let diff_id = made.tar.map_or(cut.tar, assemble::NewTar::finish);
    let (blob, path) = made.spool.finish();
    Ok(Made { blob, diff_id, annotations, _path: path })
}
