//! Mangled images give errors or trees, never panics, and limits hold.

use glowplug_erofs::{ReadError, ReadLimits, read, write};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::trees::{add, directory, file, forest};

const TIGHT: ReadLimits = ReadLimits { inodes: 200, entries: 1000, chunks: 10_000, bytes: 1 << 20 };

/// Superblock fields checked before anything else would hide what lies behind them.
fn without_checksum(image: &mut [u8]) {
    image[1024 + 8] &= !1;
}

proptest! {
    #[test]
    fn mangled_images_never_panic(
        (inodes, devices) in forest(20),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut image = Vec::new();
        write(&inodes, &devices, &mut image).unwrap();
        without_checksum(&mut image);
        for (at, byte) in changes {
            let at = at.index(image.len() - 1024) + 1024;
            image[at] = byte;
        }
        let _ = read(&image, &TIGHT);
        image.truncate(cut.index(image.len()));
        let _ = read(&image, &TIGHT);
    }

    #[test]
    fn mangled_inodes_never_panic(
        (inodes, devices) in forest(6),
        changes in vec((0..64_usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut image = Vec::new();
        let summary = write(&inodes, &devices, &mut image).unwrap();
        without_checksum(&mut image);
        for (field, slot, byte) in changes {
            let start = usize::from(u16::from_le_bytes([image[1024 + 14], image[1024 + 15]])) * 32;
            let slots = (summary.bytes as usize - start) / 32;
            let at = start + slot.index(slots) * 32 + field % 32;
            image[at] = byte;
        }
        let _ = read(&image, &TIGHT);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..5000)) {
        prop_assert!(read(&bytes, &TIGHT).is_err());
    }
}

#[test]
fn one_flipped_bit_in_the_superblock_is_noticed() {
    let mut image = Vec::new();
    write(&[directory(Vec::new())], &[], &mut image).unwrap();
    for byte in [1024 + 4, 1024 + 48, 1200, 4095] {
        let mut bad = image.clone();
        bad[byte] ^= 1;
        assert!(matches!(read(&bad, &TIGHT), Err(ReadError::Checksum { .. })), "byte {byte}");
    }
}

#[test]
fn limits_hold() {
    let mut inodes = vec![directory(Vec::new())];
    for i in 0..10 {
        add(&mut inodes, 0, format!("{i}"), file(1, Vec::new()));
    }
    let mut image = Vec::new();
    write(&inodes, &[], &mut image).unwrap();
    let enough = ReadLimits { inodes: 11, entries: 12, chunks: 10, bytes: 13 };
    assert!(read(&image, &enough).is_ok());
    for limits in [
        ReadLimits { inodes: 10, ..enough },
        ReadLimits { entries: 11, ..enough },
        ReadLimits { chunks: 9, ..enough },
        ReadLimits { bytes: 12, ..enough },
    ] {
        assert!(matches!(read(&image, &limits), Err(ReadError::Limit(_))), "{limits:?}");
    }
}
