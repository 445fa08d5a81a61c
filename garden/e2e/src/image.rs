//! The test images that `cargo xtask image` makes, as layouts and behind a registry that can be made to fail.

use std::path::PathBuf;

use glowplug_testkit::TestRegistry;

/// The layout folder of a test image, such as `tiny-gzip`.
///
/// # Panics
/// `GLOWPLUG_IMAGES` is not set, or has no such image.
pub fn layout(name: &str) -> PathBuf {
    let images =
        std::env::var_os("GLOWPLUG_IMAGES").expect("GLOWPLUG_IMAGES is not set: run `cargo xtask test e2e`");
    let folder = PathBuf::from(images).join(name);
    assert!(
        folder.join("index.json").exists(),
        "{} is not there: run `cargo xtask test e2e`",
        folder.display()
    );
    folder
}

/// Puts a test image into a registry as `tag`, a name with a tag.
///
/// # Panics
/// The layout is damaged.
pub fn serve(registry: &TestRegistry, name: &str, tag: &str) {
    let folder = layout(name);
    let read = |path: PathBuf| {
        std::fs::read(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    };
    let index: serde_json::Value =
        serde_json::from_slice(&read(folder.join("index.json"))).expect("index.json is JSON");
    for blob in std::fs::read_dir(folder.join("blobs/sha256")).expect("the layout has blobs") {
        registry.put_blob(read(blob.expect("the folder can be listed").path()));
    }
    let manifest = &index["manifests"][0];
    let digest = manifest["digest"].as_str().expect("the index has a manifest").replace(':', "/");
    let media_type = manifest["mediaType"].as_str().expect("the manifest has a type");
    let (repository, tag) = tag.split_once(':').expect("a name with a tag");
    registry.put_manifest(repository, Some(tag), read(folder.join("blobs").join(digest)), media_type);
}
