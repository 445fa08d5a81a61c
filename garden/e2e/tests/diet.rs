//! `glowplug image diet` behind a start: what was recorded tells what no start touches.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_e2e::{Glowplug, layout};
use serde_json::Value;

fn diet(node: &Glowplug, image: &str) -> Value {
    serde_json::from_str(&node.succeed(&["--json", "image", "diet", image])).unwrap()
}

#[test]
fn a_recorded_start_tells_what_is_never_touched() {
    let node = Glowplug::new();
    let image = format!("oci:{}", layout("tiny-gzip").display());
    let untouched = |told: &Value| -> Vec<String> {
        let findings = told["findings"].as_array().unwrap().iter();
        let files = findings.filter(|finding| finding["rule"] == "untouched").flat_map(|finding| {
            finding["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned())
        });
        files.collect()
    };
    let told = diet(&node, &image);
    assert_eq!(told["recorded_starts"], 0);
    assert!(untouched(&told).is_empty(), "nothing is known");
    node.succeed(&["run", &image, "/bin/cat", "/www/answer.txt"]);
    let told = diet(&node, &image);
    assert_eq!(told["recorded_starts"], 1, "whatever it ran");
    let untouched = untouched(&told);
    assert!(!untouched.is_empty(), "{told}");
    assert!(
        !untouched.iter().any(|path| path == "/www/answer.txt" || path == "/bin/busybox"),
        "{untouched:?}"
    );
}
