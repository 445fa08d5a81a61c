//! One piece in one file: a line that says what it is, then its bytes.
//!
//! ```text
//! glowplug-piece 1 <crc32 of what follows in the line> <blob> <number> <length> <digest of the bytes> <who gave it>\n
//! ```
//!
//! Whatever does not agree with itself or with its name is damaged, and so is a file of another version: it is fetched
//! again.

use std::io::Write as _;
use std::path::Path;
use std::time::SystemTime;

use bytes::Bytes;
use glowplug_base::Digest;

use super::{Origin, Piece};
use crate::PieceId;

const MAGIC: &str = "glowplug-piece 1";
/// What stands for the registry where a peer's name may stand.
const REGISTRY: &str = "registry";
/// File systems give out whole blocks.
const BLOCK_BYTES: u64 = 4096;

/// What a file turned out to be.
pub(super) enum Stored {
    Sound(Piece),
    Damaged,
    Absent,
}

/// Bytes on disk of a file of `length` bytes.
pub(super) const fn disk_bytes(length: u64) -> u64 {
    length.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// The line before the bytes.
pub(super) fn encode(id: &PieceId, piece: &Piece) -> Vec<u8> {
    let origin = match &piece.origin {
        Origin::Registry => REGISTRY,
        Origin::Peer(name) => name,
    };
    let (length, digest) = (piece.bytes.len(), Digest::of(&piece.bytes));
    let rest = format!("{} {} {length} {digest} {origin}", id.blob, id.number);
    format!("{MAGIC} {:08x} {rest}\n", crc32fast::hash(rest.as_bytes())).into_bytes()
}

/// Writes `beside`, then gives it its name.
pub(super) fn write(beside: &Path, path: &Path, record: &[u8], bytes: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::File::create(beside)?;
    file.write_all(record)?;
    file.write_all(bytes)?;
    std::fs::rename(beside, path)
}

/// Reads a file and checks all of it.
pub(super) fn read(path: &Path, id: &PieceId) -> Stored {
    let Ok(content) = std::fs::read(path) else { return Stored::Absent };
    let Some(piece) = decode(content.into(), id) else { return Stored::Damaged };
    // For the order of use after a restart; a file system that refuses keeps the order of writing.
    let _ =
        std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    Stored::Sound(piece)
}

fn decode(content: Bytes, id: &PieceId) -> Option<Piece> {
    let end = content.iter().take(BLOCK_BYTES as usize).position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&content[..end]).ok()?;
    let (crc, rest) = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.split_once(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(rest.as_bytes()) {
        return None;
    }
    let mut words = rest.split(' ');
    let blob: Digest = words.next()?.parse().ok()?;
    let number: u64 = words.next()?.parse().ok()?;
    let length: usize = words.next()?.parse().ok()?;
    let digest: Digest = words.next()?.parse().ok()?;
    let origin = match words.next()? {
        REGISTRY => Origin::Registry,
        name => Origin::Peer(name.into()),
    };
    let bytes = content.slice(end + 1..);
    let sound = PieceId { blob, number } == *id && bytes.len() == length && Digest::of(&bytes) == digest;
    sound.then_some(Piece { bytes, origin })
}
