//! EROFS images: what is read can be written, and is read again as the same.

use glowplug_erofs::{ReadLimits, read, write};

/// Where the superblock begins, and the end of the block its checksum covers, in bytes.
const CHECKED: std::ops::Range<usize> = 1024..4096;

/// Reads `data` as an image, its checksum as it is and made right.
pub fn erofs(data: &[u8]) -> bool {
    [data, &repaired(data)].map(check).contains(&true)
}

/// The image with the checksum that it should have.
pub(crate) fn repaired(data: &[u8]) -> Vec<u8> {
    let mut repaired = data.to_vec();
    if let Some(block) = repaired.get_mut(CHECKED) {
        block[4..8].fill(0);
        let checksum = crc32c(block);
        block[4..8].copy_from_slice(&checksum.to_le_bytes());
    }
    repaired
}

fn check(data: &[u8]) -> bool {
    let limits = ReadLimits { inodes: 4096, entries: 16 << 10, chunks: 16 << 10, bytes: 1 << 20 };
    let Ok(image) = read(data, &limits) else { return false };
    // The reader takes some trees that the writer refuses, such as files beyond their device.
    let mut first = Vec::new();
    if write(&image.inodes, &image.devices, &mut first).is_err() {
        return true;
    }
    let roomy = ReadLimits { inodes: 8192, entries: 64 << 10, chunks: 1 << 20, bytes: 4 << 20 };
    let again = read(&first, &roomy).expect("what was written reads");
    assert_eq!(again.inodes.len(), image.inodes.len());
    let mut second = Vec::new();
    write(&again.inodes, &again.devices, &mut second).expect("what was written once can be written twice");
    assert!(first == second, "writing what was read back gives another image");
    true
}

/// CRC-32C without the final inversion, as EROFS has it.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}
