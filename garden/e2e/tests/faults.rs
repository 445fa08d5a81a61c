//! Bad days: a registry that dies, images that cannot be had, a killed process.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use glowplug_e2e::{Glowplug, free_port, get, layout, serve};
use glowplug_testkit::{Fault, Rule, TestRegistry};
use rustix::process::Signal;

fn served() -> (TestRegistry, String) {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    (registry, image)
}

/// Arguments that serve `/` of the tiny image on a port.
fn httpd(port: u16, image: &str) -> Vec<String> {
    let words =
        format!("-p {port} --ready http://:{port}/www/healthz {image} /usr/bin/httpd -f -p {port} -h /");
    words.split(' ').map(str::to_owned).collect()
}

fn start(node: &Glowplug, port: u16, image: &str) -> glowplug_e2e::Running {
    let args = httpd(port, image);
    node.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_registry_that_dies_leaves_what_is_here_readable_and_never_gives_zeros() {
    let (registry, image) = served();
    let (node, port) = (Glowplug::new(), free_port());
    start(&node, port, &image).stop();
    node.succeed(&["store", "rm", "--data", "--all"]);
    // The first layer has the program; nothing of the payload's layer comes any more.
    let payload = payload_digest();
    registry.inject(Rule::blobs(Fault::Status(503)).on(&payload));
    let running = start(&node, port, &image);
    assert_eq!(get(port, "/www/answer.txt").unwrap().0, 200);
    let (_, body) = get(port, "/data/part-5").unwrap_or((0, Vec::new()));
    assert!(body.is_empty(), "{} bytes of a file whose bytes cannot be had", body.len());
    assert_eq!(get(port, "/www/answer.txt").unwrap().0, 200, "what is here stays readable");
    // It comes back: so do the bytes.
    registry.clear_faults();
    assert_eq!(get(port, "/data/part-6").unwrap().1.len(), 1 << 20);
    let (_, said) = running.stop();
    assert!(said.contains("read failed"), "{said}");
}

/// Digest of the layer in the middle, as a part of a path.
fn payload_digest() -> String {
    let folder = layout("tiny-gzip");
    let read = |path: std::path::PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let index = read(folder.join("index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let manifest = read(folder.join("blobs").join(digest));
    manifest["layers"][1]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_seen_before_starts_without_its_registry() {
    let (mut registry, image) = served();
    let (node, port) = (Glowplug::new(), free_port());
    start(&node, port, &image).stop();
    registry.stop();
    let running = start(&node, port, &image);
    assert_eq!(get(port, "/www/answer.txt").unwrap().0, 200);
    running.stop();
}

#[test]
fn what_cannot_be_had_is_named_with_the_way_out() {
    let (registry, image) = served();
    let node = Glowplug::new();
    let cases = [
        (Rule::manifests(Fault::Status(404)), "not found"),
        (Rule::manifests(Fault::Status(403)), "denied"),
        (Rule::blobs(Fault::Status(404)), "not found"),
        (Rule::blobs(Fault::WrongBytes), "digest"),
    ];
    for (rule, words) in cases {
        registry.clear_faults();
        registry.inject(rule);
        let output = node.output(&["run", &image]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains(words) && said.contains("hint"), "{words:?} and a hint in\n{said}");
    }
    for (image, words) in
        [("UPPER/case:1", "reference"), ("oci:/no/such/folder", "folder"), ("tiny:1 x", "reference")]
    {
        let output = node.output(&["run", image]);
        assert_eq!(output.status.code(), Some(125));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("error"), "{words}: {said}");
    }
}

#[test]
fn a_second_process_is_told_who_uses_the_store() {
    let (_registry, image) = served();
    let (node, port) = (Glowplug::new(), free_port());
    let running = start(&node, port, &image);
    let output = node.output(&["store", "ls"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&running.pid().to_string()) && said.contains("--store"), "{said}");
}

#[test]
fn kill_minus_nine_leaves_nothing_behind_and_the_next_start_works() {
    let (_registry, image) = served();
    let (node, port) = (Glowplug::new(), free_port());
    let running = start(&node, port, &image);
    running.signal(Signal::KILL);
    running.wait();
    // The helper hears of it at once and takes the container with it: then the port is free again.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while get(port, "/www/healthz").is_ok() {
        assert!(std::time::Instant::now() < deadline, "the container outlived its glowplug");
        std::thread::yield_now();
    }
    let running = start(&node, port, &image);
    assert_eq!(get(port, "/www/answer.txt").unwrap().0, 200);
    running.stop();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let left: Vec<_> = mounts.lines().filter(|line| line.contains(node.store().to_str().unwrap())).collect();
    assert!(left.is_empty(), "{left:?}");
}
