//! Images that are no images, or are something else than they should be: refused by name, and nothing of them stays.

use glowplug_base::Hinted as _;
use glowplug_image::ImageError;
use glowplug_oci::{Compression, LayerFormat};

use crate::{Node, erofs, fixture, memory, spec};

async fn refusal(blob: &[u8]) -> ImageError {
    let node = Node::new();
    let layer = erofs(blob);
    let error = node.try_open(std::slice::from_ref(&layer)).await.unwrap_err();
    assert!(node.store.layer(&layer.blob).is_none(), "nothing stays");
    error
}

/// The error behind a refusal, in words, and what to do about it.
async fn words(blob: &[u8]) -> (String, String) {
    let error = refusal(blob).await;
    let hint = error.hint().unwrap().to_string();
    match error {
        ImageError::Erofs { source, .. } => (source.to_string(), hint),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn compressed_files_are_refused_with_a_way_out() {
    let (error, hint) = words(&fixture("lower.compressed")).await;
    assert!(error.ends_with("is compressed in the image"), "{error}");
    assert!(hint.contains("without -z"), "{hint}");
}

#[tokio::test]
async fn whatever_is_no_image_is_refused() {
    let image = fixture("lower.inline");
    assert_eq!(words(&[7; 100_000]).await.0, "not an EROFS image");
    assert!(words(&[]).await.0.contains("beyond its end"));
    assert!(words(&image[..1024]).await.0.contains("beyond its end"));
    assert!(words(&image[..5000]).await.0.contains("beyond its end"));
    let half = words(&image[..image.len() / 2]).await.0;
    assert!(half.contains("beyond its end"), "{half}");
    let mut damaged = image.clone();
    damaged[1024 + 16] ^= 1;
    assert!(words(&damaged).await.0.starts_with("superblock has checksum"));
    let tar = fixture("lower.tar");
    assert_eq!(words(&tar).await.0, "not an EROFS image");
}

#[tokio::test]
async fn a_blob_that_is_another_than_its_digest_says_is_never_shown() {
    let image = fixture("lower.plain");
    let mut other = image.clone();
    *other.last_mut().unwrap() ^= 1;
    let mut layer = erofs(&image);
    layer.source = memory(other);
    let node = Node::new();
    let error = node.try_open(std::slice::from_ref(&layer)).await.unwrap_err();
    assert!(matches!(error, ImageError::Source { .. }), "{error}");
    assert!(node.store.layer(&layer.blob).is_none());
}

#[tokio::test]
async fn what_lies_behind_the_image_is_nobodys() {
    let mut image = fixture("upper.plain");
    // As a tree of dm-verity does, at any length.
    image.resize(image.len() + 700_001, 0xa5);
    let opened = Node::new().open(&[erofs(&image)]).await;
    let above = opened.image.tree().find("opaque/above").unwrap();
    assert_eq!(opened.image.read(above, 0, 9).await.unwrap(), b"above");
}

#[tokio::test]
async fn a_blob_that_is_an_archive_too_is_what_its_own_manifest_says() {
    let image = fixture("upper.plain");
    // An archive ends where 1024 zeros are, and an image may begin with them.
    assert_eq!(image[..1024], [0; 1024]);
    let node = Node::new();
    let (archive, layer) = (spec(&image, LayerFormat::Tar, Compression::None), erofs(&image));
    let opened = node.open(std::slice::from_ref(&archive)).await;
    assert!(opened.image.tree().find("opaque/above").is_none());
    let error = node.try_open(std::slice::from_ref(&layer)).await.unwrap_err().to_string();
    assert!(error.ends_with("open as a layer of another format"), "{error}");
    drop(opened);
    let opened = node.open(&[layer]).await;
    assert_eq!((opened.known, opened.streamed), (0, 1));
    assert!(opened.image.tree().find("opaque/above").is_some());
    drop(opened);
    assert_eq!(node.open(&[archive]).await.known, 0);
}
