//! What people and machines get to read: the same numbers in table, JSON and page, and nothing of the image's own markup.

use glowplug_base::Digest;
use glowplug_convert::diet::{Facts, Fate, File, Pulled, examine};

use super::*;

const MIB: u64 = 1 << 20;

fn file(path: &str, bytes: u64, fate: Fate) -> File {
    File {
        path: path.to_owned(),
        layer: 0,
        bytes,
        size: bytes,
        blob_bytes: bytes / 2,
        touched: false,
        touched_blob_bytes: 0,
        executable: false,
        fate,
    }
}

fn inventory(files: Vec<File>) -> Inventory {
    let (bytes, blob_bytes) =
        files.iter().fold((0, 0), |sum, file| (sum.0 + file.bytes, sum.1 + file.blob_bytes));
    let layer = Pulled { blob: Digest::of(b"layer"), blob_bytes, files: files.len(), bytes };
    Inventory { layers: vec![layer], files, starts: 0 }
}

fn hungry() -> Vec<File> {
    let mut files = vec![
        file("/models/big.safetensors", 400 * MIB, Fate::Shown(1)),
        file("/usr/share/doc/manual", 20 * MIB, Fate::Shown(2)),
        file("/build/left.tar", 100 * MIB, Fate::Deleted(Some(1))),
        file("/usr/bin/app", 80 * MIB, Fate::Shown(3)),
    ];
    files.extend((0..3_000).map(|n| file(&format!("/srv/parts/{n}"), 10_000 + n, Fate::Shown(n as u32 + 4))));
    files
}

/// Draws the report of an image with these files in all three ways: table, JSON and page.
fn drawn(image: &str, files: Vec<File>, made_by: &str) -> (String, serde_json::Value, String) {
    let inventory = inventory(files);
    let contents = Contents::default();
    let diet = examine(Facts { inventory: &inventory, contents: &contents, env: &[] }, 1000);
    let report = Report {
        image,
        manifest: Digest::of(b"manifest"),
        inventory: &inventory,
        contents: Some(&contents),
        diet: &diet,
        made_by: &[Some(made_by.to_owned())],
        beside: None,
    };
    (table(&report, 2, 100), document(&report), page(&report, 2))
}

#[test]
fn all_three_say_the_same_worst_first() {
    let (table, document, page) = drawn("registry.example/app:1", hungry(), "RUN make");
    let findings = document["findings"].as_array().unwrap();
    let rules: Vec<&str> = findings.iter().map(|finding| finding["rule"].as_str().unwrap()).collect();
    assert_eq!(rules, ["weights", "deleted-later", "documentation"]);
    let sum: u64 = findings.iter().map(|finding| finding["compressed_bytes"].as_u64().unwrap()).sum();
    assert_eq!(document["need_not_be_there"]["compressed_bytes"], sum);
    assert_eq!(sum, 260 * MIB);
    assert!((findings[0]["pull_seconds"].as_f64().unwrap() - 200.0 * MIB as f64 * 8.0 / 1e9).abs() < 1e-6);
    for words in ["210 MB", "model weights in the image", "273 MB", "/models/big.safetensors", "2.2 s"] {
        assert!(table.contains(words), "{words} is not in\n{table}");
        assert!(page.contains(words), "{words} is not in the page");
    }
    let places =
        ["model weights", "files deleted by a later layer", "documentation"].map(|words| table.find(words));
    assert!(places.is_sorted() && places[0].is_some(), "{table}");
    let paths = table.lines().filter(|line| line.contains(" /")).count();
    assert!(paths >= 3, "{table}");
}

#[test]
fn lines_fit_and_an_image_without_findings_says_so() {
    let (table, ..) = drawn("app", hungry(), &"x".repeat(1_000));
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    let (table, document, page) = drawn("app", vec![file("/usr/bin/app", MIB, Fate::Shown(1))], "");
    assert!(table.contains("nothing found") && page.contains("Nothing was found"));
    assert_eq!(document["findings"].as_array().map(Vec::len), Some(0));
    let (.., page) = drawn("empty", Vec::new(), "");
    assert!(page.ends_with("</html>\n"));
}

#[test]
fn the_page_loads_nothing_and_runs_nothing_of_the_image() {
    let hostile = "</title><script>alert(1)</script>\"' onload=x\u{1b}[2J";
    let files = vec![
        file(&format!("/models/{hostile}.gguf"), 400 * MIB, Fate::Shown(1)),
        file(&format!("/{hostile}/x"), 400 * MIB, Fate::Deleted(None)),
    ];
    let (table, _, page) = drawn(hostile, files, hostile);
    assert_eq!(page.matches("<script").count(), 0);
    for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains('\u{1b}') && !table.contains('\u{1b}'));
    for element in ["svg", "table", "section", "tr", "rect", "text", "div", "p"] {
        let opened =
            page.matches(&format!("<{element} ")).count() + page.matches(&format!("<{element}>")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn the_map_is_filled_by_finding_and_bounded() {
    let (.., page) = drawn("app", hungry(), "RUN make");
    let area = |class: &str| -> f64 {
        let begin = format!("<rect class=\"{class}\" ");
        let rects = page.split(&begin).skip(1);
        let side = |rect: &str, name: &str| -> f64 {
            let value = rect.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
            value.unwrap().parse().unwrap()
        };
        rects.map(|rect| side(rect, "width") * side(rect, "height")).sum()
    };
    let (weights, deleted, rest) = (area("weights"), area("deleted-later"), area("none"));
    assert!(weights > 3.0 * deleted && deleted > 0.0 && rest > 0.0, "{weights} {deleted} {rest}");
    assert!(page.matches("<rect").count() < 2_000, "{} areas", page.matches("<rect").count());
    assert!(page.contains("<title>/models/big.safetensors\n210 MB\nmodel weights in the image</title>"));
}

#[test]
fn instructions_lose_what_builders_put_before_them() {
    assert_eq!(instruction("/bin/sh -c #(nop)  CMD [\"a\"]"), "CMD [\"a\"]");
    assert_eq!(instruction("RUN /bin/sh -c make # buildkit"), "RUN /bin/sh -c make");
    assert_eq!(instruction("/bin/sh -c apt-get update"), "apt-get update");
}
