//! Once a layer was here its bytes come by range, each of them held against what was here.

use bytes::Bytes;
use glowplug_oci::{Compression, LayerFormat};

use crate::{Node, erofs, fixture, memory, shown, spec};

#[tokio::test]
async fn a_layer_that_was_here_comes_by_range_and_is_held_against_what_was_here() {
    for form in ["plain", "inline", "chunked"] {
        let blob = fixture(&format!("lower.{form}"));
        let node = Node::new();
        let layer = erofs(&blob);
        let first = node.open(std::slice::from_ref(&layer)).await;
        let expected = shown(&first.image).await;
        drop(first);
        node.store.drop_data(&layer.blob).unwrap();

        let opened = node.open(std::slice::from_ref(&layer)).await;
        assert_eq!((opened.known, opened.streamed), (1, 0));
        let here = opened.image.layers().next().unwrap().clone();
        assert!(here.index().is_lazy() && here.present_bytes() == 0);
        let small = opened.image.tree().find("d/small").unwrap();
        assert_eq!(opened.image.read(small, 0, 100).await.unwrap(), b"small\n");
        let came = here.present_blob_bytes();
        assert!(came > 0 && came <= 512 << 10, "a span at most: {came}");
        assert_eq!(shown(&opened.image).await, expected, "{form}");
        drop((opened, here));

        // Other bytes where the file's are: they are never seen.
        let node = Node::new();
        drop(node.open(std::slice::from_ref(&layer)).await);
        node.store.drop_data(&layer.blob).unwrap();
        let place = blob.windows(4096).position(|it| it == &page_bytes()[..]).unwrap();
        let mut wrong = blob.clone();
        wrong[place + 9] ^= 1;
        let source = memory(Bytes::from(wrong));
        let opened = node.open(&[glowplug_image::LayerSpec { source, ..layer }]).await;
        let page = opened.image.tree().find("d/page").unwrap();
        assert!(opened.image.read(page, 0, 4096).await.is_err());
    }
}

/// What `d/page` holds.
fn page_bytes() -> Vec<u8> {
    (0..4096_usize).map(|at| (at / 7) as u8 ^ 1).collect()
}

#[tokio::test]
async fn what_is_missing_of_one_large_zstd_frame_streams_by_again() {
    let blob = zstd::encode_all(&fixture("lower.plain")[..], 1).unwrap();
    let node = Node::new();
    let layer = spec(&blob, LayerFormat::Erofs, Compression::Zstd);
    let expected = shown(&node.open(std::slice::from_ref(&layer)).await.image).await;
    node.store.drop_data(&layer.blob).unwrap();
    let opened = node.open(std::slice::from_ref(&layer)).await;
    assert_eq!(opened.known, 1);
    assert_eq!(shown(&opened.image).await, expected);
}

#[tokio::test]
async fn what_starts_read_is_learned_by_file() {
    for form in ["inline", "chunked"] {
        let blob = fixture(&format!("lower.{form}"));
        let node = Node::new();
        let layer = erofs(&blob);
        let opened = node.open(std::slice::from_ref(&layer)).await;
        let tail = opened.image.tree().find("d/attributes").unwrap();
        opened.image.read(tail, 600, 100).await.unwrap();
        let learned = opened.image.touched();
        assert!(learned.files().any(|file| file == "d/attributes"), "{form}: {learned:?}");
    }
}
