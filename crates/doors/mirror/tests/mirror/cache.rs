//! The node's disk: what survives, what is damaged, what it may take.

use std::path::{Path, PathBuf};

use glowplug_peer::{Node, OpenError, PIECE_BYTES, Patience, Security, Settings};
use glowplug_registry::Options;
use glowplug_testkit::TestRegistry;

use crate::world::{Plan, Running, client, cluster, egress, noise};

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.retain(|path| path.file_name().is_some_and(|name| name != "lock" && name != "key"));
    found.sort();
    found
}

/// Bytes in all files below a directory.
fn bytes(dir: &Path) -> u64 {
    files(dir).iter().map(|path| path.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_found_again_and_what_is_damaged_in_it_is_fetched_again() {
    let registry = TestRegistry::start();
    let expected = noise(4 * PIECE_BYTES as usize, 3);
    let digest = registry.put_blob(expected.clone());
    let dir = tempfile::tempdir().unwrap();
    let plan = || Plan { cache_dir: Some(dir.path().to_owned()), ..Plan::default() };
    let node = Running::start(plan()).await;
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    // Nothing is written when a node ends, so this is like its being killed; and it was killed while it wrote.
    drop(node);
    let pieces = files(dir.path());
    assert_eq!(pieces.len(), 4);
    std::fs::write(pieces[0].with_extension("9.new"), b"half").unwrap();

    registry.clear_log();
    let node = reopened(plan).await;
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    assert_eq!(egress(&registry), 1, "its length is all that was asked for");
    assert_eq!(node.node.stats().cache_bytes, expected.len() as u64);
    drop(node);
    assert_eq!(files(dir.path()), pieces);

    // One byte is flipped, one is cut short, one is another piece under this name, one is of another version.
    let content = |at: usize| std::fs::read(&pieces[at]).unwrap();
    let mut flipped = content(0);
    *flipped.last_mut().unwrap() ^= 1;
    let (cut, other) = (content(1)[..1000].to_vec(), content(0));
    let version = String::from_utf8_lossy(&content(3)[..16]).replace("piece 1", "piece 2").into_bytes();
    let later = [&version[..], &content(3)[16..]].concat();
    for (path, content) in pieces.iter().zip([flipped, cut, other, later]) {
        std::fs::write(path, content).unwrap();
    }
    registry.clear_log();
    let node = reopened(plan).await;
    assert!(node.read(&registry, &digest).await.unwrap() == expected);
    assert_eq!(node.node.stats().damaged_files, 4);
    assert_eq!(egress(&registry), expected.len() as u64 + 1);
}

/// Starts when the one before has let go of the cache: its tasks end a little after it was dropped.
pub async fn reopened(plan: impl Fn() -> Plan) -> Running {
    let plan = plan();
    let dir = plan.cache_dir.clone().unwrap();
    let settings = Settings {
        own: "http://127.0.0.1:1".to_owned(),
        peers: Vec::new(),
        cache_dir: dir,
        cache_quota_bytes: u64::MAX,
        copies: 1,
        patience: Patience::default(),
        security: Security::None,
        trust_indexes: false,
    };
    while let Err(error) = Node::open(&settings, client(Options::default()), plan.clock.clone()) {
        assert!(matches!(error, OpenError::InUse(_)), "{error}");
        tokio::task::yield_now().await;
    }
    Running::start(plan).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_holds_and_what_was_used_last_stays() {
    let registry = TestRegistry::start();
    let quota_bytes = 4 * PIECE_BYTES + 4 * 4096;
    let dir = tempfile::tempdir().unwrap();
    let plan = || Plan { cache_dir: Some(dir.path().to_owned()), quota_bytes, ..Plan::default() };
    let node = Running::start(plan()).await;
    let (first, second) = (noise(2 * PIECE_BYTES as usize, 4), noise(PIECE_BYTES as usize, 5));
    let blobs = [first, second].map(|bytes| (registry.put_blob(bytes.clone()), bytes));
    let large = noise(12 * PIECE_BYTES as usize, 6);
    let large_digest = registry.put_blob(large.clone());
    for (digest, bytes) in &blobs {
        assert!(node.read(&registry, digest).await.unwrap() == *bytes);
    }
    assert!(node.read(&registry, &large_digest).await.unwrap() == large);
    settled(&node, &registry, &large_digest).await;
    let stats = node.node.stats();
    assert!(stats.cached_pieces == 4 && stats.cached_bytes <= quota_bytes, "{stats:?}");
    assert!(bytes(dir.path()) <= quota_bytes);
    drop(node);

    // A smaller quota holds from the beginning.
    let node = reopened(|| Plan { quota_bytes: 2 * PIECE_BYTES + 2 * 4096, ..plan() }).await;
    assert_eq!(node.node.stats().cached_pieces, 2);
    assert_eq!(files(dir.path()).len(), 2);
    drop(node);
    // One that holds nothing serves all the same.
    let node = reopened(|| Plan { quota_bytes: 1000, ..plan() }).await;
    assert!(node.read(&registry, &large_digest).await.unwrap() == large);
    assert_eq!((node.node.stats().cached_pieces, files(dir.path()).len()), (0, 0));
}

/// Waits until what was read is written: another reader of the last piece gets it from the cache.
async fn settled(node: &Running, registry: &TestRegistry, digest: &glowplug_base::Digest) {
    loop {
        let before = node.node.stats();
        let url = node.blob_url(registry, digest);
        let last = crate::world::http().get(url).header("range", "bytes=-1");
        last.send().await.unwrap().bytes().await.unwrap();
        if node.node.stats().cache_bytes > before.cache_bytes {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_have_a_quarter() {
    let registry = TestRegistry::start();
    let expected = noise(32 * PIECE_BYTES as usize, 7);
    let digest = registry.put_blob(expected.clone());
    let quota_bytes = 16 * (PIECE_BYTES + 4096);
    let nodes = cluster(4, || Plan { quota_bytes, ..Plan::default() }).await;
    for node in &nodes {
        assert!(node.read(&registry, &digest).await.unwrap() == expected);
        settled(node, &registry, &digest).await;
    }
    for node in &nodes {
        let guests = files(&node.cache_dir.join("guests"));
        assert!(guests.len() <= 4, "{guests:?}");
        assert!(bytes(&node.cache_dir) <= quota_bytes);
    }
    assert_eq!(nodes.iter().map(|node| node.node.stats().registry_bytes).sum::<u64>(), expected.len() as u64);
}

#[tokio::test]
async fn a_cache_belongs_to_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        own: "http://127.0.0.1:1".to_owned(),
        peers: Vec::new(),
        cache_dir: dir.path().to_owned(),
        cache_quota_bytes: 1 << 20,
        copies: 1,
        patience: Patience::default(),
        security: Security::None,
        trust_indexes: false,
    };
    let open = || Node::open(&settings, client(Options::default()), glowplug_base::Clock::system());
    let node = open().unwrap();
    assert!(matches!(open(), Err(OpenError::InUse(_))));
    drop(node);
    open().unwrap();
}
