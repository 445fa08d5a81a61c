//! SOCI indexes: what is exported can be adopted elsewhere and reads as the layer says; lies are found out.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod audit;
#[path = "../shared/contents.rs"]
mod contents;
mod fixture;
mod lies;
mod lookup;
#[path = "../shared/odd.rs"]
mod odd;

use std::sync::Arc;

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_image::soci;
use glowplug_layer::Origin;
use glowplug_oci::{Compression, Descriptor};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_toc::ztoc::DEFAULT_SPAN_BYTES;
use glowplug_toc::{Compression as ZtocCompression, Ztoc, ZtocLimits};

use fixture::{MIB, Node, bytes, check, export, export_cut, exported, files, layers, memory, tar};

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_index_makes_the_layer_lazy_on_a_machine_that_never_saw_it() {
    for (what, layer) in layers() {
        let ztoc = Ztoc::parse(&export(layer).await.encode().unwrap(), &ZtocLimits::default()).unwrap();
        let node = Node::new();
        let opened = node.open_with(layer, &ztoc).await;
        assert_eq!((opened.known, opened.adopted, opened.streamed), (0, 1, 0), "{what}");
        for (name, offset, len) in [("b/last", 3 * MIB, 5000), ("m/101", 3, 10), ("b/empty", 0, 10)] {
            assert!(check(&opened.image, name, offset, len).await, "{what}: {name}");
        }
        let moved = opened.image.moved_bytes();
        assert!(
            moved > 0 && moved < layer.blob.len() as u64 * 3 / 4,
            "{what}: {moved} of {}",
            layer.blob.len()
        );
        for (name, content) in files() {
            assert!(check(&opened.image, name, 0, content.len()).await, "{what}: {name}");
        }
        let id = opened.image.tree().find("end").unwrap();
        assert_eq!(opened.image.read(id, 0, 100).await.unwrap(), b"the end", "{what}");
        drop(opened);
        assert_eq!(node.open(layer, None).await.known, 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_as_long_as_was_asked() {
    for (what, layer) in layers() {
        let usual = export(layer).await;
        let fine = export_cut(layer, MIB as u64).await;
        let (few, many) = (usual.span_digests.len(), fine.span_digests.len());
        assert!(many >= 2 * few, "{what}: {many} against {few}");
        let encoded = fine.encode().unwrap();
        let described = soci::describe(&fine, &encoded, &Descriptor::of(&layer.media_type, &layer.blob));
        assert_eq!(described.span_size, Some(MIB as u64), "{what}");
        let node = Node::new();
        let opened = node.open_with(layer, &Ztoc::parse(&encoded, &ZtocLimits::default()).unwrap()).await;
        assert_eq!(opened.adopted, 1, "{what}");
        for (name, content) in files() {
            assert!(check(&opened.image, name, 0, content.len()).await, "{what}: {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_index_says_the_same_as_one_that_was_made_here() {
    for (what, layer) in layers() {
        let adopted = Node::new().open_with(layer, &export(layer).await).await.image;
        let streamed = Node::new().open(layer, None).await.image;
        let [adopted, streamed] = [&adopted, &streamed].map(|image| image.layers().next().unwrap().index());
        assert_eq!((adopted.origin, streamed.origin), (Origin::Soci, Origin::Streamed), "{what}");
        assert!(adopted.entries == streamed.entries, "{what}");
        assert_eq!(adopted.data_size, streamed.data_size, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_completes_an_adopted_layer() {
    for (what, layer) in layers() {
        let image = Node::new().open_with(layer, &export(layer).await).await.image;
        image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
        while !image.is_complete() {
            tokio::task::yield_now().await;
        }
        assert!(check(&image, "b/big", 0, 9 * MIB).await, "{what}");
    }
}

#[test]
fn spans_are_cut_as_the_reference_tool_cuts_them() {
    let ztoc = exported();
    let ZtocCompression::Gzip { span_size, checkpoints } = &ztoc.compression else { panic!("not gzip") };
    assert_eq!(*span_size, 4 << 20);
    let first = &checkpoints[0];
    assert_eq!((first.compressed, first.uncompressed, first.bits), (10, 0, 0));
    assert!(checkpoints.len() > 3);
    let tar = tar();
    for pair in checkpoints.windows(2) {
        let length = pair[1].uncompressed - pair[0].uncompressed;
        assert!(length > 4 << 20 && length < 9 << 20, "{length}");
        let at = pair[1].uncompressed as usize;
        assert!(pair[1].window == tar[at - 32 * 1024..at]);
    }
    for span in ztoc.spans() {
        let bytes = &layers()[0].1.blob[span.compressed.start as usize..span.compressed.end as usize];
        assert_eq!(span.digest, Digest::of(bytes));
    }
    assert_eq!(ztoc.uncompressed_size, tar.len() as u64);
    let cap = ztoc.entries.iter().find(|entry| entry.name == b"d/cap").unwrap();
    assert_eq!(cap.pax[&b"SCHILY.xattr.security.capability"[..]], [1, 0, 0, 2, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_goes_back_beyond_the_start_of_a_member() {
    let (_, layer) = &layers()[1];
    let ztoc = export(layer).await;
    let ZtocCompression::Gzip { checkpoints, .. } = &ztoc.compression else { panic!("not gzip") };
    for checkpoint in &checkpoints[1..] {
        let at = checkpoint.uncompressed as usize;
        assert!(checkpoint.window == layer.tar[at - 32 * 1024..at]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn padding_behind_the_tar_belongs_to_no_file() {
    let content = bytes(1, 5 * MIB);
    let mut tar = Tree::build(|tree| _ = tree.file("a", &content));
    let end = tar.len();
    tar.resize(end + 12 * MIB, 0);
    for compression in [Compression::Gzip, Compression::None] {
        let layer = Layer::from_tar(tar.clone(), compression);
        let ztoc = export(&layer).await;
        assert_eq!(ztoc.uncompressed_size, end as u64);
        let opened = Node::new().open_with(&layer, &ztoc).await;
        assert_eq!(opened.adopted, 1);
        let id = opened.image.tree().find("a").unwrap();
        assert!(opened.image.read(id, 0, 6 * MIB as u32).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_soci_cannot_say_is_refused_by_name() {
    let zstd = Layer::zstd(|tree| _ = tree.file("a", "a"));
    let error =
        soci::export(&*memory(&zstd), zstd.digest(), zstd.compression, DEFAULT_SPAN_BYTES).await.unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
    let sparse = Layer::gzip(|tree| {
        let map = Entry::file("holes", "abc").pax("GNU.sparse.major", "0").pax("GNU.sparse.minor", "1");
        let map =
            map.pax("GNU.sparse.size", "100").pax("GNU.sparse.numblocks", "1").pax("GNU.sparse.map", "50,3");
        tree.add(map);
    });
    let error = soci::export(&*memory(&sparse), sparse.digest(), sparse.compression, DEFAULT_SPAN_BYTES)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("\"holes\""), "{error}");
    let (_, layer) = &layers()[0];
    let error = soci::export(&*memory(layer), zstd.digest(), layer.compression, DEFAULT_SPAN_BYTES)
        .await
        .unwrap_err();
    assert!(matches!(error, soci::SociError::Source { layer, .. } if layer == zstd.digest()), "{error}");
    for (blob, what) in [(layer.blob.slice(..1000), "truncated"), (Bytes::from_static(b"garbage"), "garbage")]
    {
        let source = MemorySource::new("blob", blob);
        let error =
            soci::export(&source, layer.digest(), Compression::Gzip, DEFAULT_SPAN_BYTES).await.unwrap_err();
        assert!(error.to_string().contains(&layer.digest().to_string()), "{what}: {error}");
    }
}

#[test]
fn the_reference_tools_own_are_taken() {
    for (bytes, compression) in [
        (&include_bytes!("../../../../formats/toc/tests/soci/fixtures/gzip.ztoc")[..], Compression::Gzip),
        (include_bytes!("../../../../formats/toc/tests/soci/fixtures/uncompressed.ztoc"), Compression::None),
    ] {
        let ztoc = Ztoc::parse(bytes, &ZtocLimits::default()).unwrap();
        let blob = Digest::of(b"blob");
        let index = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, compression).unwrap().index;
        assert_eq!(index.entries.len(), 9);
        assert_eq!(index.entries[1].path, b"etc/motd");
        assert_eq!(index.entries[1].xattrs, [(b"user.note".to_vec(), "café".as_bytes().to_vec())]);
        assert_eq!(index.entries[3].link, b"etc/motd");
        assert_eq!(index.entries[4].device, (1, 3));
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let imported = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, compression).unwrap();
        assert_eq!(soci::adopt(&store, imported).unwrap().index().spans.len(), index.spans.len());
        let other = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size + 1, compression).unwrap_err();
        assert!(other.to_string().contains(&blob.to_string()), "{other}");
        let swapped = if compression == Compression::Gzip { Compression::None } else { Compression::Gzip };
        assert!(soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, swapped).is_err());
    }
}
