//! A layer of everything, repositories in memory, and nodes with a store of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{Clock, Digest};
use glowplug_image::soci::{self, Lookup};
use glowplug_image::{Image, LayerSpec, Opened, open};
use glowplug_oci::{Compression, Descriptor, LayerFormat, Manifest, media};
use glowplug_registry::{BlobFile, Error, Fetched, Repository, Target};
use glowplug_source::{Kind, MemorySource, RangeSource, SourceError};
use glowplug_store::Store;
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::Timeline;
use glowplug_toc::index::{ARTIFACT_TYPE_V1, INDEX_DIGEST_ANNOTATION};
use glowplug_toc::ztoc::DEFAULT_SPAN_BYTES;
use glowplug_toc::{IndexVersion, Subject, Ztoc};

pub use crate::contents::{MIB, bytes};
use crate::odd;

pub fn files() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
        let small = (0..200).map(|n| (format!("m/{n:03}"), bytes(100 + n, n as usize % 8 * 700)));
        let large = [
            ("b/big".to_owned(), bytes(1, 9 * MIB + 12_345)),
            ("b/empty".to_owned(), vec![]),
            ("b/last".to_owned(), bytes(3, 4 * MIB + 1)),
            ("b/zeros".to_owned(), vec![0; 9 * MIB]),
            (format!("z/{}", "long".repeat(60)), bytes(7, 100_000)),
        ];
        small.chain(large).collect()
    });
    &FILES
}

pub fn tar() -> Vec<u8> {
    Tree::build(|tree| {
        for (name, content) in files() {
            tree.file(name, content);
        }
        // More headers than a window holds, and then a file.
        for n in 0..300 {
            tree.symlink(&format!("l/{n}"), "../b/big");
        }
        odd::add(tree);
    })
}

pub fn layers() -> &'static [(&'static str, Layer)] {
    static LAYERS: LazyLock<Vec<(&'static str, Layer)>> = LazyLock::new(|| {
        vec![
            ("gzip", Layer::from_tar(tar(), Compression::Gzip)),
            ("gzip of many members", Layer::in_parts(tar(), Compression::Gzip, 1_700_000)),
            ("uncompressed", Layer::from_tar(tar(), Compression::None)),
        ]
    });
    &LAYERS
}

pub fn memory(layer: &Layer) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new("blob", layer.blob.clone()))
}

pub async fn export(layer: &Layer) -> Ztoc {
    export_cut(layer, DEFAULT_SPAN_BYTES).await
}

/// With spans of so many decoded bytes.
pub async fn export_cut(layer: &Layer, span_bytes: u64) -> Ztoc {
    soci::export(&*memory(layer), layer.digest(), layer.compression, span_bytes).await.unwrap()
}

/// The zTOC of the gzip layer, made once.
pub fn exported() -> &'static Ztoc {
    // On a thread of its own, for callers that are inside a runtime.
    static EXPORTED: LazyLock<Ztoc> =
        LazyLock::new(|| std::thread::spawn(|| runtime().block_on(export(&layers()[0].1))).join().unwrap());
    &EXPORTED
}

/// A repository in memory, with an image of one layer.
#[derive(Debug, Default)]
pub struct Shelf {
    pub documents: BTreeMap<Digest, Bytes>,
    pub blobs: BTreeMap<Digest, Bytes>,
    pub referrers: Vec<Descriptor>,
    pub asked: Mutex<Vec<String>>,
}

impl Repository for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(format!("document {target}"));
            let Target::Digest(digest) = target else { panic!("only digests are asked for") };
            let missing = || SourceError::new("shelf", Kind::NotFound);
            let bytes = self.documents.get(digest).cloned().ok_or_else(missing)?;
            Ok(Fetched { bytes, digest: *digest, media_type: None })
        })
    }

    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        self.asked.lock().unwrap().push(format!("blob {}", descriptor.digest));
        Arc::new(MemorySource::new("blob", self.blobs.get(&descriptor.digest).cloned().unwrap_or_default()))
    }

    fn referrers<'a>(
        &'a self,
        _: &'a Digest,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>> {
        self.asked.lock().unwrap().push("referrers".to_owned());
        Box::pin(async { Ok(self.referrers.clone()) })
    }

    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>> {
        panic!("nothing is pushed")
    }

    fn push_blob(&self, _: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        panic!("nothing is pushed")
    }

    fn push_file<'a>(&'a self, _: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>> {
        panic!("nothing is pushed")
    }

    fn push_manifest<'a>(
        &'a self,
        _: &'a Target,
        _: Bytes,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        panic!("nothing is pushed")
    }
}

pub fn image_digest() -> Digest {
    Digest::of(b"the image's manifest")
}

pub fn manifest(named: Option<Digest>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        config: Descriptor::of(media::OCI_CONFIG, b"{}"),
        layers: Vec::new(),
        subject: None,
        annotations: named
            .map(|named| (INDEX_DIGEST_ANNOTATION.to_owned(), named.to_string()))
            .into_iter()
            .collect(),
    }
}

pub fn subject(digest: Digest) -> IndexVersion {
    IndexVersion::V1(Some(Subject { media_type: media::OCI_MANIFEST.to_owned(), digest, size: 20 }))
}

impl Shelf {
    /// Adds an index of one zTOC and gives the index's digest.
    pub fn put(&mut self, layer: &Layer, ztoc: &Ztoc, version: IndexVersion) -> Digest {
        let encoded = ztoc.encode().unwrap();
        let described = Descriptor::of(&layer.media_type, &layer.blob);
        let index = soci::build_index(version, vec![soci::describe(ztoc, &encoded, &described)]);
        self.blobs.insert(Digest::of(&encoded), encoded.into());
        let index = Bytes::from(index.encode());
        let digest = Digest::of(&index);
        self.referrers.push(Descriptor {
            artifact_type: Some(ARTIFACT_TYPE_V1.to_owned()),
            ..Descriptor::of(media::OCI_MANIFEST, &index)
        });
        self.documents.insert(digest, index);
        digest
    }

    pub fn with(layer: &Layer, ztoc: &Ztoc) -> Self {
        let mut shelf = Self::default();
        shelf.put(layer, ztoc, subject(image_digest()));
        shelf
    }

    pub fn lookup(self) -> (Arc<Self>, Arc<Lookup>) {
        let shelf = Arc::new(self);
        let lookup = Lookup::new(shelf.clone(), manifest(None), image_digest());
        (shelf, Arc::new(lookup))
    }
}

pub struct Node {
    _dir: tempfile::TempDir,
    pub store: Arc<Store>,
}

impl Node {
    pub fn new() -> Self {
        let (dir, store) = odd::store();
        Self { store, _dir: dir }
    }

    pub async fn open(&self, layer: &Layer, lookup: Option<Arc<Lookup>>) -> Opened {
        let spec = LayerSpec {
            blob: layer.digest(),
            format: LayerFormat::Tar,
            compression: layer.compression,
            diff_id: Some(layer.diff_id()),
            source: memory(layer),
            annotations: Default::default(),
            external: None,
            soci: lookup,
        };
        open(&self.store, &[spec], &Timeline::new(Clock::system())).await.unwrap()
    }

    pub async fn open_with(&self, layer: &Layer, ztoc: &Ztoc) -> Opened {
        self.open(layer, Some(Shelf::with(layer, ztoc).lookup().1)).await
    }

    /// Opens a layer that turned out to have a lying index, with the same index still published: every byte is right.
    pub async fn start_again(&self, what: &str, layer: &Layer, ztoc: &Ztoc) {
        // What was on its way holds the layer until it has failed.
        while self.store.drop_data(&layer.digest()).is_err() {
            tokio::task::yield_now().await;
        }
        assert!(self.store.distrusts(&layer.digest()), "{what}");
        // A zTOC that could not even be published need not be.
        let lookup = || ztoc.encode().is_ok().then(|| Shelf::with(layer, ztoc).lookup().1);
        let again = self.open(layer, lookup()).await;
        let counts = (again.known, again.adopted, again.streamed, again.distrusted);
        assert_eq!(counts, (0, 0, 1, 1), "{what}");
        for (name, content) in files() {
            assert!(check(&again.image, name, 0, content.len()).await, "{what}: {name}");
        }
        drop(again);
        let known = self.open(layer, lookup()).await;
        assert_eq!((known.known, known.distrusted), (1, 0), "{what}");
    }
}

/// Reads a piece of a file; what comes must be right. Gives whether it came.
pub async fn check(image: &Image, name: &str, offset: usize, len: usize) -> bool {
    odd::check(image, files(), name, offset, len).await
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
