//! What a zTOC says about compression, in two formats of its own: packed checkpoints for gzip, a small
//! FlatBuffer for plain tars.

use super::{Checkpoint, Compression, WINDOW_BYTES, Ztoc, ZtocError};
use crate::flatbuf::{Builder, Table};

/// Count (4) and span size (8).
const HEADER_BYTES: usize = 12;
/// Two offsets (8 each), bits (1) and window.
const CHECKPOINT_BYTES: usize = 17 + WINDOW_BYTES;
/// Length of a gzip header without optional fields, which the first format took for granted.
const PLAIN_GZIP_HEADER_BYTES: u64 = 10;
/// Version of the table for plain tars.
const TAR_VERSION: i32 = 2;

const TAR_SLOT_VERSION: usize = 0;
const TAR_SLOT_SPAN_SIZE: usize = 1;
const TAR_SLOT_SIZE: usize = 2;

pub(super) fn parse_gzip(bytes: &[u8]) -> Result<Compression, ZtocError> {
    let (count, rest) = bytes.split_first_chunk::<4>().ok_or(ZtocError::Missing("checkpoints"))?;
    let (span_size, mut packed) = rest.split_first_chunk::<8>().ok_or(ZtocError::Missing("checkpoints"))?;
    let count = i32::from_le_bytes(*count);
    let span_size = size("span size", i64::from_le_bytes(*span_size))?;
    let wrong_length = ZtocError::CheckpointLength { bytes: bytes.len(), count };
    let claimed = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(wrong_length.clone())?;
    let stored = packed.len() / CHECKPOINT_BYTES;
    let first_is_implied = stored + 1 == claimed;
    if packed.len() % CHECKPOINT_BYTES != 0 || (stored != claimed && !first_is_implied) {
        return Err(wrong_length);
    }
    let mut checkpoints = Vec::with_capacity(claimed);
    if first_is_implied {
        let window = vec![0; WINDOW_BYTES];
        checkpoints.push(Checkpoint {
            compressed: PLAIN_GZIP_HEADER_BYTES,
            uncompressed: 0,
            bits: 0,
            window,
        });
    }
    while let Some((compressed, rest)) = packed.split_first_chunk::<8>() {
        let (uncompressed, rest) = rest.split_first_chunk::<8>().ok_or(wrong_length.clone())?;
        let (bits, rest) = rest.split_first().ok_or(wrong_length.clone())?;
        let (window, rest) = rest.split_at_checked(WINDOW_BYTES).ok_or(wrong_length.clone())?;
        packed = rest;
        checkpoints.push(Checkpoint {
            compressed: size("compressed offset", i64::from_le_bytes(*compressed))?,
            uncompressed: size("uncompressed offset", i64::from_le_bytes(*uncompressed))?,
            bits: *bits,
            window: window.to_vec(),
        });
    }
    Ok(Compression::Gzip { span_size, checkpoints })
}

/// Always in the second format, which stores all checkpoints.
pub(super) fn encode_gzip(span_size: u64, checkpoints: &[Checkpoint]) -> Result<Vec<u8>, ZtocError> {
    let count = i32::try_from(checkpoints.len()).map_err(|_| ZtocError::Limit("checkpoints"))?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + checkpoints.len() * CHECKPOINT_BYTES);
    bytes.extend(count.to_le_bytes());
    bytes.extend(signed("span size", span_size)?.to_le_bytes());
    for checkpoint in checkpoints {
        bytes.extend(signed("compressed offset", checkpoint.compressed)?.to_le_bytes());
        bytes.extend(signed("uncompressed offset", checkpoint.uncompressed)?.to_le_bytes());
        bytes.push(checkpoint.bits);
        let skipped = checkpoint.window.len().saturating_sub(WINDOW_BYTES);
        let window = &checkpoint.window[skipped..];
        bytes.resize(bytes.len() + WINDOW_BYTES - window.len(), 0);
        bytes.extend_from_slice(window);
    }
    Ok(bytes)
}

pub(super) fn parse_tar(bytes: &[u8], compressed_size: u64) -> Result<Compression, ZtocError> {
    let table = Table::root(bytes)?;
    if table.i32(TAR_SLOT_VERSION, 0)? != TAR_VERSION {
        return Err(ZtocError::Range("version of the span table"));
    }
    let span_size = size("span size", table.i64(TAR_SLOT_SPAN_SIZE, 0)?)?;
    if size("size of the tar", table.i64(TAR_SLOT_SIZE, 0)?)? != compressed_size {
        return Err(ZtocError::Range("size of the tar"));
    }
    Ok(Compression::Uncompressed { span_size })
}

pub(super) fn encode_tar(span_size: u64, compressed_size: u64) -> Result<Vec<u8>, ZtocError> {
    let mut builder = Builder::new();
    let mut table = builder.table();
    table.i32(TAR_SLOT_VERSION, TAR_VERSION, 0);
    table.i64(TAR_SLOT_SPAN_SIZE, signed("span size", span_size)?, 0);
    table.i64(TAR_SLOT_SIZE, signed("size of the tar", compressed_size)?, 0);
    let root = table.end();
    builder.finish(root).ok_or(ZtocError::Limit("bytes"))
}

/// Checks that the spans cover the layer in order and that there is a digest for each.
pub(super) fn check(ztoc: &Ztoc, highest: i64) -> Result<(), ZtocError> {
    let spans = match &ztoc.compression {
        Compression::Gzip { checkpoints, .. } => {
            check_order(checkpoints, ztoc.compressed_size)?;
            checkpoints.len() as u64
        }
        Compression::Uncompressed { span_size: 0 } => return Err(ZtocError::Range("span size")),
        Compression::Uncompressed { span_size } => {
            // The tar is the blob; only its padding at the end may be missing from the one size.
            if ztoc.uncompressed_size > ztoc.compressed_size {
                return Err(ZtocError::Range("size of the tar"));
            }
            ztoc.compressed_size.div_ceil(*span_size)
        }
    };
    let digests = ztoc.span_digests.len();
    if digests as u64 != spans || highest.checked_add(1) != i64::try_from(spans).ok() {
        return Err(ZtocError::SpanCount { spans, digests, highest });
    }
    Ok(())
}

fn check_order(checkpoints: &[Checkpoint], compressed_size: u64) -> Result<(), ZtocError> {
    for (index, checkpoint) in checkpoints.iter().enumerate() {
        let wrong = |what| Err(ZtocError::Checkpoint { index, what });
        if checkpoint.bits > 7 {
            return wrong("more than 7 bits");
        }
        if checkpoint.compressed == 0 || checkpoint.compressed > compressed_size {
            return wrong("outside the layer");
        }
        let in_order = match index.checked_sub(1).and_then(|before| checkpoints.get(before)) {
            None => checkpoint.uncompressed == 0,
            Some(before) => {
                before.compressed <= checkpoint.first_byte() && before.uncompressed < checkpoint.uncompressed
            }
        };
        if !in_order {
            return wrong("out of order");
        }
    }
    if checkpoints.is_empty() { Err(ZtocError::Missing("checkpoints")) } else { Ok(()) }
}

/// A number that is signed in the format and never negative.
pub(super) fn size(what: &'static str, value: i64) -> Result<u64, ZtocError> {
    u64::try_from(value).map_err(|_| ZtocError::Range(what))
}

/// The inverse of [`size`].
pub(super) fn signed(what: &'static str, value: u64) -> Result<i64, ZtocError> {
    i64::try_from(value).map_err(|_| ZtocError::Range(what))
}
