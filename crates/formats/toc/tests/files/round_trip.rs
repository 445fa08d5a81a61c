//! What is written is parsed again, and is what it was.

use glowplug_toc::{Dialect, EntryKind, Timestamp, Toc, TocLimits};
use proptest::prelude::*;

use crate::tables::{any_toc, entry};

fn check(dialect: Dialect, toc: &Toc, payload_end: u64) -> Result<(), TestCaseError> {
    let json = toc.encode(dialect);
    let found = Toc::parse(&json, dialect, payload_end, &TocLimits::default()).unwrap();
    prop_assert_eq!(&found, toc);
    prop_assert_eq!(found.encode(dialect), json);
    Ok(())
}

proptest! {
    #[test]
    fn estargz_comes_back((toc, payload_end) in any_toc(Dialect::Estargz)) {
        check(Dialect::Estargz, &toc, payload_end)?;
        check(Dialect::Stargz, &toc, payload_end)?;
    }

    #[test]
    fn storage_comes_back((toc, payload_end) in any_toc(Dialect::Storage)) {
        check(Dialect::Storage, &toc, payload_end)?;
    }
}

fn one(dialect: Dialect, change: impl FnOnce(&mut Toc)) -> Toc {
    let mut toc =
        Toc { entries: vec![entry("file", EntryKind::Regular), entry("other", EntryKind::Regular)] };
    change(&mut toc);
    Toc::parse(&toc.encode(dialect), dialect, 0, &TocLimits::default()).unwrap()
}

#[test]
fn what_cannot_be_said_is_lost_as_with_the_tools() {
    let toc = one(Dialect::Estargz, |toc| toc.entries[0].name = b"a\xff\xfe".to_vec());
    assert_eq!(toc.entries[0].name, "a\u{fffd}\u{fffd}".as_bytes());

    for (nanoseconds, seconds) in [(499_999_999, 7), (500_000_000, 8)] {
        let toc = one(Dialect::Stargz, |toc| toc.entries[0].mtime = Timestamp { seconds: 7, nanoseconds });
        assert_eq!(toc.entries[0].mtime, Timestamp { seconds, nanoseconds: 0 });
    }
    let toc = one(Dialect::Storage, |toc| {
        toc.entries[0].mtime = Timestamp { seconds: 1 << 50, nanoseconds: 0 };
        toc.entries[0].uname = b"user".to_vec();
    });
    assert_eq!(toc.entries[0].mtime, Timestamp::default());
    assert_eq!(toc.entries[0].uname, b"");

    let toc = one(Dialect::Estargz, |toc| toc.entries[0].uname = b"user".to_vec());
    assert_eq!(toc.entries[1].uname, b"user", "the same number has the same name");
}

#[test]
fn an_empty_table_comes_back() {
    let limits = TocLimits::default();
    for dialect in [Dialect::Estargz, Dialect::Storage, Dialect::Stargz] {
        let json = Toc::default().encode(dialect);
        assert_eq!(Toc::parse(&json, dialect, 0, &limits).unwrap(), Toc::default());
        let of_go = br#"{"version":1,"entries":null}"#;
        assert_eq!(Toc::parse(of_go, dialect, 0, &limits).unwrap(), Toc::default());
    }
}
