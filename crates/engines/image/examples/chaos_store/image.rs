//! The layer that is filled: its files, its blob, and a source that says what is fetched.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use glowplug_base::{ByteRange, Digest};
use glowplug_image::LayerSpec;
use glowplug_oci::{Compression, LayerFormat};
use glowplug_source::{ByteStream, MemorySource, RangeSource, SourceError};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::Cause;

use crate::worker::say;

/// Files of the layer and their lengths in bytes: small ones within one span, large ones over many.
const FILES: [(&str, usize); 8] = [
    ("a", 9_000_000),
    ("b", 100),
    ("c", 4_096),
    ("d", 3_500_000),
    ("e", 700_000),
    ("f", 14_000_000),
    ("g", 12_345),
    ("h", 5_000_000),
];
/// Uncompressed bytes of one gzip member or zstd frame, where the layer has several.
const PART_BYTES: usize = 1_500_000;

/// A deterministic source of numbers.
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
}

/// Bytes that compress a little, different everywhere and never zero: a zero that is read was never written.
fn content(name: &str, len: usize) -> Vec<u8> {
    let mut random = Random::new(u64::from(name.as_bytes()[0]));
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        let word = random.below(u64::MAX);
        bytes.extend(if word.is_multiple_of(3) {
            [b'x'; 8]
        } else {
            word.to_le_bytes().map(|byte| byte | 1)
        });
    }
    bytes.truncate(len);
    bytes
}

pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    FILES.iter().map(|(name, len)| (*name, content(name, *len))).collect()
}

/// The forms of the layer, each in a file of its own.
pub const FORMS: [(&str, Compression, usize); 4] = [
    ("gzip", Compression::Gzip, usize::MAX),
    ("gzip-members", Compression::Gzip, PART_BYTES),
    ("zstd-frames", Compression::Zstd, PART_BYTES),
    ("uncompressed", Compression::None, usize::MAX),
];

fn blob(dir: &Path, form: usize) -> PathBuf {
    dir.join(FORMS[form].0)
}

/// Writes every form of the layer into `dir`.
pub fn write(dir: &Path) {
    let tar = Tree::build(|tree| files().iter().for_each(|(name, bytes)| _ = tree.file(name, bytes)));
    for (form, (_, compression, part)) in FORMS.into_iter().enumerate() {
        std::fs::write(blob(dir, form), Layer::in_parts(tar.clone(), compression, part).blob).unwrap();
    }
}

pub fn digest(dir: &Path, form: usize) -> Digest {
    Digest::of(&std::fs::read(blob(dir, form)).unwrap())
}

/// One form of the layer with a source that says each request.
pub fn spec(dir: &Path, form: usize) -> LayerSpec {
    let bytes = std::fs::read(blob(dir, form)).unwrap();
    let digest = Digest::of(&bytes);
    let source = Arc::new(Spoken(MemorySource::new(FORMS[form].0, bytes)));
    LayerSpec {
        blob: digest,
        format: LayerFormat::Tar,
        compression: FORMS[form].1,
        diff_id: None,
        source,
        annotations: Default::default(),
        external: None,
        soci: None,
    }
}

#[derive(Debug)]
struct Spoken(MemorySource);

impl RangeSource for Spoken {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn open(&self, range: ByteRange, cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        say(&format!("fetch {} {}", range.start, range.end));
        self.0.open(range, cause)
    }
}
