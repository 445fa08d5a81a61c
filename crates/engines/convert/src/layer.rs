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

mod assemble;
mod batches;
mod entry;
mod plain;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use glowplug_base::{Digest, Hasher};
use glowplug_oci::Compression;
use glowplug_registry::BlobFile;
use glowplug_source::RangeSource;
use glowplug_toc::estargz::{TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION, footer, toc_tar};
use glowplug_toc::{Dialect, Toc, zstd_chunked};

use crate::ConvertError;
use crate::compress::Compressor;
use crate::settings::Settings;
use crate::spool::{Spool, SpoolPath};
use crate::workers::{Coming, Workers};
use assemble::{Assembler, Trouble};
use batches::Batches;
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
    let blob = original.blob;
    let spool = Spool::create(dir).map_err(|(path, source)| ConvertError::Spool { path, source })?;
    let changes = settings.encoding.table() == Some(Dialect::Estargz);
    let (pieces, tar) = sync_channel::<Option<Vec<u8>>>(PIECES_AHEAD);
    let (queue, compressed) = sync_channel::<Coming>(ahead(settings, workers.count()));
    let (dialect, chunk_bytes) = (settings.encoding.table(), settings.chunk_bytes);
    let cutting = tokio::task::spawn_blocking(move || {
        let batches = Batches::new(workers, queue);
        match dialect {
            None => cut_plain(&tar, batches),
            Some(dialect) => cut_listing(&tar, dialect, chunk_bytes, batches),
        }
    });
    let path = spool.path().to_owned();
    let writing = tokio::task::spawn_blocking(move || Assembler::new(spool, changes).run(&compressed));
    let decoded = glowplug_image::stream_by(source, blob, original.compression, move |piece| {
        pieces.send(piece).is_ok()
    });
    let decoded = decoded.await;
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
    decoded?;
    let cut = cut.ok_or_else(|| ConvertError::layer(blob, "it could not be decoded"))?;
    if cut.tar != original.diff_id {
        return Err(ConvertError::DiffId { layer: blob, expected: original.diff_id, found: cut.tar });
    }
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || finish(blob, assembler, cut, &settings)).await.map_err(broken)?
}

/// Batches of one layer that may be under way.
fn ahead(settings: &Settings, threads: usize) -> usize {
    let largest = if settings.encoding.table().is_some() { settings.chunk_bytes } else { 0 };
    let affordable = AHEAD_BYTES / (2 * largest.max(1 << 20));
    usize::try_from(affordable).unwrap_or(usize::MAX).clamp(2, 2 * threads + 2)
}

/// Cuts the tar into equal pieces; nothing comes of one that ends without saying so. Blocks.
fn cut_plain(tar: &Receiver<Option<Vec<u8>>>, batches: Batches) -> Result<Option<Cut>, Stop> {
    let mut cutter = PlainCutter::new(batches);
    let Some(tar) = each_piece(tar, |piece| cutter.push(piece).map_err(Stop::from))? else { return Ok(None) };
    cutter.finish()?;
    Ok(Some(Cut { tar, listed: None }))
}

/// As [`cut_plain`], where files begin.
fn cut_listing(
    tar: &Receiver<Option<Vec<u8>>>,
    dialect: Dialect,
    chunk_bytes: u64,
    batches: Batches,
) -> Result<Option<Cut>, Stop> {
    let mut cutter = TableCutter::new(dialect, chunk_bytes, batches)?;
    let Some(tar) = each_piece(tar, |piece| cutter.push(piece))? else { return Ok(None) };
    Ok(Some(Cut { tar, listed: Some(cutter.finish()?) }))
}

/// Gives each piece of a tar to `take`; the digest of all of them.
fn each_piece(
    tar: &Receiver<Option<Vec<u8>>>,
    mut take: impl FnMut(&[u8]) -> Result<(), Stop>,
) -> Result<Option<Digest>, Stop> {
    let mut hasher = Hasher::new();
    for piece in tar {
        let Some(piece) = piece else { return Ok(Some(hasher.finish())) };
        hasher.update(&piece);
        take(&piece)?;
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
