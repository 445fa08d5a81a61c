//! From what was read to a profile, and from a profile to the spans to fetch.

use std::collections::{HashMap, HashSet};

use glowplug_base::ByteRange;

use super::Image;
use crate::profile::{PIECE_BYTES, Profile};
use crate::tree::NodeId;

impl Image {
    /// What was touched since the image was opened, in order.
    pub fn touched(&self) -> Profile {
        self.touched_within(u64::MAX)
    }

    /// What was touched in the first `ms` milliseconds since the image was opened, in order. Files whose names are not UTF-8 are
    /// left out.
    pub fn touched_within(&self, ms: u64) -> Profile {
        let noted = self.recorder.touches();
        if noted.is_empty() {
            return Profile::default();
        }
        let paths = self.paths();
        let mut touches = Vec::new();
        for noted in noted.iter().filter(|noted| noted.at_ms <= ms) {
            let entries = self.fetcher.supplies()[noted.layer].entries();
            let files = &self.placed[noted.layer];
            let first = files.partition_point(|run| run.data.end <= noted.data.start);
            for run in files[first..].iter().take_while(|run| run.data.start < noted.data.end) {
                let entry = &entries[run.entry as usize];
                let Some(path) = paths.get(&(noted.layer as u32, run.entry)) else { continue };
                for extent in run.extents(entry) {
                    let part = ByteRange::at(extent.data, extent.len).intersect(&noted.data);
                    if part.is_empty() {
                        continue;
                    }
                    let file = extent.file + (part.start - extent.data);
                    let pieces = file / PIECE_BYTES..(file + part.len()).div_ceil(PIECE_BYTES);
                    touches.extend(pieces.map(|piece| (path.clone(), piece, noted.at_ms)));
                }
            }
        }
        Profile::of_run(touches)
    }

    /// The spans that hold what a profile expects, in its order, each once: number of the layer and of the span.
    pub(super) fn order(&self, profile: &Profile) -> Vec<(usize, usize)> {
        let mut seen = HashSet::new();
        let mut order = Vec::new();
        for touch in &profile.touches {
            let Some((layer, data)) = self.place_of(&touch.path, touch.piece) else { continue };
            let spans = data
                .into_iter()
                .flat_map(|data| self.fetcher.supplies()[layer].layer.index().spans_for_data(data));
            order.extend(spans.map(|span| (layer, span)).filter(|place| seen.insert(*place)));
        }
        order
    }

    /// Where a piece of a file lies: which layer, and which pieces of its data file.
    fn place_of(&self, path: &str, piece: u64) -> Option<(usize, Vec<ByteRange>)> {
        let start = piece.checked_mul(PIECE_BYTES)?;
        let (layer, parts, _) = self.parts(self.tree.find(path)?, start, PIECE_BYTES as u32)?;
        Some((layer, parts.iter().map(|part| part.data).collect()))
    }

    /// The path of each file with bytes, by its layer and entry.
    fn paths(&self) -> HashMap<(u32, u32), String> {
        let mut paths = HashMap::new();
        let mut open: Vec<(NodeId, String)> = vec![(crate::Tree::ROOT, String::new())];
        while let Some((id, prefix)) = open.pop() {
            for (name, child) in self.tree.node(id).map(|node| &node.children[..]).unwrap_or_default() {
                let (Ok(name), Some(node)) = (std::str::from_utf8(name), self.tree.node(*child)) else {
                    continue;
                };
                let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
                match node.origin {
                    Some(origin) if node.kind == glowplug_layer::Kind::File => {
                        paths.entry(origin).or_insert(path);
                    }
                    _ => open.push((*child, path)),
                }
            }
        }
        paths
    }
}
