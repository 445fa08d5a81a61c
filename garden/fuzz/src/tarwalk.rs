//! Tar streams: the same entries whatever the pieces, and extents that lie where they say.

use glowplug_tarwalk::{Entry, Limits, TarError, Walker, normalise, whiteout};

/// Walks `data` as a tar stream, at once and in pieces.
pub fn tarwalk(data: &[u8]) -> bool {
    let whole = walk(data, data.len().max(1));
    let pieces = walk(data, 1 + data.len() % 977);
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(whole, pieces, "entries depend on the pieces"),
        (Err(_), Err(_)) => {}
        (whole, pieces) => {
            panic!("one of both fails: {:?}, {:?}", whole.as_ref().err(), pieces.as_ref().err())
        }
    }
    let Ok((entries, length)) = whole else { return false };
    assert_eq!(length, data.len() as u64);
    entries.iter().for_each(|entry| check(entry, length));
    true
}

fn walk(data: &[u8], piece: usize) -> Result<(Vec<Entry>, u64), TarError> {
    let limits =
        Limits { entries: 10_000, name_bytes: 4096, pax_bytes: 1 << 16, xattrs: 64, sparse_runs: 4096 };
    let mut walker = Walker::new(limits);
    let mut entries = Vec::new();
    for piece in data.chunks(piece) {
        walker.push(piece, &mut |entry| entries.push(entry))?;
    }
    Ok((entries, walker.finish()?))
}

fn check(entry: &Entry, length: u64) {
    assert!(entry.header_offset < entry.payload_offset && entry.payload_offset <= length, "{entry:?}");
    assert!(entry.mtime_ns < 1_000_000_000 && entry.mode <= 0o7777, "{entry:?}");
    let (mut file, mut stream) = (0, entry.payload_offset);
    for extent in &entry.extents {
        assert!(extent.len > 0 && extent.file_offset >= file && extent.stream_offset >= stream, "{entry:?}");
        file = extent.file_offset.checked_add(extent.len).expect("an extent ends within 64 bits");
        stream = extent.stream_offset.checked_add(extent.len).expect("an extent ends within 64 bits");
    }
    assert!(file <= entry.size && stream <= length, "{entry:?}");
    if let Ok(path) = normalise(&entry.path) {
        assert_eq!(normalise(&path).as_ref(), Ok(&path), "normalising twice changes something");
        whiteout(&path);
    }
}
