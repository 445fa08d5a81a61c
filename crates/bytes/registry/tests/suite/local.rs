//! Images in files.

use std::path::Path;

use glowplug_base::Hinted as _;
use glowplug_oci::{Compression, Platform, Source, media};
use glowplug_registry::{Error, ResolvedImage};
use glowplug_source::{Kind, read_all};
use glowplug_testkit::{Image, ImageBuilder, Layer, Tree};
use glowplug_timeline::Cause;
use proptest::prelude::*;

use crate::{amd64, client, noise, options, read, resolved};

fn image() -> Image {
    let big = noise(3 << 20);
    ImageBuilder::new()
        .platform(&amd64())
        .layer(Layer::plain(|tree| _ = tree.file("big", big)))
        .layer(Layer::gzip(|tree| _ = tree.file("a", "1")))
        .layer(Layer::zstd(|tree| _ = tree.file("b", "2")))
        .layer(Layer::gzip(|tree| _ = tree.file("a", "1")))
        .build()
}

async fn pull(text: &str) -> Result<ResolvedImage, Error> {
    resolved(&client(options()), &text.parse().unwrap()).await
}

/// Every layer, read from `text`, has its bytes, whole and in part.
async fn check_layers(text: &str, image: &ResolvedImage, built: &Image) {
    let repository = client(options()).open(&text.parse().unwrap()).await.unwrap();
    assert_eq!(image.layers.len(), built.layers.len());
    for (layer, built) in image.layers.iter().zip(&built.layers) {
        let source = repository.blob(&layer.descriptor);
        let size = source.size();
        assert_eq!(layer.descriptor.digest, built.digest());
        assert_eq!(layer.kind.compression, built.compression);
        assert_eq!(read(&*source, 0, size).await.unwrap(), built.blob);
        assert_eq!(read(&*source, 5, size - 7).await.unwrap(), built.blob[5..size as usize - 7]);
        assert!(read(&*source, 0, size + 1).await.is_err());
    }
}

#[tokio::test]
async fn layouts_and_archives_give_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let built = image();
    built.write_layout(&dir.path().join("layout"), Some("v1"));
    built.write_oci_archive(&dir.path().join("oci.tar"), None);
    let at = |name: &str| dir.path().join(name).display().to_string();
    for text in [
        format!("oci:{}:v1", at("layout")),
        format!("oci:{}", at("layout")),
        format!("oci-archive:{}", at("oci.tar")),
    ] {
        let image = pull(&text).await.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(image.manifest_digest, built.digest());
        check_layers(&text, &image, &built).await;
    }
}

#[tokio::test]
async fn docker_archives_give_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let (file, built) = (dir.path().join("docker.tar"), image());
    built.write_docker_archive(&file, "team/app:v1");
    let text = format!("docker-archive:{}", file.display());
    let image = pull(&text).await.unwrap();
    assert_eq!(image.config_bytes, built.config);
    // The second gzip layer is a link to the first in the archive.
    assert_eq!(image.layers[1].descriptor, image.layers[3].descriptor);
    assert_eq!(image.layers[0].kind.compression, Compression::None);
    check_layers(&text, &image, &built).await;
}

#[tokio::test]
async fn one_of_several_must_be_named() {
    let dir = tempfile::tempdir().unwrap();
    for (tag, word) in [("v1", "1"), ("v2", "2")] {
        ImageBuilder::new().platform(&amd64()).cmd([word]).build().write_layout(dir.path(), Some(tag));
    }
    let text = format!("oci:{}", dir.path().display());
    let error = pull(&text).await.unwrap_err();
    assert!(error.to_string().ends_with("holds several images: v1, v2"), "{error}");
    assert!(error.hint().is_some());
    pull(&format!("{text}:v2")).await.unwrap();
    assert!(pull(&format!("{text}:v3")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_layout_may_list_its_platforms_itself() {
    let dir = tempfile::tempdir().unwrap();
    for platform in ["linux/arm64", "linux/amd64"] {
        let platform: Platform = platform.parse().unwrap();
        ImageBuilder::new().platform(&platform).build().write_layout(dir.path(), None);
    }
    let image = pull(&format!("oci:{}", dir.path().display())).await.unwrap();
    assert_eq!(image.config.architecture().to_string(), "amd64");
    assert!(image.index.is_some());
}

fn write(dir: &Path, fill: impl FnOnce(&mut Tree)) -> std::path::PathBuf {
    let file = dir.join("archive.tar");
    std::fs::write(&file, Tree::build(fill)).unwrap();
    file
}

#[tokio::test]
async fn broken_files_are_told_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let built = image();
    let open = async |scheme: &str, file: &Path| {
        let text = format!("{scheme}:{}", file.display());
        pull(&text).await.expect_err(&text).to_string()
    };
    assert!(open("oci", dir.path()).await.contains("no OCI image layout"));
    assert!(open("oci-archive", &dir.path().join("missing")).await.contains("missing"));
    let file = write(dir.path(), |tree| _ = tree.file("x", "y"));
    assert!(open("oci-archive", &file).await.contains("no OCI image layout"));
    assert!(open("docker-archive", &file).await.contains("manifest.json is missing"));
    built.write_docker_archive(&file, "app");
    assert!(open("oci-archive", &file).await.contains("name it docker-archive"));
    built.write_oci_archive(&file, None);
    assert!(open("docker-archive", &file).await.contains("name it oci-archive"));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    assert!(open("oci-archive", &file).await.contains("ends inside"));
    std::fs::write(&file, &built.layers[1].blob).unwrap();
    assert!(open("oci-archive", &file).await.contains("compressed"));
    std::fs::write(&file, noise(5000)).unwrap();
    assert!(open("oci-archive", &file).await.contains("not a tar archive"));
    let version = r#"{"imageLayoutVersion":"2.0.0"}"#;
    let file = write(dir.path(), |tree| _ = tree.file("oci-layout", version));
    assert!(open("oci-archive", &file).await.contains("version \"2.0.0\""));
    // Links in a circle and links that lead out are not followed.
    let file = write(dir.path(), |tree| {
        _ = tree.symlink("manifest.json", "other").symlink("other", "manifest.json")
    });
    assert!(open("docker-archive", &file).await.contains("missing"));
    let file = write(dir.path(), |tree| _ = tree.symlink("manifest.json", "../../etc/passwd"));
    assert!(open("docker-archive", &file).await.contains("missing"));
    let manifest = r#"[{"Config":"/etc/passwd","Layers":["../x"]}]"#;
    let file = write(dir.path(), |tree| _ = tree.file("manifest.json", manifest));
    assert!(open("docker-archive", &file).await.contains("lacks \"/etc/passwd\""));
}

#[tokio::test]
async fn wrong_and_missing_blobs_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let built = image();
    built.write_layout(dir.path(), Some("v1"));
    let text = format!("oci:{}:v1", dir.path().display());
    let image = pull(&text).await.unwrap();
    let repository = client(options()).open(&text.parse::<Source>().unwrap()).await.unwrap();
    let layer = dir.path().join("blobs/sha256").join(built.layers[0].digest().hex());
    let range = glowplug_base::ByteRange::new(0, image.layers[0].descriptor.size);

    std::fs::write(&layer, b"short").unwrap();
    let source = repository.blob(&image.layers[0].descriptor);
    assert!(matches!(read_all(&*source, range, Cause::Fault).await.unwrap_err().kind, Kind::Io(_)));
    std::fs::remove_file(&layer).unwrap();
    let source = repository.blob(&image.layers[0].descriptor);
    assert_eq!(read_all(&*source, range, Cause::Fault).await.unwrap_err().kind, Kind::NotFound);

    let config = dir.path().join("blobs/sha256").join(image.manifest.config.digest.hex());
    let mut wrong = built.config.to_vec();
    wrong[0] ^= 1;
    std::fs::write(config, wrong).unwrap();
    assert!(matches!(pull(&text).await.unwrap_err(), Error::Source(error) if error.kind == Kind::Corrupt));
    let manifest = dir.path().join("blobs/sha256").join(built.digest().hex());
    std::fs::write(manifest, b"{}").unwrap();
    assert!(matches!(pull(&text).await.unwrap_err(), Error::Source(error) if error.kind == Kind::Corrupt));
}

#[tokio::test]
async fn a_configuration_that_is_an_index_is_no_index() {
    let dir = tempfile::tempdir().unwrap();
    image().write_layout(dir.path(), None);
    std::fs::write(dir.path().join("index.json"), image().manifest).unwrap();
    let error = pull(&format!("oci:{}", dir.path().display())).await.unwrap_err();
    assert!(matches!(error, Error::Document { .. }), "{error}");
    assert_eq!(media::bare("A/B; c=d"), "a/b");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn damaged_archives_never_panic(at in 0..20_000_usize, byte in any::<u8>(), cut in 0..20_000_usize, docker in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar");
        let built = ImageBuilder::new().platform(&amd64()).layer(Layer::gzip(|tree| _ = tree.file("a", "1"))).build();
        if docker { built.write_docker_archive(&file, "app:v1") } else { built.write_oci_archive(&file, None) }
        let mut bytes = std::fs::read(&file).unwrap();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length);
        std::fs::write(&file, bytes).unwrap();
        let scheme = if docker { "docker-archive" } else { "oci-archive" };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = runtime.block_on(pull(&format!("{scheme}:{}", file.display())));
    }
}
