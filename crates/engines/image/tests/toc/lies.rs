//! Tables that are wrong: refused at once, or found out while the layer fills. No wrong byte is ever read.

use std::time::Duration;

use glowplug_base::Digest;
use glowplug_toc::files::{Dialect, Toc, TocEntry};

use crate::fixture::{DIALECTS, Node, check, files, free, make, tar};

fn entry<'a>(toc: &'a mut Toc, name: &str) -> &'a mut TocEntry {
    toc.entries.iter_mut().find(|entry| entry.name == name.as_bytes()).unwrap()
}

/// What is wrong with a table.
type Change = fn(&mut Toc);

/// Lies that show before a byte of a file is read.
const EARLY: [(&str, Change); 4] = [
    ("climbing name", |toc| entry(toc, "m/003").name = b"../etc/passwd".to_vec()),
    ("climbing link target", |toc| entry(toc, "d/again").link = b"../../etc/shadow".to_vec()),
    ("chunk without a digest", |toc| {
        let file = entry(toc, "b/big");
        file.digest = None;
        file.chunks.iter_mut().for_each(|chunk| chunk.digest = None);
    }),
    ("file below another file", |toc| entry(toc, "m/003").name = b"b/big/x".to_vec()),
];

/// Lies that only the whole layer shows, and what is said of them.
const LATE: [(&str, &str, Change); 8] = [
    ("hidden entry", "hides /m/003", |toc| toc.entries.retain(|entry| entry.name != b"m/003")),
    ("invented entry", "shows /d/invented", |toc| {
        let invented = TocEntry { name: b"d/invented".to_vec(), ..entry(toc, "d/fifo").clone() };
        toc.entries.push(invented);
    }),
    ("program with another mode", "/d/cap: another mode", |toc| entry(toc, "d/cap").mode = 0o755),
    ("file of another owner", "/end: another owner", |toc| entry(toc, "end").uid = 7),
    ("file of another time", "/end: another time", |toc| entry(toc, "end").mtime.seconds += 1),
    ("link to elsewhere", "/l: another link", |toc| entry(toc, "l").link = b"b/last".to_vec()),
    ("two files with each other's bytes", "its bytes are others", |toc| {
        // Both of one length, so that nothing but their bytes tells them apart.
        let (one, other) = (entry(toc, "m/009").clone(), entry(toc, "m/017").clone());
        assert_eq!(one.size, other.size);
        entry(toc, "m/009").name = other.name;
        toc.entries.iter_mut().rfind(|entry| entry.name == b"m/017").unwrap().name = one.name;
    }),
    ("attribute that is not there", "another extended attributes", |toc| {
        entry(toc, "end").xattrs.insert(b"security.capability".to_vec(), vec![1]);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_make_no_sense_are_not_read() {
    for dialect in DIALECTS {
        for (what, lie) in EARLY {
            let node = Node::new();
            let opened = node.open(&make(&tar(), dialect, &lie)).await;
            assert_eq!((opened.adopted, opened.streamed), (0, 1), "{dialect:?}: {what}");
            for (name, content) in files() {
                assert!(check(&opened.image, name, 0, content.len()).await, "{dialect:?}: {what}: {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_contradict_their_layer_are_found_out() {
    for dialect in DIALECTS {
        for (what, said, lie) in LATE {
            let made = make(&tar(), dialect, &lie);
            let node = Node::new();
            let opened = node.open(&made).await;
            assert_eq!((opened.adopted, opened.streamed), (1, 0), "{dialect:?}: {what}");
            opened.image.start_prefetch(None, &free());
            let found = tokio::time::timeout(Duration::from_secs(60), opened.image.contradicted());
            let found = found.await.unwrap_or_else(|_| panic!("{dialect:?}: {what} was not found"));
            assert_eq!(found.layer, made.digest());
            assert!(found.to_string().contains(said), "{dialect:?}: {what}: {found}");
            // The digests held: what is read goes on being read.
            assert!(check(&opened.image, "b/last", 0, 1000).await);
            assert!(node.store.distrusts(&made.digest()), "{dialect:?}: {what}");
            drop(opened);
            // What was on its way holds the layer for a moment.
            while node.store.drop_data(&made.digest()).is_err() {
                tokio::task::yield_now().await;
            }
            let again = node.open(&made).await;
            let counts = (again.known, again.adopted, again.streamed, again.distrusted);
            assert_eq!(counts, (0, 0, 1, 1), "{dialect:?}: {what}");
            for (name, content) in files() {
                assert!(check(&again.image, name, 0, content.len()).await, "{dialect:?}: {what}: {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_with_the_wrong_digest_are_never_read() {
    let wrong = |toc: &mut Toc| entry(toc, "b/last").chunks[0].digest = Some(Digest::of(b"others"));
    for dialect in DIALECTS {
        let made = make(&tar(), dialect, &wrong);
        let node = Node::new();
        let opened = node.open(&made).await;
        assert_eq!(opened.adopted, 1, "{dialect:?}");
        assert!(!check(&opened.image, "b/last", 0, 10).await, "{dialect:?}");
        assert!(check(&opened.image, "b/big", 0, 10).await, "{dialect:?}");
        assert!(node.store.distrusts(&made.digest()), "{dialect:?}: the next start streams");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_zeros_are_missed_by_nobody() {
    // A table may say that a piece of a file is a hole where the archive has bytes.
    let lie = |toc: &mut Toc| {
        let chunk = &mut entry(toc, "b/big").chunks[1];
        (chunk.zeros, chunk.digest) = (true, None);
        chunk.blob = glowplug_base::ByteRange::new(0, 0);
    };
    let opened = Node::new().open(&make(&tar(), Dialect::Storage, &lie)).await;
    assert_eq!(opened.adopted, 1);
    opened.image.start_prefetch(None, &free());
    let found = tokio::time::timeout(Duration::from_secs(60), opened.image.contradicted()).await.unwrap();
    assert!(found.to_string().contains("/b/big: there are no zeros"), "{found}");
}
