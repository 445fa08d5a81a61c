//! Where files lie in a layer's data file: which file has the bytes at a place.

use glowplug_base::ByteRange;
use glowplug_layer::{BLOCK_BYTES, Entry, Extent};

/// Extents of one entry that follow each other in the data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// The piece of the data file.
    pub(super) data: ByteRange,
    /// Number of the entry.
    pub(super) entry: u32,
    /// Number of the first of the extents.
    first: u32,
}

impl Run {
    /// The extents, which begin in it.
    pub(super) fn extents<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = &'a Extent> {
        let data = self.data;
        let from = entry.extents.get(self.first as usize..).unwrap_or_default();
        from.iter().take_while(move |extent| (data.start..data.end).contains(&extent.data))
    }

    /// Where in its file the byte at `data` is.
    pub(super) fn file_offset(&self, entry: &Entry, data: u64) -> u64 {
        let holds = |extent: &&Extent| extent.data <= data;
        let extent = self.extents(entry).take_while(holds).last();
        extent.map_or(0, |extent| extent.file + (data - extent.data))
    }
}

/// The runs of entry number `number`, in the order of its file. Between two of its extents that lie in neighbouring blocks no other
/// entry has room.
pub(super) fn of(number: u32, entry: &Entry) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, extent) in (0..).zip(&entry.extents) {
        let end = extent.data + extent.len;
        match runs.last_mut() {
            Some(run) if (run.data.end..run.data.end + BLOCK_BYTES).contains(&extent.data) => {
                run.data.end = end
            }
            _ => runs.push(Run { data: ByteRange::new(extent.data, end), entry: number, first: at }),
        }
    }
    runs
}

/// The runs of a layer in the order of the data file. What several entries share is the first one's.
pub(super) fn all(entries: &[Entry]) -> Vec<Run> {
    let mut runs: Vec<Run> = (0..).zip(entries).flat_map(|(number, entry)| of(number, entry)).collect();
    if !runs.is_sorted_by(|one, next| one.data.end <= next.data.start) {
        runs.sort_by_key(|run| (run.data.start, run.entry));
        let mut end = 0;
        // Nobody looks for a run by the bytes before its end that are another's.
        runs.retain(|run| {
            let more = run.data.end > end;
            end = end.max(run.data.end);
            more
        });
    }
    runs
}

#[cfg(test)]
mod tests {
    use glowplug_layer::Kind;

    use super::*;

    fn entry(extents: &[(u64, u64, u64)]) -> Entry {
        Entry {
            path: b"f".to_vec(),
            kind: Kind::File,
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            device: (0, 0),
            size: 1 << 20,
            xattrs: Vec::new(),
            extents: extents
                .iter()
                .map(|&(file, data, len)| Extent { file, stream: data, data, len })
                .collect(),
        }
    }

    #[test]
    fn runs_are_in_the_order_of_the_data_file_and_know_their_file() {
        // A file with its tail before it, one that shares a block of it, one in between.
        let entries = [
            entry(&[(0, 8192, 4096), (4096, 0, 100)]),
            entry(&[(0, 8192, 4096), (4096, 12_288, 8)]),
            entry(&[(0, 4096, 10)]),
        ];
        let runs = all(&entries);
        let found: Vec<_> = runs.iter().map(|run| (run.data.start, run.data.end, run.entry)).collect();
        assert_eq!(found, [(0, 100, 0), (4096, 4106, 2), (8192, 12_288, 0), (8192, 12_296, 1)]);
        assert_eq!(runs[0].file_offset(&entries[0], 7), 4103);
        assert_eq!(runs[2].file_offset(&entries[0], 8200), 8);
        assert_eq!(
            runs[3].file_offset(&entries[1], 12_290),
            4098,
            "two extents in neighbouring blocks are one run"
        );
        assert_eq!(runs[0].extents(&entries[0]).count(), 1);
        let in_order = [entry(&[(0, 0, 5000)]), entry(&[(4096, 8192, 10)])];
        assert_eq!(all(&in_order).len(), 2);
    }
}
