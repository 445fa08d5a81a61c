//! Chunk tables: what parses covers its file without a gap, and is written as it was read.

use glowplug_toc::ChunkTable;

/// Takes `data` for a table.
pub fn chunks(data: &[u8]) -> bool {
    let Ok(table) = ChunkTable::parse(data) else { return false };
    assert_eq!(table.encode(), data, "a table is written as it was read");
    let (mut end, mut count) = (0, 0);
    for (range, _) in table.chunks() {
        assert!(range.start == end && range.end > end && range.len() <= table.chunk_bytes, "chunks join");
        (end, count) = (range.end, count + 1);
    }
    assert_eq!((end, count), (table.size, table.digests.len()), "and are the file");
    true
}
