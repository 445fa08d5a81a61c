//! Blob to zTOC.
//!
//! One pass over the blob, at the pace of decoding: spans end where the reference tool ends them, each is hashed as it
//! goes by, and the tar's headers are kept until their entry is known. The result is the reference tool's, byte for
//! byte, but for the name of the maker.

mod entries;
mod spans;

use bytes::Bytes;
use futures::StreamExt as _;
use glowplug_base::{ByteRange, Digest};
use glowplug_oci::{Compression, Descriptor};
use glowplug_source::{Kind, RangeSource, SourceError};
use glowplug_timeline::Cause;
use glowplug_toc::{Compression as ZtocCompression, IndexVersion, SociIndex, Ztoc, ZtocDescriptor};

use super::SociError;
use entries::Headers;
use spans::Spans;

/// Network pieces that may wait for the decoder, each of at most some 64 KiB.
const PIECES_AHEAD: usize = 64;
/// What zTOCs and indexes say about their maker.
const BUILD_TOOL: &str = concat!("glowplug ", env!("CARGO_PKG_VERSION"));

/// Makes the zTOC of a layer, whose blob streams by once, with spans of `span_bytes` decoded bytes.
///
/// # Panics
/// `span_bytes` is 0.
///
/// # Errors
/// [`SociError::Unsupported`] for zstd layers and sparse files; the source fails; or the blob is not what its digest
/// says, or not a tar in that compression.
pub async fn export(
    source: &dyn RangeSource,
    blob: Digest,
    compression: Compression,
    span_bytes: u64,
) -> Result<Ztoc, SociError> {
    assert!(span_bytes > 0, "spans have a length");
    if compression == Compression::Zstd {
        return Err(SociError::Unsupported { layer: blob, what: "zstd compression".to_owned() });
    }
    let size = source.size();
    let trouble = |source| SociError::Source { layer: blob, source };
    let (pieces, mut incoming) = tokio::sync::mpsc::channel::<Bytes>(PIECES_AHEAD);
    let work = tokio::task::spawn_blocking(move || {
        let mut spans = Spans::new(compression, span_bytes);
        let mut headers = Headers::new();
        while let Some(piece) = incoming.blocking_recv() {
            spans.push(&piece, &mut |bytes| headers.push(bytes))?;
        }
        Ok((spans, headers))
    });
    let mut stream = source.open(ByteRange::new(0, size), Cause::Metadata).await.map_err(trouble)?;
    while let Some(piece) = stream.next().await {
        // When the worker is gone it says why below.
        if pieces.send(piece.map_err(trouble)?).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let broken = |reason: String| SociError::Layer { layer: blob, reason };
    let worked: Result<_, entries::Trouble> = work.await.map_err(|e| broken(e.to_string()))?;
    let refused = |trouble| match trouble {
        entries::Trouble::Broken(reason) => broken(reason),
        entries::Trouble::Sparse(what) => SociError::Unsupported { layer: blob, what },
    };
    let (spans, headers) = worked.map_err(refused)?;
    let taken = spans.taken();
    if taken != size {
        return Err(trouble(SourceError::short(source.name(), ByteRange::new(0, size), taken)));
    }
    let spans = spans.finish().map_err(broken)?;
    if spans.blob != blob {
        return Err(trouble(SourceError::new(source.name(), Kind::Corrupt)));
    }
    let (entries, uncompressed_size) = headers.finish().map_err(broken)?;
    Ok(Ztoc {
        build_tool: BUILD_TOOL.to_owned(),
        compressed_size: size,
        uncompressed_size,
        entries,
        compression: spans.compression,
        span_digests: spans.digests,
    })
}

/// What an index manifest says about a zTOC. `encoded` are its bytes, `layer` is the layer's descriptor.
pub fn describe(ztoc: &Ztoc, encoded: &[u8], layer: &Descriptor) -> ZtocDescriptor {
    let needs_xattrs = ztoc.entries.iter().any(|entry| {
        entry.name.ends_with(b".wh..wh..opq") || entry.pax.keys().any(|key| key.starts_with(b"SCHILY.xattr."))
    });
    let (ZtocCompression::Gzip { span_size, .. } | ZtocCompression::Uncompressed { span_size }) =
        ztoc.compression;
    ZtocDescriptor {
        digest: Digest::of(encoded),
        size: encoded.len() as u64,
        layer_digest: layer.digest,
        layer_media_type: layer.media_type.clone(),
        span_size: Some(span_size),
        disable_xattrs: !needs_xattrs,
    }
}

/// The index manifest of an image: of version 1 with the image as its subject, or of version 2, which the image's
/// manifest names.
pub fn build_index(version: IndexVersion, ztocs: Vec<ZtocDescriptor>) -> SociIndex {
    SociIndex { version, ztocs, prefetches: Vec::new(), build_tool: BUILD_TOOL.to_owned() }
}
