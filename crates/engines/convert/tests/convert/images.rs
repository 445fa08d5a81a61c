//! Whole images: several platforms, sources and destinations, and the order in which things are published.

use glowplug_base::{Digest, Hinted as _};
use glowplug_convert::{ConvertError, Dialect, Encoding, Plan, Settings};
use glowplug_oci::{Descriptor, Document, Index, Limits, Platform, Source, media};
use glowplug_registry::{Target, resolve};
use glowplug_testkit::{Fault, Image, ImageBuilder, Layer, Rule, TestRegistry, Tree};

use crate::fixture::{ENCODINGS, amd64, at, client, convert, decode, image, layer, open, settings, varied};

fn arm(variant: &str) -> Platform {
    Platform { variant: Some(variant.to_owned()), ..Platform::new("linux", "arm") }
}

fn shared() -> Layer {
    layer(varied())
}

fn attestation(about: &Image) -> Descriptor {
    let mut entry = Descriptor::of(media::OCI_MANIFEST, about.digest().to_string().as_bytes());
    entry.platform = Some(Platform::new("unknown", "unknown"));
    entry.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
    entry.annotations.insert("vnd.docker.reference.digest".into(), about.digest().to_string());
    entry
}

/// Two platforms that share a layer, in an index with more in it; one is of a level that its configuration does not tell.
fn push_both(registry: &TestRegistry) -> (Image, Image, Digest) {
    let own = |name: &str| layer(Tree::build(|tree| _ = tree.file(name, name.repeat(5000))));
    let one = image([shared(), own("amd64")]).push(registry, "app");
    let other = ImageBuilder::new()
        .platform(&Platform::new("linux", "arm"))
        .layer(shared())
        .layer(own("arm"))
        .push(registry, "app");
    let mut listed = other.descriptor();
    listed.platform = Some(arm("v6"));
    listed.annotations.insert("of.entry".into(), "kept".into());
    let entries = vec![one.descriptor(), attestation(&one), listed, attestation(&other)];
    let mut index = serde_json::to_value(Index::new(entries)).unwrap();
    index["annotations"] = serde_json::json!({ "of.index": "kept" });
    index["unknown"] = serde_json::json!({ "kept": true });
    let digest = registry.put_manifest("app", Some("v1"), index.to_string(), media::OCI_INDEX);
    (one, other, digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_platforms_are_made_over_and_what_they_share_only_once() {
    let registry = TestRegistry::start();
    let (one, other, old) = push_both(&registry);
    registry.clear_log();
    let to = registry.reference("lazy:v2");
    let converted = convert(&registry.reference("app:v1"), &to, &settings(Encoding::Estargz)).await.unwrap();
    assert_eq!(converted.old, old);
    assert_eq!((converted.images.len(), converted.layers.len()), (2, 3));
    let reads = registry.blob_requests();
    let shared = shared().digest().to_string();
    assert_eq!(reads.iter().filter(|logged| logged.path.ends_with(&shared)).count(), 1);

    let bytes = registry.manifest("lazy", "v2").unwrap();
    assert_eq!(Digest::of(&bytes), converted.new);
    let raw: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&raw["annotations"]["of.index"], &raw["unknown"]["kept"]), (&"kept".into(), &true.into()));
    let Document::Index(index) = Document::parse(&bytes, None, &Limits::default()).unwrap() else { panic!() };
    let [first, second] = &index.manifests[..] else { panic!("attestations are about what was: {index:#?}") };
    assert_eq!((first.platform.as_ref(), second.platform.as_ref()), (Some(&amd64()), Some(&arm("v6"))));
    assert_eq!(second.annotations["of.entry"], "kept");
    assert_eq!((first.digest, second.digest), (converted.images[0].new, converted.images[1].new));
    assert_eq!((converted.images[0].old, converted.images[1].old), (one.digest(), other.digest()));
    for (entry, built) in [(first, &one), (second, &other)] {
        let source: Source = format!("{}@{}", registry.reference("lazy"), entry.digest).parse().unwrap();
        let platform = built.platform.clone();
        let repository = client().open(&source).await.unwrap();
        let found = resolve(&*repository, &source, &platform, &Limits::default()).await.unwrap();
        for layer in &found.layers {
            let blob = registry.blob(&layer.descriptor.digest).unwrap();
            assert_eq!(Digest::of(&decode(&blob, Encoding::Estargz)), layer.diff_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn platforms_can_be_chosen() {
    let registry = TestRegistry::start();
    let (one, ..) = push_both(&registry);
    let from = registry.reference("app:v1");
    let only =
        |platform: &str| Settings { platforms: vec![platform.parse().unwrap()], ..settings(Encoding::Zstd) };
    let converted = convert(&from, &registry.reference("one:v1"), &only("linux/amd64")).await.unwrap();
    assert_eq!(converted.images.iter().map(|image| image.old).collect::<Vec<_>>(), [one.digest()]);
    let index = registry.index("one", "v1").unwrap();
    assert_eq!(
        index.manifests.iter().map(|entry| entry.digest).collect::<Vec<_>>(),
        [converted.images[0].new]
    );

    let error = convert(&from, &registry.reference("none:v1"), &only("linux/s390x")).await.unwrap_err();
    assert!(glowplug_error(&error).contains("no image for linux/s390x"), "{error}");
    // An image that no index lists is for the platform that it says.
    let single = image([shared()]).push(&registry, "single:v1");
    let from = registry.reference("single:v1");
    let converted = convert(&from, &registry.reference("one:v2"), &only("linux/amd64")).await.unwrap();
    assert_eq!(converted.old, single.digest());
    let error = convert(&from, &registry.reference("none:v1"), &only("linux/arm64")).await.unwrap_err();
    assert!(error.to_string().contains("is for linux/amd64"), "{error}");
    assert!(registry.manifest("none", "v1").is_none());
}

/// An error with its causes.
fn glowplug_error(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_is_told() {
    let registry = TestRegistry::start();
    push_both(&registry);
    let source: Source = registry.reference("app:v1").parse().unwrap();
    let repository = client().open(&source).await.unwrap();
    let plan = Plan::make(&*repository, &Target::from(&source), &[amd64()]).await.unwrap();
    let told: Vec<String> = plan.dropped().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3);
    assert!(
        told[0].contains("attestation") && told[1].contains("linux/arm/v6 was not asked for"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_may_list_indexes() {
    let registry = TestRegistry::start();
    let (_, _, inner) = push_both(&registry);
    let bytes = registry.manifest("app", "v1").unwrap();
    assert_eq!(Digest::of(&bytes), inner);
    registry.put_index("app", Some("outer"), vec![Descriptor::of(media::OCI_INDEX, &bytes)]);
    let converted =
        convert(&registry.reference("app:outer"), &registry.reference("new:v1"), &settings(Encoding::Gzip))
            .await
            .unwrap();
    assert_eq!(converted.images.len(), 2);
    let outer = registry.index("new", "v1").unwrap();
    let inner = registry.index("new", &outer.manifests[0].digest.to_string()).unwrap();
    assert_eq!(inner.manifests.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_are_sources_and_no_destinations() {
    let dir = tempfile::tempdir().unwrap();
    let built = image([shared(), Layer::plain(|tree| _ = tree.file("plain", "x"))]).build();
    let (oci, docker) = (dir.path().join("oci.tar"), dir.path().join("docker.tar"));
    built.write_oci_archive(&oci, None);
    built.write_docker_archive(&docker, "app:v1");
    let from = [format!("oci-archive:{}", oci.display()), format!("docker-archive:{}", docker.display())];
    for (number, from) in from.iter().enumerate() {
        let to = dir.path().join(number.to_string());
        let converted = convert(from, &at(&to, ":a"), &settings(Encoding::Zstd)).await.unwrap();
        let made = open(&to, &converted.new);
        assert_eq!(made.config_bytes, built.config);
        assert!(decode(&made.layers[1], Encoding::Zstd) == built.layers[1].tar);
    }
    let error =
        convert(&at(&dir.path().join("0"), ":a"), &from[0], &settings(Encoding::Zstd)).await.unwrap_err();
    assert!(error.hint().unwrap().to_string().contains("layout directory"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_comes_when_everything_behind_it_is_there() {
    let registry = TestRegistry::start();
    push_both(&registry);
    registry.clear_log();
    convert(&registry.reference("app:v1"), &registry.reference("new:v1"), &settings(ENCODINGS[3]))
        .await
        .unwrap();
    let pushes: Vec<String> = registry
        .log()
        .into_iter()
        .filter(|logged| logged.method == "PUT")
        .map(|logged| if logged.path.contains("/manifests/") { logged.path } else { "blob".to_owned() })
        .collect();
    let first = pushes.iter().position(|path| path != "blob").unwrap();
    assert!(pushes[first..].iter().all(|path| path != "blob"), "{pushes:?}");
    assert!(pushes.last().unwrap().ends_with("/manifests/v1"));

    // What fails on the way is named by nobody.
    for (number, rule) in [
        Rule::any(Fault::Status(403)).on("/blobs/uploads/").method("POST").skip(1),
        Rule::any(Fault::Status(403)).on("/blobs/uploads/").method("PATCH").skip(1),
        Rule::any(Fault::Status(403)).on("/manifests/").method("PUT").skip(1),
    ]
    .into_iter()
    .enumerate()
    {
        registry.inject(rule);
        let to = registry.reference(&format!("failed{number}:v1"));
        let finer = Settings { level: 5 + number as i32, ..settings(Encoding::ZstdChunked(Dialect::Stargz)) };
        let error = convert(&registry.reference("app:v1"), &to, &finer).await.unwrap_err();
        assert!(matches!(error, ConvertError::Push { .. }), "{error:?}");
        assert!(registry.manifest(&format!("failed{number}"), "v1").is_none());
        registry.clear_faults();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_cut_off_goes_on() {
    let registry = TestRegistry::start();
    let noise = crate::fixture::noise(1, 3 << 20);
    image([layer(Tree::build(|tree| _ = tree.file("noise", noise)))]).push(&registry, "app:v1");
    registry.inject(Rule::any(Fault::TakeOnly(1 << 20)).method("PATCH").times(2));
    let to = registry.reference("new:v1");
    let converted = convert(&registry.reference("app:v1"), &to, &settings(Encoding::Zstd)).await.unwrap();
    let blob = registry.blob(&converted.layers[0].new).unwrap();
    assert_eq!(Digest::of(&decode(&blob, Encoding::Zstd)), converted.layers[0].diff_id);
    let sent: Vec<_> = registry.log().into_iter().filter_map(|logged| logged.content_range).collect();
    let starts: Vec<&str> = sent.iter().map(|range| range.split_once('-').unwrap().0).collect();
    assert_eq!(starts, ["0", "1048576", "2097152"], "what had arrived was not sent again");
}
