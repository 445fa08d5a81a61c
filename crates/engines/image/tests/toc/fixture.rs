//! Layers with a table of contents, made by a writer of the tests' own, and nodes with a store of their own.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use glowplug_base::{ByteRange, Clock, Digest};
use glowplug_image::{Image, LayerSpec, Opened, Spare, open};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{MemorySource, RangeSource};
use glowplug_store::Store;
use glowplug_tarwalk::{Kind, Limits, Walker};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::Timeline;
use glowplug_toc::estargz;
use glowplug_toc::files::{Dialect, Toc, TocChunk, TocEntry};
use glowplug_toc::zstd_chunked;
use glowplug_toc::{EntryKind, Timestamp};

pub use crate::contents::{MIB, bytes};
use crate::odd;

/// Bytes of a chunk in the layers here.
const CHUNK_BYTES: u64 = 512 * 1024;
/// Length of a block of a tar.
const BLOCK_BYTES: u64 = 512;

/// The files of every layer here.
pub fn files() -> &'static BTreeMap<String, Vec<u8>> {
    static FILES: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
        let small = (0..60).map(|n| (format!("m/{n:03}"), bytes(100 + n, n as usize % 8 * 700)));
        let mut holed = bytes(9, 600_000);
        // Short holes, one of them in a block with bytes on both sides, and a long one.
        holed[1000..2500].fill(0);
        holed[5000..30_000].fill(0);
        holed[100_000..400_123].fill(0);
        let large = [
            ("b/big".to_owned(), bytes(1, 5 * MIB + 12_345)),
            ("b/empty".to_owned(), vec![]),
            ("b/holed".to_owned(), holed),
            ("b/last".to_owned(), bytes(3, MIB + 1)),
            ("b/zeros".to_owned(), vec![0; 2 * MIB]),
            (format!("z/{}", "long".repeat(60)), bytes(7, 100_000)),
        ];
        small.chain(large).collect()
    });
    &FILES
}

/// The archive: the files, and an entry of every other kind.
pub fn tar() -> Vec<u8> {
    Tree::build(|tree| {
        for (name, content) in files() {
            tree.file(name, content);
        }
        tree.symlink("l", "b/big");
        odd::add(tree);
    })
}

/// A layer and what its descriptor says.
#[derive(Debug, Clone)]
pub struct Made {
    pub blob: Vec<u8>,
    pub annotations: BTreeMap<String, String>,
    pub compression: Compression,
}

impl Made {
    pub fn digest(&self) -> Digest {
        Digest::of(&self.blob)
    }

    pub fn source(&self) -> Arc<dyn RangeSource> {
        Arc::new(MemorySource::new("blob", self.blob.clone()))
    }
}

pub const DIALECTS: [Dialect; 3] = [Dialect::Estargz, Dialect::Storage, Dialect::Stargz];

/// The layer of an archive, with a table that `change` may change after it was made.
pub fn make(tar: &[u8], dialect: Dialect, change: &dyn Fn(&mut Toc)) -> Made {
    let mut entries = Vec::new();
    Walker::new(Limits::default()).push(tar, &mut |entry| entries.push(entry)).unwrap();
    let end =
        entries.iter().map(|entry| entry.payload_offset + entry.size.next_multiple_of(BLOCK_BYTES)).max();
    // The table of eStargz stands before the end marker of the archive.
    let tar = if dialect == Dialect::Estargz { &tar[..end.unwrap() as usize] } else { tar };
    let chunks = |payload: u64, size: u64| {
        (0..size)
            .step_by(CHUNK_BYTES as usize)
            .map(move |at| ByteRange::at(payload + at, CHUNK_BYTES.min(size - at)))
    };
    let is_hole = |chunk: &ByteRange| {
        dialect == Dialect::Storage
            && tar[chunk.start as usize..chunk.end as usize].iter().all(|byte| *byte == 0)
    };
    let mut cuts = vec![0];
    for entry in entries.iter().filter(|entry| entry.kind == Kind::File && entry.size > 0) {
        cuts.extend(chunks(entry.payload_offset, entry.size).map(|chunk| chunk.start));
        if dialect == Dialect::Storage {
            cuts.push(entry.payload_offset + entry.size);
        }
    }
    cuts.push(tar.len() as u64);
    cuts.dedup();
    let compression = if dialect == Dialect::Estargz { Compression::Gzip } else { Compression::Zstd };
    let (mut blob, mut members) = (Vec::new(), BTreeMap::new());
    for piece in cuts.windows(2) {
        let start = blob.len() as u64;
        let piece_bytes = tar[piece[0] as usize..piece[1] as usize].to_vec();
        blob.extend_from_slice(&Layer::from_tar(piece_bytes, compression).blob);
        members.insert(piece[0], ByteRange::new(start, blob.len() as u64));
    }
    let chunk = |payload: u64, chunk: ByteRange| {
        let zeros = is_hole(&chunk);
        TocChunk {
            file: chunk.start - payload,
            size: chunk.len(),
            blob: if zeros { ByteRange::new(0, 0) } else { members[&chunk.start] },
            inner: 0,
            digest: Some(Digest::of(&tar[chunk.start as usize..chunk.end as usize])),
            zeros,
        }
    };
    let mut toc = Toc { entries: Vec::new() };
    for entry in &entries {
        let payload = entry.payload_offset;
        let content = &tar[payload as usize..(payload + entry.size) as usize];
        toc.entries.push(TocEntry {
            name: entry.path.clone(),
            kind: kind(entry.kind),
            size: entry.size,
            link: entry.link.clone(),
            mode: entry.mode,
            uid: entry.uid as u32,
            gid: entry.gid as u32,
            uname: Vec::new(),
            gname: Vec::new(),
            mtime: Timestamp { seconds: entry.mtime_s, nanoseconds: entry.mtime_ns },
            dev_major: entry.dev_major,
            dev_minor: entry.dev_minor,
            xattrs: entry.xattrs.iter().cloned().collect(),
            digest: (entry.size > 0).then(|| Digest::of(content)),
            chunks: chunks(payload, entry.size).map(|piece| chunk(payload, piece)).collect(),
        });
    }
    change(&mut toc);
    let mut annotations = BTreeMap::new();
    if dialect == Dialect::Estargz {
        let json = toc.encode(dialect);
        let offset = blob.len() as u64;
        blob.extend_from_slice(&Layer::from_tar(estargz::toc_tar(&json), compression).blob);
        blob.extend_from_slice(&estargz::footer(offset));
        annotations.insert(estargz::TOC_DIGEST_ANNOTATION.to_owned(), Digest::of(&json).to_string());
    } else {
        let tail = zstd_chunked::tail(&toc, dialect, blob.len() as u64, None).unwrap();
        blob.extend_from_slice(&tail.bytes);
        annotations = tail.annotations;
    }
    Made { blob, annotations, compression }
}

const fn kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::File => EntryKind::Regular,
        Kind::Directory => EntryKind::Directory,
        Kind::Symlink => EntryKind::Symlink,
        Kind::Hardlink => EntryKind::Hardlink,
        Kind::Char => EntryKind::Character,
        Kind::Block => EntryKind::Block,
        Kind::Fifo => EntryKind::Fifo,
    }
}

/// A machine that holds images.
pub struct Node {
    _dir: tempfile::TempDir,
    pub store: Arc<Store>,
}

impl Node {
    pub fn new() -> Self {
        let (dir, store) = odd::store();
        Self { store, _dir: dir }
    }

    pub async fn open(&self, made: &Made) -> Opened {
        let spec = LayerSpec {
            blob: made.digest(),
            format: LayerFormat::Tar,
            compression: made.compression,
            diff_id: None,
            source: made.source(),
            annotations: made.annotations.clone(),
            external: None,
            soci: None,
        };
        open(&self.store, &[spec], &Timeline::new(Clock::system())).await.unwrap()
    }
}

/// A machine with nothing else to do.
pub fn free() -> Spare {
    Arc::new(|| true)
}

/// Reads a piece of a file; what comes must be right. Gives whether it came.
pub async fn check(image: &Image, name: &str, offset: usize, len: usize) -> bool {
    odd::check(image, files(), name, offset, len).await
}
