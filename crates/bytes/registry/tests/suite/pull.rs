//! From a reference to an image.

use std::error::Error as _;

use glowplug_base::{Digest, Hinted as _};
use glowplug_oci::{Compression, Descriptor, Limits, Platform, Source, media};
use glowplug_registry::{Error, Target, resolve};
use glowplug_source::Kind;
use glowplug_testkit::{Fault, ImageBuilder, Layer, Rule, TestRegistry};

use crate::{amd64, client, open, options, resolved, source};

fn image() -> ImageBuilder {
    ImageBuilder::new()
        .platform(&amd64())
        .layer(Layer::gzip(|tree| _ = tree.dir("etc").file("etc/a", "1")))
        .layer(Layer::zstd(|tree| _ = tree.file("etc/b", "2")))
        .layer(Layer::plain(|tree| _ = tree.whiteout("etc/a")))
        .cmd(["/bin/true"])
}

#[tokio::test]
async fn both_families_resolve() {
    let registry = TestRegistry::start();
    for (builder, name) in [(image(), "team/app:v1"), (image().docker(), "app:docker")] {
        let pushed = builder.push(&registry, name);
        let image = resolved(&client(options()), &source(&registry, name)).await.unwrap();
        assert_eq!(image.manifest_digest, pushed.digest());
        assert_eq!(image.manifest_bytes, pushed.manifest);
        assert_eq!(image.config_bytes, pushed.config);
        assert_eq!(
            image.config.config().as_ref().unwrap().cmd().as_deref(),
            Some(&["/bin/true".to_owned()][..])
        );
        assert!(image.index.is_none() && image.index_digest.is_none());
        for (layer, built) in image.layers.iter().zip(&pushed.layers) {
            assert_eq!((layer.descriptor.digest, layer.diff_id), (built.digest(), built.diff_id()));
            assert_eq!(layer.kind.compression, built.compression);
        }
        assert_eq!(image.layers[0].kind.compression, Compression::Gzip);
        assert_eq!(image.layers.len(), 3);
    }
}

#[tokio::test]
async fn an_index_leads_to_the_right_platform() {
    let registry = TestRegistry::start();
    let arm = image().platform(&"linux/arm64/v8".parse().unwrap()).push(&registry, "app");
    let amd = image().push(&registry, "app");
    let mut attestation = Descriptor::of(media::OCI_MANIFEST, b"attestation");
    attestation.platform = Some(Platform::new("unknown", "unknown"));
    let inner = registry.put_index("app", None, vec![attestation, arm.descriptor(), amd.descriptor()]);
    let bytes = registry.manifest("app", &inner.to_string()).unwrap();
    registry.put_index("app", Some("nested"), vec![Descriptor::of(media::OCI_INDEX, &bytes)]);

    let (client, nested) = (client(options()), source(&registry, "app:nested"));
    let image = resolved(&client, &nested).await.unwrap();
    assert_eq!((image.manifest_digest, image.index_digest), (amd.digest(), Some(inner)));

    let repository = client.open(&nested).await.unwrap();
    let wanted = Platform::new("linux", "s390x");
    let error = resolve(&*repository, &nested, &wanted, &Limits::default()).await.unwrap_err();
    let reason = error.source().unwrap().to_string();
    assert_eq!(reason, "no image for linux/s390x; there is linux/arm64/v8, linux/amd64");
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_single_image_for_another_platform_is_refused() {
    let registry = TestRegistry::start();
    image().platform(&"linux/arm64".parse().unwrap()).push(&registry, "app:v1");
    let error = resolved(&client(options()), &source(&registry, "app:v1")).await.unwrap_err();
    assert!(error.to_string().ends_with("is for linux/arm64, not for linux/amd64"), "{error}");
}

#[tokio::test]
async fn a_digest_decides_over_a_tag() {
    let registry = TestRegistry::start();
    let old = image().push(&registry, "app:v1");
    let new = image().cmd(["new"]).push(&registry, "app:v1");
    assert_ne!(old.digest(), new.digest());
    let client = client(options());
    let by_tag = resolved(&client, &source(&registry, "app:v1")).await.unwrap();
    assert_eq!(by_tag.manifest_digest, new.digest());
    let by_both = resolved(&client, &source(&registry, &format!("app:v1@{}", old.digest()))).await.unwrap();
    assert_eq!(by_both.manifest_digest, old.digest());
}

#[tokio::test]
async fn what_is_no_image_is_refused_by_name() {
    let registry = TestRegistry::start();
    let client = client(options());
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    image().layer(Layer::raw("x", "y", encrypted)).push(&registry, "app:encrypted");
    image().layer(Layer::raw("x", "y", "text/html")).push(&registry, "app:unknown");
    registry.put_manifest("app", Some("old"), r#"{"schemaVersion":1,"fsLayers":[]}"#, "application/json");
    registry.put_manifest("app", Some("page"), "<html>", "text/html");
    let config =
        serde_json::to_value(Descriptor::of("application/vnd.cncf.helm.config.v1+json", b"{}")).unwrap();
    let chart = serde_json::json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    registry.put_manifest("app", Some("chart"), chart, media::OCI_MANIFEST);
    for (tag, reason) in [
        ("encrypted", "is encrypted"),
        ("unknown", "unknown layer type \"text/html\""),
        ("old", "schema 1"),
        ("page", "malformed document"),
        ("chart", "helm.config.v1+json\" is not a container image's"),
    ] {
        let error = resolved(&client, &source(&registry, &format!("app:{tag}"))).await.unwrap_err();
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(text.contains(reason), "{tag}: {error}: {text}");
    }
    let error = resolved(&client, &source(&registry, "app:none")).await.unwrap_err();
    assert!(error.is_not_found() && error.hint().is_some());
    assert_eq!(registry.log().iter().filter(|logged| logged.path.ends_with("/none")).count(), 1);
}

#[tokio::test]
async fn wrong_bytes_are_never_handed_out() {
    let registry = TestRegistry::start();
    let pushed = image().push(&registry, "app:v1");
    let client = client(options());
    let repository = open(&client, &registry, "app:v1").await;
    let corrupt = |error: &Error| matches!(error, Error::Source(error) if error.kind == Kind::Corrupt);

    registry.inject(Rule::manifests(Fault::WrongBytes));
    for target in [Target::Tag("v1".into()), Target::Digest(pushed.digest())] {
        assert!(corrupt(&repository.document(&target).await.unwrap_err()), "{target}");
    }
    registry.clear_faults();
    registry.inject(Rule::blobs(Fault::WrongBytes));
    let config = Descriptor::of(media::OCI_CONFIG, &pushed.config);
    assert!(corrupt(&repository.small_blob(&config, 1 << 20).await.unwrap_err()));
}

#[tokio::test]
async fn documents_and_small_blobs_have_limits() {
    let registry = TestRegistry::start();
    let huge = vec![b' '; (4 << 20) + 1];
    registry.put_manifest("app", Some("huge"), huge.clone(), media::OCI_MANIFEST);
    let client = client(options());
    let repository = open(&client, &registry, "app:huge").await;
    let error = repository.document(&Target::Tag("huge".into())).await.unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }));
    registry.clear_log();
    let error =
        repository.small_blob(&Descriptor::new("x", Digest::of(b""), u64::MAX), 100).await.unwrap_err();
    assert!(matches!(error, Error::TooBig { limit: 100, .. }));
    assert!(registry.log().is_empty(), "nothing is fetched that is too big");
}

#[tokio::test]
async fn documents_are_fetched_patiently() {
    let registry = TestRegistry::start();
    image().push(&registry, "app:v1");
    let client = client(options());
    for fault in [
        Fault::Status(500),
        Fault::Status(503),
        Fault::Throttle(None),
        Fault::Throttle(Some("0".to_owned())),
        Fault::ResetAfter(10),
        Fault::ResetAfter(0),
    ] {
        registry.inject(Rule::any(fault.clone()).times(2));
        resolved(&client, &source(&registry, "app:v1"))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
    registry.inject(Rule::manifests(Fault::Status(500)));
    registry.clear_log();
    let error = resolved(&client, &source(&registry, "app:v1")).await.unwrap_err();
    assert!(matches!(error, Error::Source(error) if error.kind == Kind::Server(500)));
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_tag() {
    let registry = TestRegistry::start();
    let pushed = image().push(&registry, "app:v1");
    let client = client(options());
    let repository = open(&client, &registry, "app:v1").await;
    let subject = pushed.digest();
    let digests = async |kind: Option<&str>| {
        let found = repository.referrers(&subject, kind).await.unwrap();
        found.into_iter().map(|entry| entry.digest).collect::<Vec<_>>()
    };
    for api in [true, false] {
        registry.set_referrers_api(api);
        assert!(digests(None).await.is_empty());
    }
    let artifact = |kind: &str, note: &str| {
        let empty = Descriptor::of(media::OCI_EMPTY, b"{}");
        let subject = Descriptor::of(media::OCI_MANIFEST, &pushed.manifest);
        serde_json::json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": [],
            "subject": subject, "annotations": {"note": note},
        })
    };
    registry.set_referrers_api(true);
    let mut expected: Vec<_> = ["1", "2", "3"]
        .map(|note| {
            registry.put_manifest("app", None, artifact("a/index", note).to_string(), media::OCI_MANIFEST)
        })
        .into();
    let other =
        registry.put_manifest("app", None, artifact("a/signature", "").to_string(), media::OCI_MANIFEST);
    expected.sort();
    assert_eq!(digests(Some("a/index")).await, expected);
    assert_eq!(digests(None).await.len(), 4);
    registry.set_referrers_page(1);
    assert_eq!(digests(None).await.len(), 4, "pages are followed");

    registry.set_referrers_api(false);
    let mut entry = Descriptor::new(media::OCI_MANIFEST, other, 1);
    entry.artifact_type = Some("a/signature".to_owned());
    registry.put_index("app", Some(&format!("sha256-{}", subject.hex())), vec![entry]);
    assert_eq!(digests(None).await, [other]);
    assert!(digests(Some("a/index")).await.is_empty());
    registry.inject(Rule::any(Fault::Status(400)).on("/referrers/"));
    assert_eq!(digests(None).await, [other]);
    registry.clear_faults();
    registry.inject(Rule::any(Fault::Status(500)).on("/referrers/"));
    assert!(repository.referrers(&subject, None).await.is_err(), "a broken registry is no empty one");
}

#[tokio::test]
async fn a_dead_registry_is_a_connection_error() {
    let mut registry = TestRegistry::start();
    image().push(&registry, "app:v1");
    let client = client(options());
    resolved(&client, &source(&registry, "app:v1")).await.unwrap();
    registry.stop();
    let error = resolved(&client, &source(&registry, "app:v1")).await.unwrap_err();
    assert!(matches!(&error, Error::Source(error) if matches!(error.kind, Kind::Connection(_))), "{error}");
    registry.restart();
    resolved(&client, &source(&registry, "app:v1")).await.unwrap();
}

#[tokio::test]
async fn reachability_is_told_per_address() {
    let registry = TestRegistry::start();
    let mut options = options();
    options.mirrors.insert(registry.host(), vec!["http://127.0.0.1:1".to_owned()]);
    let Source::Registry(reference) = source(&registry, "app") else { panic!("a registry") };
    let found = client(options).reach(&reference).await.unwrap();
    let good: Vec<_> = found.iter().map(|answer| answer.result.is_ok()).collect();
    assert_eq!(good, [false, true]);
    assert_eq!(found[1].url, format!("http://{}/v2/", registry.host()));
}
