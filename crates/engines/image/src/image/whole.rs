//! Files that are likely to be read whole: weights, by their names, and what is half read already. Their rest is hastened, so that
//! all processors decode it and no reader waits for one piece after the other.
//!
//! Only where nothing was learned: a start profile knows better.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use glowplug_base::ByteRange;
use glowplug_layer::Entry;

/// Shorter files come with a few requests whatever is done.
const LEAST_BYTES: u64 = 4 * 1024 * 1024;
/// As much of weights may be read without the rest being wanted: a header, which tells what is in them.
const HEADER_BYTES: u64 = 64 * 1024;
/// How the names of files end that hold weights: they are loaded, not looked into.
const WEIGHTS: [&[u8]; 8] =
    [b".safetensors", b".gguf", b".ggml", b".onnx", b".pt", b".pth", b".bin", b".plan"];

/// What was wanted of large files while it was missing.
#[derive(Debug, Default)]
pub(super) struct Whole(Mutex<HashMap<(usize, u32), Wanted>>);

#[derive(Debug, Default)]
struct Wanted {
    bytes: u64,
    hastened: bool,
}

impl Whole {
    /// Notes that a reader waits for the piece `file` of an entry; tells, once for each file, whether the whole of it is likely to be
    /// wanted.
    pub(super) fn wants(&self, layer: usize, number: u32, entry: &Entry, file: ByteRange) -> bool {
        if entry.size < LEAST_BYTES {
            return false;
        }
        let weights = WEIGHTS.iter().any(|ending| entry.path.ends_with(ending));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.entry((layer, number)).or_default();
        wanted.bytes += file.len();
        let likely = wanted.bytes * 2 >= entry.size || (weights && file.end > HEADER_BYTES);
        likely && !std::mem::replace(&mut wanted.hastened, true)
    }
}

#[cfg(test)]
mod tests {
    use glowplug_layer::Kind;

    use super::*;

    fn entry(path: &str, size: u64) -> Entry {
        Entry {
            path: path.into(),
            kind: Kind::File,
            link: vec![],
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            device: (0, 0),
            size,
            xattrs: vec![],
            extents: vec![],
        }
    }

    #[test]
    fn weights_are_wanted_whole_behind_their_header_and_others_when_half_is_read() {
        const MIB: u64 = 1024 * 1024;
        let whole = Whole::default();
        let weights = entry("m/model.safetensors", 100 * MIB);
        assert!(
            !whole.wants(0, 1, &weights, ByteRange::at(0, HEADER_BYTES)),
            "the header tells what is in it"
        );
        assert!(whole.wants(0, 1, &weights, ByteRange::at(50 * MIB, 4096)));
        assert!(!whole.wants(0, 1, &weights, ByteRange::at(60 * MIB, 4096)), "once is enough");

        let library = entry("lib/libx.so", 10 * MIB);
        let reads: Vec<bool> =
            (0..6).map(|n| whole.wants(1, 1, &library, ByteRange::at(n * MIB, MIB))).collect();
        assert_eq!(reads, [false, false, false, false, true, false]);
        assert!(!whole.wants(1, 2, &entry("lib/small.bin", MIB), ByteRange::at(HEADER_BYTES, MIB)));
    }
}
