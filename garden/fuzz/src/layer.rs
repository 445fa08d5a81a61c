//! The layer index: what is decoded is consistent, and encodes to itself.

use glowplug_base::ByteRange;
use glowplug_layer::{Limits, VERSION, decode, encode, place};

/// Longest piece of a layer that is laid out; larger ones are refused.
const MAX_PLACED_BYTES: u64 = 64 << 10;

/// Decodes `data` as a serialised index, and as the body of one whose header is right.
///
/// The second is what gets the fuzzer past the checksum.
pub fn layer(data: &[u8]) -> bool {
    let wrapped = wrap(data);
    [data, &wrapped].map(check).contains(&true)
}

fn check(bytes: &[u8]) -> bool {
    let limits = Limits {
        body_bytes: 1 << 20,
        entries: 10_000,
        spans: 10_000,
        span_bytes: MAX_PLACED_BYTES,
        span_data_bytes: MAX_PLACED_BYTES,
        ..Limits::default()
    };
    let Ok(index) = decode(bytes, &limits) else { return false };
    let again = encode(&index).expect("what was decoded encodes");
    assert_eq!(decode(&again, &limits).expect("what was encoded decodes"), index);
    let extents = index.pieces();
    let mut end = 0;
    for (number, span) in index.spans.iter().enumerate() {
        assert_eq!(span.data.start, end, "data ranges join");
        end = span.data.end;
        if !span.data.is_empty() {
            assert!(index.spans_for_data(span.data).contains(&number), "a span is found by its data");
            assert!(index.spans_for_data(ByteRange::at(span.data.start, 1)).contains(&number));
        }
        let stream = vec![1; span.stream.len() as usize];
        assert_eq!(place(&index, &extents, number, &stream).len() as u64, span.data.len());
    }
    true
}

/// The header of `glowplug_layer`'s codec around any body.
fn wrap(body: &[u8]) -> Vec<u8> {
    let packed = zstd::bulk::compress(body, 1).expect("compressing has all the room it needs");
    let mut checked = Vec::new();
    checked.extend_from_slice(&(packed.len() as u64).to_le_bytes());
    checked.extend_from_slice(&(body.len() as u64).to_le_bytes());
    checked.extend_from_slice(&packed);
    let mut bytes = b"GPLAYIDX".to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    bytes.append(&mut checked);
    bytes
}
