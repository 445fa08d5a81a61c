//! Layers that are EROFS images: an image of them is what overlayfs makes of the directories that they were made of, through every
//! door, and starts like any other.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use glowplug_base::Digest;
use glowplug_e2e::{Difference, Door, Glowplug, Kind, Mounted, Survey, erofs_image, layout};
use glowplug_testkit::{ImageBuilder, Layer, TestRegistry};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, mknodat};
use serde_json::{Value, json};

const EROFS_LAYER: &str = "application/vnd.erofs.layer.v1";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Something mounted. Dropped, it is unmounted.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, options: &str, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mount = Command::new("mount").args(["-t", kind, kind, "-o", options]).arg(at).output().unwrap();
        assert!(mount.status.success(), "{}", String::from_utf8_lossy(&mount.stderr));
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Bytes that are different everywhere.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761 + seed) >> 9) as u8).collect()
}

fn lower(root: &Path) {
    fs::create_dir_all(root.join("opaque/deep")).unwrap();
    fs::create_dir_all(root.join("gone")).unwrap();
    fs::create_dir_all(root.join("d")).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o2750)).unwrap();
    for (path, content) in [
        ("d/small", &b"small"[..]),
        ("d/long", &pattern(1, 3_000_001)),
        ("d/pages", &pattern(2, 8192)),
        ("d/empty", b""),
        ("d/replaced", b"before"),
        ("opaque/below", b"below"),
        ("opaque/deep/below", b"below"),
        ("gone/file", b"gone"),
        ("hidden", b"hidden"),
    ] {
        fs::write(root.join(path), content).unwrap();
    }
    fs::write(root.join("d/zeros"), vec![0; 100_000]).unwrap();
    fs::hard_link(root.join("d/pages"), root.join("d/again")).unwrap();
    symlink("../hidden", root.join("d/link")).unwrap();
    fs::set_permissions(root.join("d/small"), fs::Permissions::from_mode(0o4711)).unwrap();
    chown(root.join("d/long"), Some(70_000), Some(100)).unwrap();
    device(&root.join("d/null"), 1, 3);
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    lsetxattr(root.join("d/replaced"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    lsetxattr(root.join("d/empty"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    for number in 0..300 {
        fs::write(root.join(format!("d/many-{number:03}")), number.to_string().repeat(number % 7)).unwrap();
    }
}

fn upper(root: &Path) {
    fs::create_dir_all(root.join("opaque")).unwrap();
    fs::create_dir_all(root.join("d/new")).unwrap();
    lsetxattr(root.join("opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    fs::write(root.join("opaque/above"), "above").unwrap();
    fs::write(root.join("d/replaced"), "after").unwrap();
    fs::write(root.join("d/new/file"), pattern(3, 5000)).unwrap();
    for whiteout in ["gone", "hidden", "d/pages"] {
        device(&root.join(whiteout), 0, 0);
    }
}

fn device(path: &Path, major: u32, minor: u32) {
    let number = rustix::fs::makedev(major, minor);
    mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), number).unwrap();
}

fn layer(folder: &Path, options: &[&str]) -> Layer {
    let image = erofs_image(folder, options);
    Layer::raw(image.clone(), image, EROFS_LAYER)
}

#[test]
fn layers_are_what_overlayfs_makes_of_their_directories() {
    let folder = tempfile::tempdir().unwrap();
    // Overlayfs keeps devices 0/0 and its attributes to itself where folders are its own.
    let disk = Mount::new("tmpfs", "mode=755", &folder.path().join("disk"));
    let [below, above] = ["lower", "upper"].map(|name| disk.0.join(name));
    lower(&below);
    upper(&above);
    let lowerdir = format!("ro,lowerdir={}:{}", above.display(), below.display());
    let overlay = Mount::new("overlay", &lowerdir, &folder.path().join("overlay"));
    let expected = Survey::of(&overlay.0);
    for (name, options) in [
        ("containerd", &[][..]),
        ("tails", &["--quiet"]),
        ("chunks", &["--quiet", "--chunksize=4096"]),
        ("indexes", &["--quiet", "--chunksize=65536", "-Eforce-chunk-indexes"]),
        ("extended", &["--quiet", "-Eforce-inode-extended"]),
    ] {
        let image = ImageBuilder::new().layer(layer(&below, options)).layer(layer(&above, options)).build();
        let layout = folder.path().join(name);
        image.write_layout(&layout, None);
        for door in [Door::Fuse, Door::Lazy, Door::Erofs] {
            let mounted = Mounted::new(&layout, door);
            let differences = expected.differences(&Survey::of(mounted.path()));
            // Of a directory size and links are the disk's; the root is the container's own.
            let is_directory = |difference: &Difference| {
                expected.entries().get(&difference.path).is_some_and(|facts| facts.kind == Kind::Directory)
            };
            let is_excused = |difference: &Difference| {
                let is_root = difference.path.as_os_str().is_empty();
                is_root || (is_directory(difference) && ["size", "links"].contains(&difference.field))
            };
            let told = differences.iter().filter(|difference| !is_excused(difference));
            let told: Vec<String> = told.map(ToString::to_string).collect();
            assert!(told.is_empty(), "{name} through {door:?}:\n{}", told.join("\n"));
        }
    }
}

/// `tiny`, its layers made over to EROFS images by unpacking them.
fn serve_tiny(registry: &TestRegistry) -> String {
    let folder = layout("tiny-uncompressed");
    let read = |digest: &Value| {
        fs::read(folder.join("blobs").join(digest.as_str().unwrap().replace(':', "/"))).unwrap()
    };
    let json = |digest: &Value| -> Value { serde_json::from_slice(&read(digest)).unwrap() };
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let mut manifest = json(&index["manifests"][0]["digest"]);
    let mut config = json(&manifest["config"]["digest"]);
    let mut diff_ids = Vec::new();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        let unpacked = tempfile::tempdir().unwrap();
        let blob = folder.join("blobs").join(layer["digest"].as_str().unwrap().replace(':', "/"));
        // What hides files is the other test's.
        let mut tar = Command::new("tar");
        tar.args(["--exclude=.wh.*", "-xpf"]).arg(blob);
        assert!(tar.arg("-C").arg(unpacked.path()).status().unwrap().success());
        let image = erofs_image(unpacked.path(), &[]);
        let digest = Digest::of(&image).to_string();
        *layer = json!({ "mediaType": EROFS_LAYER, "digest": digest, "size": image.len() });
        diff_ids.push(digest);
        registry.put_blob(image);
    }
    config["rootfs"]["diff_ids"] = diff_ids.into();
    config["os.features"] = json!(["erofs"]);
    let config = serde_json::to_vec(&config).unwrap();
    manifest["config"]["digest"] = Digest::of(&config).to_string().into();
    manifest["config"]["size"] = config.len().into();
    registry.put_blob(config);
    registry.put_manifest("tiny", Some("erofs"), serde_json::to_vec(&manifest).unwrap(), OCI_MANIFEST);
    registry.reference("tiny:erofs")
}

#[test]
fn a_container_starts_from_erofs_layers_and_is_told_how() {
    let registry = TestRegistry::start();
    let image = serve_tiny(&registry);
    let node = Glowplug::new();
    let explained =
        || -> Value { serde_json::from_str(&node.succeed(&["--json", "explain", &image])).unwrap() };
    let first = explained()["layers"][0].clone();
    assert_eq!((&first["format"], &first["lazy"]), (&json!("erofs"), &json!(false)), "{first}");
    assert!(first["why"].as_str().unwrap().contains("nothing vouches for pieces of it"), "{first}");
    for _ in 0..2 {
        assert_eq!(node.succeed(&["run", &image, "/bin/cat", "/www/answer.txt"]), "the tiny image answers\n");
        let known = explained()["layers"][0].clone();
        assert_eq!((&known["indexed"], &known["lazy"]), (&json!(true), &json!(true)), "{known}");
    }
    assert_eq!(node.succeed(&["image", "cat", &image, "/www/answer.txt"]), "the tiny image answers\n");
    assert!(node.succeed(&["image", "inspect", &image]).contains("EROFS image"));
    let to = registry.reference("tiny:converted");
    for refused in
        [&["image", "convert", "--to", "estargz", "--output", &to, &image][..], &["image", "index", &image]]
    {
        let output = node.output(refused);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("EROFS layer"), "{refused:?}: {said}");
    }
}
