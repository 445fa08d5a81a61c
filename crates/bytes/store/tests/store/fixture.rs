//! Layers of known bytes, and the ways to see them in a store.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{
    BLOCK_BYTES, Check, Cursor, Entry, Extent, Kind, LayerIndex, Origin, Recipe, Span, place,
};
use glowplug_store::{Claim, Layer, Options, Store};

/// Stream bytes of one span; no multiple of a block, so that spans begin inside files and between them.
const SPAN_BYTES: u64 = 9_000;
/// What the archive has before each file.
const HEADER_BYTES: u64 = 512;

/// A deterministic source of bytes, none of them zero: a zero that is read was never written.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    pub fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| 1 + self.below(255) as u8).collect()
    }
}

/// A layer whose every byte is known.
pub struct Sample {
    pub index: LayerIndex,
    pub stream: Vec<u8>,
    /// What the data file holds when every span is present.
    pub data: Vec<u8>,
}

impl Sample {
    /// A layer of about `spans` spans.
    pub fn new(seed: u64, spans: u64) -> Self {
        let mut random = Random::new(seed);
        let (mut stream, mut cursor, mut entries) = (Vec::new(), Cursor::new(), Vec::new());
        while (stream.len() as u64) < spans * SPAN_BYTES {
            stream.extend(random.bytes(HEADER_BYTES));
            let len = 1 + random.below(3 * SPAN_BYTES);
            let data = cursor.place(0, len).unwrap();
            entries.push(entry(entries.len(), Extent { file: 0, stream: stream.len() as u64, data, len }));
            stream.extend(random.bytes(len));
        }
        let blob = Digest::of(&stream);
        let size = stream.len() as u64;
        let data_size = cursor.aligned().unwrap();
        let extents: Vec<Extent> = entries.iter().flat_map(|entry: &Entry| entry.extents.clone()).collect();
        let data_at = |at: u64| {
            let next = extents.iter().find(|extent| extent.stream + extent.len > at);
            next.map_or(data_size, |extent| extent.data + at.saturating_sub(extent.stream))
        };
        let mut spans: Vec<Span> = Vec::new();
        while let start = spans.last().map_or(0, |span| span.stream.end)
            && start < size
        {
            let end = (start + SPAN_BYTES).min(size);
            let data_end = if end == size { data_size } else { data_at(end) };
            spans.push(Span {
                stream: ByteRange::new(start, end),
                blob: ByteRange::new(start, end),
                data: ByteRange::new(spans.last().map_or(0, |span| span.data.end), data_end),
                recipe: Recipe::Stored,
                check: Check::Data(blob),
            });
        }
        let mut index = LayerIndex {
            blob,
            blob_size: size,
            stream_size: size,
            data_size,
            origin: Origin::Streamed,
            entries,
            spans,
            chunks: Vec::new(),
            prefetch: Vec::new(),
        };
        let mut data = Vec::new();
        for span in 0..index.spans.len() {
            let image = place(&index, &extents, span, &stream[range(index.spans[span].stream)]);
            index.spans[span].check = Check::Data(Digest::of(&image));
            data.extend(&*image);
        }
        assert_eq!((data.len() as u64, data_size % BLOCK_BYTES), (data_size, 0));
        Self { index, stream, data }
    }

    pub fn blob(&self) -> Digest {
        self.index.blob
    }

    pub fn spans(&self) -> usize {
        self.index.spans.len()
    }

    /// A span's piece of the stream.
    pub fn span(&self, span: usize) -> &[u8] {
        &self.stream[range(self.index.spans[span].stream)]
    }

    /// A span's piece of the data file.
    pub fn image(&self, span: usize) -> &[u8] {
        &self.data[range(self.index.spans[span].data)]
    }

    /// The layer in a store that may know it already; no span is brought.
    pub fn in_store(&self, store: &Store) -> Arc<Layer> {
        store.layer(&self.blob()).unwrap_or_else(|| {
            let builder = store.build(self.blob()).unwrap();
            store.adopt(builder, &self.index).unwrap()
        })
    }

    /// Brings every span.
    pub fn fill(&self, layer: &Arc<Layer>) {
        (0..self.spans()).for_each(|span| self.bring(layer, span));
    }

    /// Brings one span, which nobody else does at the time.
    pub fn bring(&self, layer: &Arc<Layer>, span: usize) {
        match layer.claim(span) {
            Claim::Present => {}
            Claim::Mine(ticket) => ticket.commit(self.span(span)).map_err(|(_, error)| error).unwrap(),
            Claim::Theirs(_) => panic!("span {span} is in flight"),
        }
    }

    /// The spans that are present, each read and compared.
    pub fn check(&self, layer: &Layer) -> Vec<usize> {
        let mut present = Vec::new();
        for span in 0..self.spans() {
            let mut bytes = vec![0; self.image(span).len()];
            let here = layer.is_present(span);
            let read = layer.read_at(&mut bytes, self.index.spans[span].data.start);
            if here {
                read.unwrap();
                assert!(bytes == self.image(span), "span {span} reads wrong bytes");
                present.push(span);
            } else if !bytes.is_empty() {
                read.unwrap_err();
            }
        }
        present
    }
}

pub fn range(range: ByteRange) -> std::ops::Range<usize> {
    range.start as usize..range.end as usize
}

fn entry(number: usize, extent: Extent) -> Entry {
    Entry {
        path: format!("file-{number}").into_bytes(),
        kind: Kind::File,
        link: Vec::new(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        mtime_ns: 0,
        device: (0, 0),
        size: extent.len,
        xattrs: Vec::new(),
        extents: vec![extent],
    }
}

pub fn open(root: &Path) -> Store {
    Store::open(root, Options::default()).unwrap()
}

/// The folder of a layer, as the crate's documentation has it.
pub fn layer_dir(root: &Path, blob: &Digest) -> PathBuf {
    root.join("layers").join(blob.hex())
}

/// What is on disk now is what a kill at this moment leaves. A new user finds it in `to`.
pub fn killed_copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            killed_copy(&file.path(), &target);
        } else {
            std::fs::copy(file.path(), target).unwrap();
        }
    }
}

/// This test program again, running the ignored test `name` as a process of its own, with `dir` as its store.
pub fn worker(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored", "--nocapture"]).env(WORKER_DIR, dir);
    command
}

/// The store of a worker process, if this is one.
pub fn worker_dir() -> Option<PathBuf> {
    std::env::var_os(WORKER_DIR).map(PathBuf::from)
}

const WORKER_DIR: &str = "GLOWPLUG_STORE_TEST_DIR";
