//! Gzip streams: the same bytes whatever the pieces, and from every checkpoint on.

use glowplug_gzindex::{Checkpoint, Indexer, SpanStart, decode_span, span_compressed_range};

/// Decoded bytes a call may leave behind before they are taken.
const CAP_BYTES: usize = 16 << 10;
/// Longer streams find nothing new and cost time.
const MAX_DECODED_BYTES: usize = 256 << 10;
/// Close enough that a stream of a few KiB has several checkpoints.
const SPACING_BYTES: u64 = 512;

/// Decodes `data` as a gzip stream, in two ways, and each of its spans alone; and as bare deflate data, as zlib does.
pub fn gzindex(data: &[u8]) -> bool {
    resume_anywhere(data);
    agrees_with_zlib(data);
    let whole = decode(data, u64::MAX, data.len().max(1));
    let pieces = decode(data, SPACING_BYTES, 1 + data.len() % 4099);
    let (Some((plain, _)), Some((again, checkpoints))) = (&whole, &pieces) else {
        assert_eq!(whole.is_some(), pieces.is_some(), "whether it decodes depends on the pieces");
        return false;
    };
    assert!(plain == again, "what it decodes to depends on the pieces");
    let size = data.len() as u64;
    for (index, this) in checkpoints.iter().enumerate() {
        let next = checkpoints.get(index + 1);
        let range = span_compressed_range(this.position(), next.map(Checkpoint::position), size);
        let end = next.map_or(plain.len(), |next| next.uncompressed as usize);
        let expected = &plain[this.uncompressed as usize..end];
        let mut span = vec![0; expected.len()];
        let compressed = &data[range.start as usize..range.end as usize];
        decode_span(this.start(), compressed, &mut span).expect("a span of a sound stream decodes");
        assert!(span == expected, "span {index} differs");
    }
    true
}

/// The decoded bytes and the checkpoints; `None` where it does not decode, or to too much.
fn decode(data: &[u8], spacing: u64, piece: usize) -> Option<(Vec<u8>, Vec<Checkpoint>)> {
    let mut indexer = Indexer::new(spacing);
    let (mut plain, mut checkpoints, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for piece in data.chunks(piece) {
        let mut rest = piece;
        loop {
            let taken = indexer.push(rest, &mut out, CAP_BYTES, &mut checkpoints).ok()?;
            assert!(out.len() <= CAP_BYTES, "more than the cap");
            let drained = rest.len() == taken && out.len() < CAP_BYTES;
            assert!(drained || taken > 0 || !out.is_empty(), "no progress");
            rest = &rest[taken..];
            plain.append(&mut out);
            if drained {
                break;
            }
            if plain.len() > MAX_DECODED_BYTES {
                return None;
            }
        }
    }
    let totals = indexer.finish().ok()?;
    assert_eq!((totals.compressed, totals.uncompressed), (data.len() as u64, plain.len() as u64));
    (plain.len() <= MAX_DECODED_BYTES).then_some((plain, checkpoints))
}

/// What zlib decodes we decode to the same, and nothing that it refuses.
fn agrees_with_zlib(data: &[u8]) {
    let mut theirs = vec![0; 64 << 10];
    let mut zlib = flate2::Decompress::new(false);
    let status = zlib.decompress(data, &mut theirs, flate2::FlushDecompress::None);
    let decoded = zlib.total_out() as usize;
    let start = SpanStart { bits: 0, window: &[], member_start: false };
    let mut ours = vec![0; decoded];
    if let Err(error) = decode_span(start, data, &mut ours) {
        // What is wrong with the last symbol zlib may tell only after it wrote a part of a match.
        assert!(status.is_err(), "zlib decodes {decoded} bytes, we say {error}");
    }
    if status.is_ok() {
        assert!(ours == theirs[..decoded], "we decode something else");
    }
    // One byte more than there is must not be had: neither after a fault, nor at an end that no member follows.
    if decoded < theirs.len() {
        ours.push(0);
        let behind = &data[(zlib.total_in() as usize).min(data.len())..];
        let followed = behind.windows(2).any(|magic| magic == [0x1f, 0x8b]);
        let more = decode_span(start, data, &mut ours);
        assert!(more.is_err() || followed, "a byte that zlib does not have");
    }
}

/// Starts that no index ever named: only that nothing breaks.
fn resume_anywhere(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let (window, compressed) = rest.split_at(usize::from(first).min(rest.len()));
    let start = SpanStart { bits: first & 15, window, member_start: first & 16 != 0 };
    let mut out = vec![0; 4096];
    // Garbage is mostly refused; what counts is that it returns.
    let _ = decode_span(start, compressed, &mut out);
}
