//! Images that one node has opened, opened by the others: with what the first made, without streaming a layer by.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{Clock, Digest};
use glowplug_image::{Image, LayerSpec, Neighbours, Offered, Opened, Profile, Spare, offered, open_with};
use glowplug_oci::{Compression, Descriptor, LayerFormat, Reference};
use glowplug_peer::{LoreId, OwnService, PIECE_BYTES, Security};
use glowplug_registry::Options;
use glowplug_store::Store;
use glowplug_testkit::{Layer, TestRegistry, Tree};
use glowplug_timeline::{Event, Timeline};

use crate::world::{DEADLINE, Plan, Running, client, cluster, noise};

const COMMAND: &str = r#"{"args":[],"entrypoint":null}"#;
const FILE_BYTES: usize = 3 * PIECE_BYTES as usize;

/// A layer of some pieces, and a file of it.
fn layer(compression: Compression) -> (Layer, Vec<u8>) {
    let content = noise(FILE_BYTES, 70);
    let tar = Tree::build(|tree| {
        tree.dir("d");
        tree.file("d/small", b"small");
        tree.file("d/big", &content);
        tree.file("d/last", noise(FILE_BYTES, 71));
    });
    (Layer::in_parts(tar, compression, 400_000), content)
}

/// The node's service, as the image engine sees it.
#[derive(Debug)]
struct Service(OwnService);

impl Neighbours for Service {
    fn index(&self, layer: Digest, most_bytes: u64) -> BoxFuture<'_, Option<Offered>> {
        Box::pin(async move {
            let found = self.0.get(&id(layer), most_bytes).await?;
            Some(Offered { bytes: found.bytes, from: found.from })
        })
    }
}

fn id(layer: Digest) -> LoreId {
    LoreId::index(layer, &offered::dialect()).unwrap()
}

/// A store on a node, and the node's service.
struct Machine {
    store: Arc<Store>,
    service: Service,
    timeline: Timeline,
    _dir: tempfile::TempDir,
}

impl Machine {
    fn on(node: &Running) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), glowplug_store::Options::default()).unwrap());
        Self { store, service: Service(node.service()), timeline: Timeline::new(Clock::system()), _dir: dir }
    }

    async fn open(&self, node: &Running, registry: &TestRegistry, layer: &Layer) -> Opened {
        let mut options = Options::default();
        options.mirrors.insert(registry.host(), vec![node.local.clone()]);
        let reference: Reference = format!("{}/app:v1", registry.host()).parse().unwrap();
        let repository = client(options).registry(&reference).unwrap();
        let descriptor = Descriptor::new("x/y", layer.digest(), layer.blob.len() as u64);
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: Some(layer.diff_id()),
            source: repository.resilient_blob(&descriptor),
            annotations: Default::default(),
            external: None,
            soci: None,
        };
        open_with(&self.store, &[spec], &[], Some(&self.service), &self.timeline).await.unwrap()
    }

    /// Offers what was made of an opened image.
    async fn offer(&self, image: &Image) {
        for layer in image.layers().filter(|layer| offered::is_for_others(layer)) {
            let packed = offered::pack(layer).unwrap().unwrap();
            assert!(self.service.0.offer(&id(layer.index().blob), packed.into()).await);
        }
    }
}

async fn reads(image: &Image, content: &[u8]) {
    let file = image.tree().find("d/big").unwrap();
    for (offset, length) in [(0, 1000), (FILE_BYTES - 500, 500), (FILE_BYTES / 2, 70_000)] {
        let read = image.read(file, offset as u64, length as u32).await.unwrap();
        assert!(read == content[offset..offset + length], "{offset}");
    }
}

fn free() -> Spare {
    Arc::new(|| true)
}

fn member() -> Plan {
    Plan { security: Security::Token("secret".to_owned()), ..Plan::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_streamed_by_the_others_open_at_once() {
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let registry = TestRegistry::start();
        let (layer, content) = layer(compression);
        registry.put_blob(layer.blob.clone());
        let nodes = cluster(3, member).await;
        let first = Machine::on(&nodes[0]);
        let opened = first.open(&nodes[0], &registry, &layer).await;
        assert_eq!((opened.streamed, opened.offered), (1, 0), "{compression:?}");
        first.offer(&opened.image).await;

        let second = Machine::on(&nodes[1]);
        let before = nodes[1].node.stats().served_bytes;
        let opened = second.open(&nodes[1], &registry, &layer).await;
        assert_eq!((opened.streamed, opened.offered), (0, 1), "{compression:?}");
        assert_eq!(nodes[1].node.stats().served_bytes, before, "not a byte of the layer has moved");
        let told = second.timeline.events().into_iter().find_map(|event| match event {
            Event::Span(span) if span.name.contains("index of layer 0") => span.detail,
            _ => None,
        });
        assert!(told.unwrap().contains(&format!("index from the peer {}", nodes[0].own)));
        assert_eq!(offered::giver(&second.store, &layer.digest()).as_deref(), Some(&*nodes[0].own));
        reads(&opened.image, &content).await;

        // Others get it of the one who made it, until this one has held it against the layer.
        let index = opened.image.layers().next().unwrap().clone();
        assert!(!offered::is_for_others(&index));
        opened.image.start_prefetch(None, &free());
        let confirmed = async {
            while !index.is_confirmed() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, confirmed).await.expect("it is held against the layer");
        assert!(opened.image.contradictions().is_empty());
        second.offer(&opened.image).await;
        assert!(second.service.0.keeps(&id(layer.digest())).await);

        // The first is gone; the second vouches for what it has audited.
        nodes[2].node.set_members(&[nodes[1].own.clone()]).unwrap();
        let third = Machine::on(&nodes[2]);
        let opened = third.open(&nodes[2], &registry, &layer).await;
        assert_eq!((opened.streamed, opened.offered), (0, 1), "{compression:?}");
        reads(&opened.image, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_one_node_learned_is_another_nodes_first() {
    let nodes = cluster(2, member).await;
    let taught = Profile::of_run([("d/big".to_owned(), 3, 10), ("d/small".to_owned(), 0, 5)]);
    let profile = LoreId::profile(Digest::of(b"manifest"), COMMAND);
    assert!(nodes[0].service().offer(&profile, Bytes::from(taught.encode())).await);
    let found = nodes[1].service().get(&profile, glowplug_image::MAX_PROFILE_BYTES).await.unwrap();
    assert_eq!(Profile::parse(&found.bytes), Some(taught));
    assert_eq!(found.from.as_deref(), Some(&*nodes[0].own));
}

/// What a liar says of a layer: a mode that is another, or names that go another way.
type Lie = fn(&mut glowplug_layer::LayerIndex);

/// An honest pack, changed.
fn lying(packed: &[u8], lie: Lie) -> Bytes {
    let length = u64::from_le_bytes(*packed[8..].first_chunk().unwrap()) as usize;
    let (index, windows) = packed[16..].split_at(length);
    let mut index = glowplug_layer::decode(index, &glowplug_layer::Limits::default()).unwrap();
    lie(&mut index);
    let index = glowplug_layer::encode(&index).unwrap();
    [&packed[..8], &(index.len() as u64).to_le_bytes(), &index, windows].concat().into()
}

fn entry<'i>(index: &'i mut glowplug_layer::LayerIndex, name: &str) -> &'i mut glowplug_layer::Entry {
    index.entries.iter_mut().find(|entry| entry.path == name.as_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_index_is_found_out_and_its_giver_left_alone() {
    // An index that shows a file as a program of its owner, and one that shows the bytes of one file as another's.
    let lies: [Lie; 2] = [
        |index| entry(index, "d/small").mode |= 0o4000,
        |index| {
            let (one, other) = ("d/big", "d/last");
            entry(index, one).path = b"x".to_vec();
            entry(index, other).path = one.as_bytes().to_vec();
            entry(index, "x").path = other.as_bytes().to_vec();
        },
    ];
    for lie in lies {
        let registry = TestRegistry::start();
        let (layer, content) = layer(Compression::Gzip);
        registry.put_blob(layer.blob.clone());
        let nodes = cluster(2, member).await;
        let first = Machine::on(&nodes[0]);
        let opened = first.open(&nodes[0], &registry, &layer).await;
        let packed = offered::pack(opened.image.layers().next().unwrap()).unwrap().unwrap();
        assert!(first.service.0.offer(&id(layer.digest()), lying(&packed, lie)).await);

        let second = Machine::on(&nodes[1]);
        let opened = second.open(&nodes[1], &registry, &layer).await;
        assert_eq!((opened.streamed, opened.offered), (0, 1));
        opened.image.start_prefetch(None, &free());
        let found =
            tokio::time::timeout(DEADLINE, opened.image.contradicted()).await.expect("it is found out");
        assert_eq!(found.layer, layer.digest());
        let giver = offered::giver(&second.store, &found.layer).unwrap();
        assert!(second.service.0.refute(&id(found.layer), offered::peer_of(&giver)).await);
        let stats = nodes[1].node.stats();
        assert_eq!((stats.quarantines, stats.members_well), (1, 1), "{stats:?}");
        assert!(!offered::is_for_others(opened.image.layers().next().unwrap()), "a lie goes no further");
        drop(opened);
        // What was on its way holds the layer for a moment.
        while second.store.drop_data(&layer.digest()).is_err()
            && second.store.layer(&layer.digest()).is_some()
        {
            tokio::task::yield_now().await;
        }
        let again = second.open(&nodes[1], &registry, &layer).await;
        assert_eq!((again.streamed, again.offered, again.distrusted), (1, 0, 1));
        reads(&again.image, &content).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_makes_no_sense_is_not_taken_and_the_layer_streams_by() {
    let absurd: [Lie; 6] = [
        |index| entry(index, "d/small").path = b"../etc/passwd".to_vec(),
        |index| entry(index, "d/small").extents[0].data += 4096,
        |index| entry(index, "d/small").size = 1,
        |index| index.origin = glowplug_layer::Origin::Toc,
        |index| index.blob = Digest::of(b"another"),
        |index| index.spans[0].recipe = glowplug_layer::Recipe::Whole,
    ];
    let registry = TestRegistry::start();
    let (layer, content) = layer(Compression::Gzip);
    registry.put_blob(layer.blob.clone());
    let nodes = cluster(2, member).await;
    let first = Machine::on(&nodes[0]);
    let opened = first.open(&nodes[0], &registry, &layer).await;
    let packed = offered::pack(opened.image.layers().next().unwrap()).unwrap().unwrap();
    let mut offers: Vec<Bytes> = Vec::new();
    for lie in absurd {
        // Some of them no index can say at all.
        let changed = std::panic::catch_unwind(|| lying(&packed, lie));
        offers.extend(changed.ok());
    }
    offers.extend([Bytes::from_static(b"GPOFFER1"), packed[..packed.len() - 9].to_vec().into()]);
    assert!(offers.len() >= 8);
    for offer in offers {
        assert!(first.service.0.offer(&id(layer.digest()), offer).await);
        let second = Machine::on(&nodes[1]);
        let opened = second.open(&nodes[1], &registry, &layer).await;
        assert_eq!((opened.streamed, opened.offered), (1, 0));
        reads(&opened.image, &content).await;
    }
    // A layer that comes in the time that asking takes is not asked for.
    let tiny = Layer::gzip(|tree| _ = tree.file("d/big", b"tiny"));
    registry.put_blob(tiny.blob.clone());
    let opened = Machine::on(&nodes[1]).open(&nodes[1], &registry, &tiny).await;
    assert_eq!((opened.streamed, opened.offered), (1, 0));
    assert!(!offered::is_for_others(opened.image.layers().next().unwrap()));
}
