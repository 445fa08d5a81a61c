//! What is written is read back.

use glowplug_erofs::{Content, ReadLimits, read, write};
use proptest::prelude::*;

use crate::model;
use crate::trees::{self, add, device, directory, extent, file, forest};

proptest! {
    #[test]
    fn trees_come_back(
        (inodes, devices) in forest(60),
    ) {
        let mut image = Vec::new();
        let summary = write(&inodes, &devices, &mut image).unwrap();
        prop_assert_eq!(summary.bytes, image.len() as u64);
        prop_assert_eq!(summary.inodes, inodes.len() as u64);

        let found = read(&image, &ReadLimits::default()).unwrap();
        prop_assert_eq!(model::of(&found.inodes), model::of(&inodes));
        prop_assert_eq!(&found.devices, &devices);

        let mut again = Vec::new();
        write(&found.inodes, &found.devices, &mut again).unwrap();
        prop_assert_eq!(again, image);
    }

    #[test]
    fn the_order_of_entries_does_not_matter((inodes, devices) in forest(40)) {
        let mut image = Vec::new();
        write(&inodes, &devices, &mut image).unwrap();
        let mut turned = inodes;
        for inode in &mut turned {
            inode.xattrs.reverse();
            if let Content::Directory(entries) = &mut inode.content {
                entries.reverse();
            }
        }
        let mut again = Vec::new();
        write(&turned, &devices, &mut again).unwrap();
        prop_assert_eq!(again, image);
    }
}

#[test]
fn a_contiguous_file_costs_one_index_however_large() {
    let size = (5 << 40) + 17;
    let devices = [device(10 << 40)];
    let mut inodes = vec![directory(Vec::new())];
    add(&mut inodes, 0, "large", file(size, vec![extent(0, 0, 3 << 40, size)]));
    let mut image = Vec::new();
    let summary = write(&inodes, &devices, &mut image).unwrap();
    assert!(summary.bytes <= 3 * 4096, "{summary:?}");
    let found = read(&image, &ReadLimits { chunks: 1, ..ReadLimits::default() }).unwrap();
    assert_eq!(found.inodes, inodes);
}

#[test]
fn joined_extents_need_no_more_chunks_than_one() {
    let pieces = (0..64).map(|i| extent(i * 8192, 0, 4096 + i * 8192, 8192)).collect();
    let inodes = [directory(vec![(b"f".to_vec(), 1)]), file(64 * 8192, pieces)];
    let mut image = Vec::new();
    write(&inodes, &[device(1 << 20)], &mut image).unwrap();
    let limits = ReadLimits { chunks: 1, ..ReadLimits::default() };
    let found = read(&image, &limits).unwrap();
    assert_eq!(found.inodes[1].content, Content::Data(vec![extent(0, 0, 4096, 64 * 8192)]));
}

#[test]
fn inodes_that_nothing_leads_to_are_left_out() {
    let inodes = [directory(Vec::new()), file(0, Vec::new()), directory(vec![(b"x".to_vec(), 1)])];
    let mut image = Vec::new();
    assert_eq!(write(&inodes, &[], &mut image).unwrap().inodes, 1);
    assert_eq!(read(&image, &ReadLimits::default()).unwrap().inodes.len(), 1);
}

#[test]
fn a_hundred_thousand_entries() {
    let mut inodes = vec![directory(Vec::new())];
    for i in 0..100_000_u32 {
        add(&mut inodes, 0, format!("entry-{}", i.wrapping_mul(2_654_435_761)), trees::file(0, Vec::new()));
    }
    let mut image = Vec::new();
    write(&inodes, &[], &mut image).unwrap();
    let found = read(&image, &ReadLimits::default()).unwrap();
    assert_eq!(model::of(&found.inodes), model::of(&inodes));
}
