//! What a file costs of a layer's compressed bytes.
//!
//! Compression knows no files, so it is an estimate: a span's bytes are shared out evenly over what it decodes to. The
//! archive's headers and padding before a file are counted as the file's; what lies behind the last one is nobody's. The
//! shares of an archive never add up to more than its blob.

use glowplug_layer::{Entry, Extent, LayerIndex};

/// The share of each entry in bytes of the blob, in the order of the entries.
pub fn shares(index: &LayerIndex) -> Vec<u64> {
    if !index.extents().is_sorted_by_key(|extent| extent.stream) {
        // An EROFS image has metadata elsewhere, and files in any order.
        let share = |extent: &Extent| {
            let (start, end) = (blob_at(index, extent.stream), blob_at(index, extent.stream + extent.len));
            end.saturating_sub(start)
        };
        return index.entries.iter().map(|entry| entry.extents.iter().map(share).sum()).collect();
    }
    let mut before = 0;
    let share = |entry: &Entry| {
        let Some(last) = entry.extents.last() else { return 0 };
        let after = blob_at(index, last.stream + last.len).max(before);
        std::mem::replace(&mut before, after).abs_diff(after)
    };
    index.entries.iter().map(share).collect()
}

/// Where in the blob the stream's byte at `stream` comes from.
fn blob_at(index: &LayerIndex, stream: u64) -> u64 {
    let at = index.spans.partition_point(|span| span.stream.end <= stream);
    index.spans.get(at).map_or(index.blob_size, |span| {
        span.blob.start + scale(stream - span.stream.start, span.blob.len(), span.stream.len())
    })
}

/// `part * whole / of`, rounded down.
pub fn scale(part: u64, whole: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(whole) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::layer;
    use super::*;

    #[test]
    fn shares_follow_the_spans_and_never_exceed_the_blob() {
        let mut index = layer(&[("a", 1_000_000), ("dir/", 0), ("b", 3_000_000)]);
        let whole = shares(&index);
        assert_eq!(whole[1], 0);
        assert!(whole.iter().sum::<u64>() <= index.blob_size);
        // The fixture compresses to half.
        assert!(whole[0].abs_diff(500_000) < 1_000 && whole[2].abs_diff(1_500_000) < 1_000, "{whole:?}");

        // What compresses better costs less: the same stream in two spans, the second of a tenth.
        let cut = index.entries[0].extents[0].stream + 1_000_000;
        let span = index.spans[0].clone();
        let (mut first, mut second) = (span.clone(), span);
        (first.stream.end, first.data.end, first.blob.end) = (cut, 1_003_520, 500_000);
        (second.stream.start, second.data.start, second.blob.start) = (cut, 1_003_520, 500_000);
        second.blob.end = 800_000;
        (index.spans, index.blob_size) = (vec![first, second], 800_000);
        let cut = shares(&index);
        assert!(cut[0].abs_diff(500_000) < 1_000 && cut[2].abs_diff(300_000) < 1_000, "{cut:?}");
    }
}
