//! `glowplug image diet`: what it finds in images that carry too much, and that it counts no byte twice.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::process::{Command, Output, Stdio};

use glowplug_testkit::{ImageBuilder, Layer};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// Bytes that hardly compress, different for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(next).collect()
}

/// Weights by another name: the header of a safetensors file, and noise.
fn weights() -> Vec<u8> {
    [&16_u64.to_le_bytes()[..], b"{\"a\":{\"dtype\":0}}", &noise(1, 11 * MIB)].concat()
}

/// An image that carries a bit of everything, as a layout in a temporary folder.
fn hungry() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let copy = noise(2, 2 * MIB);
    ImageBuilder::new()
        .layer(Layer::gzip(|tree| {
            tree.dir("var/lib/apt/lists").file("var/lib/apt/lists/Packages", noise(3, MIB));
            tree.file("opt/a.dat", &copy).file("tmp/left.tar", noise(4, 3 * MIB));
            tree.file("usr/share/doc/app/manual.txt", noise(5, MIB / 2));
            tree.file("srv/app", noise(6, MIB));
        }))
        .layer(Layer::zstd(|tree| {
            tree.file("srv/llm", weights()).file("opt/b.dat", &copy).whiteout("tmp/left.tar");
            tree.file("usr/lib/python3/dist-packages/big.py", "x = 1\n".repeat(MIB));
        }))
        .config(|config| {
            config["history"] =
                serde_json::json!([{ "created_by": "RUN make <all>" }, { "created_by": "COPY . /" }]);
        })
        .build()
        .write_layout(&dir.path().join("hungry"), None);
    let image = format!("oci:{}", dir.path().join("hungry").display());
    (dir, image)
}

/// Runs the command in the node whose store lies beside the image.
fn run(dir: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_glowplug"));
    command.arg("--store").arg(dir.path().join("store")).args(["image", "diet"]).args(args);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn diet(dir: &tempfile::TempDir, args: &[&str]) -> Value {
    serde_json::from_slice(&run(dir, &[&["--json"], args].concat()).stdout).unwrap()
}

fn finding<'a>(diet: &'a Value, rule: &str) -> Option<&'a Value> {
    diet["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == rule)
}

fn paths<'a>(diet: &'a Value, rule: &str) -> Vec<&'a str> {
    let files = finding(diet, rule).map(|finding| finding["files"].as_array().unwrap());
    files.into_iter().flatten().map(|file| file["path"].as_str().unwrap()).collect()
}

#[test]
fn an_image_that_carries_too_much_is_told_so_and_no_byte_counts_twice() {
    let (dir, image) = hungry();
    let told = diet(&dir, &["--link", "100", &image]);
    for (rule, path) in [
        ("weights", "/srv/llm"),
        ("deleted-later", "/tmp/left.tar"),
        ("duplicates", "/opt/b.dat"),
        ("package-caches", "/var/lib/apt/lists/Packages"),
        ("documentation", "/usr/share/doc/app/manual.txt"),
        ("bytecode-missing", "/usr/lib/python3/dist-packages/big.py"),
    ] {
        assert_eq!(paths(&told, rule), [path], "{rule}: {told}");
    }
    assert_eq!(finding(&told, "untouched"), None, "no start was recorded");
    assert_eq!(told["files_not_looked_into"], 0, "what streamed by is here");

    let findings = told["findings"].as_array().unwrap();
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    let sum: f64 = findings.iter().map(|finding| number(finding, "compressed_bytes")).sum();
    let spare = number(&told["need_not_be_there"], "compressed_bytes");
    assert!((sum - spare).abs() < 0.5, "{sum} and {spare}");
    let whole = number(&told, "compressed_bytes");
    assert!(
        spare < whole - MIB as f64 * 0.9,
        "/srv/app and the copy that stays are nobody's: {spare} of {whole}"
    );
    assert!((number(&told, "pull_seconds") - whole * 8.0 / 1e8).abs() < 1e-6);
    let seconds: Vec<f64> = findings
        .iter()
        .map(|finding| number(finding, "pull_seconds") + number(finding, "start_seconds"))
        .collect();
    assert!(seconds.is_sorted_by(|a, b| a >= b), "worst first: {seconds:?}");

    let names = diet(&dir, &["--no-contents", &image]);
    assert_eq!((paths(&names, "weights").len(), paths(&names, "duplicates").len()), (0, 0), "{names}");
    assert_eq!(paths(&names, "deleted-later"), ["/tmp/left.tar"]);
}

#[test]
fn the_table_and_the_page_say_what_to_do() {
    let (dir, image) = hungry();
    let page = dir.path().join("diet.html");
    let output = run(&dir, &["--html", page.to_str().unwrap(), "--top", "1", &image]);
    let said = String::from_utf8_lossy(&output.stderr);
    // Lines are broken between words.
    let table = String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("2 of 2 layers have no index anywhere"), "{said}");
    for words in
        ["COPY --link models/ /srv/", "rm -rf /var/lib/apt/lists/*", "deleted in layer 1", "RUN make <all>"]
    {
        assert!(table.contains(words), "{words} is not in\n{table}");
    }
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("RUN make &lt;all&gt;") && page.contains("<title>/srv/llm\n"), "names are escaped");
    for outside in ["<script", "http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "{outside}");
    }
}
