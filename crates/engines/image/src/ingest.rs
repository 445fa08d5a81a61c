//! Builds the index of a layer while it streams by, at line rate and without a temporary copy.
//!
//! ```text
//! network (async) --pieces--> decode thread --decoded chunks, cuts--> write thread
//!                             SHA-256 of the blob                     walk the tar, place files,
//!                             inflate with checkpoints                SHA-256 of each span, write
//! ```
//!
//! Where the layer is an EROFS image, not an archive, another write stage reads its tables instead: [`erofs`].
//!
//! Nothing is readable until the whole blob has matched its digest. Queues between the stages are short, so memory is
//! bounded whatever the blob decodes to: by what the index may hold, for which see `glowplug_layer::Limits`. The disk is
//! filled by what a blob of its size can honestly hold, or until it is full; a layer that fails gives back what it took.

mod decoder;
mod erofs;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use futures::StreamExt as _;
use glowplug_base::{ByteRange, Digest, Hasher};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{Kind, RangeSource, SourceError};
use glowplug_store::{Layer, Store};
use glowplug_timeline::Cause;
use tokio::sync::mpsc;

pub(crate) use decoder::{Decoder, Piece};
use writer::Writer;

use crate::ImageError;

/// Network pieces that may wait for the decoder: 64 of at most some 64 KiB.
const PIECES_AHEAD: usize = 64;
/// Decoded chunks that may wait for the writer, each of [`decoder::CHUNK_BYTES`].
const CHUNKS_AHEAD: usize = 8;

/// Times its own length that a blob may decode to: as much as deflate data can. Of zstd data, which can be 30 times more,
/// only what hardly holds anything exceeds it.
const HONEST_RATIO: u64 = 1032;
/// Bytes that any blob may decode to: an empty swap file or disk image is no bomb.
const HONEST_BYTES: u64 = 1 << 30;

/// Streams a layer into the store.
///
/// # Errors
/// The source fails, the blob is not what its digest says, it is not of that format and compression, or the disk is full.
pub async fn ingest(
    store: Arc<Store>,
    source: Arc<dyn RangeSource>,
    blob: Digest,
    format: LayerFormat,
    compression: Compression,
) -> Result<Arc<Layer>, ImageError> {
    let trouble = |source| ImageError::Source { layer: blob, source };
    let size = source.size();
    let (pieces, mut incoming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let (chunks, decoded) = sync_channel::<Piece>(CHUNKS_AHEAD);
    let builder = store.build(blob)?;
    let decoding = tokio::task::spawn_blocking(move || {
        let decoder = Decoder::new(compression, true).map_err(|reason| ImageError::layer(blob, reason))?;
        decode(blob, decoder, size, &mut incoming, &mut |piece| chunks.send(piece).is_ok())
    });
    let writing = tokio::task::spawn_blocking(move || match format {
        LayerFormat::Tar => Writer::new(builder, blob, size).run(&decoded),
        LayerFormat::Erofs => erofs::Writer::new(builder, blob, size).run(&decoded),
    });
    // A stage that failed has dropped its end of the queue: stop feeding and let it say why.
    let fed = feed(&*source, size, pieces).await;
    let decoded = decoding.await.map_err(|e| ImageError::layer(blob, e))?;
    let written = writing.await.map_err(|e| ImageError::layer(blob, e))?;
    fed.map_err(trouble)?;
    // The writer fails first when the disk is full, and the decoder only notices that nobody listens. When the decoder
    // fails, the writer only notices that nothing comes any more.
    let written = written?;
    decoded?;
    let written = written.ok_or_else(|| ImageError::layer(blob, "the layer could not be decoded"))?;
    tokio::task::spawn_blocking(move || written.publish(&store))
        .await
        .map_err(|e| ImageError::layer(blob, e))?
}

/// Lets the tar of a layer stream by, without a store. `sink` gets its bytes, in pieces of at most some 256 KiB, and at the
/// end `None`, if the blob was what its digest says; it says `false` when it wants no more, which is no error.
///
/// # Errors
/// The source fails, or the blob is not what its digest says or not in that compression.
pub async fn stream_by(
    source: &dyn RangeSource,
    blob: Digest,
    compression: Compression,
    mut sink: impl FnMut(Option<Vec<u8>>) -> bool + Send + 'static,
) -> Result<(), ImageError> {
    let size = source.size();
    let (pieces, mut incoming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let decoding = tokio::task::spawn_blocking(move || {
        let decoder = Decoder::new(compression, false).map_err(|reason| ImageError::layer(blob, reason))?;
        decode(blob, decoder, size, &mut incoming, &mut |piece| match piece {
            Piece::Bytes(bytes) => sink(Some(bytes)),
            Piece::Cut { .. } => true,
            Piece::End => sink(None),
        })
    });
    let fed = feed(source, size, pieces).await;
    let decoded = decoding.await.map_err(|e| ImageError::layer(blob, e))?;
    fed.map_err(|source| ImageError::Source { layer: blob, source })?;
    decoded
}

async fn feed(source: &dyn RangeSource, size: u64, pieces: mpsc::Sender<Bytes>) -> Result<(), SourceError> {
    let mut stream = source.open(ByteRange::new(0, size), Cause::Metadata).await?;
    let mut got = 0;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        got += piece.len() as u64;
        // Waits while the queue is full: then decoding is slower than the link. A closed queue knows why itself.
        if pieces.send(piece).await.is_err() {
            return Ok(());
        }
    }
    if got == size { Ok(()) } else { Err(SourceError::short(source.name(), ByteRange::new(0, size), got)) }
}

/// The decode stage: hashes the blob, decodes it, and passes chunks on.
fn decode(
    blob: Digest,
    mut decoder: Decoder,
    size: u64,
    incoming: &mut mpsc::Receiver<Bytes>,
    sink: &mut decoder::Sink<'_>,
) -> Result<(), ImageError> {
    let mut hasher = Hasher::new();
    let (mut got, mut given) = (0, 0);
    let honest = HONEST_BYTES.saturating_add(size.saturating_mul(HONEST_RATIO));
    while let Some(piece) = incoming.blocking_recv() {
        hasher.update(&piece);
        got += piece.len() as u64;
        let mut gone = false;
        decoder
            .push(&piece, &mut |piece| {
                if let Piece::Bytes(bytes) = &piece {
                    given += bytes.len() as u64;
                }
                gone = gone || given > honest || !sink(piece);
                !gone
            })
            .map_err(|reason| ImageError::layer(blob, reason))?;
        if given > honest {
            let reason =
                format!("its {size} bytes decode to more than {honest}, so it holds nothing but repetition");
            return Err(ImageError::layer(blob, reason));
        }
        if gone {
            return Ok(());
        }
    }
    // Fewer bytes than promised: the feeder knows why.
    if got < size {
        return Err(ImageError::layer(blob, "the download ended early"));
    }
    decoder.finish(sink).map_err(|reason| ImageError::layer(blob, reason))?;
    if hasher.finish() != blob {
        return Err(ImageError::Source {
            layer: blob,
            source: SourceError::new(blob.to_string(), Kind::Corrupt),
        });
    }
    let _ = sink(Piece::End);
    Ok(())
}
