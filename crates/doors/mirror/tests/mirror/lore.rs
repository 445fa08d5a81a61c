//! What nodes learned, offered to the others: who gives it, who is believed, and what it may cost.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use glowplug_base::{Digest, Secret};
use glowplug_peer::{
    DIGEST_HEADER, FROM_HEADER, LoreHead, LoreId, MARK_HEADER, OwnService, Saying, Security,
};
use reqwest::Method;

use crate::world::{DEADLINE, IMPATIENT, Plan, Running, cluster, http, noise, stranger};

const DIALECT: &str = "2-0.1.0";
const COMMAND: &str = r#"{"args":[],"entrypoint":null}"#;
const MOST: u64 = 1 << 24;

fn index(of: &str) -> LoreId {
    LoreId::index(Digest::of(of.as_bytes()), DIALECT).unwrap()
}

fn profile(of: &str) -> LoreId {
    LoreId::profile(Digest::of(of.as_bytes()), COMMAND)
}

fn content(seed: u32) -> Bytes {
    noise(300_000, seed).into()
}

fn token() -> Security {
    Security::Token("secret".to_owned())
}

fn member() -> Plan {
    Plan { security: token(), ..Plan::default() }
}

/// A right answer of a peer that knows the token, to whatever is asked for.
fn vouched(id: &LoreId, head: &LoreHead, bytes: Body) -> Response {
    let mark = Saying::Vouch.mark(&Secret::new(b"secret"), id, head, "");
    let answer = Response::builder().header("content-length", head.length).header(MARK_HEADER, mark);
    answer.header(DIGEST_HEADER, head.digest.to_string()).body(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_offers_the_others_get_and_do_not_pass_on() {
    let nodes = cluster(3, member).await;
    let services: Vec<OwnService> = nodes.iter().map(Running::service).collect();
    for (id, bytes) in [(index("a"), content(1)), (profile("a"), content(2))] {
        assert_eq!(services[1].get(&id, MOST).await, None);
        assert!(services[0].offer(&id, bytes.clone()).await);
        let here = services[0].get(&id, MOST).await.unwrap();
        assert_eq!((here.bytes, here.from), (bytes.clone(), None));
        for other in &services[1..] {
            assert_eq!(other.look(&id).await, Some((bytes.len() as u64, Some(nodes[0].own.clone()))));
            let found = other.get(&id, MOST).await.unwrap();
            assert!(found.bytes == bytes);
            assert_eq!(found.from.as_deref(), Some(&*nodes[0].own));
            assert!(!other.keeps(&id).await, "what is kept is given, and who gives vouches");
            assert_eq!(other.get(&id, bytes.len() as u64 - 1).await, None, "longer than it is worth");
        }
        // It can be offered again, and the last counts.
        assert!(services[0].offer(&id, content(3)).await);
        assert!(services[2].get(&id, MOST).await.unwrap().bytes == content(3));
    }
    let stats = nodes[0].node.stats();
    assert_eq!((stats.lore_kept, stats.lore_from_peers, stats.peers_put_aside), (2, 0, 0), "{stats:?}");
    assert!(stats.lore_to_peers >= 6 && nodes[1].node.stats().lore_from_peers >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_taken_of_nodes_that_share_a_secret_and_profiles_of_all() {
    for (security, trust_indexes, believed) in
        [(Security::None, true, false), (token(), false, false), (token(), true, true)]
    {
        let plan = || Plan { security: security.clone(), trust_indexes, ..Plan::default() };
        let nodes = cluster(2, plan).await;
        for (id, taken) in [(index("b"), believed), (profile("b"), true)] {
            assert!(nodes[0].service().offer(&id, content(4)).await);
            assert_eq!(nodes[1].service().get(&id, MOST).await.is_some(), taken, "{id:?}");
            assert_eq!(nodes[1].service().look(&id).await.is_some(), taken, "{id:?}");
            assert!(nodes[0].service().get(&id, MOST).await.is_some(), "its own it believes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_the_mark_of_a_member_is_not_passed_on() {
    let (id, bytes) = (index("c"), content(5));
    let head = LoreHead::of(&bytes);
    for wrong in [None, Some(Saying::Answer), Some(Saying::Vouch)] {
        let (id, bytes) = (id.clone(), bytes.clone());
        let (peer, _running) = stranger(move |_| {
            // The third is the mark of something else.
            let other = if wrong == Some(Saying::Vouch) { index("other") } else { id.clone() };
            let mut answer = vouched(&id, &head, bytes.clone().into());
            answer.headers_mut().remove(MARK_HEADER);
            if let Some(saying) = wrong {
                let mark = saying.mark(&Secret::new(b"secret"), &other, &head, "");
                answer.headers_mut().insert(MARK_HEADER, mark.parse().unwrap());
            }
            async move { answer }
        })
        .await;
        let node = Running::start(Plan { peers: vec![peer], ..member() }).await;
        assert_eq!(node.service().get(&index("c"), MOST).await, None, "{wrong:?}");
        let stats = node.node.stats();
        assert_eq!((stats.peers_put_aside, stats.members_well), (1, 1), "{stats:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_without_the_nodes_key_offers_refutes_or_is_believed() {
    let node = Running::start(member()).await;
    let (id, bytes) = (index("d"), content(6));
    let head = LoreHead::of(&bytes);
    let at = |door: &str| format!("{door}/glowplug/peer/1/{}", id.path());
    let (right, other) = (node.service(), OwnService::at(&node.local, Some(Secret::new(b"other"))).unwrap());
    let keyless = OwnService::at(&node.local, None).unwrap();
    assert!(!other.offer(&id, bytes.clone()).await && !keyless.offer(&id, bytes.clone()).await);
    assert!(!right.keeps(&id).await);
    assert!(right.offer(&id, bytes.clone()).await);
    assert!(!other.refute(&id, None).await && !keyless.refute(&id, None).await);
    assert_eq!(other.get(&id, MOST).await, None, "who answers does not know the key");
    assert_eq!(keyless.get(&id, MOST).await, None);
    assert!(right.get(&id, MOST).await.is_some());
    // A mark that was overheard is of no use for other bytes.
    let overheard = http().get(at(&node.local)).send().await.unwrap().headers()[MARK_HEADER].clone();
    let forged = http().put(at(&node.local)).header(MARK_HEADER, overheard.clone());
    let forged = forged.header(DIGEST_HEADER, head.digest.to_string()).body(bytes.clone());
    assert_eq!(forged.send().await.unwrap().status(), 401);
    // The cluster's door takes nothing, whoever comes.
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        let asked = http().request(method.clone(), at(&node.own)).bearer_auth("secret").send().await.unwrap();
        assert_eq!(asked.status(), 405, "{method}");
    }
    for method in [Method::PUT, Method::POST] {
        let asked = http().request(method, format!("{}/v2/app/blobs/uploads/", node.local)).send().await;
        assert_eq!(asked.unwrap().status(), 405);
    }
    // A profile can do no harm, so it is read without a key.
    assert!(right.offer(&profile("d"), bytes.clone()).await);
    assert!(keyless.get(&profile("d"), MOST).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_no_service_is_asked_once_and_told_nothing() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = asked.clone();
    let (mirror, _running) = stranger(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async { crate::world::bytes(b"hello".to_vec()) }
    })
    .await;
    let service = OwnService::at(&mirror, Some(Secret::new(b"key"))).unwrap();
    assert!(!service.offer(&profile("e"), content(7)).await && !service.refute(&index("e"), None).await);
    assert!(!service.keeps(&index("e")).await);
    assert_eq!(service.get(&profile("e"), MOST).await, None);
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 1);
    for elsewhere in ["https://127.0.0.1:1", "10.0.0.1:5377", "http://example.org", "127.0.0.1:1/path", ""] {
        assert!(OwnService::at(elsewhere, None).is_none(), "{elsewhere}");
    }
    assert!(OwnService::at("[::1]:5377", None).is_some() && OwnService::at("localhost:5377", None).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn lore_is_found_again_and_what_is_damaged_in_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let plan = || Plan { cache_dir: Some(dir.path().to_owned()), ..member() };
    let node = Running::start(plan()).await;
    let ids = [index("f"), index("g"), index("h"), profile("f")];
    for (id, seed) in ids.iter().zip(10..) {
        assert!(node.service().offer(id, content(seed)).await);
    }
    drop(node);
    let lore = dir.path().join("lore");
    let mut files: Vec<_> = std::fs::read_dir(&lore).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 4);
    std::fs::write(lore.join("7.new"), b"half").unwrap();
    std::fs::write(lore.join("notes.txt"), b"none of ours").unwrap();
    // One byte is flipped, one is cut short, one has another's name.
    let of = |id: &LoreId| {
        let hex = id.about().hex();
        files
            .iter()
            .find(|file| file.to_string_lossy().contains(&hex) && file.to_string_lossy().contains(DIALECT))
            .unwrap()
    };
    let mut flipped = std::fs::read(of(&ids[0])).unwrap();
    *flipped.last_mut().unwrap() ^= 1;
    let (cut, other) =
        (std::fs::read(of(&ids[1])).unwrap()[..1000].to_vec(), std::fs::read(of(&ids[1])).unwrap());
    for (id, bytes) in [(&ids[0], flipped), (&ids[1], cut), (&ids[2], other)] {
        std::fs::write(of(id), bytes).unwrap();
    }
    let node = crate::cache::reopened(plan).await;
    assert!(node.service().get(&ids[3], MOST).await.unwrap().bytes == content(13));
    for id in &ids[..3] {
        assert_eq!(node.service().get(id, MOST).await, None);
        assert!(!node.service().keeps(id).await && !of(id).exists());
    }
    assert_eq!(node.node.stats().lore_kept, 1);
    assert_eq!(std::fs::read_dir(&lore).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eighth_of_the_quota_is_lores_and_what_was_used_last_stays() {
    // Room for two of them, with their first lines.
    let quota_bytes = 8 * 2 * (content(0).len() as u64 + 8192);
    let node = Running::start(Plan { quota_bytes, ..member() }).await;
    let service = node.service();
    for (of, seed) in [("i", 20), ("j", 21)] {
        assert!(service.offer(&index(of), content(seed)).await);
    }
    assert!(service.get(&index("i"), MOST).await.is_some());
    assert!(service.offer(&index("k"), content(22)).await);
    assert!(service.keeps(&index("i")).await && service.keeps(&index("k")).await);
    assert!(!service.keeps(&index("j")).await);
    assert!(!service.offer(&index("l"), noise(quota_bytes as usize / 8, 23).into()).await);
    let stats = node.node.stats();
    assert!(stats.lore_kept == 2 && stats.lore_bytes <= quota_bytes / 8, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_of_other_lengths_than_announced_are_not_kept() {
    let node = Running::start(member()).await;
    let key = glowplug_peer::read_key(&node.cache_dir.join(glowplug_peer::KEY_FILE)).unwrap();
    let (id, bytes) = (index("m"), content(30));
    let url = format!("{}/glowplug/peer/1/{}", node.local, id.path());
    let offer = async |head: LoreHead, bytes: Bytes| {
        let mark = Saying::Offer.mark(&key, &id, &head, "");
        let request =
            http().put(&url).header(MARK_HEADER, mark).header(DIGEST_HEADER, head.digest.to_string());
        request.body(bytes).send().await.unwrap().status().as_u16()
    };
    let head = LoreHead::of(&bytes);
    assert_eq!(offer(LoreHead { digest: Digest::of(b"x"), ..head }, bytes.clone()).await, 400);
    assert_eq!(
        offer(LoreHead { length: 5, ..head }, bytes.clone()).await,
        401,
        "the mark is of another length"
    );
    // Lengths that lie are the HTTP library's business, but for those that nobody may have.
    let huge =
        http().put(&url).header("content-length", 1_u64 << 40).header(DIGEST_HEADER, head.digest.to_string());
    let answered =
        huge.body(reqwest::Body::wrap_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()));
    assert_eq!(answered.send().await.unwrap().status(), 413);
    let endless = http().put(&url).header(DIGEST_HEADER, head.digest.to_string());
    let endless =
        endless.body(reqwest::Body::wrap_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()));
    assert_eq!(endless.send().await.unwrap().status(), 411);
    assert!(!node.service().keeps(&id).await);
    assert_eq!(offer(head, bytes).await, 201);
    assert!(node.service().keeps(&id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_other_lengths_than_announced_are_not_taken() {
    let (id, bytes) = (index("n"), content(31));
    let right = LoreHead::of(&bytes);
    for (what, head, sent) in [
        ("another digest", LoreHead { digest: Digest::of(b"x"), ..right }, bytes.clone()),
        ("too short", LoreHead { length: right.length + 1, ..right }, bytes.clone()),
        ("longer than any", LoreHead { length: 1 << 40, ..right }, bytes.clone()),
    ] {
        let asked = id.clone();
        let (peer, _running) = stranger(move |_| {
            let sent: Vec<Result<Bytes, std::io::Error>> =
                vec![Ok(sent.clone()), Err(std::io::ErrorKind::Other.into())];
            // A body whose length the library does not know, so that it does not correct it.
            let body = match head.length == sent[0].as_ref().unwrap().len() as u64 {
                true => Body::from(sent[0].as_ref().unwrap().clone()),
                false => Body::from_stream(futures::stream::iter(sent)),
            };
            let answer = vouched(&asked, &head, body);
            async move { answer }
        })
        .await;
        let node = Running::start(Plan { peers: vec![peer], ..member() }).await;
        assert_eq!(node.service().get(&id, u64::MAX).await, None, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_answer_costs_its_deadline_and_others_answer_meanwhile() {
    let (dead, _running) = stranger(|_| std::future::pending()).await;
    let good = Running::start(member()).await;
    assert!(good.service().offer(&index("o"), content(40)).await);
    let plan = |peers| Plan { peers, patience: IMPATIENT, ..member() };
    let node = Running::start(plan(vec![dead.clone(), good.own.clone()])).await;
    let found = tokio::time::timeout(DEADLINE, node.service().get(&index("o"), MOST)).await.unwrap();
    assert!(found.unwrap().bytes == content(40));
    // It is waited for, three times, and then it is known.
    for _ in 0..4 {
        let asked = tokio::time::timeout(DEADLINE, node.service().get(&index("p"), MOST)).await;
        assert_eq!(asked.unwrap(), None);
    }
    let stats = node.node.stats();
    assert_eq!((stats.peers_put_aside, stats.members_well), (1, 2), "{stats:?}");
    // Nobody is there at all.
    let alone = Running::start(plan(vec![dead])).await;
    assert_eq!(tokio::time::timeout(DEADLINE, alone.service().look(&index("o"))).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gave_an_index_that_proved_wrong_is_left_alone() {
    let nodes = cluster(2, member).await;
    let service = nodes[1].service();
    assert!(nodes[0].service().offer(&index("q"), content(50)).await);
    let found = service.get(&index("q"), MOST).await.unwrap();
    assert!(service.refute(&index("q"), found.from.as_deref()).await);
    assert_eq!(service.get(&index("q"), MOST).await, None, "nobody else is there");
    let stats = nodes[1].node.stats();
    assert_eq!((stats.quarantines, stats.lore_refuted, stats.members_well), (1, 1, 1), "{stats:?}");
    // One that was offered here is dropped.
    assert!(service.offer(&index("q"), content(51)).await);
    assert!(service.refute(&index("q"), None).await);
    assert!(!service.keeps(&index("q")).await);
    // Whom nobody knows nobody can accuse.
    assert!(service.refute(&index("q"), Some("http://nobody:1")).await);
    assert_eq!(nodes[1].node.stats().quarantines, 1);
}

/// Names are as they are documented: other programs may ask.
#[tokio::test(flavor = "multi_thread")]
async fn paths_and_headers_are_what_they_are_said_to_be() {
    let nodes = cluster(2, member).await;
    let layer = Digest::of(b"r");
    assert!(nodes[0].service().offer(&index("r"), content(60)).await);
    let asked = http().get(format!("{}/glowplug/peer/1/indexes/{layer}/{DIALECT}", nodes[1].local));
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.headers()["glowplug-peer"], "1");
    assert_eq!(answer.headers()[FROM_HEADER].to_str().unwrap(), nodes[0].own);
    assert_eq!(answer.headers()["glowplug-digest"].to_str().unwrap(), Digest::of(&content(60)).to_string());
    assert!(answer.bytes().await.unwrap() == content(60));
    let asked = http().get(format!("{}/glowplug/peer/1/indexes/{layer}/{DIALECT}", nodes[0].own));
    assert_eq!(asked.send().await.unwrap().status(), 401, "the cluster's door wants the token for all");
}
