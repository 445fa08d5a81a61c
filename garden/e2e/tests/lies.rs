//! A published index that is wrong about its layer: the container gets errors, never other bytes, and the next start does without.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use glowplug_base::Digest;
use glowplug_e2e::{Glowplug, serve};
use glowplug_testkit::TestRegistry;
use glowplug_toc::{SociIndex, Ztoc, ZtocLimits};
use serde_json::Value;

/// What the container prints: a file of the third layer.
const PATH: &str = "/www/answer.txt";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Indexes `tiny` as its publisher would, and gives a registry where that index has a zTOC of the third layer that tells a lie.
fn registry_that_lies(lie: impl Fn(&mut Ztoc)) -> TestRegistry {
    let honest = TestRegistry::start();
    serve(&honest, "tiny-gzip", "tiny:1");
    let image = honest.reference("tiny:1");
    let told = Glowplug::new().succeed(&["--json", "image", "index", "--min-layer-size", "0", &image]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let layer: Digest = told["layers"][2]["digest"].as_str().unwrap().parse().unwrap();
    let mut index =
        SociIndex::parse(&honest.manifest("tiny", told["index"].as_str().unwrap()).unwrap()).unwrap();

    let lying = TestRegistry::start();
    serve(&lying, "tiny-gzip", "tiny:1");
    for descriptor in &mut index.ztocs {
        let mut bytes = honest.blob(&descriptor.digest).unwrap().to_vec();
        if descriptor.layer_digest == layer {
            let mut ztoc = Ztoc::parse(&bytes, &ZtocLimits::default()).unwrap();
            lie(&mut ztoc);
            bytes = ztoc.encode().unwrap();
        }
        descriptor.size = bytes.len() as u64;
        descriptor.digest = lying.put_blob(bytes);
    }
    // The empty configuration that artifacts have.
    lying.put_blob(&b"{}"[..]);
    lying.put_manifest("tiny", None, index.encode(), OCI_MANIFEST);
    lying
}

/// A lie that shows with the first file that is read.
fn every_file_runs_as_its_owner(ztoc: &mut Ztoc) {
    ztoc.entries.iter_mut().for_each(|entry| entry.mode |= 0o4000);
}

/// A lie that no file shows: its bytes are right, and owners are not looked at before the layer is complete.
fn somebody_else_owns_the_answer(ztoc: &mut Ztoc) {
    let answer = ztoc.entries.iter_mut().find(|entry| entry.name.ends_with(b"answer.txt")).unwrap();
    answer.uid = 4711;
}

/// What `explain` says of the third layer.
fn explain(node: &Glowplug, image: &str) -> Value {
    let told: Value = serde_json::from_str(&node.succeed(&["--json", "explain", image])).unwrap();
    told["layers"][2].clone()
}

/// Why `explain` says that the third layer is read as it is.
fn why(node: &Glowplug, image: &str) -> (bool, String) {
    let layer = explain(node, image);
    (layer["lazy"].as_bool().unwrap(), layer["why"].as_str().unwrap().to_owned())
}

#[test]
fn an_index_that_lies_costs_one_start_and_is_not_believed_again() {
    let registry = registry_that_lies(every_file_runs_as_its_owner);
    let (node, image) = (Glowplug::new(), registry.reference("tiny:1"));
    assert!(why(&node, &image).0, "nobody knows yet");

    let first = node.output(&["run", &image, "/bin/cat", PATH]);
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(said.contains("3 with a published index"), "{said}");
    assert!(!first.status.success() && first.stdout.is_empty(), "no byte is read by a lie: {said}");
    assert!(said.contains("Input/output error"), "the program is told: {said}");

    let (lazy, why) = why(&node, &image);
    assert!(!lazy && why.contains("proved wrong"), "{why}");

    let second = node.output(&["run", &image, "/bin/cat", PATH]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.success() && second.stdout == b"the tiny image answers\n", "{said}");
    assert!(said.contains("1 streamed by") && said.contains("proved wrong at an earlier start"), "{said}");
    assert_eq!(node.succeed(&["store", "verify"]).trim().rsplit(", ").next(), Some("0 damaged"));
}

/// Runs until it is ended: by what is found out, or when that was told.
const FOREVER: [&str; 3] = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"];

#[test]
fn a_strict_run_ends_when_an_index_proves_wrong_wherever_that_shows() {
    for (lie, said) in [
        (every_file_runs_as_its_owner as fn(&mut Ztoc), "the index is wrong about"),
        (somebody_else_owns_the_answer, "/www/answer.txt: another owner"),
    ] {
        let registry = registry_that_lies(lie);
        let (node, image) = (Glowplug::new(), registry.reference("tiny:1"));
        let strict = node.output(&[&["--json", "run", "--strict", &image], &FOREVER[..]].concat());
        let told = String::from_utf8_lossy(&strict.stderr).into_owned();
        assert!(!strict.status.success(), "{told}");
        assert!(told.contains("as --strict asks") && told.contains(said), "{told}");
        let out = String::from_utf8_lossy(&strict.stdout).into_owned();
        let audit = out.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let audit = audit.map(|document| document["audit"].clone()).find(|audit| !audit.is_null()).unwrap();
        let contradictions = audit["contradictions"].as_array().unwrap();
        assert!(contradictions.len() == 1 && contradictions[0].to_string().contains(said), "{audit}");

        let layer = explain(&node, &image);
        assert_eq!((&layer["lazy"], &layer["audit"]), (&false.into(), &"contradicted".into()), "{layer}");
        let whole = node.output(&["run", "--strict", &image, "/bin/cat", PATH]);
        let told = String::from_utf8_lossy(&whole.stderr).into_owned();
        assert!(whole.status.success() && whole.stdout == b"the tiny image answers\n", "{told}");
        assert_eq!(explain(&node, &image)["audit"], Value::Null, "the index is its own now");
    }
}

#[test]
fn a_run_that_is_not_strict_goes_on_and_tells() {
    let registry = registry_that_lies(somebody_else_owns_the_answer);
    let (node, image) = (Glowplug::new(), registry.reference("tiny:1"));
    let folder = tempfile::tempdir().unwrap();
    let timeline = folder.path().join("timeline");
    let mut command = node.command();
    command.args(["run", "--timeline", timeline.to_str().unwrap(), &image]).args(FOREVER);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    // That it was found out is told at once, among the warnings, and again at the end.
    while !said.contains("another owner") {
        said.push_str(&lines.next().expect("the run goes on").unwrap());
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let rest: String = lines.map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success(), "{said}{rest}");
    assert!(rest.contains("its next start makes its own index") && !rest.contains("nothing more"), "{rest}");
    let events = std::fs::read_to_string(&timeline).unwrap();
    assert_eq!(events.matches("\"contradicted\"").count(), 1, "{events}");
    assert_eq!(explain(&node, &image)["audit"], "contradicted");
}
