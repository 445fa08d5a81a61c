//! Users by name: looked up in the image, whose bytes need not be here, and never through the process's own mount.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use glowplug_e2e::{Glowplug, serve};
use glowplug_testkit::{Fault, Rule, TestRegistry};

/// A node that knows the image and has none of its bytes.
fn emptied() -> (TestRegistry, String, Glowplug) {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let (node, image) = (Glowplug::new(), registry.reference("tiny:1"));
    node.succeed(&["run", &image, "/bin/echo", "seen"]);
    node.succeed(&["store", "rm", "--data", "--all"]);
    (registry, image, node)
}

#[test]
fn a_name_is_looked_up_in_an_image_whose_bytes_are_not_here() {
    let (_registry, image, node) = emptied();
    let said = node.succeed(&["-q", "run", "--user", "user", &image, "/bin/sh", "-c", "id; echo $HOME"]);
    let home = format!("/{}/user", "home");
    assert_eq!(said, format!("uid=1000(user) gid=1000(user) groups=1000(user)\n{home}\n"));
    let output = node.output(&["run", "--user", "nobody", &image, "/bin/id"]);
    assert_eq!(output.status.code(), Some(125));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nobody") && said.contains("hint"), "{said}");
}

/// States of the threads of a process.
fn threads(pid: u32) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
}

#[test]
fn a_process_that_waits_for_the_image_s_users_can_be_killed() {
    /// For so long its threads are watched, and as long it may take to end.
    const WATCHED: Duration = Duration::from_secs(2);
    let (registry, image, node) = emptied();
    registry.inject(Rule::blobs(Fault::Silent));
    let mut command = node.command();
    command.args(["run", &image, "/bin/id"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("served by EROFS over FUSE")));
    // It comes to the image's users next, and gets no further. A thread that waits for this very process's answer cannot be interrupted.
    let mut hanging_since = None;
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        let hangs = threads(child.id()).contains(&'D');
        hanging_since = hangs.then(|| hanging_since.unwrap_or_else(Instant::now));
        let hung = hanging_since.is_some_and(|since| since.elapsed() > WATCHED / 2);
        assert!(!hung, "a thread waits for its own process");
        assert!(child.try_wait().unwrap().is_none(), "it has nothing to end for");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    let killed = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(killed.elapsed() < WATCHED, "it cannot be killed");
        std::thread::yield_now();
    }
    registry.clear_faults();
    let output = node.succeed(&["-q", "run", "--user", "user", &image, "/bin/id"]);
    assert!(output.starts_with("uid=1000(user)"), "{output}");
}
