//! `glowplug image optimize`: what one node learned, the others know at their first start; and the image stays as it is.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_e2e::{Glowplug, serve};
use glowplug_testkit::TestRegistry;
use serde_json::Value;

const COMMAND: [&str; 2] = ["/bin/cat", "/www/answer.txt"];

/// What a start of the image says, and the causes of its requests.
fn start(node: &Glowplug, image: &str) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let timeline = dir.path().join("timeline");
    let flags = ["run", "--timeline", timeline.to_str().unwrap(), image];
    let output = node.output(&[&flags[..], &COMMAND].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout == b"the tiny image answers\n", "{said}");
    let lines = std::fs::read_to_string(&timeline).unwrap();
    let causes = lines.lines().filter_map(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        Some(event.get("cause")?.as_str()?.to_owned())
    });
    (said, causes.collect())
}

fn optimize(node: &Glowplug, args: &[&str]) -> Value {
    let args = [&["--json", "image", "optimize"], args, &COMMAND[..]].concat();
    serde_json::from_str(&node.succeed(&args)).unwrap()
}

#[test]
fn what_one_node_learned_the_others_know_at_their_first_start() {
    for referrers_api in [true, false] {
        let registry = TestRegistry::start();
        registry.set_referrers_api(referrers_api);
        serve(&registry, "tiny-gzip", "tiny:1");
        let image = registry.reference("tiny:1");
        Glowplug::new().succeed(&["image", "index", "--min-layer-size", "0", &image]);
        let original = registry.manifest("tiny", "1").unwrap();
        let (_, causes) = start(&Glowplug::new(), &image);
        assert!(!causes.iter().any(|cause| cause == "profile"), "nobody knows yet: {causes:?}");

        // Nothing is recorded on this node: it starts the image once.
        let teacher = Glowplug::new();
        let told = optimize(&teacher, &[&image]);
        assert!(told["published"].is_string() && told["files"].as_u64().unwrap() > 0, "{told}");
        assert!(told["soci"]["spans"].as_u64().unwrap() > 0, "SOCI's own readers learn as well: {told}");
        assert_eq!(registry.manifest("tiny", "1").unwrap(), original, "the image stays");

        let (said, causes) = start(&Glowplug::new(), &image);
        assert!(said.contains("3 with a published index"), "{said}");
        assert!(causes.iter().any(|cause| cause == "profile"), "{causes:?}");

        // What was recorded is published again without a start, and adds to what is known.
        let again = optimize(&teacher, &[&image]);
        assert_ne!(again["published"], told["published"], "{again}");
    }
}

#[test]
fn a_profile_travels_as_a_file_too() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    let file = file.to_str().unwrap();
    let told = optimize(&Glowplug::new(), &["--save", file, "--dry-run", &image]);
    assert_eq!(told["published"], Value::Null);
    let writer = Glowplug::new();
    let told = optimize(&writer, &["--profile", file, &image]);
    assert!(told["published"].is_string(), "{told}");
    assert!(told["soci"]["why"].as_str().unwrap().contains("glowplug image index"), "{told}");
    assert!(std::fs::read_dir(writer.store()).unwrap().next().is_none(), "the store is not touched");

    std::fs::write(file, "{}").unwrap();
    let output = writer.output(&["image", "optimize", "--profile", file, &image]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("is no start profile"), "{said}");
}
