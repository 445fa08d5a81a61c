//! zTOCs that are wrong: found out, never read by, and not believed again.

use std::sync::Arc;
use std::time::Duration;

use glowplug_base::{Clock, Digest};
use glowplug_image::{Image, LayerSpec, open, soci};
use glowplug_oci::LayerFormat;
use glowplug_source::{Fault, Faulty};
use glowplug_timeline::Timeline;
use glowplug_toc::{Compression as ZtocCompression, Ztoc, ZtocEntry};
use proptest::prelude::*;

use crate::fixture::{Node, check, exported, files, layers, memory, runtime};

/// What is wrong with a zTOC, and whether that shows before a byte of the layer is read.
type Lie = (&'static str, bool, fn(&mut Ztoc));

/// Lies that show as bytes of another digest, so that the blob may be to blame as well.
const DOUBTS: [&str; 2] = ["digest of other bytes", "checkpoints a byte late"];

const LIES: [Lie; 14] = [
    ("climbing name", true, |ztoc| ztoc.entries[3].name = b"../etc/passwd".to_vec()),
    ("climbing link target", true, |ztoc| {
        let link = ztoc.entries.iter_mut().find(|entry| entry.name == b"d/again").unwrap();
        link.link = b"../../etc/shadow".to_vec();
    }),
    ("sparse file", true, |ztoc| _ = ztoc.entries[3].pax.insert(b"GNU.sparse.major".to_vec(), b"1".to_vec())),
    ("layer of another size", true, |ztoc| ztoc.compressed_size += 1),
    ("enormous last span", true, |ztoc| ztoc.uncompressed_size = 1 << 50),
    ("span that cannot hold so much", true, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints[1].compressed = checkpoints[0].compressed + 10;
    }),
    ("file below another file", true, |ztoc| {
        let last = ztoc.entries.len() - 1;
        ztoc.entries[last].name = b"b/big/x".to_vec();
    }),
    ("digest of other bytes", false, |ztoc| {
        ztoc.span_digests.iter_mut().for_each(|digest| *digest = Digest::of(b"x"))
    }),
    ("checkpoints a byte late", false, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints.iter_mut().for_each(|checkpoint| checkpoint.compressed += 1);
    }),
    ("checkpoints a byte late and digests to match", false, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints.iter_mut().for_each(|checkpoint| checkpoint.compressed += 1);
        let blob = &layers()[0].1.blob;
        ztoc.span_digests = ztoc
            .spans()
            .map(|span| Digest::of(&blob[span.compressed.start as usize..span.compressed.end as usize]))
            .collect();
    }),
    ("two names swapped", false, |ztoc| {
        let name = ztoc.entries[0].name.clone();
        ztoc.entries[0].name = std::mem::replace(&mut ztoc.entries[2].name, name);
    }),
    ("program without its mode", false, |ztoc| {
        ztoc.entries.iter_mut().for_each(|entry| entry.mode |= 0o4000)
    }),
    ("hidden entry", false, |ztoc| _ = ztoc.entries.remove(0)),
    ("invented entry", false, |ztoc| {
        let invented = ztoc.entries.iter().find(|entry| entry.name == b"d/fifo").unwrap();
        let mut invented = ZtocEntry { name: b"d/invented".to_vec(), ..invented.clone() };
        // A header's length behind the last file, where the archive ends.
        invented.offset = ztoc.entries.last().unwrap().offset + 512 + 512;
        ztoc.entries.push(invented);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_found_out_and_not_believed_again() {
    let (_, layer) = &layers()[0];
    for (what, early, lie) in LIES {
        let mut ztoc = exported().clone();
        lie(&mut ztoc);
        let node = Node::new();
        let opened = node.open_with(layer, &ztoc).await;
        // A lie that shows early costs nothing but the time: the layer streams by.
        assert_eq!((opened.adopted, opened.streamed), if early { (0, 1) } else { (1, 0) }, "{what}");
        let mut all = true;
        for name in files().keys() {
            all &= check(&opened.image, name, 0, 1000).await;
        }
        assert_eq!(all, early, "{what}");
        if early {
            continue;
        }
        if !DOUBTS.contains(&what) {
            // What hides where no file is said to be shows when everything comes.
            opened.image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
            let found = async {
                while !is_distrusted(&opened.image) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), found).await.expect(what);
            assert!(!check(&opened.image, "b/last", 0, 1).await, "{what}: read after the lie was found");
        }
        assert_eq!(is_distrusted(&opened.image), !DOUBTS.contains(&what), "{what}");
        drop(opened);
        node.start_again(what, layer, &ztoc).await;
    }
}

/// Whether a lie about a layer was found.
fn is_distrusted(image: &Image) -> bool {
    image.layers().any(|layer| layer.distrusted().is_some())
}

/// A source whose first answer is garbled.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_arrive_garbled_are_no_lie() {
    let (_, layer) = &layers()[0];
    let node = Node::new();
    drop(node.open_with(layer, exported()).await);
    for faults in [1, 2] {
        // The first time as well as the second, but never the same.
        let fault = move |request: u64| match request {
            0 => Fault::Flip,
            _ if request < faults => Fault::Short(10),
            _ => Fault::None,
        };
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: None,
            source: Arc::new(Faulty::new(memory(layer), fault)),
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        let opened = open(&node.store, &[spec], &Timeline::new(Clock::system())).await.unwrap();
        assert_eq!(check(&opened.image, "b/last", 0, 100).await, faults == 1);
        assert!(check(&opened.image, "m/101", 0, 100).await);
        drop(opened);
        while node.store.drop_data(&layer.digest()).is_err() {
            tokio::task::yield_now().await;
        }
        assert!(!node.store.distrusts(&layer.digest()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_adopted_earlier_streams_by_when_the_layers_make_no_tree() {
    let (_, layer) = &layers()[0];
    let mut ztoc = exported().clone();
    let last = ztoc.entries.len() - 1;
    ztoc.entries[last].name = b"b/big/x".to_vec();
    let node = Node::new();
    let imported =
        soci::from_ztoc(&ztoc, layer.digest(), layer.blob.len() as u64, layer.compression).unwrap();
    drop(soci::adopt(&node.store, imported).unwrap());
    let opened = node.open(layer, None).await;
    assert_eq!((opened.known, opened.adopted, opened.streamed), (0, 0, 1));
    assert!(check(&opened.image, "b/big", 0, 100).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_lies_shows_when_the_span_before_it_comes() {
    let (_, layer) = &layers()[0];
    let mut ztoc = exported().clone();
    let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { panic!("not gzip") };
    checkpoints[1].window[32 * 1024 - 100] ^= 1;
    let node = Node::new();
    let image = node.open_with(layer, &ztoc).await.image;
    // The span that the window is for comes alone, and what it holds is believed as long as nothing speaks against it.
    let ZtocCompression::Gzip { checkpoints, .. } = &exported().compression else { panic!("not gzip") };
    let begin =
        checkpoints[1].uncompressed - image.layers().next().unwrap().index().entries[0].extents[0].stream;
    let id = image.tree().find("b/big").unwrap();
    let believed = image.read(id, begin + 1000, 100).await.is_ok();
    assert!(!check(&image, "b/big", 0, 100).await);
    let error = image.read(id, 0, 100).await.unwrap_err();
    assert!(error.errno == 5 && error.message.contains("the index is wrong"), "{error}");
    assert!(error.message.contains(&layer.digest().to_string()), "{error}");
    assert!(
        believed && image.read(id, begin + 1000, 100).await.is_err(),
        "what it was decoded with was a lie"
    );
    assert!(image.try_read(id, begin + 1000, 100).unwrap().is_err());
    drop(image);
    node.start_again("window", layer, &ztoc).await;
}

/// A change to a number or a name of a zTOC; windows are believed, so they stay.
fn mutate(ztoc: &mut Ztoc, field: u8, which: usize, delta: i64) {
    let spans = ztoc.span_digests.len();
    let change = |value: &mut u64| *value = value.wrapping_add_signed(delta);
    // Mostly files; the eighth next has the same length.
    let (entry, other) = (which % files().len(), (which + 8) % files().len());
    match (field, &mut ztoc.compression) {
        (0, _) => change(&mut ztoc.entries[entry].offset),
        (1, _) => change(&mut ztoc.entries[entry].size),
        (2, _) => {
            let name = ztoc.entries[entry].name.clone();
            ztoc.entries[entry].name = std::mem::replace(&mut ztoc.entries[other].name, name);
        }
        (3, _) => _ = ztoc.entries.remove(entry),
        (4, _) => change(&mut ztoc.uncompressed_size),
        (5, _) => ztoc.span_digests.swap(which % spans, which / 7 % spans),
        (6, _) => ztoc.entries[entry].kind = ztoc.entries[other].kind,
        // Everything from one file on is said to be elsewhere.
        (7, _) => ztoc.entries[entry..].iter_mut().for_each(|entry| change(&mut entry.offset)),
        (8, ZtocCompression::Gzip { checkpoints, .. }) => {
            change(&mut checkpoints[which % spans].uncompressed)
        }
        (9, ZtocCompression::Gzip { checkpoints, .. }) => change(&mut checkpoints[which % spans].compressed),
        (_, ZtocCompression::Gzip { checkpoints, .. }) => checkpoints[which % spans].bits ^= delta as u8,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_changed_ztoc_never_gives_wrong_bytes(
        field in prop_oneof![Just(2), Just(7), 0..11_u8],
        which in any::<usize>(),
        delta in prop_oneof![Just(512), Just(1024), any::<i64>(), -3..4_i64, (-20_000..20_000_i64).prop_map(|blocks| blocks * 512)],
    ) {
        let (_, layer) = &layers()[0];
        let mut ztoc = exported().clone();
        mutate(&mut ztoc, field, which, delta);
        // Not through bytes: what the parser would refuse must not do harm either.
        if let Ok(imported) = soci::from_ztoc(&ztoc, layer.digest(), layer.blob.len() as u64, layer.compression) {
            runtime().block_on(async {
                let node = Node::new();
                let adopted = soci::adopt(&node.store, imported).unwrap();
                let spec = LayerSpec {
                    blob: layer.digest(),
                    format: LayerFormat::Tar,
                    compression: layer.compression,
                    diff_id: None,
                    source: memory(layer),
                    annotations: Default::default(), external: None,
                    soci: None,
                };
                let Ok(opened) = open(&node.store, &[spec], &Timeline::new(Clock::system())).await else { return };
                drop(adopted);
                for (name, content) in files().iter().rev() {
                    let size = opened.image.tree().find(name).and_then(|id| opened.image.tree().node(id)).map_or(0, |node| node.size);
                    // A file of another length shows by its length.
                    if size == content.len() as u64 {
                        check(&opened.image, name, 0, content.len()).await;
                    }
                }
                if is_distrusted(&opened.image) {
                    drop(opened);
                    node.start_again("a changed zTOC", layer, &ztoc).await;
                }
            });
        }
    }
}
