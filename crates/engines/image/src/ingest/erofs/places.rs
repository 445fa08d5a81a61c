//! Where the files of an EROFS image go in the data file.
//!
//! Pieces go there in the order that they have in the image, each on a block boundary, so that a span stays one piece of
//! the data file, and a page of a file one page of it. What files share has one place.

use glowplug_layer::{BLOCK_BYTES, Cursor, Entry, Extent, LayerIndex};

use crate::ErofsError;

/// Gives every extent of an index its place, and the data file its length. Returns what of the stream goes there, in order.
pub(super) fn give(index: &mut LayerIndex) -> Result<Vec<Extent>, ErofsError> {
    let torn = |entry: &Entry| ErofsError::Pieces { path: String::from_utf8_lossy(&entry.path).into_owned() };
    if let Some(entry) =
        index.entries.iter().find(|entry| !entry.extents.iter().all(|it| is_pages(it, entry)))
    {
        return Err(torn(entry));
    }
    let mut cursor = Cursor::new();
    let mut pieces = index.pieces();
    for piece in &mut pieces {
        piece.data = cursor.place(0, piece.len).ok_or(ErofsError::Room)?;
    }
    index.data_size = cursor.aligned().ok_or(ErofsError::Room)?;
    for entry in &mut index.entries {
        for at in 0..entry.extents.len() {
            let extent = &mut entry.extents[at];
            let piece = pieces.partition_point(|piece| piece.stream + piece.len <= extent.stream);
            extent.data = pieces.get(piece).map_or(0, |piece| piece.data + (extent.stream - piece.stream));
            // Two files share a part of a block.
            if extent.data % BLOCK_BYTES != 0 {
                return Err(torn(entry));
            }
        }
    }
    Ok(pieces)
}

/// Whether an extent is whole pages of its file, of which the last may be short.
const fn is_pages(extent: &Extent, entry: &Entry) -> bool {
    let end = extent.file + extent.len;
    extent.file.is_multiple_of(BLOCK_BYTES) && (end.is_multiple_of(BLOCK_BYTES) || end == entry.size)
}

#[cfg(test)]
mod tests {
    use glowplug_base::Digest;
    use glowplug_layer::{Kind, Origin};
    use proptest::prelude::*;

    use super::*;

    fn index(files: Vec<(u64, Vec<Extent>)>) -> LayerIndex {
        let entry = |(number, (size, extents)): (usize, (u64, Vec<Extent>))| Entry {
            path: format!("f{number}").into_bytes(),
            kind: Kind::File,
            link: Vec::new(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime_s: 0,
            mtime_ns: 0,
            device: (0, 0),
            size,
            xattrs: Vec::new(),
            extents,
        };
        LayerIndex {
            blob: Digest::of(b""),
            blob_size: 0,
            stream_size: 0,
            data_size: 0,
            origin: Origin::Erofs,
            entries: files.into_iter().enumerate().map(entry).collect(),
            spans: Vec::new(),
            chunks: Vec::new(),
            prefetch: Vec::new(),
        }
    }

    fn extent(file: u64, stream: u64, len: u64) -> Extent {
        Extent { file, stream, data: 0, len }
    }

    #[test]
    fn tails_come_where_the_image_has_them_and_shared_blocks_once() {
        let mut index = index(vec![
            (4196, vec![extent(0, 40_960, 4096), extent(4096, 1300, 100)]),
            (50, vec![extent(0, 1450, 50)]),
            (8192, vec![extent(0, 45_056, 4096), extent(4096, 40_960, 4096)]),
        ]);
        let pieces = give(&mut index).unwrap();
        let places: Vec<_> = pieces.iter().map(|it| (it.stream, it.data, it.len)).collect();
        assert_eq!(places, [(1300, 0, 100), (1450, 4096, 50), (40_960, 8192, 4096), (45_056, 12_288, 4096)]);
        assert_eq!(index.data_size, 16_384);
        let data: Vec<Vec<u64>> =
            index.entries.iter().map(|it| it.extents.iter().map(|it| it.data).collect()).collect();
        assert_eq!(data, [vec![8192, 0], vec![4096], vec![12_288, 8192]]);
    }

    #[test]
    fn pieces_that_make_no_pages_are_refused() {
        for files in [
            vec![(1024, vec![extent(0, 8192, 512), extent(512, 4096, 512)])],
            vec![(4096, vec![extent(0, 8192, 4096)]), (4096, vec![extent(0, 8704, 4096)])],
        ] {
            assert!(matches!(give(&mut index(files)), Err(ErofsError::Pieces { .. })));
        }
        let huge = vec![
            (u64::MAX / 2, vec![extent(0, 0, u64::MAX / 2)]),
            (u64::MAX / 2, vec![extent(0, u64::MAX / 2, u64::MAX / 2)]),
        ];
        assert!(give(&mut index(huge)).is_err());
    }

    proptest! {
        #[test]
        fn every_byte_has_one_place_in_the_order_of_the_stream(
            files in proptest::collection::vec(proptest::collection::vec((0_u64..20, 1_u64..4), 0..4), 0..8),
        ) {
            let files = files.into_iter().map(|blocks| {
                let mut at = 0;
                let extents: Vec<_> = blocks.into_iter().map(|(block, count)| {
                    let it = extent(at, block * 4096, count * 4096);
                    at += it.len;
                    it
                }).collect();
                (at, extents)
            });
            let mut index = index(files.collect());
            let pieces = give(&mut index).unwrap();
            let in_order = pieces.windows(2).all(|pair| {
                pair[0].stream + pair[0].len <= pair[1].stream && pair[0].data + pair[0].len <= pair[1].data
            });
            prop_assert!(in_order);
            for extent in index.extents() {
                let within = |piece: &&Extent| {
                    piece.stream <= extent.stream && extent.stream + extent.len <= piece.stream + piece.len
                };
                let piece = pieces.iter().find(within).unwrap();
                prop_assert_eq!(extent.data - piece.data, extent.stream - piece.stream);
            }
        }
    }
}
