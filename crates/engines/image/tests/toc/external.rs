//! A layer whose table lies in an image of its own.

use std::sync::Arc;

use glowplug_base::{Clock, Digest};
use glowplug_image::toc::External;
use glowplug_image::{LayerSpec, Opened, open};
use glowplug_oci::{Compression, Descriptor, LayerFormat, Manifest, Source, media};
use glowplug_registry::Client;
use glowplug_source::MemorySource;
use glowplug_testkit::TestRegistry;
use glowplug_timeline::Timeline;
use glowplug_toc::Dialect;
use glowplug_toc::estargz::{Footer, TOC_DIGEST_ANNOTATION};

use crate::entries;
use crate::fixture::{Node, free, make, tar};

/// A layer without its table, and the blob that holds that.
struct Apart {
    layer: Vec<u8>,
    table: Vec<u8>,
    /// Digest of the table's document.
    document: String,
}

impl Apart {
    fn new() -> Self {
        let made = make(&tar(), Dialect::Estargz, &|_| ());
        let footer = Footer::find(&made.blob).unwrap();
        let (start, end) = (footer.toc_offset.unwrap() as usize, made.blob.len() - footer.len as usize);
        let mut layer = made.blob[..start].to_vec();
        // An empty gzip member whose extra field says that the table is elsewhere.
        layer.extend_from_slice(&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 21, 0, b'S', b'G', 17, 0]);
        layer.extend_from_slice(b"STARGZEXTERNALTOC");
        layer.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
        let document = made.annotations[TOC_DIGEST_ANNOTATION].clone();
        Self { layer, table: made.blob[start..end].to_vec(), document }
    }
}

async fn opened(apart: &Apart, node: &Node, registry: &TestRegistry, tag: Option<&str>) -> Opened {
    let source: Source = registry.reference("app:1").parse().unwrap();
    let client = Client::new(glowplug_registry::Options::default()).unwrap();
    let repository = client.open(&source).await.unwrap();
    let spec = LayerSpec {
        blob: Digest::of(&apart.layer),
        format: LayerFormat::Tar,
        compression: Compression::Gzip,
        diff_id: None,
        source: Arc::new(MemorySource::new("blob", apart.layer.clone())),
        annotations: [(TOC_DIGEST_ANNOTATION.to_owned(), apart.document.clone())].into(),
        external: tag.map(|tag| Arc::new(External::new(repository, tag))),
        soci: None,
    };
    open(&node.store, &[spec], &Timeline::new(Clock::system())).await.unwrap()
}

/// A registry with the image of the tables beside `app:1`, for the layer `of`.
fn registry(apart: &Apart, of: Digest) -> TestRegistry {
    let registry = TestRegistry::start();
    let mut table = Descriptor::of(media::OCI_LAYER_GZIP, &apart.table);
    table.annotations.insert("containerd.io/snapshot/stargz/layer.digest".to_owned(), of.to_string());
    registry.put_blob(apart.table.clone());
    registry.put_blob(&b"{}"[..]);
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        artifact_type: None,
        config: Descriptor::of(media::OCI_CONFIG, b"{}"),
        layers: vec![table],
        subject: None,
        annotations: Default::default(),
    };
    let manifest =
        registry.put_manifest("app", None, serde_json::to_vec(&manifest).unwrap(), media::OCI_MANIFEST);
    let listed = Descriptor::new(media::OCI_MANIFEST, manifest, 0);
    registry.put_index("app", Some("1-esgztoc"), vec![listed]);
    registry
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_an_image_of_its_own_is_found_by_the_tag() {
    let (apart, node) = (Apart::new(), Node::new());
    let own = Digest::of(&apart.layer);
    let lazy = opened(&apart, &node, &registry(&apart, own), Some("1")).await;
    assert_eq!((lazy.adopted, lazy.streamed), (1, 0));
    lazy.image.start_prefetch(None, &free());
    let confirmed = async {
        while !lazy.image.layers().all(|layer| layer.is_complete() && layer.is_confirmed()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), confirmed).await.expect("an audit that ends");
    assert_eq!(lazy.image.contradictions(), []);

    for (registry, tag) in [
        (TestRegistry::start(), Some("1")),
        (registry(&apart, Digest::of(b"another layer")), Some("1")),
        (registry(&apart, own), None),
    ] {
        let plain = opened(&apart, &Node::new(), &registry, tag).await;
        assert_eq!((plain.adopted, plain.streamed), (0, 1), "without its table it is a plain layer");
        assert_eq!(entries(&plain.image), entries(&lazy.image));
    }
}
