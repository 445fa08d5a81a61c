//! Weights beside an image: with them it is what it was, entry by entry and byte by byte, and they come piece by piece.

use std::sync::Arc;

use glowplug_base::{Clock, Digest};
use glowplug_convert::split::{Chosen, DEFAULT_LEAST_BYTES, Divided, Place, Reason, Wish, choose, split};
use glowplug_convert::{ConvertError, Plan};
use glowplug_image::models::{ModelSpec, Models};
use glowplug_image::{Image, LayerSpec, Tree as Merged, open_with};
use glowplug_layer::Kind;
use glowplug_oci::{Compression, Descriptor, Document, Index, Limits, Manifest, Platform, Source, media};
use glowplug_registry::{Repository, ResolvedImage, Target, resolve};
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Image as Built, ImageBuilder, Layer, TestRegistry, Tree};
use glowplug_timeline::Timeline;

use crate::fixture::{amd64, at, client, decode, image, noise, walk};

const MIB: usize = 1 << 20;
const WEIGHTS: &str = "srv/models/model.safetensors";
/// Bytes of a chunk of files as short as these.
const CHUNK: usize = MIB / 2;

/// What is in a file of weights: some chunks, and a part of one.
fn weights() -> Vec<u8> {
    noise(1, 12 * MIB + 12_345)
}

/// Layers with weights of several kinds among other files.
fn layers() -> Vec<Layer> {
    let base = Tree::build(|tree| {
        tree.dir("bin").file("bin/sh", "sh").add(Entry::dir("srv").mode(0o711).owner(3, 4).mtime(9, 0));
    });
    let models = Tree::build(|tree| {
        tree.add(Entry::dir("srv/models").mode(0o750).owner(1000, 1001).mtime(77, 5));
        tree.file("srv/models/config.json", "{}");
        let entry =
            Entry::file(WEIGHTS, weights()).mode(0o640).owner(1000, 1001).mtime(1_700_000_000, 250_000_000);
        tree.add(entry);
        tree.file("srv/models/tokenizer.json", "tokens");
        tree.file(
            &format!("no/entry/for/{}/blob", "d".repeat(200)),
            [b"GGUF", &noise(2, 11 * MIB)[..]].concat(),
        );
        tree.file("srv/models/small.safetensors", noise(3, MIB));
        tree.file("srv/data.bin", noise(4, 11 * MIB));
    });
    let code = Tree::build(|tree| _ = tree.file("app/main.py", "print()").symlink("app/m", "/srv/models"));
    vec![
        Layer::from_tar(base, Compression::Gzip),
        Layer::from_tar(models, Compression::Zstd),
        Layer::from_tar(code, Compression::None),
    ]
}

/// A node with a store of its own.
struct Node {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
        Self { store, _dir: dir }
    }

    /// Opens an image with what lies beside it, as a start does.
    async fn open(&self, found: &Found) -> Image {
        let repository = &found.repository;
        let layers = found.image.layers.iter().map(|layer| LayerSpec {
            blob: layer.descriptor.digest,
            format: layer.kind.format,
            compression: layer.kind.compression,
            diff_id: Some(layer.diff_id),
            source: repository.resilient_blob(&layer.descriptor),
            annotations: layer.descriptor.annotations.clone(),
            external: None,
            soci: None,
        });
        let models = Models::of(&found.image.manifest.annotations).unwrap();
        let blob = |digest, size| repository.resilient_blob(&glowplug_oci::Descriptor::new("", digest, size));
        let models = models.into_iter().flat_map(|models| models.files).map(|file| ModelSpec {
            source: blob(file.digest, file.size),
            table: blob(file.chunks, file.chunks_size),
            file,
        });
        let (layers, models): (Vec<_>, Vec<_>) = (layers.collect(), models.collect());
        let timeline = Timeline::new(Clock::system());
        open_with(&self.store, &layers, &models, None, &timeline).await.unwrap().image
    }
}

struct Found {
    repository: Arc<dyn Repository>,
    image: ResolvedImage,
}

async fn find(name: &str) -> Found {
    find_for(name, &amd64()).await
}

async fn find_for(name: &str, platform: &Platform) -> Found {
    let source: Source = name.parse().unwrap();
    let repository = client().open(&source).await.unwrap();
    let image = resolve(&*repository, Target::from(&source), platform, &Limits::default()).await.unwrap();
    Found { repository, image }
}

fn wish() -> Wish {
    Wish { least_bytes: DEFAULT_LEAST_BYTES, paths: Vec::new() }
}

async fn chosen(found: &Found) -> Vec<Chosen> {
    choose(&Node::new().open(found).await, &wish()).await.unwrap().0
}

/// Takes weights out, as the command does.
async fn divide(from: &str, models: &str, slim: &str) -> Result<Divided, ConvertError> {
    divide_for(&[], from, models, slim).await
}

/// Takes weights out of the images for `platforms`, or of all.
async fn divide_for(
    platforms: &[Platform],
    from: &str,
    models: &str,
    slim: &str,
) -> Result<Divided, ConvertError> {
    let [from, models, slim]: [Source; 3] = [from, models, slim].map(|name| name.parse().unwrap());
    let client = client();
    let origin = client.open(&from).await?;
    let plan = Plan::make(&*origin, &Target::from(&from), platforms).await?;
    let mut all = Vec::new();
    for image in plan.images() {
        all.push(chosen(&Found { repository: origin.clone(), image: image.clone() }).await);
    }
    let (model_place, slim_place) = (client.create(&models).await?, client.create(&slim).await?);
    let (model_name, slim_name) = (Target::from(&models), Target::from(&slim));
    let known_as = matches!(models, Source::Registry(_)).then(|| model_place.name().to_owned());
    split(
        &plan,
        &*origin,
        &all,
        Place { repository: &*model_place, name: &model_name },
        known_as,
        Place { repository: &*slim_place, name: &slim_name },
        &|_, source| source,
    )
    .await
}

/// What was taken out of the only image.
fn only(divided: &Divided) -> &Models {
    let [image] = &divided.images[..] else { panic!("several images") };
    image.models.as_ref().unwrap()
}

/// Everything that two images have in common if they are the same.
async fn told(image: &Image) -> Vec<(String, String, Vec<u8>)> {
    let tree = image.tree();
    let mut told = Vec::new();
    for (id, node) in (0..).zip(tree.nodes()) {
        let content = match node.kind {
            Kind::File => image.read(id, 0, u32::MAX).await.unwrap(),
            _ => image.link(id).unwrap_or_default().to_vec(),
        };
        let mut node = node.clone();
        node.origin = None;
        told.push((tree.path(id), format!("{node:?} {:?}", tree.xattrs(id)), content));
    }
    told
}

async fn read(image: &Image, path: &str, offset: u64, len: u32) -> Result<Vec<u8>, String> {
    let id = image.tree().find(path).unwrap();
    image.read(id, offset, len).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slim_image_with_its_models_is_what_the_image_was() {
    let registry = TestRegistry::start();
    let original = image(layers()).annotation("kept", "yes").cmd(["/bin/sh"]).push(&registry, "app:v1");
    let dir = tempfile::tempdir().unwrap();
    let before = told(&Node::new().open(&find(&registry.reference("app:v1")).await).await).await;
    for (models, slim) in [
        (registry.reference("app:models"), registry.reference("app:slim")),
        (registry.reference("models:v1"), registry.reference("slim:v1")),
        (at(dir.path(), ":models"), at(dir.path(), ":slim")),
    ] {
        let divided = divide(&registry.reference("app:v1"), &models, &slim).await.unwrap();
        let found = find(&slim).await;
        assert_eq!((divided.old, divided.new), (original.digest(), found.image.manifest_digest));
        assert_eq!(divided.made_over, 1);
        assert!(
            divided.layer_bytes.1 + (22 * MIB as u64) < divided.layer_bytes.0,
            "{:?}",
            divided.layer_bytes
        );
        let paths: Vec<&str> = only(&divided).files.iter().map(|file| &*file.path).collect();
        assert!(paths.len() == 2 && paths[0].starts_with("/no/entry") && paths[1] == format!("/{WEIGHTS}"));
        let after = Node::new().open(&found).await;
        for (was, is) in before.iter().zip(told(&after).await) {
            assert!(*was == is, "{} {}, now {} {}", was.0, was.1, is.0, is.1);
        }
        assert_eq!(before.len(), after.tree().nodes().len());

        assert_eq!(found.image.manifest.annotations["kept"], "yes");
        let layers = &found.image.layers;
        let kept =
            [0, 2].map(|number: usize| layers[number].descriptor.digest == original.layers[number].digest());
        assert_eq!((kept, layers[1].descriptor.digest == original.layers[1].digest()), ([true; 2], false));
        assert_eq!(found.image.config_bytes.len(), original.config.len(), "only a digest is another");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_of_a_layer_stays_byte_for_byte_and_the_same_everywhere() {
    let registry = TestRegistry::start();
    let original = image(layers()).push(&registry, "app:v1");
    let from = registry.reference("app:v1");
    registry.clear_log();
    let divided =
        divide(&from, &registry.reference("app:models"), &registry.reference("app:slim")).await.unwrap();
    let log = registry.log();
    let puts = log.iter().filter(|logged| logged.method == "PUT").map(|logged| &*logged.path);
    let ends: Vec<String> =
        puts.filter_map(|path| path.rsplit_once("/manifests/").map(|(_, name)| name.to_owned())).collect();
    assert_eq!(divided.models, only(&divided).artifact);
    let (artifact, slim) = (divided.models.to_string(), divided.new.to_string());
    assert_eq!(ends, [&*artifact, &*slim, "models", "slim"], "names come last");

    let manifest = |tag: &str| -> Manifest {
        let bytes = registry.manifest("app", tag).unwrap();
        let Document::Manifest(manifest) = Document::parse(&bytes, None, &Limits::default()).unwrap() else {
            panic!("an index")
        };
        manifest
    };
    let blob = registry.blob(&manifest("slim").layers[1].digest).unwrap();
    let slim = decode(&blob, glowplug_convert::Encoding::Gzip);
    let gone = |path: &[u8]| path.ends_with(WEIGHTS.as_bytes()) || path.ends_with(b"/blob");
    let entries = walk(&original.layers[1].tar);
    let mut expected = Vec::new();
    for (number, (entry, _)) in entries.iter().enumerate() {
        let end = entries
            .get(number + 1)
            .map_or(original.layers[1].tar.len() as u64, |(next, _)| next.header_offset);
        if !gone(&entry.path) {
            expected.extend_from_slice(&original.layers[1].tar[entry.header_offset as usize..end as usize]);
        }
    }
    assert!(slim == expected);

    let artifact = manifest("models");
    assert_eq!(artifact.artifact_type.as_deref(), Some("application/vnd.cncf.model.manifest.v1+json"));
    let weight =
        artifact.layers.iter().find(|layer| layer.annotations["org.cncf.model.filepath"] == WEIGHTS).unwrap();
    assert_eq!(weight.digest, Digest::of(&weights()), "the blob is the file");
    assert!(artifact.layers.iter().all(|layer| registry.blob(&layer.digest).is_some()));

    let again = divide(&from, &registry.reference("app:m2"), &registry.reference("app:s2")).await.unwrap();
    assert_eq!(again, divided);

    let [from, models, slim] = ["app:slim", "app:m3", "app:s3"].map(|name| registry.reference(name));
    let error = divide(&from, &models, &slim).await.unwrap_err();
    assert!(error.to_string().contains("beside it already"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kilobyte_of_weights_moves_a_chunk_and_wrong_bytes_are_never_read() {
    let registry = TestRegistry::start();
    image(layers()).push(&registry, "app:v1");
    let slim = registry.reference("app:slim");
    let divided =
        divide(&registry.reference("app:v1"), &registry.reference("app:models"), &slim).await.unwrap();
    let node = Node::new();
    let opened = node.open(&find(&slim).await).await;
    let bytes = weights();
    assert_eq!(read(&opened, WEIGHTS, 5 * MIB as u64 + 7, 1024).await.unwrap(), bytes[5 * MIB + 7..][..1024]);
    assert!(opened.moved_bytes() <= CHUNK as u64, "{} bytes moved", opened.moved_bytes());

    let file = only(&divided).files.iter().find(|file| file.path.ends_with(WEIGHTS)).unwrap();
    let mut wrong = bytes.clone();
    wrong[8 * MIB + 5] ^= 1;
    registry.put_wrong_blob(file.digest, wrong);
    read(&opened, WEIGHTS, 8 * MIB as u64 - 10, 100).await.unwrap_err();
    let before = read(&opened, WEIGHTS, 7 * MIB as u64, MIB as u32).await.unwrap();
    assert!(before == bytes[7 * MIB..8 * MIB], "what is right can be read");
    registry.put_wrong_blob(file.digest, bytes.clone());
    let end = bytes.len() - 100;
    assert!(read(&opened, WEIGHTS, end as u64, 1000).await.unwrap() == bytes[end..], "up to its end");
    assert!(read(&opened, WEIGHTS, 8 * MIB as u64 - 10, 100).await.is_ok(), "and when it is mended");

    // A table that is not the one that the image names gives no image.
    registry.put_wrong_blob(file.chunks, vec![0; file.chunks_size as usize]);
    let found = find(&slim).await;
    let models = Models::of(&found.image.manifest.annotations).unwrap().unwrap();
    let blob = |digest, size| found.repository.blob(&glowplug_oci::Descriptor::new("", digest, size));
    let specs = models.files.into_iter().map(|file| ModelSpec {
        source: blob(file.digest, file.size),
        table: blob(file.chunks, file.chunks_size),
        file,
    });
    let timeline = Timeline::new(Clock::system());
    open_with(&Node::new().store, &[], &specs.collect::<Vec<_>>(), None, &timeline).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_share_weights_share_their_bytes_and_not_their_places() {
    let registry = TestRegistry::start();
    image(layers()).push(&registry, "app:v1");
    let other = Tree::build(|tree| {
        tree.add(Entry::file("other/place.safetensors", weights()).mode(0o400).owner(5, 6).mtime(1, 0));
    });
    image([Layer::from_tar(other, Compression::Gzip)]).push(&registry, "other:v1");
    for name in ["app", "other"] {
        let at = |tag: &str| registry.reference(&format!("{name}:{tag}"));
        divide(&at("v1"), &at("models"), &at("slim")).await.unwrap();
    }
    let node = Node::new();
    let first = node.open(&find(&registry.reference("app:slim")).await).await;
    assert!(read(&first, WEIGHTS, 0, u32::MAX).await.unwrap() == weights());
    let second = node.open(&find(&registry.reference("other:slim")).await).await;
    assert!(read(&second, "other/place.safetensors", 0, u32::MAX).await.unwrap() == weights());
    assert_eq!(second.moved_bytes(), 0);
    let node = |image: &Image, path: &str| {
        let found = image.tree().node(image.tree().find(path).unwrap()).unwrap();
        (found.mode, found.uid, found.mtime)
    };
    assert_eq!(node(&first, WEIGHTS), (0o640, 1000, (1_700_000_000, 250_000_000)));
    assert_eq!(node(&second, "other/place.safetensors"), (0o400, 5, (1, 0)));
    assert_eq!(second.tree().find(WEIGHTS), None);
    assert_eq!(first.tree().nodes()[Merged::ROOT as usize].kind, Kind::Directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_come_back_as_it_was_stays() {
    let registry = TestRegistry::start();
    let large = || noise(5, 10 * MIB);
    let lower = Tree::build(|tree| _ = tree.file("m/again.safetensors", large()));
    let upper = Tree::build(|tree| {
        tree.file("m/again.safetensors", large());
        tree.file("m/linked.safetensors", large()).hardlink("m/link", "m/linked.safetensors");
        tree.add(Entry::file("m/marked.safetensors", large()).xattr("user.a", b"b"));
        tree.file("m/taken.safetensors", large()).file("m/other.data", large());
    });
    image([lower, upper].map(|tar| Layer::from_tar(tar, Compression::Gzip))).push(&registry, "app:v1");
    let node = Node::new();
    let opened = node.open(&find(&registry.reference("app:v1")).await).await;
    let (chosen, left) = choose(&opened, &wish()).await.unwrap();
    assert_eq!(chosen.iter().map(|file| &*file.path).collect::<Vec<_>>(), ["/m/taken.safetensors"]);
    let left: Vec<_> = left.iter().map(|file| (&*file.path, file.reason)).collect();
    assert_eq!(
        left,
        [
            ("/m/again.safetensors", Reason::Again),
            ("/m/linked.safetensors", Reason::Links),
            ("/m/marked.safetensors", Reason::Attributes),
        ]
    );
    let paths = vec!["m/other.data".to_owned(), "/m/none".to_owned()];
    let (chosen, left) = choose(&opened, &Wish { paths, ..wish() }).await.unwrap();
    assert_eq!((chosen.len(), left.len(), &*chosen[0].path), (1, 0, "/m/other.data"));
}

fn linux(architecture: &str) -> Platform {
    Platform::new("linux", architecture)
}

/// Four platforms in an index with more in it: two share the layer with their weights, one has others, one has none.
fn push_for_all(registry: &TestRegistry) -> [Built; 4] {
    let weights = layers().remove(1);
    let other = Tree::build(|tree| _ = tree.file(WEIGHTS, noise(9, 11 * MIB)));
    let other = Layer::from_tar(other, Compression::Gzip);
    let own = |name: &str| {
        let tar = Tree::build(|tree| _ = tree.dir("bin").file("bin/sh", name.repeat(1000)));
        Layer::from_tar(tar, Compression::Gzip)
    };
    let of = |name: &str, more: Option<&Layer>| {
        let builder = ImageBuilder::new().platform(&linux(name)).layer(own(name));
        more.into_iter().cloned().fold(builder, ImageBuilder::layer).push(registry, "app")
    };
    let images = [
        of("amd64", Some(&weights)),
        of("arm64", Some(&weights)),
        of("s390x", Some(&other)),
        of("ppc64le", None),
    ];
    let mut entries: Vec<Descriptor> = images.iter().map(Built::descriptor).collect();
    entries[1].annotations.insert("of.entry".into(), "kept".into());
    let mut attestation = Descriptor::of(media::OCI_MANIFEST, b"attestation");
    attestation.platform = Some(Platform::new("unknown", "unknown"));
    entries.push(attestation);
    let mut index = serde_json::to_value(Index::new(entries)).unwrap();
    index["annotations"] = serde_json::json!({ "of.index": "kept" });
    registry.put_manifest("app", Some("v1"), index.to_string(), media::OCI_INDEX);
    images
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_finds_its_weights_and_equal_ones_are_one_artifact() {
    let registry = TestRegistry::start();
    let originals = push_for_all(&registry);
    let from = registry.reference("app:v1");
    registry.clear_log();
    let slim = registry.reference("slim:v1");
    let divided = divide(&from, &registry.reference("models:v1"), &slim).await.unwrap();
    let puts = registry.log().into_iter().filter(|logged| logged.method == "PUT");
    let manifests: Vec<String> =
        puts.map(|put| put.path).filter(|path| path.contains("/manifests/")).collect();
    assert!(manifests.len() == 9, "two artifacts, four images, their index, two names: {manifests:?}");
    assert_eq!(&manifests[7..], ["/v2/models/manifests/v1", "/v2/slim/manifests/v1"], "names come last");

    let index = registry.index("slim", "v1").unwrap();
    assert_eq!(index.annotations["of.index"], "kept");
    assert_eq!(index.manifests[1].annotations["of.entry"], "kept");
    let listed = |index: &Index| -> Vec<(Digest, Option<Platform>)> {
        index.manifests.iter().map(|entry| (entry.digest, entry.platform.clone())).collect()
    };
    let expected: Vec<_> =
        divided.images.iter().map(|image| (image.new, Some(image.platform.clone()))).collect();
    assert_eq!(listed(&index), expected, "attestations are about what was");
    assert_eq!((divided.new, divided.made_over), (Digest::of(&registry.manifest("slim", "v1").unwrap()), 2));
    let [amd64, arm64, s390x, ppc64le] = &divided.images[..] else { panic!("four images") };
    let artifact = |image: &glowplug_convert::split::DividedImage| image.models.as_ref().unwrap().artifact;
    assert_eq!(artifact(amd64), artifact(arm64), "equal weights, equal artifact");
    assert_ne!(artifact(amd64), artifact(s390x));
    assert_eq!((ppc64le.new, &ppc64le.models), (ppc64le.old, &None), "nothing to take out, nothing changed");

    let models = registry.index("models", "v1").unwrap();
    let of = |image: &glowplug_convert::split::DividedImage| (artifact(image), Some(image.platform.clone()));
    assert_eq!(listed(&models), [of(amd64), of(arm64), of(s390x)]);
    assert_eq!(divided.models, Digest::of(&registry.manifest("models", "v1").unwrap()));

    for original in &originals {
        let before = told(&Node::new().open(&find_for(&from, &original.platform).await).await).await;
        let after = told(&Node::new().open(&find_for(&slim, &original.platform).await).await).await;
        assert!(before == after, "{}", original.platform);
    }
    let again =
        divide(&from, &registry.reference("models:v2"), &registry.reference("slim:v2")).await.unwrap();
    assert_eq!(again, divided, "the same everywhere");

    // Of one platform the artifact alone has the models' name.
    let (models, slim) = (registry.reference("one:models"), registry.reference("one:slim"));
    let one = divide_for(&[linux("arm64")], &from, &models, &slim).await.unwrap();
    assert_eq!(one.models, artifact(arm64));
    assert_eq!(registry.index("one", "slim").unwrap().manifests.len(), 1);
    let error = divide_for(&[linux("ppc64le")], &from, &models, &slim).await.unwrap_err();
    assert!(error.to_string().contains("nothing to take out"), "{error}");
}
