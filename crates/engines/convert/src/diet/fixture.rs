//! Small images for the rules' tests: layers of names and sizes, whose bytes nobody has.

use glowplug_base::{ByteRange, Digest};
use glowplug_image::{Merger, Profile};
use glowplug_layer::{BLOCK_BYTES, Check, Entry, Extent, Kind, LayerIndex, Origin, Recipe, Span};

use super::rules::Draft;
use super::{Contents, Facts, Inventory, Rule};

/// Bytes of a header in the archive.
const HEADER_BYTES: u64 = 512;

/// A layer of files by path and size; a path that ends with a slash is a directory. It compresses to half, as one span.
pub fn layer(files: &[(&str, u64)]) -> LayerIndex {
    let (mut stream, mut data) = (0, 0);
    let mut entries = Vec::new();
    for (path, size) in files {
        let directory = path.ends_with('/');
        stream += HEADER_BYTES;
        let extent = Extent { file: 0, stream, data, len: *size };
        stream += size.next_multiple_of(HEADER_BYTES);
        data += size.next_multiple_of(BLOCK_BYTES);
        entries.push(Entry {
            path: path.trim_end_matches('/').as_bytes().to_vec(),
            kind: if directory { Kind::Directory } else { Kind::File },
            link: Vec::new(),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            device: (0, 0),
            size: *size,
            xattrs: Vec::new(),
            extents: if *size > 0 { vec![extent] } else { Vec::new() },
        });
    }
    let blob_size = stream / 2;
    let span = Span {
        stream: ByteRange::new(0, stream),
        blob: ByteRange::new(0, blob_size),
        data: ByteRange::new(0, data),
        recipe: Recipe::ZstdFrame,
        check: Check::Data(Digest::of(b"")),
    };
    LayerIndex {
        blob: Digest::of(format!("{files:?}").as_bytes()),
        blob_size,
        stream_size: stream,
        data_size: data,
        origin: Origin::Streamed,
        entries,
        spans: vec![span],
        chunks: Vec::new(),
        prefetch: Vec::new(),
    }
}

/// The files of an image that was never started.
pub fn inventory(layers: &[LayerIndex]) -> Inventory {
    started(layers, &[])
}

/// The files of an image and what starts touched.
pub fn started(layers: &[LayerIndex], profiles: &[Profile]) -> Inventory {
    let mut merger = Merger::new();
    layers.iter().for_each(|layer| merger.add(&layer.entries).unwrap());
    Inventory::of(&layers.iter().collect::<Vec<_>>(), &merger.finish(), profiles)
}

/// What a rule finds in one layer without looking into files.
pub fn found(rule: Rule, files: &[(&str, u64)]) -> Vec<String> {
    let inventory = inventory(&[layer(files)]);
    paths(&inventory, ask(rule, &inventory, &Contents::default()))
}

/// What a rule says.
pub fn ask(rule: Rule, inventory: &Inventory, contents: &Contents) -> Option<Draft> {
    rule.ask(Facts { inventory, contents, env: &[] })
}

/// The paths of a finding in the order of the image; none for none.
pub fn paths(inventory: &Inventory, draft: Option<Draft>) -> Vec<String> {
    let items = draft.map(|draft| draft.items).unwrap_or_default();
    items.iter().map(|item| inventory.files[item.file].path.clone()).collect()
}

/// The number of the file that has a path.
pub fn number(inventory: &Inventory, path: &str) -> usize {
    inventory.files.iter().position(|file| file.path == path).unwrap()
}
