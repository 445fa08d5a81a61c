//! Nodes that are not there, end, or may not read: containerd goes on to the registry.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use glowplug_e2e::{Containerd, Login, PeerNode, PeerPorts, free_port};
use glowplug_testkit::{Auth, Fault, Logged, Rule, TestRegistry};

use crate::world::{alone, egress, id, image, image_of, push, size};

/// Bytes of a piece.
const PIECE: usize = 1 << 20;
/// Pieces that a node asks for at once, for one reader.
const AHEAD: usize = 12;
/// How long bytes may take to come, or containerd to throw away what it found wrong.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn without_the_node_containerd_goes_to_the_registry() {
    let registry = TestRegistry::start();
    let node = alone();
    let containerd = Containerd::start_for_kubelet();
    // For every registry, which this one is then looked up by itself for.
    let mirror = format!(
        "[host.\"http://127.0.0.1:{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
        node.ports().local
    );
    containerd.know("_default", &mirror);
    let images = [image(4), image(5)];
    for (image, name) in images.iter().zip(["app:v1", "app:v2"]) {
        push(&registry, name, image);
    }
    let pull = |name: &str| containerd.pull_for_kubelet(&registry.reference(name), None);
    assert_eq!(pull("app:v1").unwrap(), id(&images[0]));
    assert!(registry.log().iter().all(|asked| asked.method == "GET"), "through the node");
    node.stop();
    registry.clear_log();
    assert_eq!(pull("app:v2").unwrap(), id(&images[1]));
    assert_eq!(egress(&registry), size(&images[1]));
    assert!(registry.log().iter().any(|asked| asked.method == "HEAD"), "by containerd itself");
}

#[test]
fn a_node_that_ends_in_the_middle_of_a_layer_costs_no_pull() {
    let registry = TestRegistry::start();
    let image = image_of(6, &[(AHEAD + 4) * PIECE, PIECE]);
    push(&registry, "app:v1", &image);
    let node = alone();
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
    // Of the first layer one piece never comes: it is asked for when the first has passed, or a little sooner.
    let layer = image.layers[0].digest();
    registry.inject(Rule::blobs(Fault::Hang(0)).on(&layer.to_string()).skip(AHEAD as u64).times(1));
    let reference = registry.reference("app:v1");
    let pulled = std::thread::scope(|scope| {
        let pulling = scope.spawn(|| containerd.pull_for_kubelet(&reference, None));
        let others = size(&image) - image.layers[0].blob.len() as u64;
        let began = Instant::now();
        let is_of_layer = |asked: &Logged| asked.path.ends_with(&layer.to_string());
        // Some of the layer came, and the piece that never does was asked for.
        while node.counted("served_bytes") < others + (AHEAD / 3 * PIECE) as u64
            || registry.blob_requests().iter().filter(|asked| is_of_layer(asked)).count() <= AHEAD
        {
            assert!(began.elapsed() < PATIENCE, "{} bytes came", node.counted("served_bytes"));
            std::thread::yield_now();
        }
        // As the kernel would: without a word.
        drop(node);
        pulling.join().unwrap()
    });
    assert_eq!(pulled.unwrap(), id(&image));
    // The other layer may have been under way, too.
    let asked = registry.blob_requests().into_iter().filter(|asked| asked.path.ends_with(&layer.to_string()));
    let resumed = asked.filter_map(|asked| asked.range).filter(|range| range.ends_with('-'));
    assert_eq!(resumed.count(), 1, "the rest came from the registry");
}

#[test]
fn what_the_node_may_not_read_containerd_reads_with_the_pod_s_credentials() {
    let registry = TestRegistry::start();
    registry.set_auth(Auth::basic("pod", "secret"));
    let image = image(7);
    push(&registry, "private/app:v1", &image);
    let node = alone();
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
    let login = Login { user: "pod".to_owned(), password: "secret".to_owned() };
    let reference = registry.reference("private/app:v1");
    assert_eq!(containerd.pull_for_kubelet(&reference, Some(&login)).unwrap(), id(&image));
    assert_eq!(node.counted("served_bytes"), 0);
    // What one pod may read another does not get, through the node neither.
    let other = Containerd::start_for_kubelet();
    other.know(&registry.host(), &node.hosts_toml(&registry.host()));
    assert!(other.pull_for_kubelet(&reference, None).is_err());
}

#[test]
fn a_peer_that_lies_costs_containerd_no_wrong_image() {
    let registry = TestRegistry::start();
    let image = image(8);
    push(&registry, "app:v1", &image);
    let liar = PeerPorts { cluster: lie(), local: free_port() };
    let node = PeerNode::start(PeerPorts::free(), &[liar], &[]);
    let containerd = Containerd::start_for_kubelet();
    containerd.know(&registry.host(), &node.hosts_toml(&registry.host()));
    let pull = || containerd.pull_for_kubelet(&registry.reference("app:v1"), None);
    let mut pulled = pull();
    assert!(node.counted("quarantines") > 0, "{pulled:?}");
    // A try ends with a digest that does not match, unless the liar was found out by a blob of one piece before. The
    // kubelet tries again ten seconds later; it takes containerd about one to throw away what it had.
    let began = Instant::now();
    while let Err(error) = &pulled {
        assert!(error.contains("digest") && began.elapsed() < PATIENCE, "{error}");
        pulled = pull();
    }
    assert_eq!(pulled.unwrap(), id(&image));
}

/// A peer on loopback whose every piece is zeros; its port.
fn lie() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_with_zeros(stream));
        }
    });
    port
}

fn answer_with_zeros(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        // GET …/pieces/NUMBER?ns=REGISTRY&size=BYTES HTTP/1.1
        let target = head.split(' ').nth(1).unwrap();
        let after = |sign: &str| target.split(sign).nth(1).unwrap();
        let number: usize = after("/pieces/").split('?').next().unwrap().parse().unwrap();
        let size: usize = after("size=").parse().unwrap();
        let length = PIECE.min(size - number * PIECE);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        if stream.write_all(&[head.as_bytes(), &vec![0; length]].concat()).is_err() {
            return;
        }
    }
}
