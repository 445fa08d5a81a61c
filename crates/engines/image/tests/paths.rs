//! Files of an image by path: links are followed inside it, and bytes that are missing are waited for.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::sync::Arc;

use glowplug_base::{Clock, Hinted as _};
use glowplug_image::{Image, LayerSpec, open};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::MemorySource;
use glowplug_store::{Options, Store};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::Timeline;

async fn image(store: &Arc<Store>, layer: &Layer) -> Image {
    let spec = LayerSpec {
        blob: layer.digest(),
        format: LayerFormat::Tar,
        compression: layer.compression,
        diff_id: None,
        source: Arc::new(MemorySource::new("blob", layer.blob.clone())),
        annotations: Default::default(),
        external: None,
        soci: None,
    };
    open(store, &[spec], &Timeline::new(Clock::system())).await.unwrap().image
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_by_path_through_links_that_stay_inside() {
    let tar = Tree::build(|tree| {
        tree.dir("etc").dir("usr").dir("usr/share");
        tree.file("usr/share/passwd", "inside\n").file("etc/plain", "plain\n");
        tree.symlink("etc/passwd", "/usr/share/passwd");
        tree.symlink("etc/relative", "../usr/./share/passwd");
        tree.symlink("etc/above", "../../../../../usr/share/passwd");
        tree.symlink("data", "usr/share");
        tree.symlink("etc/circle", "circle");
        tree.symlink("etc/nowhere", "/no/such/file");
        tree.symlink("etc/through", "plain/../plain");
        // Forty links lead to it, and one more.
        tree.symlink("hop-0", "/etc/plain");
        for hop in 1..=40 {
            tree.symlink(&format!("hop-{hop}"), &format!("hop-{}", hop - 1));
        }
    });
    let layer = Layer::in_parts(tar, Compression::Gzip, usize::MAX);
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    drop(image(&store, &layer).await);
    store.drop_data(&layer.digest()).unwrap();
    let image = image(&store, &layer).await;
    for path in ["etc/passwd", "/etc//passwd", "etc/relative", "etc/above", "data/passwd", "../data/./passwd"]
    {
        assert_eq!(image.read_path(path, 100).await.unwrap().as_deref(), Some(&b"inside\n"[..]), "{path}");
    }
    assert_eq!(image.read_path("hop-39", 3).await.unwrap().as_deref(), Some(&b"pla"[..]));
    for path in
        ["etc/circle", "etc/nowhere", "etc", "etc/plain/x", "etc/plain/..", "etc/through", "", "hop-40"]
    {
        assert_eq!(image.read_path(path, 100).await.unwrap(), None, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_leads_nowhere_says_where_it_ends_and_what_is_near() {
    let layer = Layer::gzip(|tree| {
        tree.dir("etc").file("etc/passwd", "p").file("etc/python3.12", "").file("etc/python3.13", "");
        tree.dir("usr")
            .dir("usr/lib")
            .file("usr/lib/os-release", "o")
            .dir("opt")
            .symlink("opt/lib", "/usr/lib");
        tree.symlink("etc/dangling", "../usr/lib/gone").symlink("etc/circle", "circle");
        tree.add(glowplug_testkit::Entry::fifo("pipe")).add(glowplug_testkit::Entry::file(b"bad\xff", ""));
    });
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
    let image = image(&store, &layer).await;
    let told = |path: &[u8]| {
        let error = image.look_up_file(path).unwrap_err();
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{error}{hint}")
    };
    for (path, expected) in [
        ("/etc/paswd", "/etc/paswd: no such file or directory; there is /etc/passwd"),
        ("etc/PASSWD/", "etc/PASSWD/: no such file or directory; there is /etc/passwd"),
        ("etc/python", "etc/python: no such file or directory; there is /etc/python3.12, /etc/python3.13"),
        ("/etc/os-release", "/etc/os-release: no such file or directory; there is /usr/lib/os-release"),
        (
            "/opt/lib/os-releas",
            "/opt/lib/os-releas: no such file or directory (/usr/lib/os-releas is missing); there is /usr/lib/os-release",
        ),
        ("/etc/dangling", "/etc/dangling: no such file or directory (/usr/lib/gone is missing)"),
        ("/no/such", "/no/such: no such file or directory (/no is missing)"),
        ("/etc/passwd/x", "/etc/passwd/x: /etc/passwd is not a directory"),
        ("/etc/circle", "/etc/circle: too many symbolic links"),
        ("/etc", "/etc: is a directory"),
        ("pipe", "pipe: is a named pipe, which has no bytes"),
        ("a\u{1b}[2J", "a\\x1b[2J: no such file or directory"),
    ] {
        assert_eq!(told(path.as_bytes()), expected);
    }
    assert_eq!(told(b"bad\xfe"), "bad\\xfe: no such file or directory; there is /bad\\xff");
    // The link itself, unless something is asked for behind it.
    let kind = |path: &str| {
        let node = image.tree().node(image.look_up_link(path).unwrap()).unwrap();
        format!("{:?}", node.kind)
    };
    let kinds =
        ["/opt/lib", "opt/lib/", "/opt/lib/.", "/opt/lib/..", "/opt/lib/os-release", "etc/dangling", "/", ""]
            .map(kind);
    let expected =
        ["Symlink", "Directory", "Directory", "Directory", "File", "Symlink", "Directory", "Directory"];
    assert_eq!(kinds, expected);
}
