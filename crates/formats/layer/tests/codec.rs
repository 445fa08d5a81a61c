//! The serialised index round-trips, and damage is noticed.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{
    BLOCK_BYTES, Check, Chunk, CodecError, Cursor, Entry, Excess, Extent, Kind, LayerIndex, Limits, Origin,
    Recipe, Span, Tally, WindowRef, boundary, decode, encode, encode_within, place,
};
use proptest::prelude::*;

/// A layer of files with the given contents, cut into spans of `span` stream bytes.
fn layer(files: &[Vec<u8>], span: usize) -> (LayerIndex, Vec<u8>, Vec<u8>) {
    let (mut stream, mut data, mut entries, mut cursor) = (Vec::new(), Vec::new(), Vec::new(), Cursor::new());
    for (number, file) in files.iter().enumerate() {
        stream.extend_from_slice(&[0xee; 512]);
        let mut extents = Vec::new();
        if !file.is_empty() {
            let at = cursor.place(0, file.len() as u64).unwrap();
            extents.push(Extent { file: 0, stream: stream.len() as u64, data: at, len: file.len() as u64 });
            data.resize(at as usize, 0);
            data.extend_from_slice(file);
        }
        stream.extend_from_slice(file);
        stream.resize(stream.len().next_multiple_of(512), 0xee);
        entries.push(Entry {
            path: format!("f{number}").into_bytes(),
            kind: Kind::File,
            link: vec![],
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: -1,
            mtime_ns: 5,
            device: (0, 0),
            size: file.len() as u64,
            xattrs: vec![(b"user.x".to_vec(), vec![0, 1])],
            extents,
        });
    }
    data.resize(data.len().next_multiple_of(BLOCK_BYTES as usize), 0);
    let extents: Vec<_> = entries.iter().flat_map(|e| e.extents.clone()).collect();
    let position = |at: u64| {
        let before = extents.iter().take_while(|e| e.stream < at).last();
        before.map_or(0, |e| {
            if at < e.stream + e.len {
                e.data + (at - e.stream)
            } else {
                (e.data + e.len).next_multiple_of(BLOCK_BYTES)
            }
        })
    };
    let size = stream.len() as u64;
    let spans = (0..size)
        .step_by(span)
        .map(|start| {
            let stream = ByteRange::new(start, (start + span as u64).min(size));
            let piece = ByteRange::new(position(stream.start), position(stream.end));
            let digest = Digest::of(&data[piece.start as usize..piece.end as usize]);
            Span { stream, blob: stream, data: piece, recipe: Recipe::Stored, check: Check::Data(digest) }
        })
        .collect();
    let index = LayerIndex {
        blob: Digest::of(&stream),
        blob_size: size,
        stream_size: size,
        data_size: data.len() as u64,
        origin: Origin::Streamed,
        entries,
        spans,
        chunks: vec![],
        prefetch: vec![],
    };
    (index, stream, data)
}

proptest! {
    #[test]
    fn indexes_round_trip_and_spans_place_their_bytes(
        files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9000), 0..12),
        span in 1000_usize..9000,
    ) {
        let (index, stream, data) = layer(&files, span);
        prop_assert_eq!(&decode(&encode(&index).unwrap(), &Limits::default()).unwrap(), &index);
        let extents: Vec<_> = index.extents().copied().collect();
        let mut built: Vec<u8> = Vec::new();
        for (number, span) in index.spans.iter().enumerate() {
            let piece = &stream[span.stream.start as usize..span.stream.end as usize];
            built.extend(&*place(&index, &extents, number, piece));
        }
        prop_assert_eq!(built, data);
        for (entry, file) in index.entries.iter().zip(&files) {
            for extent in &entry.extents {
                let range = ByteRange::at(extent.data, extent.len);
                let spans = index.spans_for_data(range);
                prop_assert!(index.spans[spans.start].data.start <= range.start);
                prop_assert!(index.spans[spans.end - 1].data.end >= range.end);
                prop_assert_eq!(file.len() as u64, extent.len);
            }
        }
    }

    #[test]
    fn damage_is_noticed(at in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut bytes = encode(&layer(&[vec![7; 5000], vec![], vec![1]], 1500).0).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes, &Limits::default()).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes, &Limits::default()).is_err());
    }
}

#[test]
fn another_version_is_named() {
    let mut bytes = encode(&layer(&[], 1000).0).unwrap();
    bytes[8] = 9;
    assert!(matches!(decode(&bytes, &Limits::default()), Err(CodecError::Version(9))));
}

#[test]
fn limits_hold() {
    let (index, ..) = layer(&[vec![1; 9000], vec![2]], 1024);
    let bytes = encode(&index).unwrap();
    let room = Limits {
        body_bytes: 1 << 20,
        entries: 2,
        spans: index.spans.len(),
        chunks: 0,
        span_bytes: 1024,
        // The last byte of a file, and the rest of its block.
        span_data_bytes: index.spans.iter().map(|span| span.data.len()).max().unwrap(),
        data_bytes: 16384,
    };
    assert_eq!(decode(&bytes, &room).unwrap(), index);
    for (limits, what) in [
        (Limits { body_bytes: 10, ..room }, "body"),
        (Limits { entries: 1, ..room }, "entries"),
        (Limits { spans: 3, ..room }, "spans"),
        (Limits { span_bytes: 1023, ..room }, "span"),
        (Limits { span_data_bytes: room.span_data_bytes - 1, ..room }, "span in the data file"),
        (Limits { data_bytes: 16383, ..room }, "data file"),
    ] {
        match decode(&bytes, &limits) {
            Err(CodecError::TooLarge(said)) => assert_eq!(said, what),
            other => panic!("{what}: {other:?}"),
        }
        match encode_within(&index, &limits) {
            Err(CodecError::TooLarge(said)) => assert_eq!(said, what),
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(encode_within(&index, &room).unwrap(), bytes);
}

/// Counts an index part by part, as whoever makes one does.
fn tally(index: &LayerIndex, limits: Limits) -> Result<(), Excess> {
    let mut tally = Tally::new(limits);
    index.entries.iter().try_for_each(|entry| tally.entry(entry))?;
    index.spans.iter().try_for_each(|span| tally.span(span))?;
    tally.data_file(index.data_size)
}

#[test]
fn an_index_that_grows_is_refused_where_a_reader_would_refuse_it() {
    let (index, ..) = layer(&[vec![1; 9000], vec![2], vec![]], 1024);
    let most = |length: fn(&Span) -> u64| index.spans.iter().map(length).max().unwrap();
    let bytes = encode(&index).unwrap();
    let body_bytes = u64::from_le_bytes(bytes[24..32].try_into().unwrap());
    let room = Limits {
        body_bytes: body_bytes + 128,
        entries: index.entries.len(),
        spans: index.spans.len(),
        chunks: 0,
        span_bytes: most(|span| span.stream.len()),
        span_data_bytes: most(|span| span.data.len()),
        data_bytes: index.data_size,
    };
    tally(&index, room).unwrap();
    for limits in [
        Limits { body_bytes: body_bytes - 1, ..room },
        Limits { entries: room.entries - 1, ..room },
        Limits { spans: room.spans - 1, ..room },
        Limits { span_bytes: room.span_bytes - 1, ..room },
        Limits { span_data_bytes: room.span_data_bytes - 1, ..room },
        Limits { data_bytes: room.data_bytes - 1, ..room },
    ] {
        let excess = tally(&index, limits).unwrap_err();
        assert!(matches!(decode(&bytes, &limits), Err(CodecError::TooLarge(_))), "{excess}");
        assert!(excess.to_string().contains(&excess.limit.to_string()), "{excess}");
    }
}

#[test]
fn sizes_that_no_layer_has_are_refused() {
    let huge = 1 << 50;
    let one = |size: u64, recipe| LayerIndex {
        blob: Digest::of(b""),
        blob_size: size,
        stream_size: size,
        data_size: size,
        origin: Origin::Streamed,
        entries: vec![],
        spans: vec![Span {
            stream: ByteRange::new(0, size),
            blob: ByteRange::new(0, size),
            data: ByteRange::new(0, size),
            recipe,
            check: Check::Data(Digest::of(b"")),
        }],
        chunks: vec![],
        prefetch: vec![],
    };
    let refusal = |index: &LayerIndex| match decode(&encode(index).unwrap(), &Limits::default()) {
        Err(CodecError::TooLarge(what)) => what,
        other => panic!("{other:?}"),
    };
    for recipe in [Recipe::Stored, Recipe::ZstdFrame, Recipe::Whole] {
        assert_eq!(refusal(&one(huge, recipe)), "data file");
        assert_eq!(refusal(&one(1 << 40, recipe)), "span");
        let padded = LayerIndex { stream_size: 0, ..one(1 << 40, recipe) };
        let spans = vec![Span {
            stream: ByteRange::new(0, 0),
            blob: ByteRange::new(0, 0),
            ..padded.spans[0].clone()
        }];
        assert_eq!(refusal(&LayerIndex { spans, ..padded }), "span in the data file");
    }
    let window = WindowRef { offset: 0, len: u32::MAX };
    assert_eq!(refusal(&one(4096, Recipe::Deflate { bits: 0, window })), "window");
}

/// An index whose only span decodes to two chunks with a header between them.
fn chunked() -> LayerIndex {
    let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
    let (mut index, ..) = layer(&[vec![1; 700], vec![2; 5000]], 1 << 20);
    index.origin = Origin::Toc;
    index.spans[0].check = Check::Chunks;
    let of = |extent: &Extent, digest| Chunk { stream: ByteRange::at(extent.stream, extent.len), digest };
    let extents: Vec<_> = index.extents().copied().collect();
    index.chunks = vec![of(&extents[0], first), of(&extents[1], second)];
    index.prefetch.push(0..1);
    index
}

#[test]
fn chunks_cover_every_byte_of_their_spans_and_lie_within_them() {
    let index = chunked();
    assert_eq!(decode(&encode(&index).unwrap(), &Limits::default()).unwrap(), index);
    assert_eq!(index.chunks_of(0), index.chunks);
    let refusal = |change: fn(&mut LayerIndex)| {
        let mut changed = chunked();
        change(&mut changed);
        match decode(&encode(&changed).unwrap(), &Limits::default()) {
            Err(CodecError::Damaged(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refusal(|index| _ = index.chunks.pop()), "bytes without a digest");
    assert_eq!(refusal(|index| index.chunks[1].stream.start += 1), "bytes without a digest");
    assert_eq!(refusal(|index| index.chunks[1].stream.end -= 1), "bytes without a digest");
    assert_eq!(refusal(|index| index.chunks.swap(0, 1)), "chunk out of place");
    assert_eq!(
        refusal(|index| index.chunks[1].stream.start = index.chunks[0].stream.start),
        "chunk out of place"
    );
    assert_eq!(refusal(|index| index.chunks[1].stream.end = 1 << 40), "chunk out of place");
    assert_eq!(refusal(|index| index.prefetch.push(0..2)), "prefetch of spans that do not exist");
    let limits = Limits { chunks: 1, ..Limits::default() };
    assert!(matches!(decode(&encode(&index).unwrap(), &limits), Err(CodecError::TooLarge("chunks"))));
}

#[test]
fn short_holes_take_room_and_long_ones_do_not() {
    let mut cursor = Cursor::new();
    assert_eq!(cursor.place(0, 1000), Some(0));
    assert_eq!(
        cursor.place_behind(1000, 3000, 500),
        Some(3000),
        "behind a hole of 2000 bytes in the same block"
    );
    let far = 3500 + 2 * BLOCK_BYTES;
    let place = cursor.place_behind(3500, far, 10).unwrap();
    assert_eq!((place / BLOCK_BYTES, place % BLOCK_BYTES), (1, far % BLOCK_BYTES), "in a block of its own");
    assert_eq!(cursor.place_behind(far + 10, far, 1), None, "never back");
    let extent = |file, stream, data, len| Extent { file, stream, data, len };
    let extents = [extent(0, 0, 0, 1000), extent(3000, 1000, 3000, 500), extent(far, 1500, place, 10)];
    let ends = [500, 1000, 1200, 1500, 1510].map(|at| boundary(&extents, 8192, at));
    assert_eq!(ends, [500, 1000, 3200, 4096, 8192]);
}

#[test]
fn only_erofs_images_have_their_files_in_any_order_and_share_bytes() {
    let (mut index, stream, data) = layer(&[vec![1; 5000], vec![2; 300], vec![3; 4096]], 1 << 20);
    index.entries.reverse();
    let shared = Extent { len: 200, ..index.entries[1].extents[0] };
    index.entries.push(Entry { size: 200, extents: vec![shared], ..index.entries[0].clone() });
    let refusal = |index: &LayerIndex| match decode(&encode(index).unwrap(), &Limits::default()) {
        Err(CodecError::Damaged(what)) => what,
        other => panic!("{other:?}"),
    };
    for origin in [Origin::Streamed, Origin::Soci, Origin::Toc, Origin::Chunks, Origin::Peer] {
        index.origin = origin;
        assert_eq!(refusal(&index), "extent out of place");
    }
    index.origin = Origin::Erofs;
    assert_eq!(decode(&encode(&index).unwrap(), &Limits::default()).unwrap(), index);
    let pieces = index.pieces();
    assert_eq!(pieces.iter().map(|piece| piece.len).collect::<Vec<_>>(), [5000, 300, 4096]);
    assert_eq!(*place(&index, &pieces, 0, &stream), *data);
    // A byte with two places, and an order that is another one in the data file.
    let mut torn = index.clone();
    torn.entries[3].extents[0].data += 4096;
    assert_eq!(refusal(&torn), "extent out of place");
    let mut swapped = index.clone();
    swapped.entries.pop();
    (swapped.entries[0].extents[0].data, swapped.entries[1].extents[0].data) = (8192, 12_288);
    assert_eq!(refusal(&swapped), "extent out of place");
}
