//! An index that was published makes its image lazy where nobody saw it before; until it is complete nobody finds it.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use glowplug_base::{Clock, Digest, Hinted as _};
use glowplug_image::soci::{self, Format, Grain, Lookup, Outcome, PublishError, Published, Skip};
use glowplug_image::{LayerSpec, Opened, open};
use glowplug_oci::{Compression, Descriptor, Document, Index, Limits, Manifest, Platform, Source, media};
use glowplug_registry::{Client, Options, Repository, ResolvedImage, Target, resolve};
use glowplug_source::RetryPolicy;
use glowplug_store::Store;
use glowplug_testkit::{Fault, ImageBuilder, Layer, Logged, Rule, TestRegistry, Tree};
use glowplug_timeline::Timeline;
use glowplug_toc::IndexVersion;
use glowplug_toc::index::{ARTIFACT_TYPE_V2, IMAGE_MANIFEST_DIGEST_ANNOTATION, INDEX_DIGEST_ANNOTATION};
use glowplug_toc::ztoc::DEFAULT_SPAN_BYTES;

/// Layers of the test image below this size get no zTOC.
const GRAIN: Grain = Grain { min_layer_bytes: 100_000, span_bytes: DEFAULT_SPAN_BYTES };

/// Bytes that do not compress, different everywhere.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn tar(name: &str, len: usize) -> Vec<u8> {
    Tree::build(|tree| _ = tree.file(name, noise(len as u64, len)))
}

/// Four layers: gzip, uncompressed, small, zstd; and the gzip one again.
fn image() -> ImageBuilder {
    let gzip = Layer::from_tar(tar("gzip", 9 << 20), Compression::Gzip);
    ImageBuilder::new()
        .platform(&amd64())
        .layer(gzip.clone())
        .layer(Layer::from_tar(tar("plain", 300_000), Compression::None))
        .layer(Layer::from_tar(tar("small", 1000), Compression::Gzip))
        .layer(Layer::from_tar(tar("zstd", 300_000), Compression::Zstd))
        .layer(gzip)
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

/// An image where it can be published.
struct Place {
    repository: Arc<dyn Repository>,
    image: ResolvedImage,
}

impl Place {
    async fn find(source: &str) -> Self {
        let retry = RetryPolicy {
            attempts: 2,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(1),
            stall: Duration::from_secs(10),
        };
        let docker_config = Some("/nonexistent/config.json".into());
        let options = Options { docker_config, retry, ..Options::default() };
        let source: Source = source.parse().unwrap();
        let repository = Client::new(options).unwrap().open(&source).await.unwrap();
        let image = resolve(&*repository, Target::from(&source), &amd64(), &Limits::default()).await.unwrap();
        Self { repository, image }
    }

    async fn publish(&self, format: &Format) -> Result<Published, PublishError> {
        self.publish_cut(format, GRAIN).await
    }

    async fn publish_cut(&self, format: &Format, grain: Grain) -> Result<Published, PublishError> {
        let blob = |layer: &glowplug_registry::ResolvedLayer| self.repository.blob(&layer.descriptor);
        let sources: Vec<_> = self.image.layers.iter().map(blob).collect();
        soci::publish(&*self.repository, &self.image, &sources, format, grain, &|_, _| ()).await
    }

    fn lookup(&self) -> Arc<Lookup> {
        let (manifest, digest) = (self.image.manifest.clone(), self.image.manifest_digest);
        Arc::new(Lookup::new(self.repository.clone(), manifest, digest))
    }

    /// Opens the image on a node that never saw it, and reads what is in the layers that are lazy.
    async fn open_anew(&self) -> (usize, usize) {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), glowplug_store::Options::default()).unwrap());
        let lookup = self.lookup();
        let specs: Vec<LayerSpec> = self.image.layers.iter().map(|layer| self.spec(layer, &lookup)).collect();
        let opened: Opened = open(&store, &specs, &Timeline::new(Clock::system())).await.unwrap();
        for (name, len) in [("gzip", 9 << 20), ("plain", 300_000)] {
            let id = opened.image.tree().find(name).unwrap();
            let read = opened.image.read(id, len as u64 - 5000, 5000).await.unwrap();
            assert!(read == noise(len as u64, len)[len - 5000..], "{name}");
        }
        (opened.adopted, opened.streamed)
    }

    fn spec(&self, layer: &glowplug_registry::ResolvedLayer, lookup: &Arc<Lookup>) -> LayerSpec {
        LayerSpec {
            blob: layer.descriptor.digest,
            format: layer.kind.format,
            compression: layer.kind.compression,
            diff_id: Some(layer.diff_id),
            source: self.repository.blob(&layer.descriptor),
            annotations: Default::default(),
            external: None,
            soci: Some(lookup.clone()),
        }
    }
}

fn v2() -> Format {
    Format::V2 { tag: "lazy".to_owned() }
}

fn has_ztoc(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Ztoc { .. })
}

fn manifest_of(bytes: &[u8]) -> Manifest {
    match Document::parse(bytes, Some(media::OCI_MANIFEST), &Limits::default()).unwrap() {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => panic!("this is an index"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_beside_the_image_makes_it_lazy_on_a_node_that_never_saw_it() {
    for api in [true, false] {
        let registry = TestRegistry::start();
        registry.set_referrers_api(api);
        let built = image().push(&registry, "app:v1");
        let place = Place::find(&registry.reference("app:v1")).await;
        assert!(place.lookup().index().await.is_none());
        assert_eq!(place.open_anew().await, (0, 4));

        let told = Mutex::new(Vec::new());
        let sources: Vec<_> =
            place.image.layers.iter().map(|layer| place.repository.blob(&layer.descriptor)).collect();
        let hear = |at: usize, outcome: &Outcome| told.lock().unwrap().push((at, outcome.clone()));
        let format = Format::V1;
        let published = soci::publish(&*place.repository, &place.image, &sources, &format, GRAIN, &hear);
        let published = published.await.unwrap();
        let [gzip, plain, small, zstd, again] = &published.layers[..] else { panic!("five layers") };
        assert!(has_ztoc(gzip) && has_ztoc(plain) && again == gzip);
        assert_eq!(*small, Outcome::Skipped(Skip::Small(GRAIN.min_layer_bytes)));
        assert_eq!(*zstd, Outcome::Skipped(Skip::Zstd));
        let mut told = told.into_inner().unwrap();
        told.sort_by_key(|(at, _)| *at);
        let expected = published.layers[..4].iter().cloned().enumerate().collect::<Vec<_>>();
        assert_eq!(told, expected, "each layer is told of once");

        let lookup = place.lookup();
        let index = lookup.index().await.unwrap();
        assert!(
            matches!(&index.version, IndexVersion::V1(Some(subject)) if subject.digest == built.digest())
        );
        assert_eq!(index.ztocs.len(), 2);
        assert!(lookup.listed(&built.layers[0].digest(), built.layers[0].blob.len() as u64).await.is_some());
        assert!(lookup.listed(&built.layers[3].digest(), built.layers[3].blob.len() as u64).await.is_none());
        assert_eq!(place.open_anew().await, (2, 2), "referrers API: {api}");

        // The image is what it was, and doing it again adds nothing.
        assert_eq!(published.manifest, built.digest());
        assert_eq!(registry.manifest("app", "v1").unwrap(), built.manifest);
        registry.clear_log();
        assert_eq!(place.publish(&format).await.unwrap(), published);
        let is_blob_push = |logged: &Logged| logged.method == "PUT" && logged.path.contains("/blobs/");
        assert!(!registry.log().iter().any(is_blob_push), "no blob is pushed again");
        let listed = place.repository.referrers(&built.digest(), None).await.unwrap();
        assert_eq!(listed.iter().map(|entry| entry.digest).collect::<Vec<_>>(), [published.index]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_an_index_whose_parts_are_missing() {
    for (format, manifests) in [(Format::V1, 1), (v2(), 3)] {
        let registry = TestRegistry::start();
        image().push(&registry, "app:v1");
        let place = Place::find(&registry.reference("app:v1")).await;
        // The configuration goes through, a zTOC does not.
        registry.inject(Rule::any(Fault::Status(403)).on("/blobs/uploads/").method("POST").skip(2));
        let error = place.publish(&format).await.unwrap_err();
        assert!(matches!(error, PublishError::Push { .. }), "{error:?}");
        assert!(registry.log().iter().all(|logged| !is_manifest_push(&logged.method, &logged.path)));
        assert!(place.lookup().index().await.is_none());

        registry.clear_faults();
        registry.clear_log();
        place.publish(&format).await.unwrap();
        let log = registry.log();
        let first = log.iter().position(|logged| is_manifest_push(&logged.method, &logged.path)).unwrap();
        let late = &log[first..];
        assert_eq!(late.len(), manifests, "manifests come last: {late:#?}");
        assert!(late.iter().all(|logged| is_manifest_push(&logged.method, &logged.path)));
        assert_eq!(
            late.last().unwrap().path.ends_with("/lazy"),
            format == v2(),
            "the name comes last of all"
        );
    }
}

fn is_manifest_push(method: &str, path: &str) -> bool {
    method == "PUT" && path.contains("/manifests/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_takes_nothing_says_so_before_any_layer_is_read() {
    let registry = TestRegistry::start();
    image().push(&registry, "app:v1");
    let place = Place::find(&registry.reference("app:v1")).await;
    registry.inject(Rule::any(Fault::Status(403)).method("POST"));
    registry.clear_log();
    assert!(matches!(place.publish(&Format::V1).await, Err(PublishError::Push { .. })));
    assert!(registry.blob_requests().is_empty());

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image.tar");
    image().build().write_oci_archive(&file, None);
    let place = Place::find(&format!("oci-archive:{}", file.display())).await;
    let error = place.publish(&Format::V1).await.unwrap_err();
    assert!(error.hint().unwrap().to_string().contains("layout directory"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_names_its_index_keeps_everything_else() {
    let registry = TestRegistry::start();
    let built = image().docker().annotation("kept", "yes").push(&registry, "app");
    let other = ImageBuilder::new().platform(&Platform::new("linux", "arm64")).push(&registry, "app");
    let attestation = |about: Digest| {
        let mut entry = Descriptor::of(media::OCI_MANIFEST, about.to_string().as_bytes());
        entry.platform = Some(Platform::new("unknown", "unknown"));
        entry.annotations.insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
        entry.annotations.insert("vnd.docker.reference.digest".into(), about.to_string());
        entry
    };
    let listed = vec![
        other.descriptor(),
        built.descriptor(),
        attestation(other.digest()),
        attestation(built.digest()),
    ];
    let original = registry.put_index("app", Some("v1"), listed.clone());

    let place = Place::find(&registry.reference("app:v1")).await;
    let published = place.publish(&v2()).await.unwrap();
    assert_ne!(published.manifest, built.digest());
    assert_eq!(place.lookup().index().await, None, "the image itself has no index");
    assert_eq!(registry.index("app", "v1").unwrap().manifests, listed);

    let lazy = Place::find(&registry.reference("app:lazy")).await;
    assert_eq!((lazy.image.manifest_digest, lazy.image.index_digest), (published.manifest, published.tagged));
    assert_ne!(lazy.image.index_digest, Some(original));
    let named = &lazy.image.manifest.annotations[INDEX_DIGEST_ANNOTATION];
    assert_eq!(*named, published.index.to_string());
    assert_eq!(lazy.image.manifest.annotations["kept"], "yes");
    let types: Vec<&str> = lazy.image.manifest.layers.iter().map(|layer| layer.media_type.as_str()).collect();
    let (gzip, plain, zstd) = (media::OCI_LAYER_GZIP, media::OCI_LAYER, media::OCI_LAYER_ZSTD);
    assert_eq!(types, [gzip, plain, gzip, zstd, gzip], "only OCI manifests have annotations");
    assert_eq!(lazy.image.config_bytes, built.config);
    let layers = |image: &Manifest| image.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>();
    assert_eq!(
        layers(&lazy.image.manifest),
        layers(&manifest_of(&registry_manifest(&registry, &built.digest())))
    );

    let index: Index = registry.index("app", "lazy").unwrap();
    let [kept, new, attested, soci] = &index.manifests[..] else { panic!("{index:#?}") };
    assert_eq!((kept, attested), (&listed[0], &listed[2]));
    assert_eq!((new.digest, &new.platform), (published.manifest, &Some(amd64())));
    assert_eq!((soci.digest, &soci.platform), (published.index, &Some(amd64())));
    assert_eq!(soci.artifact_type.as_deref(), Some(ARTIFACT_TYPE_V2));
    assert_eq!(soci.annotations[IMAGE_MANIFEST_DIGEST_ANNOTATION], published.manifest.to_string());
    let found = lazy.lookup();
    let found = found.index().await.unwrap();
    assert_eq!((&found.version, found.ztocs.len()), (&IndexVersion::V2, 2));
    assert!(found.ztocs.iter().all(|ztoc| types.contains(&ztoc.layer_media_type.as_str())));
    assert_eq!(lazy.open_anew().await, (2, 2));

    // A copy of the copy is the copy.
    assert_eq!(lazy.publish(&v2()).await.unwrap(), published);
}

/// A manifest by digest, with its Docker types read as what they are.
fn registry_manifest(registry: &TestRegistry, digest: &Digest) -> Vec<u8> {
    let text = registry.manifest("app", &digest.to_string()).unwrap();
    String::from_utf8(text.to_vec())
        .unwrap()
        .replace(media::DOCKER_MANIFEST, media::OCI_MANIFEST)
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_directory_takes_an_index_and_stays_the_image_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let built = image().build();
    built.write_layout(dir.path(), None);
    let place = Place::find(&at(dir.path(), "")).await;
    place.publish(&Format::V1).await.unwrap();
    let again = Place::find(&at(dir.path(), "")).await;
    assert_eq!(again.image.manifest_digest, built.digest());
    assert_eq!(again.open_anew().await, (2, 2));

    let dir = tempfile::tempdir().unwrap();
    built.write_layout(dir.path(), Some("v1"));
    let published = Place::find(&at(dir.path(), ":v1")).await.publish(&v2()).await.unwrap();
    let lazy = Place::find(&at(dir.path(), ":lazy")).await;
    assert_eq!((lazy.image.manifest_digest, lazy.image.index_digest), (published.manifest, published.tagged));
    assert_eq!(lazy.open_anew().await, (2, 2));
    assert_eq!(Place::find(&at(dir.path(), ":v1")).await.open_anew().await, (0, 4));
    let listed = std::fs::read(dir.path().join("index.json")).unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!(
        listed["manifests"].as_array().unwrap().len(),
        2,
        "only what has a name is listed: {listed:#}"
    );
}

fn at(dir: &Path, tag: &str) -> String {
    format!("oci:{}{tag}", dir.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_nothing_is_not_published() {
    let registry = TestRegistry::start();
    image().push(&registry, "app:v1");
    let place = Place::find(&registry.reference("app:v1")).await;
    let error =
        place.publish_cut(&Format::V1, Grain { min_layer_bytes: u64::MAX, ..GRAIN }).await.unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
    assert!(error.hint().unwrap().to_string().contains("--min-layer-size"));
    assert!(place.lookup().index().await.is_none());

    // Zeros: the windows alone are larger than the layer.
    let zeros = Layer::gzip(|tree| _ = tree.file("zeros", vec![0; 256 << 20]));
    ImageBuilder::new().platform(&amd64()).layer(zeros).push(&registry, "zeros:v1");
    let place = Place::find(&registry.reference("zeros:v1")).await;
    let error = place.publish_cut(&Format::V1, Grain { min_layer_bytes: 0, ..GRAIN }).await.unwrap_err();
    assert!(matches!(error, PublishError::Nothing { small: false, .. }), "{error}");
    assert!(error.to_string().contains("larger than the layer"), "{error}");
}
