//! What every table that parses promises, whatever it was wrapped in.

use glowplug_base::ByteRange;
use glowplug_toc::{Dialect, Timestamp, Toc, TocLimits};

/// Small enough for many executions a second.
pub(crate) const LIMITS: TocLimits = TocLimits { json_bytes: 1 << 20, entries: 4096, chunks: 4096 };
/// Where layers end whose table came alone.
pub(crate) const PAYLOAD_END: u64 = 1 << 40;

/// Parses a table; if it is one, holds it against the promises and against itself, written and read again.
pub(crate) fn check(json: &[u8], dialect: Dialect, payload_end: u64) -> bool {
    let Ok(toc) = Toc::parse(json, dialect, payload_end, &LIMITS) else { return false };
    promises(&toc, payload_end);
    let written = toc.encode(dialect);
    let roomy = TocLimits { json_bytes: 64 << 20, ..LIMITS };
    let again = Toc::parse(&written, dialect, payload_end, &roomy).expect("what was encoded parses");
    assert!(again.encode(dialect) == written, "encoding twice gives two tables");
    assert_eq!(comparable(again, dialect), comparable(toc, dialect));
    true
}

/// Without what the document cannot say: some times, and in one dialect the owners' names and digests of nothing.
fn comparable(mut toc: Toc, dialect: Dialect) -> Toc {
    for entry in &mut toc.entries {
        entry.mtime = Timestamp::default();
        if dialect == Dialect::Storage {
            (entry.uname, entry.gname) = (Vec::new(), Vec::new());
            entry.digest = entry.digest.filter(|_| entry.size > 0);
        }
    }
    toc
}

fn promises(toc: &Toc, payload_end: u64) {
    let (mut member, mut taken) = (ByteRange::new(0, 0), 0);
    for entry in &toc.entries {
        let mut at = 0;
        for chunk in &entry.chunks {
            assert!(chunk.file == at && chunk.size > 0, "{entry:?}");
            at += chunk.size;
            if chunk.zeros {
                assert!(chunk.blob.is_empty(), "{entry:?}");
                continue;
            }
            assert!(!chunk.blob.is_empty() && chunk.blob.end <= payload_end, "{entry:?}");
            if chunk.blob == member {
                assert!(chunk.inner >= taken, "{entry:?}");
            } else {
                assert!(chunk.blob.start >= member.end, "{entry:?}");
            }
            (member, taken) = (chunk.blob, chunk.inner + chunk.size);
        }
        assert_eq!(at, entry.size, "{entry:?}");
        assert!(entry.mode <= 0o7777);
    }
}
