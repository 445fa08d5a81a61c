//! `glowplug image inspect`, `ls`, `cat` and `diff` by the program itself, on images in files and in a registry.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};

use glowplug_testkit::{Entry, Image, ImageBuilder, Layer, Logged, TestRegistry};
use serde_json::Value;

/// A folder for a store and images, gone afterwards.
struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes an image's layout and gives the name by which it is asked for.
    fn layout(&self, name: &str, image: &Image) -> String {
        let dir = self.0.path().join(name);
        image.write_layout(&dir, None);
        format!("oci:{}", dir.display())
    }

    fn store(&self) -> std::path::PathBuf {
        self.0.path().join("store")
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glowplug"));
        command.arg("--store").arg(self.store()).arg("image").args(args).stdin(Stdio::null());
        command
    }

    fn output<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    fn succeed<S: AsRef<OsStr>>(&self, args: &[S]) -> Vec<u8> {
        let output = self.output(args);
        assert!(output.status.success(), "{}: {}", output.status, said(&output));
        output.stdout
    }

    fn text(&self, args: &[&str]) -> String {
        String::from_utf8(self.succeed(args)).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.succeed(&[args, &["--json"]].concat())).unwrap()
    }

    /// Exit status and errors of a command that must fail.
    fn fail(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        assert!(output.stdout.is_empty(), "nothing is printed by halves: {output:?}");
        (output.status.code().unwrap(), said(&output))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Two layers with most of what a tree can have.
fn image() -> Image {
    let below = Layer::gzip(|tree| {
        tree.dir("etc")
            .file("etc/hostname", "box\n")
            .file("etc/gone", "gone")
            .dir("data")
            .file("data/old", "old");
        tree.add(Entry::file("data/raw", [0, 255, 10, 13]).owner(7, 8).mode(0o4750).mtime(1_000_000_000, 5));
        tree.hardlink("data/again", "data/raw").symlink("etc/name", "hostname").symlink("way", "/data");
        tree.symlink("etc/circle", "circle").symlink("etc/out", "../../../etc/hostname");
    });
    let above = Layer::zstd(|tree| {
        tree.whiteout("etc/gone")
            .opaque("data")
            .file("data/new", "new")
            .add(Entry::file(b"data/b\xff\n", "bytes"));
        tree.add(Entry::char_device("null", 1, 3)).add(Entry::dir("tmp").mode(0o1777));
    });
    ImageBuilder::new()
        .layer(below)
        .layer(above)
        .entrypoint(["/bin/server", "--port"])
        .cmd(["8080"])
        .env(["A=b", "ESC=\u{1b}[2J"])
        .annotation("org.example.key", "value")
        .config(|config| {
            config["config"]["User"] = "7:8".into();
            config["config"]["WorkingDir"] = "/data".into();
            config["config"]["ExposedPorts"] = serde_json::json!({ "8080/tcp": {} });
            config["config"]["Labels"] = serde_json::json!({ "team": "cold" });
            config["history"] = serde_json::json!([
                { "created_by": "COPY . /" }, { "created_by": "ENV A=b", "empty_layer": true },
                { "created_by": "RUN make" },
            ]);
        })
        .build()
}

#[test]
fn the_merged_tree_is_listed() {
    let node = Node::new();
    let image = node.layout("image", &image());
    assert_eq!(node.text(&["ls", &image]), "data\netc\nnull\ntmp\nway\n");
    assert_eq!(node.text(&["ls", &image, "data"]), "b\\xff\\n\nnew\n");
    assert_eq!(node.text(&["ls", &image, "/way"]), "b\\xff\\n\nnew\n", "a link to a directory is followed");
    assert_eq!(node.text(&["ls", &image, "etc/hostname"]), "etc/hostname\n");
    assert_eq!(node.text(&["ls", &image, "/etc/circle"]), "/etc/circle\n");
    let all = "/data\n/data/b\\xff\\n\n/data/new\n/etc\n/etc/circle\n/etc/hostname\n/etc/name\n/etc/out\n/null\n/tmp\n/way\n";
    assert_eq!(node.text(&["ls", "-R", &image]), all);
    assert_eq!(node.text(&["ls", "-R", &image, "way/"]), "/data/b\\xff\\n\n/data/new\n");
    let long = "drwxr-xr-x 2 0 0   0 2023-11-14T22:13:20Z 0 data\n\
                drwxr-xr-x 2 0 0   0 2023-11-14T22:13:20Z 0 etc\n\
                crw-r--r-- 1 0 0 1,3 2023-11-14T22:13:20Z 1 null\n\
                drwxrwxrwt 2 0 0   0 2023-11-14T22:13:20Z 1 tmp\n\
                lrwxrwxrwx 1 0 0   5 2023-11-14T22:13:20Z 0 way -> /data\n";
    assert_eq!(node.text(&["ls", "-l", &image]), long);
    assert!(node.text(&["ls", "-l", &image, "way"]).ends_with(" way -> /data\n"), "a link is shown itself");
    let (code, said) = node.fail(&["ls", &image, "/etc/hostnam"]);
    assert_eq!(code, 125);
    assert!(
        said.contains("no such file or directory") && said.contains("hint: there is /etc/hostname"),
        "{said}"
    );
    assert!(node.fail(&["ls", &image, "/etc/hostname/x"]).1.contains("/etc/hostname is not a directory"));
}

#[test]
fn what_machines_read_says_every_byte_of_a_name() {
    let node = Node::new();
    let image = node.layout("image", &image());
    let told = node.json(&["ls", "-R", &image]);
    assert_eq!(told["layers"].as_array().unwrap().len(), 2);
    let entries = told["entries"].as_array().unwrap();
    let paths: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths[..3], ["/data", "/data/b\u{fffd}\n", "/data/new"]);
    assert_eq!(entries[1]["path_bytes"], serde_json::json!(b"/data/b\xff\n"));
    assert_eq!(
        (&entries[1]["bytes"], &entries[1]["layer"], &entries[1]["type"]),
        (&5.into(), &1.into(), &"file".into())
    );
    assert_eq!(entries[2].get("path_bytes"), None);
    let way = entries.iter().find(|entry| entry["path"] == "/way").unwrap();
    assert_eq!((&way["target"], &way["mode"]), (&"/data".into(), &"0777".into()));
}

#[test]
fn hard_links_and_attributes_are_told() {
    let node = Node::new();
    let layer = Layer::plain(|tree| {
        tree.add(
            Entry::file("a", "abc")
                .owner(7, 8)
                .xattr("user.tag", b"\x01\xfe")
                .mtime(1_000_000_000, 50_000_000),
        );
        tree.add(
            Entry::hardlink("b", "a")
                .owner(7, 8)
                .xattr("user.tag", b"\x01\xfe")
                .mtime(1_000_000_000, 50_000_000),
        );
    });
    let unlisted = Layer::gzip(|tree| _ = tree.file("made/by-need", ""));
    let image = node.layout("image", &ImageBuilder::new().layer(layer).layer(unlisted).build());
    let made = "drwxr-xr-x 2 0 0 0 1970-01-01T00:00:00Z - made";
    let line = "-rw-r--r-- 2 7 8 3 2001-09-09T01:46:40Z 0";
    assert_eq!(node.text(&["ls", "--long", &image]), format!("{line} a\n{line} b\n{made}\n"));
    let told = node.json(&["ls", &image]);
    assert_eq!(told["entries"][2]["layer"], Value::Null);
    for entry in &told["entries"].as_array().unwrap()[..2] {
        assert_eq!(
            (&entry["links"], &entry["xattrs_hex"]["user.tag"]),
            (&2.into(), &"01fe".into()),
            "{entry}"
        );
        assert_eq!(entry["mtime"], "2001-09-09T01:46:40.05Z");
    }
}

#[test]
fn files_are_printed_byte_for_byte_or_not_at_all() {
    let node = Node::new();
    let big: Vec<u8> = (0..9_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let more = Layer::gzip(|tree| {
        tree.file("big", &big).dir("data").add(Entry::file("data/raw", [0, 255, 10, 13]));
    });
    let mut with_more = image();
    let layers = with_more.layers.drain(..).chain([more]);
    let image = layers.fold(ImageBuilder::new(), ImageBuilder::layer).build();
    let image = node.layout("image", &image);
    assert_eq!(node.succeed(&["cat", &image, "data/raw"]), [0, 255, 10, 13]);
    assert_eq!(node.succeed(&["cat", &image, "/etc/name", "way/new", "etc/out"]), b"box\nnewbox\n");
    assert!(node.succeed(&["cat", &image, "big"]) == big);
    let raw = [OsString::from("cat"), image.clone().into(), OsStr::from_bytes(b"data/b\xff\n").to_owned()];
    assert_eq!(node.succeed(&raw), b"bytes");
    for (path, reason) in [
        ("/etc/hostnme", "hint: there is /etc/hostname"),
        ("/etc/gone", "/etc/gone: no such file or directory"),
        ("/etc", "/etc: is a directory"),
        ("/etc/circle", "too many symbolic links"),
        ("/null", "is a device, which has no bytes"),
    ] {
        let (code, said) = node.fail(&["cat", &image, "/etc/hostname", path]);
        assert!(code == 125 && said.contains(reason), "{code}: {said}");
    }
    // Whoever lists the command's paths forgot one.
    assert_eq!(node.fail(&["cat", &image]).0, 2);
}

#[test]
fn a_reader_who_has_seen_enough_is_no_trouble() {
    let node = Node::new();
    let layer = Layer::gzip(|tree| {
        tree.file("big", vec![b'\n'; 20_000_000]);
        (0..20_000).for_each(|number| _ = tree.file(&format!("a-name-of-some-length-{number}"), ""));
    });
    let image = node.layout("image", &ImageBuilder::new().layer(layer).build());
    let empty = node.layout("empty", &ImageBuilder::new().layer(Layer::gzip(|_| {})).build());
    for (args, code) in [
        (&["ls", &image][..], 0),
        (&["ls", "-l", &image], 0),
        (&["ls", "--json", &image], 0),
        (&["cat", &image, "big"], 0),
        (&["diff", &empty, &image], 1),
    ] {
        let mut child = node.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        drop(out);
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}: {errors}");
        assert!(!errors.contains("rror") && !errors.contains("panic"), "{args:?}: {errors}");
    }
}

#[test]
fn a_full_disk_is_trouble() {
    let node = Node::new();
    let image = node.layout("image", &image());
    for (args, code) in
        [(&["ls", &image][..], 125), (&["cat", &image, "etc/hostname"], 125), (&["diff", &image, &image], 2)]
    {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = node.command(args).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains("write to standard output"), "{}", said(&output));
    }
}

/// Bytes of a blob that a request asks for.
fn asked(registry: &TestRegistry, request: &Logged) -> u64 {
    let digest = request.path.rsplit('/').next().unwrap().parse().unwrap();
    let length = registry.blob(&digest).map_or(0, |blob| blob.len() as u64);
    let Some(range) = &request.range else { return length };
    let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let start: u64 = start.parse().unwrap();
    end.parse().map_or(length, |end: u64| length.min(end + 1)) - start
}

#[test]
fn only_what_is_wanted_moves() {
    let registry = TestRegistry::start();
    // Xorshift: nothing that compresses.
    let noise = |mut state: u64| -> Vec<u8> {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as u8
        };
        (0..6_000_000).map(|_| next()).collect()
    };
    let layer = Layer::gzip(|tree| {
        tree.file("first", noise(1)).file("wanted", "wanted\n").file("last", noise(2));
    });
    let size = layer.blob.len() as u64;
    ImageBuilder::new().layer(layer).push(&registry, "team/app:v1");
    let image = registry.reference("team/app:v1");
    let bytes = |node: &Node, args: &[&str]| {
        registry.clear_log();
        let output = node.output(args);
        assert!(output.status.success(), "{}", said(&output));
        let moved: u64 = registry.blob_requests().iter().map(|request| asked(&registry, request)).sum();
        (moved, said(&output))
    };
    let node = Node::new();
    let (moved, told) = bytes(&node, &["inspect", &image]);
    assert!(moved < 10_000 && told.is_empty() && !node.store().exists(), "{moved}: {told}");
    let (moved, told) = bytes(&node, &["ls", &image]);
    assert!(moved >= size && told.contains("1 of 1 layers have no index anywhere"), "{moved}: {told}");
    assert_eq!(
        bytes(&node, &["cat", &image, "wanted"]),
        (0, String::new()),
        "it is here, and nothing is said"
    );

    // Published, the index is enough elsewhere.
    let publisher = Node::new();
    publisher.succeed(&["index", "--min-layer-size", "0", "--span-size", "256K", &image]);
    let elsewhere = Node::new();
    let (moved, told) = bytes(&elsewhere, &["ls", &image]);
    assert!(moved < size / 3 && told.is_empty(), "{moved} of {size}: {told}");
    let (moved, _) = bytes(&elsewhere, &["cat", &image, "wanted"]);
    assert!(moved > 0 && moved < size / 3, "{moved} of {size}");
    let told = elsewhere.json(&["inspect", &image]);
    assert_eq!((&told["soci"]["version"], &told["soci"]["layers"]), (&"v1".into(), &1.into()));
    assert!(told["layers"][0]["ztoc"]["bytes"].as_u64().unwrap() > 0);
    assert_eq!(told["referrers"][0]["artifact_type"], "application/vnd.amazon.soci.index.v1+json");
    assert!(elsewhere.text(&["inspect", &image]).contains("SOCI index v1: 1 layers have a zTOC"));
}

#[test]
fn an_image_is_told_from_its_documents() {
    let node = Node::new();
    let built = image();
    let image = node.layout("image", &built);
    let text = node.text(&["inspect", &image]);
    for line in [
        format!("manifest     {}", built.digest()),
        format!("platform     {}", built.platform),
        "entrypoint   [\"/bin/server\",\"--port\"]".to_owned(),
        "cmd          [\"8080\"]".to_owned(),
        "env          A=b".to_owned(),
        "             ESC=\\x1b[2J".to_owned(),
        "user         7:8".to_owned(),
        "workdir      /data".to_owned(),
        "ports        8080/tcp".to_owned(),
        "labels       team=cold".to_owned(),
        "annotations  org.example.key=value".to_owned(),
        "     RUN make".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
    assert!(!text.contains('\u{1b}'));
    let told = node.json(&["inspect", &image]);
    assert_eq!(told["manifest"], built.digest().to_string());
    assert_eq!(told["configuration"], serde_json::from_slice::<Value>(&built.config).unwrap());
    let of_layers = |key: &str| [0, 1].map(|at: usize| told["layers"][at][key].clone());
    assert_eq!(of_layers("compression"), ["gzip", "zstd"]);
    assert_eq!(of_layers("created_by"), ["COPY . /", "RUN make"]);
    assert_eq!(of_layers("digest"), [0, 1].map(|at: usize| built.layers[at].digest().to_string()));
    assert_eq!((&told["soci"], &told["index"]), (&Value::Null, &Value::Null));
    assert!(!node.store().exists(), "the store is not touched");
}

#[test]
fn all_platforms_and_what_is_attested_are_told() {
    let registry = TestRegistry::start();
    let here = image();
    here.push(&registry, "team/app");
    let mut elsewhere = here.descriptor();
    elsewhere.platform = Some("linux/riscv64".parse().unwrap());
    let mut attested = here.descriptor();
    attested.platform = Some("unknown/unknown".parse().unwrap());
    attested.annotations = [
        ("vnd.docker.reference.digest".to_owned(), here.digest().to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]
    .into();
    let index = registry.put_index("team/app", Some("v1"), vec![here.descriptor(), elsewhere, attested]);
    let node = Node::new();
    let image = registry.reference("team/app:v1");
    let told = node.json(&["inspect", &image]);
    assert_eq!(told["index"], index.to_string());
    assert_eq!(told["platforms"], serde_json::json!([here.platform.to_string(), "linux/riscv64"]));
    assert_eq!(told["referrers"][0]["artifact_type"], "attestation-manifest");
    let text = node.text(&["inspect", &image]);
    assert!(text.lines().any(|line| line == "also for     linux/riscv64"), "{text}");
    let (code, said) = node.fail(&["inspect", "--platform", "linux/s390x", &image]);
    assert!(code == 125 && said.contains("linux/s390x"), "{said}");
}

/// An image of one shared layer and one of its own, in `dir`.
fn variant(node: &Node, name: &str, own: Layer) -> String {
    let shared = Layer::gzip(|tree| {
        tree.dir("etc")
            .file("etc/keep", "keep")
            .file("etc/size", "1")
            .file("etc/mode", "m")
            .file("etc/drop", "12345");
    });
    node.layout(name, &ImageBuilder::new().layer(shared).layer(own).build())
}

#[test]
fn differences_have_reasons_totals_and_an_exit_status() {
    let node = Node::new();
    let before = variant(&node, "before", Layer::gzip(|tree| _ = tree.file("own", "1")));
    let after = variant(
        &node,
        "after",
        Layer::gzip(|tree| {
            tree.whiteout("etc/drop").file("etc/size", "123").add(Entry::file("etc/mode", "m").mode(0o600));
            tree.file("own", "1")
                .dir("new")
                .add(Entry::file(b"new/\xff", "ab"))
                .add(Entry::hardlink("z", b"new/\xff"));
        }),
    );
    let output = node.output(&["diff", &before, &after]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "removed  /etc/drop  5 B",
        "changed  /etc/mode  mode 0644 to 0600",
        "changed  /etc/size  size 1 B to 3 B",
        "added    /new  directory",
        "added    /new/\\xff  2 B",
        "added    /z  2 B",
    ];
    assert_eq!(lines[..6], expected);
    assert!(lines[6].starts_with("before   oci:") && lines[6].ends_with("5 files, 12 B"), "{text}");
    assert!(lines[7].starts_with("after    oci:") && lines[7].ends_with("5 files, 11 B"), "{text}");
    assert!(lines[8].starts_with("shared   1 layer, "), "{text}");
    assert_eq!(lines[9..], ["3 added (2 B), 1 removed (5 B), 2 changed (2 B before, 4 B after)"]);

    let output = node.output(&["--json", "diff", &before, &after]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["same"], &told["removed"][0]["path"]), (&false.into(), &"/etc/drop".into()));
    assert_eq!(told["changed"][1]["why"], serde_json::json!(["size"]));
    assert_eq!(
        (&told["changed"][1]["before"]["bytes"], &told["changed"][1]["after"]["bytes"]),
        (&1.into(), &3.into())
    );
    assert_eq!(told["added"][1]["path_bytes"], serde_json::json!(b"/new/\xff"));
    assert_eq!(told["shared_layers"].as_array().unwrap().len(), 1);
    assert_eq!(told["totals"]["added"], serde_json::json!({ "paths": 3, "bytes": 2 }));

    let same = node.output(&["diff", &before, &before]);
    assert_eq!(same.status.code(), Some(0), "{}", said(&same));
    let (code, said) = node.fail(&["diff", &before, "oci:/no/such/layout"]);
    assert!(code == 2 && said.contains("look up oci:/no/such/layout"), "{code}: {said}");
}

#[test]
fn equal_sizes_are_read_where_times_differ_or_where_asked() {
    let node = Node::new();
    let file = |text: &'static str, mtime| {
        Layer::gzip(move |tree| _ = tree.add(Entry::file("own", text).mtime(mtime, 0)))
    };
    let variants = [("a", "aaa", 1), ("b", "bbb", 1), ("c", "bbb", 2)];
    let [a, b, c] = variants.map(|(name, text, mtime)| variant(&node, name, file(text, mtime)));
    let code = |args: &[&str]| node.output(&[&["-q", "diff"], args].concat()).status.code();
    assert_eq!(code(&[&a, &b]), Some(0), "equal size and time");
    assert_eq!(code(&["--contents", &a, &b]), Some(1));
    assert_eq!(code(&[&b, &c]), Some(0), "equal size and contents");
    assert_eq!(code(&["--times", &b, &c]), Some(1));
    assert_eq!(code(&[&a, &c]), Some(1));
    let output = node.output(&["diff", &a, &c]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("changed  /own  contents\n"));
    assert!(said(&output).contains("1 file of equal size and other times: read on both sides, 3 B at most"));
}

#[test]
fn every_command_has_help_and_a_manual_page() {
    let node = Node::new();
    let pages = node.0.path().join("man");
    let mut man = Command::new(env!("CARGO_BIN_EXE_glowplug"));
    // What is the default on one machine has no place in a manual.
    man.arg("man").arg(&pages).env("HOME", node.0.path()).env_remove("XDG_CACHE_HOME");
    assert!(man.status().unwrap().success());
    for command in ["inspect", "ls", "cat", "diff"] {
        let page = std::fs::read_to_string(pages.join(format!("glowplug-image-{command}.1"))).unwrap();
        assert!(!page.contains(node.0.path().to_str().unwrap()), "{page}");
        let output = node.output(&[command, "--help"]);
        let first = BufReader::new(&*output.stdout).lines().next().unwrap().unwrap();
        assert!(output.status.success() && first.len() > 20, "{first}");
    }
}
