//! An image with what a layer can have, places to convert between, and ways to read what came of it.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{ByteRange, Digest};
use glowplug_convert::{ConvertError, Converted, Dialect, Encoding, Plan, Settings, Unwatched, Watch};
use glowplug_oci::{Compression, Document, Limits, Manifest, Platform, Source};
use glowplug_registry::{Client, Options, Target};
use glowplug_source::{ByteStream, RangeSource, RetryPolicy, SourceError, read_all};
use glowplug_tarwalk::{Entry as TarEntry, Limits as TarLimits, Walker};
use glowplug_testkit::{Entry, ImageBuilder, Layer, Tree};
use glowplug_timeline::Cause;

/// Chunk size of the tests: the least, so that small files have several.
pub const CHUNK: u64 = 16 << 10;

/// Every way to pack a layer.
pub const ENCODINGS: [Encoding; 5] = [
    Encoding::Gzip,
    Encoding::Zstd,
    Encoding::Estargz,
    Encoding::ZstdChunked(Dialect::Storage),
    Encoding::ZstdChunked(Dialect::Stargz),
];

/// Bytes that do not compress, different for each seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A tar with everything: files of all lengths around a chunk's, links, devices, attributes, long names, whiteouts.
pub fn varied() -> Vec<u8> {
    let chunk = CHUNK as usize;
    Tree::build(|tree| {
        tree.dir("bin").dir("data/").file("bin/empty", "").file("bin/one", "1");
        for (name, len) in
            [("less", chunk - 1), ("whole", chunk), ("more", chunk + 1), ("many", 5 * chunk + 77)]
        {
            tree.file(&format!("data/{name}"), noise(len as u64, len));
            tree.file(&format!("data/{name}.text"), name.repeat(len / name.len()));
        }
        tree.file("zeros", vec![0; 3 * chunk]).symlink("bin/sh", "/bin/one").hardlink("bin/again", "bin/one");
        tree.add(Entry::char_device("null", 1, 3)).add(Entry::fifo("fifo"));
        tree.add(
            Entry::file("bin/special", "x")
                .mode(0o4755)
                .owner(7, 70_000)
                .mtime(5, 250_000_000)
                .xattr("user.a", b"\0b"),
        );
        tree.file(&format!("deep/{}", "n".repeat(300)), "long").whiteout("data/gone").opaque("bin");
        // More headers in a row than stand in one segment.
        for number in 0..2000 {
            tree.symlink(&format!("links/{number}"), "../bin/one");
        }
        tree.file("last", "at the end");
    })
}

/// An image of `layers`.
pub fn image(layers: impl IntoIterator<Item = Layer>) -> ImageBuilder {
    layers.into_iter().fold(ImageBuilder::new().platform(&amd64()), ImageBuilder::layer)
}

pub fn layer(tar: Vec<u8>) -> Layer {
    Layer::from_tar(tar, Compression::Gzip)
}

pub fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

pub fn settings(encoding: Encoding) -> Settings {
    Settings { chunk_bytes: CHUNK, ..Settings::new(encoding) }
}

pub fn at(dir: &Path, tag: &str) -> String {
    format!("oci:{}{tag}", dir.display())
}

pub fn client() -> Client {
    let retry = RetryPolicy {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(1),
        stall: Duration::from_secs(10),
    };
    let docker_config = Some("/nonexistent/config.json".into());
    Client::new(Options { docker_config, retry, ..Options::default() }).unwrap()
}

/// Converts as the command does.
pub async fn convert(from: &str, to: &str, settings: &Settings) -> Result<Converted, ConvertError> {
    convert_watched(from, to, settings, &Unwatched).await
}

/// Converts as the command does, with somebody who watches.
pub async fn convert_watched(
    from: &str,
    to: &str,
    settings: &Settings,
    watch: &dyn Watch,
) -> Result<Converted, ConvertError> {
    let (from, to): (Source, Source) = (from.parse().unwrap(), to.parse().unwrap());
    let client = client();
    let origin = client.open(&from).await?;
    let plan = Plan::make(&*origin, &Target::from(&from), &settings.platforms).await?;
    let place = client.create(&to).await?;
    glowplug_convert::convert(&plan, &*origin, &*place, &Target::from(&to), settings, watch).await
}

/// Lets the bytes of layers come in pieces of so many.
#[derive(Debug)]
pub struct Pieces(pub usize);

impl Watch for Pieces {
    fn source(&self, _: usize, source: Arc<dyn RangeSource>) -> Arc<dyn RangeSource> {
        Arc::new(InPieces { source, len: self.0 })
    }
}

#[derive(Debug)]
struct InPieces {
    source: Arc<dyn RangeSource>,
    len: usize,
}

impl RangeSource for InPieces {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn size(&self) -> u64 {
        self.source.size()
    }

    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        Box::pin(async move {
            let bytes = Bytes::from(read_all(&*self.source, range, cause).await?);
            let pieces: Vec<_> = bytes.chunks(self.len).map(|piece| Ok(bytes.slice_ref(piece))).collect();
            Ok(Box::pin(futures::stream::iter(pieces)) as ByteStream)
        })
    }
}

/// What is in a layout directory.
pub struct Opened {
    pub manifest: Manifest,
    pub config: serde_json::Value,
    pub config_bytes: Vec<u8>,
    pub layers: Vec<Vec<u8>>,
}

/// Reads the image that goes by `tag`, and holds every blob against its digest.
pub fn open(dir: &Path, digest: &Digest) -> Opened {
    let blob = |digest: &Digest| {
        let bytes = std::fs::read(dir.join("blobs/sha256").join(digest.hex())).unwrap();
        assert_eq!(Digest::of(&bytes), *digest);
        bytes
    };
    let document = Document::parse(&blob(digest), None, &Limits::default()).unwrap();
    let Document::Manifest(manifest) = document else { panic!("an index") };
    let config_bytes = blob(&manifest.config.digest);
    let layers = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
    Opened { config: serde_json::from_slice(&config_bytes).unwrap(), config_bytes, manifest, layers }
}

/// What a decoder that knows nothing of tables makes of a blob.
pub fn decode(blob: &[u8], encoding: Encoding) -> Vec<u8> {
    if encoding.is_gzip() {
        let mut tar = Vec::new();
        flate2::read::MultiGzDecoder::new(blob).read_to_end(&mut tar).unwrap();
        return tar;
    }
    zstd::stream::decode_all(blob).unwrap()
}

/// The entries of a tar, with their contents.
pub fn walk(tar: &[u8]) -> Vec<(TarEntry, Vec<u8>)> {
    let mut walker = Walker::new(TarLimits::default());
    let mut found = Vec::new();
    walker.push(tar, &mut |entry| found.push(entry)).unwrap();
    walker.finish().unwrap();
    let contents = |entry: &TarEntry| {
        let extent = |extent: &glowplug_tarwalk::Extent| {
            tar[extent.stream_offset as usize..][..extent.len as usize].to_vec()
        };
        entry.extents.iter().flat_map(extent).collect()
    };
    found.into_iter().map(|entry| (entry.clone(), contents(&entry))).collect()
}

/// The entries without the places at which they stand.
pub fn placeless(entries: Vec<(TarEntry, Vec<u8>)>) -> Vec<(TarEntry, Vec<u8>)> {
    let place = |(mut entry, contents): (TarEntry, Vec<u8>)| {
        (entry.header_offset, entry.payload_offset) = (0, 0);
        entry.extents.iter_mut().for_each(|extent| extent.stream_offset = 0);
        (entry, contents)
    };
    entries.into_iter().map(place).collect()
}
