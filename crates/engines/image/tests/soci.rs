//! SOCI indexes: what is exported can be adopted elsewhere and reads as the layer says; lies are found out.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{Clock, Digest};
use glowplug_image::soci::{self, Lookup};
use glowplug_image::{Image, LayerSpec, Opened, open};
use glowplug_layer::Origin;
use glowplug_oci::{Compression, Descriptor, Manifest, media};
use glowplug_registry::{Error, Fetched, Repository, Target};
use glowplug_source::{Fault, Faulty, Kind, MemorySource, RangeSource, SourceError};
use glowplug_store::{Options, Store};
use glowplug_testkit::{Entry, Layer, Tree};
use glowplug_timeline::Timeline;
use glowplug_toc::index::{ARTIFACT_TYPE_V1, INDEX_DIGEST_ANNOTATION};
use glowplug_toc::{
    Compression as ZtocCompression, IndexVersion, SociIndex, Subject, Ztoc, ZtocEntry, ZtocLimits,
};
use proptest::prelude::*;

const MIB: usize = 1024 * 1024;

/// Bytes that compress a little, different everywhere.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| if next() % 3 == 0 { (next() >> 20) as u8 } else { b'x' }).collect()
}

fn files() -> &'static BTreeMap<String, Vec<u8>> {
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

fn tar() -> Vec<u8> {
    Tree::build(|tree| {
        for (name, content) in files() {
            tree.file(name, content);
        }
        // More headers than a window holds, and then a file.
        for n in 0..300 {
            tree.symlink(&format!("l/{n}"), "../b/big");
        }
        tree.add(Entry::dir("d").mode(0o1777).owner(5, 6).mtime(1_600_000_000, 123_456_789));
        tree.add(
            Entry::file("d/cap", "program").mode(0o4755).xattr("security.capability", [1, 0, 0, 2, 255]),
        );
        tree.add(Entry::file("./d//plain/", "").owner(1000, 100).xattr("user.note", "café"));
        tree.hardlink("d/again", "./d/cap")
            .add(Entry::char_device("d/null", 1, 3))
            .add(Entry::fifo("d/fifo"));
        tree.whiteout("d/gone").opaque("d");
        tree.file("end", "the end");
    })
}

fn layers() -> &'static [(&'static str, Layer)] {
    static LAYERS: LazyLock<Vec<(&'static str, Layer)>> = LazyLock::new(|| {
        vec![
            ("gzip", Layer::from_tar(tar(), Compression::Gzip)),
            ("gzip of many members", Layer::in_parts(tar(), Compression::Gzip, 1_700_000)),
            ("uncompressed", Layer::from_tar(tar(), Compression::None)),
        ]
    });
    &LAYERS
}

fn memory(layer: &Layer) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new("blob", layer.blob.clone()))
}

async fn export(layer: &Layer) -> Ztoc {
    soci::export(&*memory(layer), layer.digest(), layer.compression).await.unwrap()
}

/// The zTOC of the gzip layer, made once.
fn exported() -> &'static Ztoc {
    // On a thread of its own, for callers that are inside a runtime.
    static EXPORTED: LazyLock<Ztoc> =
        LazyLock::new(|| std::thread::spawn(|| runtime().block_on(export(&layers()[0].1))).join().unwrap());
    &EXPORTED
}

/// A repository in memory, with an image of one layer.
#[derive(Debug, Default)]
struct Shelf {
    documents: BTreeMap<Digest, Bytes>,
    blobs: BTreeMap<Digest, Bytes>,
    referrers: Vec<Descriptor>,
    asked: Mutex<Vec<String>>,
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

    fn push_blob(&self, _: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
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

fn image_digest() -> Digest {
    Digest::of(b"the image's manifest")
}

fn manifest(named: Option<Digest>) -> Manifest {
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

fn subject(digest: Digest) -> IndexVersion {
    IndexVersion::V1(Some(Subject { media_type: media::OCI_MANIFEST.to_owned(), digest, size: 20 }))
}

impl Shelf {
    /// Adds an index of one zTOC and gives the index's digest.
    fn put(&mut self, layer: &Layer, ztoc: &Ztoc, version: IndexVersion) -> Digest {
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

    fn with(layer: &Layer, ztoc: &Ztoc) -> Self {
        let mut shelf = Self::default();
        shelf.put(layer, ztoc, subject(image_digest()));
        shelf
    }

    fn lookup(self) -> (Arc<Self>, Arc<Lookup>) {
        let shelf = Arc::new(self);
        let lookup = Lookup::new(shelf.clone(), manifest(None), image_digest());
        (shelf, Arc::new(lookup))
    }
}

struct Node {
    _dir: tempfile::TempDir,
    store: Arc<Store>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path(), Options::default()).unwrap());
        Self { store, _dir: dir }
    }

    async fn open(&self, layer: &Layer, lookup: Option<Arc<Lookup>>) -> Opened {
        let spec = LayerSpec {
            blob: layer.digest(),
            compression: layer.compression,
            source: memory(layer),
            soci: lookup,
        };
        open(&self.store, &[spec], &Timeline::new(Clock::system())).await.unwrap()
    }

    async fn open_with(&self, layer: &Layer, ztoc: &Ztoc) -> Opened {
        self.open(layer, Some(Shelf::with(layer, ztoc).lookup().1)).await
    }

    /// Opens a layer that turned out to have a lying index, with the same index still published: every byte is right.
    async fn start_again(&self, what: &str, layer: &Layer, ztoc: &Ztoc) {
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
async fn check(image: &Image, name: &str, offset: usize, len: usize) -> bool {
    let content = &files()[name];
    let Some(id) = image.tree().find(name) else { return false };
    let read = match image.try_read(id, offset as u64, len as u32) {
        Some(read) => read,
        None => image.read(id, offset as u64, len as u32).await,
    };
    let Ok(read) = read else { return false };
    let from = offset.min(content.len());
    assert!(read == content[from..(offset + len).min(content.len())], "{name} at {offset}, {len} bytes");
    true
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_index_makes_the_layer_lazy_on_a_machine_that_never_saw_it() {
    for (what, layer) in layers() {
        let ztoc = Ztoc::parse(&export(layer).await.encode().unwrap(), &ZtocLimits::default()).unwrap();
        let node = Node::new();
        let opened = node.open_with(layer, &ztoc).await;
        assert_eq!((opened.known, opened.adopted, opened.streamed), (0, 1, 0), "{what}");
        for (name, offset, len) in [("b/last", 3 * MIB, 5000), ("m/101", 3, 10), ("b/empty", 0, 10)] {
            assert!(check(&opened.image, name, offset, len).await, "{what}: {name}");
        }
        let moved = opened.image.moved_bytes();
        assert!(
            moved > 0 && moved < layer.blob.len() as u64 * 3 / 4,
            "{what}: {moved} of {}",
            layer.blob.len()
        );
        for (name, content) in files() {
            assert!(check(&opened.image, name, 0, content.len()).await, "{what}: {name}");
        }
        let id = opened.image.tree().find("end").unwrap();
        assert_eq!(opened.image.read(id, 0, 100).await.unwrap(), b"the end", "{what}");
        drop(opened);
        assert_eq!(node.open(layer, None).await.known, 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_index_says_the_same_as_one_that_was_made_here() {
    for (what, layer) in layers() {
        let adopted = Node::new().open_with(layer, &export(layer).await).await.image;
        let streamed = Node::new().open(layer, None).await.image;
        let [adopted, streamed] = [&adopted, &streamed].map(|image| image.layers().next().unwrap().index());
        assert_eq!((adopted.origin, streamed.origin), (Origin::Soci, Origin::Streamed), "{what}");
        assert!(adopted.entries == streamed.entries, "{what}");
        assert_eq!(adopted.data_size, streamed.data_size, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prefetch_completes_an_adopted_layer() {
    for (what, layer) in layers() {
        let image = Node::new().open_with(layer, &export(layer).await).await.image;
        image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
        while !image.is_complete() {
            tokio::task::yield_now().await;
        }
        assert!(check(&image, "b/big", 0, 9 * MIB).await, "{what}");
    }
}

#[test]
fn spans_are_cut_as_the_reference_tool_cuts_them() {
    let ztoc = exported();
    let ZtocCompression::Gzip { span_size, checkpoints } = &ztoc.compression else { panic!("not gzip") };
    assert_eq!(*span_size, 4 << 20);
    let first = &checkpoints[0];
    assert_eq!((first.compressed, first.uncompressed, first.bits), (10, 0, 0));
    assert!(checkpoints.len() > 3);
    let tar = tar();
    for pair in checkpoints.windows(2) {
        let length = pair[1].uncompressed - pair[0].uncompressed;
        assert!(length > 4 << 20 && length < 9 << 20, "{length}");
        let at = pair[1].uncompressed as usize;
        assert!(pair[1].window == tar[at - 32 * 1024..at]);
    }
    for span in ztoc.spans() {
        let bytes = &layers()[0].1.blob[span.compressed.start as usize..span.compressed.end as usize];
        assert_eq!(span.digest, Digest::of(bytes));
    }
    assert_eq!(ztoc.uncompressed_size, tar.len() as u64);
    let cap = ztoc.entries.iter().find(|entry| entry.name == b"d/cap").unwrap();
    assert_eq!(cap.pax[&b"SCHILY.xattr.security.capability"[..]], [1, 0, 0, 2, 255]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_goes_back_beyond_the_start_of_a_member() {
    let (_, layer) = &layers()[1];
    let ztoc = export(layer).await;
    let ZtocCompression::Gzip { checkpoints, .. } = &ztoc.compression else { panic!("not gzip") };
    for checkpoint in &checkpoints[1..] {
        let at = checkpoint.uncompressed as usize;
        assert!(checkpoint.window == layer.tar[at - 32 * 1024..at]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn padding_behind_the_tar_belongs_to_no_file() {
    let content = bytes(1, 5 * MIB);
    let mut tar = Tree::build(|tree| _ = tree.file("a", &content));
    let end = tar.len();
    tar.resize(end + 12 * MIB, 0);
    for compression in [Compression::Gzip, Compression::None] {
        let layer = Layer::from_tar(tar.clone(), compression);
        let ztoc = export(&layer).await;
        assert_eq!(ztoc.uncompressed_size, end as u64);
        let opened = Node::new().open_with(&layer, &ztoc).await;
        assert_eq!(opened.adopted, 1);
        let id = opened.image.tree().find("a").unwrap();
        assert!(opened.image.read(id, 0, 6 * MIB as u32).await.unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_soci_cannot_say_is_refused_by_name() {
    let zstd = Layer::zstd(|tree| _ = tree.file("a", "a"));
    let error = soci::export(&*memory(&zstd), zstd.digest(), zstd.compression).await.unwrap_err();
    assert!(error.to_string().contains("zstd"), "{error}");
    let sparse = Layer::gzip(|tree| {
        let map = Entry::file("holes", "abc").pax("GNU.sparse.major", "0").pax("GNU.sparse.minor", "1");
        let map =
            map.pax("GNU.sparse.size", "100").pax("GNU.sparse.numblocks", "1").pax("GNU.sparse.map", "50,3");
        tree.add(map);
    });
    let error = soci::export(&*memory(&sparse), sparse.digest(), sparse.compression).await.unwrap_err();
    assert!(error.to_string().contains("\"holes\""), "{error}");
    let (_, layer) = &layers()[0];
    let error = soci::export(&*memory(layer), zstd.digest(), layer.compression).await.unwrap_err();
    assert!(matches!(error, soci::SociError::Source { layer, .. } if layer == zstd.digest()), "{error}");
    for (blob, what) in [(layer.blob.slice(..1000), "truncated"), (Bytes::from_static(b"garbage"), "garbage")]
    {
        let source = MemorySource::new("blob", blob);
        let error = soci::export(&source, layer.digest(), Compression::Gzip).await.unwrap_err();
        assert!(error.to_string().contains(&layer.digest().to_string()), "{what}: {error}");
    }
}

#[test]
fn the_reference_tools_own_are_taken() {
    for (bytes, compression) in [
        (&include_bytes!("../../../formats/toc/tests/soci/fixtures/gzip.ztoc")[..], Compression::Gzip),
        (include_bytes!("../../../formats/toc/tests/soci/fixtures/uncompressed.ztoc"), Compression::None),
    ] {
        let ztoc = Ztoc::parse(bytes, &ZtocLimits::default()).unwrap();
        let blob = Digest::of(b"blob");
        let index = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, compression).unwrap().index;
        assert_eq!(index.entries.len(), 9);
        assert_eq!(index.entries[1].path, b"etc/motd");
        assert_eq!(index.entries[1].xattrs, [(b"user.note".to_vec(), "café".as_bytes().to_vec())]);
        assert_eq!(index.entries[3].link, b"etc/motd");
        assert_eq!(index.entries[4].device, (1, 3));
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let imported = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, compression).unwrap();
        assert_eq!(soci::adopt(&store, imported).unwrap().index().spans.len(), index.spans.len());
        let other = soci::from_ztoc(&ztoc, blob, ztoc.compressed_size + 1, compression).unwrap_err();
        assert!(other.to_string().contains(&blob.to_string()), "{other}");
        let swapped = if compression == Compression::Gzip { Compression::None } else { Compression::Gzip };
        assert!(soci::from_ztoc(&ztoc, blob, ztoc.compressed_size, swapped).is_err());
    }
}

/// What is wrong with a zTOC, and whether that shows before a byte of the layer is read.
type Lie = (&'static str, bool, fn(&mut Ztoc));

/// Lies that show as bytes of another digest, so that the blob may be to blame as well.
const DOUBTS: [&str; 2] = ["digest of other bytes", "checkpoints a byte late"];

const LIES: [Lie; 14] = [
    ("climbing name", true, |ztoc| ztoc.entries[3].name = b"../etc/passwd".to_vec()),
    ("climbing link target", true, |ztoc| {
        let link = ztoc.entries.iter_mut().find(|entry| entry.name == b"d/again").unwrap();
        link.link = b"../../etc/shadow".to_vec();
    }),
    ("sparse file", true, |ztoc| _ = ztoc.entries[3].pax.insert(b"GNU.sparse.major".to_vec(), b"1".to_vec())),
    ("layer of another size", true, |ztoc| ztoc.compressed_size += 1),
    ("enormous last span", true, |ztoc| ztoc.uncompressed_size = 1 << 50),
    ("span that cannot hold so much", true, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints[1].compressed = checkpoints[0].compressed + 10;
    }),
    ("file below another file", true, |ztoc| {
        let last = ztoc.entries.len() - 1;
        ztoc.entries[last].name = b"b/big/x".to_vec();
    }),
    ("digest of other bytes", false, |ztoc| {
        ztoc.span_digests.iter_mut().for_each(|digest| *digest = Digest::of(b"x"))
    }),
    ("checkpoints a byte late", false, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints.iter_mut().for_each(|checkpoint| checkpoint.compressed += 1);
    }),
    ("checkpoints a byte late and digests to match", false, |ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { return };
        checkpoints.iter_mut().for_each(|checkpoint| checkpoint.compressed += 1);
        let blob = &layers()[0].1.blob;
        ztoc.span_digests = ztoc
            .spans()
            .map(|span| Digest::of(&blob[span.compressed.start as usize..span.compressed.end as usize]))
            .collect();
    }),
    ("two names swapped", false, |ztoc| {
        let name = ztoc.entries[0].name.clone();
        ztoc.entries[0].name = std::mem::replace(&mut ztoc.entries[2].name, name);
    }),
    ("program without its mode", false, |ztoc| {
        ztoc.entries.iter_mut().for_each(|entry| entry.mode |= 0o4000)
    }),
    ("hidden entry", false, |ztoc| _ = ztoc.entries.remove(0)),
    ("invented entry", false, |ztoc| {
        let invented = ztoc.entries.iter().find(|entry| entry.name == b"d/fifo").unwrap();
        let mut invented = ZtocEntry { name: b"d/invented".to_vec(), ..invented.clone() };
        // A header's length behind the last file, where the archive ends.
        invented.offset = ztoc.entries.last().unwrap().offset + 512 + 512;
        ztoc.entries.push(invented);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn lies_are_found_out_and_not_believed_again() {
    let (_, layer) = &layers()[0];
    for (what, early, lie) in LIES {
        let mut ztoc = exported().clone();
        lie(&mut ztoc);
        let node = Node::new();
        let opened = node.open_with(layer, &ztoc).await;
        // A lie that shows early costs nothing but the time: the layer streams by.
        assert_eq!((opened.adopted, opened.streamed), if early { (0, 1) } else { (1, 0) }, "{what}");
        let mut all = true;
        for name in files().keys() {
            all &= check(&opened.image, name, 0, 1000).await;
        }
        assert_eq!(all, early, "{what}");
        if early {
            continue;
        }
        if !DOUBTS.contains(&what) {
            // What hides where no file is said to be shows when everything comes.
            opened.image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
            let found = async {
                while !is_distrusted(&opened.image) {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(30), found).await.expect(what);
            assert!(!check(&opened.image, "b/last", 0, 1).await, "{what}: read after the lie was found");
        }
        assert_eq!(is_distrusted(&opened.image), !DOUBTS.contains(&what), "{what}");
        drop(opened);
        node.start_again(what, layer, &ztoc).await;
    }
}

/// Whether a lie about a layer was found.
fn is_distrusted(image: &Image) -> bool {
    image.layers().any(|layer| layer.distrusted().is_some())
}

/// A source whose first answer is garbled.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_arrive_garbled_are_no_lie() {
    let (_, layer) = &layers()[0];
    let node = Node::new();
    drop(node.open_with(layer, exported()).await);
    for faults in [1, 2] {
        // The first time as well as the second, but never the same.
        let fault = move |request: u64| match request {
            0 => Fault::Flip,
            _ if request < faults => Fault::Short(10),
            _ => Fault::None,
        };
        let spec = LayerSpec {
            blob: layer.digest(),
            compression: layer.compression,
            source: Arc::new(Faulty::new(memory(layer), fault)),
            soci: None,
        };
        let opened = open(&node.store, &[spec], &Timeline::new(Clock::system())).await.unwrap();
        assert_eq!(check(&opened.image, "b/last", 0, 100).await, faults == 1);
        assert!(check(&opened.image, "m/101", 0, 100).await);
        drop(opened);
        while node.store.drop_data(&layer.digest()).is_err() {
            tokio::task::yield_now().await;
        }
        assert!(!node.store.distrusts(&layer.digest()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_adopted_earlier_streams_by_when_the_layers_make_no_tree() {
    let (_, layer) = &layers()[0];
    let mut ztoc = exported().clone();
    let last = ztoc.entries.len() - 1;
    ztoc.entries[last].name = b"b/big/x".to_vec();
    let node = Node::new();
    let imported =
        soci::from_ztoc(&ztoc, layer.digest(), layer.blob.len() as u64, layer.compression).unwrap();
    drop(soci::adopt(&node.store, imported).unwrap());
    let opened = node.open(layer, None).await;
    assert_eq!((opened.known, opened.adopted, opened.streamed), (0, 0, 1));
    assert!(check(&opened.image, "b/big", 0, 100).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_lies_shows_when_the_span_before_it_comes() {
    let (_, layer) = &layers()[0];
    let mut ztoc = exported().clone();
    let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { panic!("not gzip") };
    checkpoints[1].window[32 * 1024 - 100] ^= 1;
    let node = Node::new();
    let image = node.open_with(layer, &ztoc).await.image;
    // The span that the window is for comes alone, and what it holds is believed as long as nothing speaks against it.
    let ZtocCompression::Gzip { checkpoints, .. } = &exported().compression else { panic!("not gzip") };
    let begin =
        checkpoints[1].uncompressed - image.layers().next().unwrap().index().entries[0].extents[0].stream;
    let id = image.tree().find("b/big").unwrap();
    let believed = image.read(id, begin + 1000, 100).await.is_ok();
    assert!(!check(&image, "b/big", 0, 100).await);
    let error = image.read(id, 0, 100).await.unwrap_err();
    assert!(error.errno == 5 && error.message.contains("the index is wrong"), "{error}");
    assert!(error.message.contains(&layer.digest().to_string()), "{error}");
    assert!(
        believed && image.read(id, begin + 1000, 100).await.is_err(),
        "what it was decoded with was a lie"
    );
    assert!(image.try_read(id, begin + 1000, 100).unwrap().is_err());
    drop(image);
    node.start_again("window", layer, &ztoc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_found_by_annotation_and_by_referrers() {
    let (_, layer) = &layers()[0];
    let (ztoc, found) = (exported(), layer.digest());
    // Version 2, named by the manifest: nobody asks for referrers.
    let mut shelf = Shelf::default();
    let named = shelf.put(layer, ztoc, IndexVersion::V2);
    let index = soci::find(&shelf, &manifest(Some(named)), &image_digest()).await.unwrap();
    assert!(index.version == IndexVersion::V2 && index.ztoc_of(&found).is_some());
    assert_eq!(*shelf.asked.lock().unwrap(), [format!("document {named}")]);
    // Named and missing: version 1 still is looked for. Others' indexes are passed over.
    let mut shelf = Shelf::default();
    shelf.put(layer, ztoc, IndexVersion::V2);
    shelf.put(layer, ztoc, subject(Digest::of(b"another image")));
    shelf.documents.insert(Digest::of(b"junk"), Bytes::from_static(b"junk"));
    shelf.referrers.push(Descriptor::of(media::OCI_MANIFEST, b"junk"));
    assert_eq!(soci::find(&shelf, &manifest(Some(Digest::of(b"gone"))), &image_digest()).await, None);
    shelf.put(layer, ztoc, subject(image_digest()));
    let index = soci::find(&shelf, &manifest(Some(Digest::of(b"gone"))), &image_digest()).await.unwrap();
    assert_eq!(index.version, subject(image_digest()));
    let mut annotated = manifest(None);
    annotated.annotations.insert(INDEX_DIGEST_ANNOTATION.to_owned(), "no digest".to_owned());
    assert!(soci::find(&shelf, &annotated, &image_digest()).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ztoc_that_is_not_the_listed_one_is_not_used() {
    let (_, layer) = &layers()[0];
    let size = layer.blob.len() as u64;
    let mut shelf = Shelf::with(layer, exported());
    let index = soci::find(&shelf, &manifest(None), &image_digest()).await.unwrap();
    assert!(soci::fetch(&shelf, &index, &layer.digest(), size).await.is_some());
    assert!(soci::fetch(&shelf, &index, &Digest::of(b"another layer"), size).await.is_none());
    let asked = shelf.asked.lock().unwrap().len();
    let listed = |change: fn(&mut SociIndex)| {
        let mut index = index.clone();
        change(&mut index);
        index
    };
    let huge = listed(|index| index.ztocs[0].size = u64::MAX);
    assert!(soci::fetch(&shelf, &huge, &layer.digest(), size).await.is_none());
    assert!(shelf.asked.lock().unwrap().len() <= asked + 1);
    let garbled = shelf.blobs.get_mut(&index.ztocs[0].digest).unwrap();
    let mut bytes = garbled.to_vec();
    bytes[1000] ^= 1;
    *garbled = bytes.into();
    assert!(soci::fetch(&shelf, &index, &layer.digest(), size).await.is_none());
    let opened = Node::new().open(layer, Some(shelf.lookup().1)).await;
    assert_eq!((opened.adopted, opened.streamed), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_layer_asks_nobody() {
    let (_, layer) = &layers()[0];
    let node = Node::new();
    drop(node.open(layer, None).await);
    let (shelf, lookup) = Shelf::with(layer, exported()).lookup();
    assert_eq!(node.open(layer, Some(lookup)).await.known, 1);
    assert!(shelf.asked.lock().unwrap().is_empty());
}

/// A change to a number or a name of a zTOC; windows are believed, so they stay.
fn mutate(ztoc: &mut Ztoc, field: u8, which: usize, delta: i64) {
    let spans = ztoc.span_digests.len();
    let change = |value: &mut u64| *value = value.wrapping_add_signed(delta);
    // Mostly files; the eighth next has the same length.
    let (entry, other) = (which % files().len(), (which + 8) % files().len());
    match (field, &mut ztoc.compression) {
        (0, _) => change(&mut ztoc.entries[entry].offset),
        (1, _) => change(&mut ztoc.entries[entry].size),
        (2, _) => {
            let name = ztoc.entries[entry].name.clone();
            ztoc.entries[entry].name = std::mem::replace(&mut ztoc.entries[other].name, name);
        }
        (3, _) => _ = ztoc.entries.remove(entry),
        (4, _) => change(&mut ztoc.uncompressed_size),
        (5, _) => ztoc.span_digests.swap(which % spans, which / 7 % spans),
        (6, _) => ztoc.entries[entry].kind = ztoc.entries[other].kind,
        // Everything from one file on is said to be elsewhere.
        (7, _) => ztoc.entries[entry..].iter_mut().for_each(|entry| change(&mut entry.offset)),
        (8, ZtocCompression::Gzip { checkpoints, .. }) => {
            change(&mut checkpoints[which % spans].uncompressed)
        }
        (9, ZtocCompression::Gzip { checkpoints, .. }) => change(&mut checkpoints[which % spans].compressed),
        (_, ZtocCompression::Gzip { checkpoints, .. }) => checkpoints[which % spans].bits ^= delta as u8,
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_changed_ztoc_never_gives_wrong_bytes(
        field in prop_oneof![Just(2), Just(7), 0..11_u8],
        which in any::<usize>(),
        delta in prop_oneof![Just(512), Just(1024), any::<i64>(), -3..4_i64, (-20_000..20_000_i64).prop_map(|blocks| blocks * 512)],
    ) {
        let (_, layer) = &layers()[0];
        let mut ztoc = exported().clone();
        mutate(&mut ztoc, field, which, delta);
        // Not through bytes: what the parser would refuse must not do harm either.
        if let Ok(imported) = soci::from_ztoc(&ztoc, layer.digest(), layer.blob.len() as u64, layer.compression) {
            runtime().block_on(async {
                let node = Node::new();
                let adopted = soci::adopt(&node.store, imported).unwrap();
                let spec = LayerSpec {
                    blob: layer.digest(),
                    compression: layer.compression,
                    source: memory(layer),
                    soci: None,
                };
                let Ok(opened) = open(&node.store, &[spec], &Timeline::new(Clock::system())).await else { return };
                drop(adopted);
                for (name, content) in files().iter().rev() {
                    let size = opened.image.tree().find(name).and_then(|id| opened.image.tree().node(id)).map_or(0, |node| node.size);
                    // A file of another length shows by its length.
                    if size == content.len() as u64 {
                        check(&opened.image, name, 0, content.len()).await;
                    }
                }
                if is_distrusted(&opened.image) {
                    drop(opened);
                    node.start_again("a changed zTOC", layer, &ztoc).await;
                }
            });
        }
    }
}
