//! How an index beside an image is found, and which are passed over.

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_image::soci;
use glowplug_oci::{Descriptor, media};
use glowplug_toc::index::INDEX_DIGEST_ANNOTATION;
use glowplug_toc::{IndexVersion, SociIndex};

use crate::fixture::{Node, Shelf, exported, image_digest, layers, manifest, subject};

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_found_by_annotation_and_by_referrers() {
    let (_, layer) = &layers()[0];
    let (ztoc, found) = (exported(), layer.digest());
    // Version 2, named by the manifest: nobody asks for referrers.
    let mut shelf = Shelf::default();
    let named = shelf.put(layer, ztoc, IndexVersion::V2);
    let index = soci::find(&shelf, &manifest(Some(named)), &image_digest()).await.unwrap();
    assert!(index.version == IndexVersion::V2 && index.ztoc_of(&found).is_some());
    assert_eq!(*shelf.asked.lock().unwrap(), [format!("document {named}")]);
    // Named and missing: version 1 still is looked for. Others' indexes are passed over.
    let mut shelf = Shelf::default();
    shelf.put(layer, ztoc, IndexVersion::V2);
    shelf.put(layer, ztoc, subject(Digest::of(b"another image")));
    shelf.documents.insert(Digest::of(b"junk"), Bytes::from_static(b"junk"));
    shelf.referrers.push(Descriptor::of(media::OCI_MANIFEST, b"junk"));
    assert_eq!(soci::find(&shelf, &manifest(Some(Digest::of(b"gone"))), &image_digest()).await, None);
    shelf.put(layer, ztoc, subject(image_digest()));
    let index = soci::find(&shelf, &manifest(Some(Digest::of(b"gone"))), &image_digest()).await.unwrap();
    assert_eq!(index.version, subject(image_digest()));
    let mut annotated = manifest(None);
    annotated.annotations.insert(INDEX_DIGEST_ANNOTATION.to_owned(), "no digest".to_owned());
    assert!(soci::find(&shelf, &annotated, &image_digest()).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ztoc_that_is_not_the_listed_one_is_not_used() {
    let (_, layer) = &layers()[0];
    let size = layer.blob.len() as u64;
    let mut shelf = Shelf::with(layer, exported());
    let index = soci::find(&shelf, &manifest(None), &image_digest()).await.unwrap();
    assert!(soci::fetch(&shelf, &index, &layer.digest(), size).await.is_some());
    assert!(soci::fetch(&shelf, &index, &Digest::of(b"another layer"), size).await.is_none());
    let asked = shelf.asked.lock().unwrap().len();
    let listed = |change: fn(&mut SociIndex)| {
        let mut index = index.clone();
        change(&mut index);
        index
    };
    let huge = listed(|index| index.ztocs[0].size = u64::MAX);
    assert!(soci::fetch(&shelf, &huge, &layer.digest(), size).await.is_none());
    assert!(shelf.asked.lock().unwrap().len() <= asked + 1);
    let garbled = shelf.blobs.get_mut(&index.ztocs[0].digest).unwrap();
    let mut bytes = garbled.to_vec();
    bytes[1000] ^= 1;
    *garbled = bytes.into();
    assert!(soci::fetch(&shelf, &index, &layer.digest(), size).await.is_none());
    let opened = Node::new().open(layer, Some(shelf.lookup().1)).await;
    assert_eq!((opened.adopted, opened.streamed), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_layer_asks_nobody() {
    let (_, layer) = &layers()[0];
    let node = Node::new();
    drop(node.open(layer, None).await);
    let (shelf, lookup) = Shelf::with(layer, exported()).lookup();
    assert_eq!(node.open(layer, Some(lookup)).await.known, 1);
    assert!(shelf.asked.lock().unwrap().is_empty());
}
