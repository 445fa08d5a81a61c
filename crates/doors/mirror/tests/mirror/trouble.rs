//! Peers that are slow, dead, or lie; and a registry that garbles.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use glowplug_base::{ByteRange, Digest};
use glowplug_oci::{Descriptor, Reference};
use glowplug_peer::PIECE_BYTES;
use glowplug_registry::Options;
use glowplug_source::read_all;
use glowplug_testkit::{Fault, Rule, TestRegistry};

use crate::world::{
    IMPATIENT, Plan, Running, bind, bytes, client, cluster, http, noise, piece_asked, piece_length, stranger,
};

const SIZE: usize = 16 * PIECE_BYTES as usize;

fn blob(registry: &TestRegistry) -> (Digest, Vec<u8>) {
    let bytes = noise(SIZE, 2);
    (registry.put_blob(bytes.clone()), bytes)
}

/// A peer that gives bytes of the right length, and counts how often.
async fn liar() -> (String, Arc<AtomicUsize>, tokio::task::JoinSet<()>) {
    let lies = Arc::new(AtomicUsize::new(0));
    let count = lies.clone();
    let (peer, running) = stranger(move |uri| {
        count.fetch_add(1, Ordering::Relaxed);
        let (number, size) = piece_asked(&uri);
        async move { bytes(vec![7; piece_length(number, size)]) }
    })
    .await;
    (peer, lies, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_answers_is_hedged_and_then_put_aside() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let (peer, _running) = stranger(|_| std::future::pending()).await;
    let node = Running::start(Plan { peers: vec![peer], patience: IMPATIENT, ..Plan::default() }).await;
    let began = std::time::Instant::now();
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    // Each piece that the peer owns would wait for ten seconds.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    let stats = node.node.stats();
    assert!(stats.hedges >= 3 && stats.hedges_won >= 3, "{stats:?}");
    assert_eq!((stats.members_well, stats.peer_bytes), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn hedges_end_when_the_budget_does() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let nodes = cluster(2, || Plan { patience: IMPATIENT, ..Plan::default() }).await;
    // The registry is what is slow: both the owner and the hedge wait for it.
    registry.inject(Rule::blobs(Fault::Delay(std::time::Duration::from_millis(400))));
    let read = join_all(nodes.iter().map(|node| node.read(&registry, &digest))).await;
    assert!(read.into_iter().all(|bytes| bytes.unwrap() == expected));
    let hedges: u64 = nodes.iter().map(|node| node.node.stats().hedges).sum();
    assert!(hedges <= 16, "{hedges} hedges");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_peer_is_put_aside_and_its_pieces_go_to_the_next() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    // Bound, so that nobody else gets the port, and nobody listens.
    let gone = tokio::net::TcpSocket::new_v4().unwrap();
    gone.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = gone.local_addr().unwrap();
    let sockets = [bind().await, bind().await];
    let mut peers: Vec<String> = sockets.iter().map(|(_, addr)| format!("http://{addr}")).collect();
    peers.push(format!("http://{addr}"));
    let mut nodes = Vec::new();
    for socket in sockets {
        nodes.push(Running::start_at(socket, Plan { peers: peers.clone(), ..Plan::default() }).await);
    }
    for node in &nodes {
        assert!(node.read(&registry, &digest).await.unwrap() == expected);
        let stats = node.node.stats();
        assert_eq!((stats.peers_put_aside, stats.members_well), (1, 2), "{stats:?}");
    }
    assert_eq!(nodes.iter().map(|node| node.node.stats().registry_bytes).sum::<u64>(), SIZE as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_is_found_out_by_a_reader_who_checks() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let (peer, lies, _running) = liar().await;
    let node = Running::start(Plan { peers: vec![peer], ..Plan::default() }).await;
    // Our own client, with the node as its mirror, as `glowplug run --mirror` has it.
    let mut options = Options::default();
    options.mirrors.insert(registry.host(), vec![node.local.clone()]);
    let reference: Reference = format!("{}/app:v1", registry.host()).parse().unwrap();
    let repository = client(options).registry(&reference).unwrap();
    let source = repository.resilient_blob(&Descriptor::new("x/y", digest, SIZE as u64));
    let mut wrong = 0;
    for number in 0..16 {
        let range = ByteRange::at(number * PIECE_BYTES, 1000);
        let read = || read_all(&*source, range, glowplug_timeline::Cause::Fault);
        let right = &expected[range.start as usize..range.end as usize];
        if read().await.unwrap() != right {
            wrong += 1;
            source.distrust(range);
            assert!(read().await.unwrap() == right, "asked anew it comes from the registry");
        }
    }
    assert_eq!(wrong, 1, "after its first lie nobody asks it");
    assert_eq!(lies.load(Ordering::Relaxed), 1);
    let stats = node.node.stats();
    assert_eq!((stats.quarantines, stats.pieces_compared, stats.members_well), (1, 1, 1));
    assert!(node.read(&registry, &digest).await.unwrap() == expected, "what it gave is replaced");
    // The reader never had to go past the mirror.
    assert!(
        registry.log().iter().all(|asked| asked.cache_control.is_none() || asked.path.contains("/blobs/"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_is_found_out_when_a_blob_passes_as_a_whole() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let (peer, _, _running) = liar().await;
    let node = Running::start(Plan { peers: vec![peer], ..Plan::default() }).await;
    // What containerd does: it takes the whole, and a broken one again.
    assert!(node.read(&registry, &digest).await.is_err(), "a complete wrong blob is never given out");
    assert_eq!(node.node.stats().quarantines, 1);
    assert!(node.read(&registry, &digest).await.unwrap() == expected);

    // Nor does a node forget who gave what because its cache is too small for it.
    let (peer, _, _running) = liar().await;
    let node = Running::start(Plan { peers: vec![peer], quota_bytes: 1000, ..Plan::default() }).await;
    assert!(node.read(&registry, &digest).await.is_err());
    assert_eq!(node.node.stats().quarantines, 1);
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_a_blob_of_one_piece_is_never_passed_on() {
    let registry = TestRegistry::start();
    let (peer, lies, _running) = liar().await;
    let node = Running::start(Plan { peers: vec![peer], ..Plan::default() }).await;
    // One of them is the liar's.
    for seed in 0..16 {
        let bytes = noise(5000, seed);
        let digest = registry.put_blob(bytes.clone());
        assert!(node.read(&registry, &digest).await.unwrap() == bytes);
    }
    assert_eq!((lies.load(Ordering::Relaxed), node.node.stats().quarantines), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarantine_is_over_after_a_while_and_longer_the_next_time() {
    let registry = TestRegistry::start();
    let (peer, lies, _running) = liar().await;
    let plan = Plan { peers: vec![peer], ..Plan::default() };
    let clock = plan.clock.clone();
    let node = Running::start(plan).await;
    let mut seed = 100;
    let mut lied_again = async || {
        let before = lies.load(Ordering::Relaxed);
        for _ in 0..16 {
            seed += 1;
            let bytes = noise(5000, seed);
            let digest = registry.put_blob(bytes.clone());
            assert!(node.read(&registry, &digest).await.unwrap() == bytes);
        }
        lies.load(Ordering::Relaxed) - before
    };
    assert_eq!(lied_again().await, 1);
    clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(lied_again().await, 1);
    clock.advance(std::time::Duration::from_secs(301));
    assert_eq!(lied_again().await, 0);
    clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(lied_again().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_wrong_length_are_no_pieces() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    for length in [0, 1000, PIECE_BYTES as usize + 1] {
        let (peer, _running) = stranger(move |_| async move { bytes(vec![7; length]) }).await;
        let node = Running::start(Plan { peers: vec![peer], ..Plan::default() }).await;
        assert!(node.read(&registry, &digest).await.unwrap() == expected);
        assert_eq!(node.node.stats().peers_put_aside, 1, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_registry_garbled_are_replaced_and_nobody_is_accused() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let node = Running::start(Plan::default()).await;
    let url = node.blob_url(&registry, &digest);
    // The first byte of what is asked for is flipped, once.
    registry.inject(Rule::blobs(Fault::WrongBytes).skip(1).times(1));
    let read = async |anew: bool| {
        let mut request = http().get(&url).header("range", "bytes=0-99");
        if anew {
            request = request.header("cache-control", "no-cache");
        }
        request.send().await.unwrap().bytes().await.unwrap()
    };
    assert!(read(false).await != expected[..100]);
    assert!(read(true).await == expected[..100]);
    assert!(read(false).await == expected[..100]);
    let stats = node.node.stats();
    assert_eq!((stats.quarantines, stats.pieces_compared), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_credentials_do_not_reach_is_no_liar() {
    let registry = TestRegistry::start();
    let (digest, expected) = blob(&registry);
    let (peer, _running) = stranger(|_| async {
        let mut response = bytes(Vec::new());
        *response.status_mut() = axum::http::StatusCode::FORBIDDEN;
        response
    })
    .await;
    let node = Running::start(Plan { peers: vec![peer], ..Plan::default() }).await;
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    let stats = node.node.stats();
    assert_eq!((stats.members_well, stats.quarantines, stats.peers_put_aside), (2, 0, 0));
}
