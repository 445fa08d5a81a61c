//! What cannot be made over is refused by name, and nothing of it is published.

use glowplug_base::{Digest, Hinted as _};
use glowplug_convert::{ConvertError, Dialect, Encoding, Settings};
use glowplug_oci::{Compression, media};
use glowplug_testkit::{Entry, Fault, ImageBuilder, Layer, Rule, TestRegistry, Tree};

use crate::fixture::{ENCODINGS, convert, image, layer, noise, settings, varied};

/// Converts `app:v1`, which must fail; the error with its causes.
async fn refused(registry: &TestRegistry, encoding: Encoding) -> (ConvertError, String) {
    let to = registry.reference("new:v1");
    let error = convert(&registry.reference("app:v1"), &to, &settings(encoding)).await.unwrap_err();
    assert!(registry.manifest("new", "v1").is_none());
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    (error, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_what_its_digest_says() {
    let good = layer(varied());
    let mut wrong = layer(Tree::build(|tree| _ = tree.file("other", noise(7, 400_000)))).blob.to_vec();
    for (what, blob) in [
        ("another layer", wrong.clone()),
        ("garbage", noise(1, 400_000)),
        ("a short one", {
            wrong.truncate(200_000);
            wrong
        }),
    ] {
        let registry = TestRegistry::start();
        image([good.clone()]).push(&registry, "app:v1");
        let mut blob = blob;
        if what != "a short one" {
            blob.resize(good.blob.len(), 0);
        }
        registry.put_wrong_blob(good.digest(), blob);
        for encoding in ENCODINGS {
            let (_, text) = refused(&registry, encoding).await;
            assert!(text.contains(&good.digest().to_string()), "{what}, {encoding:?}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tar_that_is_not_the_one_the_image_says() {
    let registry = TestRegistry::start();
    let lying = Layer { tar: b"another".to_vec().into(), ..layer(varied()) };
    let digest = lying.digest();
    image([lying]).push(&registry, "app:v1");
    for encoding in ENCODINGS {
        let (error, _) = refused(&registry, encoding).await;
        let expected = Digest::of(b"another");
        assert!(
            matches!(error, ConvertError::DiffId { layer, expected: e, .. } if layer == digest && e == expected)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tars_that_are_none_and_entries_that_no_table_lists() {
    let whole = varied();
    let hostile: [(&str, Vec<u8>); 5] = [
        ("checksum", noise(3, 5000)),
        ("ends inside", whole[..whole.len() / 2 + 100].to_vec()),
        ("../out", Tree::build(|tree| _ = tree.file("../out", "x"))),
        (
            "sparse file",
            Tree::build(|tree| {
                let map =
                    [("GNU.sparse.size", "100000"), ("GNU.sparse.numblocks", "1"), ("GNU.sparse.map", "0,3")];
                let entry = map
                    .iter()
                    .fold(Entry::file("sparse", "abc"), |entry, (key, value)| entry.pax(*key, value));
                tree.add(entry);
            }),
        ),
        ("32 bits", Tree::build(|tree| _ = tree.add(Entry::file("owned", "x").pax("uid", "4294967296")))),
    ];
    for (expected, tar) in hostile {
        let registry = TestRegistry::start();
        let layer = Layer::from_tar(tar, Compression::Gzip);
        let digest = layer.digest().to_string();
        image([layer]).push(&registry, "app:v1");
        for encoding in [Encoding::Estargz, Encoding::ZstdChunked(Dialect::Storage)] {
            let (error, text) = refused(&registry, encoding).await;
            assert!(text.contains(expected) && text.contains(&digest), "{expected}: {text}");
            assert!(error.hint().is_some());
        }
        // Whoever lists nothing need not understand it.
        let to = registry.reference("plain:v1");
        convert(&registry.reference("app:v1"), &to, &settings(Encoding::Zstd)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_of_file_system_layers() {
    let typed = |media_type: &str| image([Layer { media_type: media_type.to_owned(), ..layer(varied()) }]);
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    for (expected, built) in [
        ("foreign layer", typed(foreign)),
        ("is encrypted", typed(encrypted)),
        ("unknown layer type", typed("application/vnd.example.model")),
    ] {
        let registry = TestRegistry::start();
        built.push(&registry, "app:v1");
        registry.clear_log();
        let (_, text) = refused(&registry, Encoding::Estargz).await;
        assert!(text.contains(expected), "{text}");
        let digest = layer(varied()).digest().to_string();
        assert!(registry.blob_requests().iter().all(|logged| !logged.path.ends_with(&digest)), "unread");
    }

    let registry = TestRegistry::start();
    let schema1 = r#"{"schemaVersion":1,"name":"app","fsLayers":[]}"#;
    registry.put_manifest("app", Some("v1"), schema1, "application/vnd.docker.distribution.manifest.v1+json");
    assert!(refused(&registry, Encoding::Gzip).await.1.contains("schema 1"));

    let built = ImageBuilder::new().build();
    let artifact = String::from_utf8(built.manifest.to_vec()).unwrap().replace(media::OCI_CONFIG, "a/b");
    registry.put_manifest("app", Some("v1"), artifact, media::OCI_MANIFEST);
    assert!(refused(&registry, Encoding::Gzip).await.1.contains("is not a container image's"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_takes_nothing_says_so_before_any_layer_is_read() {
    let registry = TestRegistry::start();
    let built = image([layer(varied())]).push(&registry, "app:v1");
    registry.inject(Rule::any(Fault::Status(403)).on("/new/blobs/uploads/").method("POST"));
    registry.clear_log();
    let (error, _) = refused(&registry, Encoding::Zstd).await;
    assert!(matches!(&error, ConvertError::Push { place, .. } if place.ends_with("/new")), "{error:?}");
    let digest = built.layers[0].digest().to_string();
    assert!(registry.blob_requests().iter().all(|logged| !logged.path.ends_with(&digest)), "unread");

    // One that only cannot take back what was begun is no worse.
    registry.clear_faults();
    registry.inject(Rule::any(Fault::Status(405)).method("DELETE"));
    let (from, to) = (registry.reference("app:v1"), registry.reference("new:v1"));
    convert(&from, &to, &settings(Encoding::Zstd)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be() {
    let registry = TestRegistry::start();
    image([layer(varied())]).push(&registry, "app:v1");
    let plain = settings(Encoding::Gzip);
    for (expected, settings) in [
        ("level 13", Settings { level: 13, ..plain.clone() }),
        ("level 0", Settings { level: 0, ..plain.clone() }),
        ("chunks of 1 bytes", Settings { chunk_bytes: 1, ..plain }),
    ] {
        let error = convert(&registry.reference("app:v1"), &registry.reference("new:v1"), &settings)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
