//! Whole streams, every checkpoint, hostile bytes.
#![allow(clippy::unwrap_used)]

use glowplug_gzindex::{
    Checkpoint, GzError, Indexer, SpanStart, Totals, WINDOW_BYTES, decode_span, span_compressed_range,
};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress_to_output, create_comp_flags_from_zip_params,
};
use miniz_oxide::inflate::decompress_to_vec;
use proptest::prelude::*;

/// How a member is written: what stands in its header besides the ten fixed bytes, and flushes.
#[derive(Debug, Clone, Default)]
struct Header {
    extra: Option<Vec<u8>>,
    name: Option<Vec<u8>>,
    comment: Option<Vec<u8>>,
    crc: bool,
    /// Flush the compressor after every so many bytes, which makes empty stored blocks, as pigz does.
    flush: Option<(usize, bool)>,
}

/// Raw deflate data with flushes in it; a full one forgets the window as well.
fn compress_flushing(data: &[u8], level: u8, every: usize, full: bool) -> Vec<u8> {
    let mut compressor = CompressorOxide::new(create_comp_flags_from_zip_params(level.into(), -15, 0));
    let mut out = Vec::new();
    let mut write = |piece: &[u8], flush| {
        let (status, taken) = compress_to_output(&mut compressor, piece, flush, |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        assert_eq!(taken, piece.len());
        status
    };
    for piece in data.chunks(every) {
        write(piece, if full { TDEFLFlush::Full } else { TDEFLFlush::Sync });
    }
    assert_eq!(write(&[], TDEFLFlush::Finish), TDEFLStatus::Done);
    out
}

/// One gzip member (RFC 1952) around `data`; gives its length without data and trailer, too.
fn member(data: &[u8], level: u8, header: &Header) -> (Vec<u8>, usize) {
    let flags = u8::from(header.crc) << 1
        | u8::from(header.extra.is_some()) << 2
        | u8::from(header.name.is_some()) << 3
        | u8::from(header.comment.is_some()) << 4;
    let mut out = vec![0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 255];
    if let Some(extra) = &header.extra {
        out.extend((extra.len() as u16).to_le_bytes());
        out.extend(extra);
    }
    for text in [&header.name, &header.comment].into_iter().flatten() {
        out.extend(text);
        out.push(0);
    }
    if header.crc {
        let crc = crc32fast::hash(&out);
        out.extend((crc as u16).to_le_bytes());
    }
    let header_len = out.len();
    out.extend(match header.flush {
        Some((every, full)) => compress_flushing(data, level, every, full),
        None => compress_to_vec(data, level),
    });
    out.extend(crc32fast::hash(data).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    (out, header_len)
}

fn plain(data: &[u8], level: u8) -> Vec<u8> {
    member(data, level, &Header::default()).0
}

/// Bytes that compress about as a library does: runs out of a small set of words, and noise.
fn data(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        let r = next();
        match r % 4 {
            0 => out.extend(next().to_le_bytes()),
            1 => out.extend(std::iter::repeat_n((r >> 8) as u8, (r >> 16) as usize % 60)),
            _ => out.extend(format!("word{} ", (r >> 8) % 300).bytes()),
        }
    }
    out.truncate(len);
    out
}

type Decoded = (Vec<u8>, Vec<Checkpoint>, Totals);

/// Sends `gz` through an indexer in pieces of the given sizes, again and again.
fn index(gz: &[u8], spacing: u64, pieces: &[usize], cap: usize) -> Result<Decoded, GzError> {
    let mut indexer = Indexer::new(spacing);
    let (mut all, mut out, mut checkpoints) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = gz;
    for size in pieces.iter().cycle() {
        let (mut piece, later) = rest.split_at((*size).min(rest.len()));
        loop {
            let taken = indexer.push(piece, &mut out, cap, &mut checkpoints)?;
            assert!(out.len() <= cap);
            piece = &piece[taken..];
            let done = piece.is_empty() && out.len() < cap;
            all.append(&mut out);
            if done {
                break;
            }
        }
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    Ok((all, checkpoints, indexer.finish()?))
}

/// Decodes every span by itself and holds it against `whole`.
fn check_spans(gz: &[u8], checkpoints: &[Checkpoint], whole: &[u8]) {
    for (at, this) in checkpoints.iter().enumerate() {
        let next = checkpoints.get(at + 1);
        let range = span_compressed_range(this.position(), next.map(Checkpoint::position), gz.len() as u64);
        let end = next.map_or(whole.len() as u64, |next| next.uncompressed);
        let mut out = vec![0xEE; (end - this.uncompressed) as usize];
        let bytes = &gz[range.start as usize..range.end as usize];
        decode_span(this.start(), bytes, &mut out)
            .unwrap_or_else(|error| panic!("span {at} {this:?}: {error}"));
        assert_eq!(out, whole[this.uncompressed as usize..end as usize], "span {at}");

        // The same with the window as SOCI stores it: always 32 KiB, zeros at the old end.
        let mut window = vec![0; WINDOW_BYTES - this.window.len()];
        window.extend(&this.window);
        out.fill(0xEE);
        decode_span(SpanStart { window: &window, ..this.start() }, bytes, &mut out).unwrap();
        assert_eq!(out, whole[this.uncompressed as usize..end as usize], "span {at} with a padded window");
    }
}

fn check_spacing(checkpoints: &[Checkpoint], spacing: u64) {
    for pair in checkpoints.windows(2) {
        assert!(pair[1].uncompressed - pair[0].uncompressed >= spacing, "{pair:?}");
        assert!(pair[1].compressed >= pair[0].compressed, "{pair:?}");
    }
    for checkpoint in checkpoints {
        assert!(checkpoint.bits < 8 && checkpoint.window.len() <= WINDOW_BYTES && !checkpoint.member_start);
    }
}

#[test]
fn the_first_checkpoint_stands_behind_the_header() {
    let header = Header {
        extra: Some(b"SG\x04\x00abcd".to_vec()),
        name: Some(b"layer.tar".to_vec()),
        comment: Some(b"why not".to_vec()),
        crc: true,
        flush: None,
    };
    let whole = data(900_000, 7);
    let (gz, header_len) = member(&whole, 6, &header);
    let (out, checkpoints, totals) = index(&gz, 1 << 16, &[1000], 1 << 20).unwrap();
    assert_eq!(out, whole);
    assert_eq!(totals, Totals { compressed: gz.len() as u64, uncompressed: whole.len() as u64 });
    assert_eq!((checkpoints[0].compressed, checkpoints[0].uncompressed), (header_len as u64, 0));
    assert_eq!((checkpoints[0].bits, checkpoints[0].window.len()), (0, 0));
    assert!(checkpoints.len() > 2, "{checkpoints:?}");
    check_spans(&gz, &checkpoints, &whole);
}

#[test]
fn an_empty_stream_has_its_checkpoint() {
    let gz = plain(b"", 6);
    let (out, checkpoints, totals) = index(&gz, 1, &[1], 16).unwrap();
    assert!(out.is_empty());
    assert_eq!(totals.uncompressed, 0);
    assert_eq!((checkpoints.len(), checkpoints[0].compressed), (1, 10));
}

#[test]
fn members_follow_each_other_inside_spans() {
    let parts: Vec<Vec<u8>> = (0..40).map(|at| data(at * 1371 % 50_000, at as u64 + 1)).collect();
    let gz: Vec<u8> = parts.iter().flat_map(|part| plain(part, 6)).collect();
    let whole = parts.concat();
    for spacing in [1, 10_000, 100_000, u64::MAX] {
        let (out, checkpoints, _) = index(&gz, spacing, &[4096], 10_000).unwrap();
        assert_eq!(out, whole);
        check_spacing(&checkpoints, spacing);
        check_spans(&gz, &checkpoints, &whole);
    }
}

#[test]
fn a_member_can_be_decoded_from_its_header() {
    let whole = data(200_000, 3);
    let gz = [plain(&whole, 6), plain(&whole[..100], 6)].concat();
    let mut out = vec![0; whole.len() + 100];
    decode_span(SpanStart { bits: 0, window: &[], member_start: true }, &gz, &mut out).unwrap();
    assert_eq!(out, [&whole[..], &whole[..100]].concat());
}

#[test]
fn padding_is_accepted_and_garbage_is_not() {
    let whole = data(5000, 9);
    let gz = plain(&whole, 6);
    let padded = [&gz[..], &[0; 700]].concat();
    let (out, _, totals) = index(&padded, 1000, &[13], 1 << 20).unwrap();
    assert_eq!((out, totals.compressed), (whole.clone(), padded.len() as u64));

    let at = gz.len() as u64;
    for (tail, at) in
        [(&b"garbage"[..], at), (b"\x1fgarbage", at), (b"\0\0\x1f\x8b", at + 2), (b"\0x", at + 1)]
    {
        for piece in [1, 3, 100_000] {
            let error = index(&[&gz[..], tail].concat(), 1000, &[piece], 1 << 20).unwrap_err();
            assert_eq!(error, GzError::TrailingGarbage { at }, "{tail:?} in pieces of {piece}");
        }
    }
}

#[test]
fn the_last_piece_may_have_any_length() {
    let whole = data(60_000, 21);
    let gz = plain(&whole, 6);
    for last in 1..4000 {
        let (out, ..) = index(&gz, 10_000, &[gz.len() - last, last], 1 << 20)
            .unwrap_or_else(|error| panic!("a last piece of {last} bytes: {error}"));
        assert!(out == whole, "a last piece of {last} bytes");
    }
}

#[test]
fn what_is_no_gzip_is_named() {
    for bytes in
        [&b"PK\x03\x04 a zip file"[..], b"\0\0\0\0", b"\x78\x9c zlib", b"\x1f\x8b\x07 unknown method"]
    {
        assert_eq!(index(bytes, 1, &[100], 100).unwrap_err(), GzError::NotGzip);
    }
    assert_eq!(index(b"", 1, &[1], 1).unwrap_err(), GzError::Truncated { at: 0 });
}

#[test]
fn every_truncation_is_noticed() {
    let gz = plain(&data(3000, 4), 6);
    for len in 0..gz.len() {
        assert_eq!(index(&gz[..len], 500, &[100], 100).unwrap_err(), GzError::Truncated { at: len as u64 });
    }
}

#[test]
fn a_wrong_checksum_is_noticed() {
    let mut gz = plain(&data(100_000, 4), 6);
    let crc = gz.len() - 8;
    gz[crc] ^= 1;
    let error = index(&gz, 1000, &[1000], 1000).unwrap_err();
    assert!(matches!(&error, GzError::Corrupt { at, .. } if *at > crc as u64), "{error}");
}

#[test]
fn a_bomb_stays_within_the_cap() {
    const CAP: usize = 64 * 1024;
    let zeros = vec![0; 64 << 20];
    let gz = plain(&zeros, 9);
    let mut indexer = Indexer::new(1 << 20);
    let (mut out, mut checkpoints) = (Vec::new(), Vec::new());
    let (mut rest, mut total) = (&gz[..], 0);
    loop {
        let taken = indexer.push(rest, &mut out, CAP, &mut checkpoints).unwrap();
        assert!(out.capacity() <= CAP);
        assert!(checkpoints.len() <= total / (1 << 20) + 1);
        rest = &rest[taken..];
        total += out.len();
        let done = rest.is_empty() && out.len() < CAP;
        out.clear();
        if done {
            break;
        }
    }
    assert_eq!((indexer.finish().unwrap().uncompressed, total), (zeros.len() as u64, zeros.len()));
}

#[test]
fn an_indexer_can_go_to_another_thread() {
    let mut indexer = Indexer::new(1000);
    let whole = data(10_000, 5);
    let gz = plain(&whole, 6);
    let mut out = Vec::new();
    indexer.push(&gz[..100], &mut out, 1 << 20, &mut Vec::new()).unwrap();
    let out = std::thread::spawn(move || {
        indexer.push(&gz[100..], &mut out, 1 << 20, &mut Vec::new()).unwrap();
        indexer.finish().unwrap();
        out
    });
    assert_eq!(out.join().unwrap(), whole);
}

#[test]
fn impossible_starts_are_refused() {
    let window = vec![0; WINDOW_BYTES + 1];
    let mut out = [0; 10];
    for start in [
        SpanStart { bits: 8, window: &[], member_start: false },
        SpanStart { bits: 0, window: &window, member_start: false },
        SpanStart { bits: 1, window: &[], member_start: true },
    ] {
        assert!(matches!(decode_span(start, b"anything", &mut out), Err(GzError::BadStart { .. })));
    }
}

#[test]
fn a_span_cut_short_is_truncated() {
    let whole = data(400_000, 11);
    let gz = plain(&whole, 6);
    let (_, checkpoints, _) = index(&gz, 100_000, &[4096], 1 << 20).unwrap();
    let (this, next) = (&checkpoints[1], &checkpoints[2]);
    let range = span_compressed_range(this.position(), Some(next.position()), gz.len() as u64);
    let bytes = &gz[range.start as usize..range.end as usize];
    let mut out = vec![0; (next.uncompressed - this.uncompressed) as usize];
    for len in [0, 1, bytes.len() / 2] {
        let error = decode_span(this.start(), &bytes[..len], &mut out).unwrap_err();
        assert_eq!(error, GzError::Truncated { at: len as u64 });
    }
    let wrong_window = vec![0; WINDOW_BYTES];
    decode_span(SpanStart { window: &wrong_window, ..this.start() }, bytes, &mut out).unwrap();
    assert_ne!(out, whole[this.uncompressed as usize..next.uncompressed as usize]);
}

fn headers() -> impl Strategy<Value = Header> {
    let text = || proptest::option::of(proptest::collection::vec(1_u8.., 0..40));
    let flush = proptest::option::of((500_usize..50_000, any::<bool>()));
    (
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
        text(),
        text(),
        any::<bool>(),
        flush,
    )
        .prop_map(|(extra, name, comment, crc, flush)| Header { extra, name, comment, crc, flush })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_stream_resumes_at_every_checkpoint(
        members in proptest::collection::vec((0_usize..200_000, any::<u64>(), 0_u8..=10, headers()), 1..5),
        spacing in prop_oneof![1_u64..1000, 1000_u64..100_000],
        pieces in proptest::collection::vec(1_usize..20_000, 1..8),
        cap in 1_usize..100_000,
    ) {
        let (mut gz, mut whole) = (Vec::new(), Vec::new());
        for (len, seed, level, header) in &members {
            let part = data(*len, *seed);
            let (bytes, header_len) = member(&part, *level, header);
            // The oracle: another decoder agrees on what the deflate data says.
            let deflate = &bytes[header_len..bytes.len() - 8];
            prop_assert_eq!(&decompress_to_vec(deflate).unwrap(), &part);
            gz.extend(bytes);
            whole.extend(part);
        }
        let (out, checkpoints, totals) = index(&gz, spacing, &pieces, cap.max(64)).unwrap();
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(totals, Totals { compressed: gz.len() as u64, uncompressed: whole.len() as u64 });
        check_spacing(&checkpoints, spacing);
        check_spans(&gz, &checkpoints, &whole);
        // How the stream arrives changes nothing.
        let (_, again, _) = index(&gz, spacing, &[gz.len()], usize::MAX).unwrap();
        prop_assert_eq!(again, checkpoints);
    }

    #[test]
    fn damage_is_an_error_or_harmless(
        at in any::<prop::sample::Index>(), flip in 1_u8.., seed in any::<u64>(), cap in 1_usize..5000,
    ) {
        let whole = data(20_000, seed);
        let mut gz = plain(&whole, 6);
        let at = at.index(gz.len());
        gz[at] ^= flip;
        // Some bits are nobody's, such as the header's time or the padding before the trailer.
        if let Ok((out, ..)) = index(&gz, 1000, &[777], cap) {
            prop_assert_eq!(out, whole);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000), header in any::<bool>(),
        bits in any::<u8>(), window in proptest::collection::vec(any::<u8>(), 0..100), len in 0_usize..5000,
        member_start in any::<bool>(), spacing in any::<u64>(),
    ) {
        let gz = if header { [&plain(b"", 0)[..10], &bytes].concat() } else { bytes.clone() };
        let _ = index(&gz, spacing, &[100, 1], 1000);
        let _ = decode_span(SpanStart { bits, window: &window, member_start }, &bytes, &mut vec![0; len]);
    }
}
