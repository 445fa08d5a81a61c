//! Indexes that the nodes of a cluster make for each other.
//!
//! ```text
//! pack      an index that is known to be right, and its windows -> bytes for another node
//! adopt     what another node packed -> store; the layer is lazy without having streamed by
//! ```
//!
//! The bytes are `GPOFFER1`, the length of the index in 8 bytes, little-endian, the index as `glowplug_layer` writes it, and the windows
//! as stores keep them. They are read by nodes of the same [`dialect`] only: what another release makes of a layer may differ in what
//! nobody minds, and would be called a lie.
//!
//! A layer's blob does not vouch for such an index, and neither does the image's publisher: it is believed as far as the node is that gave
//! it. Who that may be the [`Neighbours`] decide. Here its sense is checked, as of every index that somebody else made, so that nothing in it leads
//! out of the image, out of the layer's files or to more memory than a span takes; once the layer is complete, `fetch::audit`
//! holds all of it against what the manifest vouches for. Only then is it packed for others, so that a lie goes no further than one node.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_base::size::human;
use glowplug_layer::{Check, Cursor, Entry, Extent, Kind, LayerIndex, Limits, Origin, Recipe, boundary};
use glowplug_oci::Compression;
use glowplug_store::{Layer, Store};
use glowplug_tarwalk::normalise;
use glowplug_timeline::{Phase, Timeline};

use crate::claim::MAX_SPAN_BYTES;
use crate::error::chain;

const MAGIC: &[u8; 8] = b"GPOFFER1";
/// Magic and the index's length, in bytes.
const HEADER_BYTES: usize = 16;
/// Layers that are shorter stream by in the time that asking takes: half a tenth of a second at 200 Mbit/s.
const LEAST_LAYER_BYTES: u64 = 1 << 20;
/// Bytes that the index of any layer may take in memory, and those for each byte of the layer: more than that of a layer of nothing but
/// empty files.
const LEAST_BODY_BYTES: u64 = 64 << 20;
const MOST_BODY_RATIO: u64 = 4;
/// Longest name or link target, in bytes, as in every index.
const MAX_NAME_BYTES: usize = 4096;
/// Bits of a mode that an index has.
const MODE_BITS: u32 = 0o7777;
/// Kind of the documents that say which node gave an index.
const GIVERS: &str = "index-givers";
/// What stands for this node where a peer's name may stand.
const THIS_NODE: &str = "this node";

/// Other nodes, as far as they share what they learned.
pub trait Neighbours: std::fmt::Debug + Send + Sync {
    /// What one of them packed of a layer's index, of at most `most_bytes`; nothing where nobody who is trusted has it, or not in time.
    fn index(&self, layer: Digest, most_bytes: u64) -> BoxFuture<'_, Option<Offered>>;
}

/// An index on its way from another node.
#[derive(Debug, Clone)]
pub struct Offered {
    /// What it packed.
    pub bytes: Bytes,
    /// Its name; nothing where it is this node.
    pub from: Option<String>,
}

/// Which nodes understand each other's indexes: letters, digits, dots and hyphens.
pub fn dialect() -> String {
    format!("{}-{}", glowplug_layer::VERSION, env!("CARGO_PKG_VERSION"))
}

/// Longest pack worth taking for a layer of `blob_size` bytes: one that is not much shorter than the layer saves nothing.
pub const fn most_bytes(blob_size: u64) -> u64 {
    blob_size / 2 + LEAST_LAYER_BYTES
}

/// Whether a layer's index is for others: known here to be right, and of use to them.
pub fn is_for_others(layer: &Layer) -> bool {
    let index = layer.index();
    let is_right = match index.origin {
        Origin::Streamed => true,
        Origin::Peer => layer.is_confirmed(),
        // Others find it where this node found it.
        Origin::Soci | Origin::Toc | Origin::Chunks => false,
        // The audit of what comes from others walks an archive.
        Origin::Erofs => false,
    };
    is_right && index.is_lazy() && is_worth_it(index.blob_size)
}

/// Whether other nodes are asked for the index of a layer of so many bytes.
pub const fn is_worth_it(blob_size: u64) -> bool {
    blob_size >= LEAST_LAYER_BYTES
}

/// Packs a layer's index for another node; nothing where none would take it, because it is of no archive or too long.
///
/// # Errors
/// What the disk says, in words.
pub fn pack(layer: &Layer) -> Result<Option<Vec<u8>>, String> {
    let index = LayerIndex { origin: Origin::Streamed, ..layer.index().clone() };
    let windows = layer.packed_windows().map_err(|error| chain(&error))?;
    if check(&index, windows.len() as u64).is_err() {
        return Ok(None);
    }
    let encoded = glowplug_layer::encode(&index).map_err(|error| chain(&error))?;
    let packed = [&MAGIC[..], &(encoded.len() as u64).to_le_bytes(), &encoded, &windows].concat();
    Ok((packed.len() as u64 <= most_bytes(index.blob_size)).then_some(packed))
}

/// The node that gave the index of a layer in the store, where one did.
pub fn giver(store: &Store, layer: &Digest) -> Option<String> {
    String::from_utf8(store.documents().get(GIVERS, &layer.to_string())?).ok()
}

/// The peer of that name, or nothing where it was this node.
pub fn peer_of(giver: &str) -> Option<&str> {
    (giver != THIS_NODE).then_some(giver)
}

/// Takes in the index that another node has of a layer, its blob of `size` bytes, if one has.
pub(crate) async fn adopt(
    store: &Arc<Store>,
    (blob, size, compression): (Digest, u64, Compression),
    number: usize,
    neighbours: &dyn Neighbours,
    timeline: &Timeline,
) -> Option<Arc<Layer>> {
    if !is_worth_it(size) {
        return None;
    }
    let mut span = timeline.span(Phase::Pull, format!("ask the peers for an index of layer {number}"));
    let Offered { bytes, from } = neighbours.index(blob, most_bytes(size)).await?;
    let from = from.unwrap_or_else(|| THIS_NODE.to_owned());
    span.detail(format!("index from the peer {from}, {}", human(bytes.len() as u64)));
    let (store, giver) = (store.clone(), from.clone());
    let work = move || {
        let (mut index, windows) = unpack(&bytes, size)?;
        check(&index, windows.len() as u64)?;
        if (index.blob, index.blob_size) != (blob, size) || !is_compressed_so(&index, compression) {
            return Err("it is of another layer".to_owned());
        }
        index.origin = Origin::Peer;
        // Before the layer is there: nobody shall find an index that came from somewhere unknown.
        store.documents().put(GIVERS, &blob.to_string(), giver.as_bytes()).map_err(|error| chain(&error))?;
        let mut builder = store.build(blob).map_err(|error| chain(&error))?;
        builder.put_packed_windows(windows).map_err(|error| chain(&error))?;
        store.adopt(builder, &index).map_err(|error| chain(&error))
    };
    match tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(panic.to_string())) {
        Ok(layer) => Some(layer),
        Err(reason) => {
            tracing::warn!(layer = %blob, from, %reason, "the index of another node cannot be used");
            None
        }
    }
}

/// The index and the windows in a pack for a layer of `size` bytes.
fn unpack(bytes: &[u8], size: u64) -> Result<(LayerIndex, &[u8]), String> {
    let short = || "it is cut short or something else".to_owned();
    let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or_else(short)?;
    let (magic, length) = header.split_at(MAGIC.len());
    let length = length.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
    let length = usize::try_from(length).ok().filter(|_| magic == MAGIC).ok_or_else(short)?;
    let (index, windows) = rest.split_at_checked(length).ok_or_else(short)?;
    let limits = Limits::default();
    // Several are taken in at once, and what they decompress to is memory.
    let body_bytes =
        limits.body_bytes.min(LEAST_BODY_BYTES.saturating_add(size.saturating_mul(MOST_BODY_RATIO)));
    let index = glowplug_layer::decode(index, &Limits { body_bytes, ..limits });
    let index = index.map_err(|error| chain(&error))?;
    Ok((index, windows))
}

/// Whether an index decodes its layer as the image says that it is compressed.
fn is_compressed_so(index: &LayerIndex, compression: Compression) -> bool {
    index.spans.iter().all(|span| match compression {
        Compression::None => span.recipe == Recipe::Stored,
        Compression::Gzip => matches!(span.recipe, Recipe::GzipMember | Recipe::Deflate { .. }),
        Compression::Zstd => span.recipe == Recipe::ZstdFrame,
    })
}

/// What of an index does not agree with itself or with how nodes make indexes.
fn check(index: &LayerIndex, windows_bytes: u64) -> Result<(), String> {
    let plain = index.origin == Origin::Streamed && index.chunks.is_empty() && index.prefetch.is_empty();
    if !plain || !index.is_lazy() {
        return Err("no node offers such an index".to_owned());
    }
    let mut cursor = Cursor::new();
    for (number, entry) in index.entries.iter().enumerate() {
        check_entry(entry, &mut cursor).map_err(|reason| format!("entry {number}: {reason}"))?;
    }
    if cursor.aligned() != Some(index.data_size) {
        return Err("its files take another room than it says".to_owned());
    }
    let extents: Vec<Extent> = index.extents().copied().collect();
    if !extents.is_sorted_by(|one, next| one.stream.saturating_add(one.len) <= next.stream) {
        return Err("its files are in another order than an archive has them".to_owned());
    }
    for (number, span) in index.spans.iter().enumerate() {
        let fits = match span.recipe {
            Recipe::Stored | Recipe::GzipMember | Recipe::ZstdFrame => true,
            Recipe::Deflate { bits, window } => {
                let end = window.offset.checked_add(u64::from(window.len));
                bits <= 7 && end.is_some_and(|end| end <= windows_bytes)
            }
            Recipe::Whole => false,
        };
        let in_place = span.data.end == boundary(&extents, index.data_size, span.stream.end);
        let bounded = span.blob.len() <= 2 * MAX_SPAN_BYTES;
        if !fits || !in_place || !bounded || !matches!(span.check, Check::Data(_)) {
            return Err(format!("span {number} is none that a node makes"));
        }
    }
    Ok(())
}

/// What is wrong with an entry: with its names, or with where its bytes lie in the data file.
fn check_entry(entry: &Entry, cursor: &mut Cursor) -> Result<(), String> {
    let is_name =
        |name: &[u8]| name.len() <= MAX_NAME_BYTES && normalise(name).is_ok_and(|normal| normal == name);
    let linked = match entry.kind {
        Kind::Hardlink => is_name(&entry.link),
        Kind::Symlink => entry.link.len() <= MAX_NAME_BYTES && !entry.link.contains(&0),
        _ => true,
    };
    if !is_name(&entry.path) || !linked || entry.mode > MODE_BITS {
        return Err("a name that no archive gives".to_owned());
    }
    if entry.kind != Kind::File && !entry.extents.is_empty() {
        return Err("bytes of what is no file".to_owned());
    }
    let mut before: Option<&Extent> = None;
    for extent in &entry.extents {
        let data = match before {
            None => cursor.place(extent.file, extent.len),
            Some(before) => cursor.place_behind(before.file + before.len, extent.file, extent.len),
        };
        let ends = extent.file.checked_add(extent.len).is_some_and(|end| end <= entry.size);
        if data != Some(extent.data) || !ends || extent.len == 0 {
            return Err("bytes that are out of place".to_owned());
        }
        before = Some(extent);
    }
    Ok(())
}
