//! Containers with a network of their own: what goes out of it, what comes in, and that nothing of it is left.
//!
//! Each test is on a machine of its own, network namespaces that it made.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use glowplug_e2e::{Glowplug, Running, World, free_port, get, layout};
use glowplug_linux::nftables::Table;
use rustix::process::Signal;

/// How long the kernel may take to clear a namespace away whose last user was killed.
const PATIENCE: Duration = Duration::from_secs(30);
/// The addresses that the first and the second container get on a machine without others.
const CONTAINERS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(10, 213, 0, 1)), IpAddr::V4(Ipv4Addr::new(10, 213, 0, 3))];

fn tiny() -> String {
    format!("oci:{}", layout("tiny-gzip").display())
}

/// Runs a script in the tiny image to its end; its exit code and what it and glowplug said.
fn script(world: &World, arguments: &[&str], text: &str) -> (Option<i32>, String, String) {
    let (node, image, url) = (Glowplug::new(), tiny(), world.url());
    let text = text.replace("URL", &url);
    let output = node.output(&[&["run"], arguments, &[&image, "/bin/sh", "-c", &text]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Starts a container that fetches what the world answers and serves it on, and says when it does.
fn relay(node: &Glowplug, world: &World, port: u16) -> Running {
    let script = format!(
        "/bin/busybox wget -q -O /tmp/got {} || exit 1; /usr/bin/httpd -f -p 80 -h /tmp & trap 'exit 0' TERM; wait",
        world.url()
    );
    let published = format!("{port}:80");
    let image = tiny();
    node.run(&[
        "--network",
        "private",
        "-p",
        &published,
        "--ready",
        "http://:80/got",
        &image,
        "/bin/sh",
        "-c",
        &script,
    ])
}

/// The machine's links.
fn links() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names = table.lines().skip(2).filter_map(|line| line.split(':').next());
    names.map(|name| name.trim().to_owned()).collect()
}

/// Whether nobody owns the packet rules of the first container's name.
fn rules_are_gone() -> bool {
    Table::put_in_force("glowplug0", &[]).is_ok()
}

#[test]
fn a_private_network_goes_out_and_an_isolated_one_does_not() {
    let world = World::make();
    let fetch = "/bin/busybox wget -q -O - URL";
    let (code, out, said) = script(&world, &["--network", "private"], fetch);
    assert_eq!((code, out), (Some(0), world.machine().to_string()), "the world sees the machine: {said}");
    assert!(said.contains("IPv4 forwarding is on for uplink now"), "{said}");
    assert_eq!((links(), rules_are_gone()), (vec!["lo".to_owned(), "uplink".to_owned()], true));

    let (code, out, said) = script(
        &world,
        &["--network", "private"],
        &format!("{fetch} > /dev/null; cat /sys/class/net/eth0/mtu"),
    );
    assert_eq!(
        (code, out.as_str()),
        (Some(0), "1400\n"),
        "packets are as large as the way out takes: {said}"
    );
    assert!(!said.contains("forwarding"), "it was on already: {said}");

    let (code, out, said) = script(&world, &["--network", "isolated"], fetch);
    assert_eq!((code, out.as_str()), (Some(1), ""), "{said}");
    assert_eq!(links(), ["lo", "uplink"]);
}

#[test]
fn two_containers_go_out_at_once_and_nobody_comes_in_but_through_published_ports() {
    let world = World::make();
    let (nodes, ports) = ([Glowplug::new(), Glowplug::new()], [free_port(), free_port()]);
    let running = std::thread::scope(|threads| {
        // Laid at the same moment.
        let start = |at: usize| relay(&nodes[at], &world, ports[at]);
        let starting = [0, 1].map(|at| threads.spawn(move || start(at)));
        starting.map(|start| start.join().unwrap())
    });
    for port in ports {
        assert_eq!(get(port, "/got").unwrap(), (200, world.machine().to_string().into_bytes()));
        assert!(world.reaches(world.machine(), port));
    }
    assert!(CONTAINERS.iter().all(|container| !world.reaches(*container, 80)));
    assert_eq!(links(), ["lo", "uplink", "glowplug0", "glowplug1"]);
    running.into_iter().for_each(|one| drop(one.stop()));
    assert_eq!((links(), rules_are_gone()), (vec!["lo".to_owned(), "uplink".to_owned()], true));
}

#[test]
fn kill_minus_nine_takes_the_network_along() {
    let world = World::make();
    let node = Glowplug::new();
    let running = relay(&node, &world, free_port());
    assert!(!rules_are_gone() && links().contains(&"glowplug0".to_owned()));
    running.signal(Signal::KILL);
    running.wait();
    assert!(rules_are_gone(), "they go with the process");
    let began = Instant::now();
    // The kernel clears namespaces away in the background, and tells nobody.
    while links().contains(&"glowplug0".to_owned()) {
        assert!(began.elapsed() < PATIENCE, "the link is still there");
        std::thread::yield_now();
    }
    relay(&node, &world, free_port()).stop();
}

#[test]
fn an_external_runtime_s_container_goes_out_alike() {
    let programs = std::env::var_os("GLOWPLUG_CONTAINERD").expect("set by `cargo xtask test e2e`");
    let runc = PathBuf::from(programs).join("usr/sbin/runc");
    let world = World::make();
    let arguments = ["--network", "private", "--runtime", runc.to_str().unwrap()];
    let (code, out, said) = script(&world, &arguments, "/bin/busybox wget -q -O - URL");
    assert_eq!((code, out), (Some(0), world.machine().to_string()), "{said}");
    assert_eq!(links(), ["lo", "uplink"]);
}
