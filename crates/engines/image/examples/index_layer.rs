//! Streams one layer from a file into a store, as a first pull does, and prints what that was: one line of JSON.
//!
//! `cargo xtask bench index` runs it beside other decompressors:
//! `cargo run --release -p glowplug-image --example index_layer -- FILE DIGEST STORE`
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::{ByteRange, Digest};
use glowplug_image::ingest;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{ByteStream, RangeSource, SourceError};
use glowplug_store::{Options, Store};
use glowplug_timeline::Cause;

/// Bytes of one piece: what a network client hands over at most.
const PIECE_BYTES: usize = 64 * 1024;
/// First bytes of a zstd frame.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// First bytes of an EROFS superblock, and where they are.
const EROFS_MAGIC: [u8; 4] = [0xe2, 0xe1, 0xf5, 0xe0];
const EROFS_MAGIC_OFFSET: usize = 1024;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [file, digest, root] = &words[..] else { panic!("usage: index_layer FILE DIGEST STORE") };
    let blob: Digest = digest.parse().unwrap();
    let source = Arc::new(Whole { name: file.clone(), size: Path::new(file).metadata().unwrap().len() });
    let store = Arc::new(Store::open(Path::new(root), Options::default()).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let began = Instant::now();
    let ingesting = ingest(store.clone(), source, blob, format(file), compression(file));
    let layer = runtime.block_on(ingesting).unwrap();
    let readable = began.elapsed();
    layer.flush().unwrap();
    println!(
        "{{\"stream_bytes\":{},\"spans\":{},\"entries\":{},\"readable_s\":{},\"durable_s\":{}}}",
        layer.index().stream_size,
        layer.index().spans.len(),
        layer.index().entries.len(),
        readable.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
}

/// An EROFS image if it has such a superblock; compressed ones are taken for archives.
fn format(file: &str) -> LayerFormat {
    let mut start = [0; EROFS_MAGIC_OFFSET + EROFS_MAGIC.len()];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut start));
    match read.is_ok() && start.ends_with(&EROFS_MAGIC) {
        true => LayerFormat::Erofs,
        false => LayerFormat::Tar,
    }
}

fn compression(file: &str) -> Compression {
    let mut magic = [0; 4];
    File::open(file).and_then(|mut file| file.read_exact(&mut magic)).unwrap();
    match magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        ZSTD_MAGIC => Compression::Zstd,
        _ => Compression::None,
    }
}

/// A file from its begin to its end.
#[derive(Debug)]
struct Whole {
    name: String,
    size: u64,
}

impl RangeSource for Whole {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self, _range: ByteRange, _cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        let mut file = File::open(&self.name).unwrap();
        let pieces = std::iter::from_fn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece).unwrap();
            piece.truncate(read);
            (read > 0).then(|| Ok(Bytes::from(piece)))
        });
        Box::pin(async move { Ok(Box::pin(futures::stream::iter(pieces)) as ByteStream) })
    }
}
