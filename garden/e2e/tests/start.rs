//! Starts of real containers: what they serve is what the image holds, however it came.

use glowplug_e2e::{Glowplug, free_port, get, layout, post, serve};
use glowplug_testkit::TestRegistry;
use rustix::process::Signal;

const ANSWER: &[u8] = b"the tiny image answers\n";
/// What a start says that brings bytes when they are read, and one whose bytes are all here.
const LAZY: &str = "served by EROFS over FUSE\n";
const COMPLETE: &str = "served by EROFS\n";

/// Arguments that serve `/` of the tiny image on a port.
fn httpd(port: u16, image: &str) -> Vec<String> {
    let mut args: Vec<String> = vec!["-p".into(), port.to_string(), "--ready".into()];
    args.extend([format!("http://:{port}/www/healthz"), image.into()]);
    args.extend([
        "/usr/bin/httpd".into(),
        "-f".into(),
        "-p".into(),
        port.to_string(),
        "-h".into(),
        "/".into(),
    ]);
    args
}

fn start(node: &Glowplug, port: u16, image: &str) -> glowplug_e2e::Running {
    let args = httpd(port, image);
    node.run(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn oci(name: &str) -> String {
    format!("oci:{}", layout(name).display())
}

#[test]
fn first_start_and_emptied_start_serve_the_same_bytes_through_both_doors() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let (node, image, port) = (Glowplug::new(), registry.reference("tiny:1"), free_port());
    // The first start is watched, so that the order of its reads is known to the next.
    let first = start(&node, port, &image);
    assert!(first.said().contains(LAZY), "{}", first.said());
    let answer = get(port, "/www/answer.txt").unwrap();
    assert_eq!(answer, (200, ANSWER.to_vec()));
    let payload = get(port, "/data/part-3").unwrap();
    assert_eq!((payload.0, payload.1.len()), (200, 1 << 20));
    first.stop();
    let kernel = start(&node, port, &image);
    assert!(kernel.said().contains(COMPLETE), "{}", kernel.said());
    assert_eq!(get(port, "/www/answer.txt").unwrap(), answer);
    assert_eq!(get(port, "/data/part-3").unwrap(), payload);
    kernel.stop();

    node.succeed(&["store", "rm", "--data", "--all"]);
    registry.clear_log();
    let second = start(&node, port, &image);
    assert!(second.said().contains(LAZY), "{}", second.said());
    assert_eq!(get(port, "/www/answer.txt").unwrap(), answer);
    assert_eq!(get(port, "/data/part-3").unwrap(), payload);
    assert_eq!(get(port, "/data/part-0").unwrap(), get(port, "/data/part-0-again").unwrap());
    assert_eq!(get(port, "/data/zeros").unwrap().1, vec![0; 1 << 20]);
    assert_eq!(get(port, "/data/removed-later").unwrap().0, 404);
    assert_eq!(get(port, "/data/replaced-later/old").unwrap().0, 404);
    assert!(
        registry.blob_requests().iter().all(|request| request.range.is_some()),
        "only ranges were asked for"
    );
    second.signal(Signal::INT);
    second.wait();
    assert_eq!(
        node.succeed(&["store", "verify"]).lines().last().unwrap().split(", ").last(),
        Some("0 damaged")
    );
}

#[test]
fn every_compression_starts() {
    for variant in ["tiny-gzip", "tiny-zstd", "tiny-uncompressed"] {
        let (node, port) = (Glowplug::new(), free_port());
        for _ in 0..2 {
            let running = start(&node, port, &oci(variant));
            assert_eq!(get(port, "/www/answer.txt").unwrap(), (200, ANSWER.to_vec()), "{variant}");
            running.stop();
            node.succeed(&["store", "rm", "--data", "--all"]);
        }
    }
}

#[test]
fn exit_codes_and_output_pass_through() {
    let (node, image) = (Glowplug::new(), oci("tiny-gzip"));
    let output = node.output(&["-q", "run", &image, "/bin/sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(node.output(&["-q", "run", &image, "/no/such/program"]).status.code(), Some(127));
    let killed = node.output(&["-q", "run", &image, "/bin/sh", "-c", "/bin/sh -c 'kill -9 $$'; exit $?"]);
    assert_eq!(killed.status.code(), Some(137));
}

#[test]
fn the_timeline_is_written_and_drawn_again() {
    let (node, image) = (Glowplug::new(), oci("tiny-gzip"));
    let (file, page) = (node.store().join("t.jsonl"), node.store().join("t.html"));
    let (file, page) = (file.to_str().unwrap(), page.to_str().unwrap());
    node.succeed(&[
        "run",
        "--until-ready",
        "--ready",
        "log:hello",
        "--timeline",
        file,
        &image,
        "/bin/echo",
        "hello",
    ]);
    let drawn = node.succeed(&["trace", "show", file, "--html", page]);
    for word in ["ready in", "place", "pull", "create", "init"] {
        assert!(drawn.contains(word), "{word} in\n{drawn}");
    }
    let html = std::fs::read_to_string(page).unwrap();
    assert!(
        html.contains("<svg") && !html.contains("src=\"http"),
        "a page that needs nothing from elsewhere"
    );
}

#[test]
fn a_real_model_reads_a_real_picture() {
    let (node, port) = (Glowplug::new(), free_port());
    let recipes = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask/images/ocr");
    let picture = std::fs::read(recipes.join("picture.png")).unwrap();
    let text = std::fs::read_to_string(recipes.join("picture.txt")).unwrap();
    let image = oci("ocr-gzip");
    let published = format!("{port}:8080");
    for door in [LAZY, COMPLETE] {
        // The server's port is in the image; another is published, from a network of the container's own.
        let ready = "http://:8080/healthz";
        let running = node.run(&["--network", "isolated", "-p", &published, "--ready", ready, &image]);
        assert!(running.said().contains(door), "{}", running.said());
        let (status, body) = post(port, "/", &picture).unwrap();
        assert_eq!(status, 200);
        let read = String::from_utf8(body).unwrap();
        // How the model cuts lines into boxes is its business.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(&read), words(&text));
        running.stop();
    }
}
