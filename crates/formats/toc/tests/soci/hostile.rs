//! Mangled artifacts give errors or values, never panics, and limits hold.

use glowplug_toc::{Prefetch, SociIndex, Ztoc, ZtocError, ZtocLimits};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::ztocs::any_ztoc;

/// Whatever parses must be usable.
fn use_all_of_it(bytes: &[u8], limits: &ZtocLimits) {
    if let Ok(ztoc) = Ztoc::parse(bytes, limits) {
        assert_eq!(ztoc.spans().count(), ztoc.span_digests.len());
        assert_eq!(ztoc.header_ranges().unwrap().len(), ztoc.entries.len());
        let again = ztoc.encode().unwrap();
        assert_eq!(Ztoc::parse(&again, &ZtocLimits::default()).unwrap(), ztoc);
    }
}

proptest! {
    #[test]
    fn mangled_ztocs_never_panic(
        ztoc in any_ztoc(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = ztoc.encode().unwrap();
        for (at, byte) in changes {
            // Windows are most of the bytes and break nothing, so changes go to where there are none.
            let at = at.index(bytes.len().min(4096));
            bytes[at] = byte;
        }
        use_all_of_it(&bytes, &ZtocLimits::default());
        bytes.truncate(cut.index(bytes.len()));
        use_all_of_it(&bytes, &ZtocLimits::default());
    }

    #[test]
    fn mangled_tails_never_panic(
        ztoc in any_ztoc(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = ztoc.encode().unwrap();
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[length - 1 - at.index(length.min(2048))] = byte;
        }
        use_all_of_it(&bytes, &ZtocLimits::default());
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..300)) {
        use_all_of_it(&bytes, &ZtocLimits::default());
        let _ = SociIndex::parse(&bytes);
        let _ = Prefetch::parse(&bytes);
    }
}

#[test]
fn limits_hold() {
    let bytes = include_bytes!("fixtures/uncompressed.ztoc");
    let parse = |limits| Ztoc::parse(bytes, &limits);
    let limits = ZtocLimits { bytes: bytes.len(), entries: 9, spans: 10, text: 2000 };
    assert!(parse(limits).is_ok());
    let limit = |what| Err(ZtocError::Limit(what));
    assert_eq!(parse(ZtocLimits { bytes: bytes.len() - 1, ..limits }), limit("bytes"));
    assert_eq!(parse(ZtocLimits { entries: 8, ..limits }), limit("entries"));
    assert_eq!(parse(ZtocLimits { spans: 9, ..limits }), limit("spans"));
    assert_eq!(parse(ZtocLimits { text: 500, ..limits }), limit("text"));
}

#[test]
fn shared_text_is_counted_each_time() {
    // 60 entries that all point to the same table with a long name: 2 KiB that would become 60 KiB.
    let mut ztoc = Ztoc::parse(include_bytes!("fixtures/uncompressed.ztoc"), &ZtocLimits::default()).unwrap();
    let mut entry = ztoc.entries.swap_remove(0);
    entry.name = vec![b'n'; 1000];
    entry.offset = 512;
    ztoc.entries = vec![entry; 60];
    ztoc.uncompressed_size = 1024;
    let mut bytes = ztoc.encode().unwrap();
    let list = (0..bytes.len() - 4)
        .filter(|&at| bytes[at..at + 4] == 60_u32.to_le_bytes())
        .find(|&at| at % 4 == 0)
        .unwrap();
    let first = u32::from_le_bytes(bytes[list + 4..list + 8].try_into().unwrap());
    for element in 1..60_u32 {
        let at = list + 4 + element as usize * 4;
        bytes[at..at + 4].copy_from_slice(&(first - element * 4).to_le_bytes());
    }
    let limits = ZtocLimits { text: 80_000, ..ZtocLimits::default() };
    let found = Ztoc::parse(&bytes, &limits).unwrap();
    assert_eq!(found.entries, ztoc.entries);
    let limits = ZtocLimits { text: 50_000, ..limits };
    assert_eq!(Ztoc::parse(&bytes, &limits), Err(ZtocError::Limit("text")));
}

#[test]
fn other_versions_are_refused() {
    let mut bytes = include_bytes!("fixtures/uncompressed.ztoc").to_vec();
    let at = bytes.windows(4).position(|window| window == b"0.9\0").unwrap();
    bytes[at + 2] = b'8';
    let error = Ztoc::parse(&bytes, &ZtocLimits::default());
    assert_eq!(error, Err(ZtocError::Version("0.8".to_owned())));
}
