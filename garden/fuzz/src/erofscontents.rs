//! What EROFS images of others hold: paths and pieces that agree with each other, and are told from less of the image, too, or not
//! at all. The seeds are mkfs.erofs' (1.9.3), in every layout, of a tar with whiteouts (`--tar=f --aufs -b4096`) and of an empty folder.

use std::collections::HashSet;

use glowplug_erofs::{ContentsError, Member, ReadLimits, contents};

use crate::erofs::repaired;

/// Reads `data` as an image, its checksum as it is and made right.
pub fn erofscontents(data: &[u8]) -> bool {
    [data, &repaired(data)].map(check).contains(&true)
}

fn check(data: &[u8]) -> bool {
    let Ok(members) = read(data) else { return false };
    let mut paths = HashSet::new();
    for member in &members {
        let is_first = paths.insert(&member.path[..]);
        assert!(is_first, "two members have one path");
        let slash = member.path.iter().rposition(|byte| *byte == b'/');
        assert!(paths.contains(&member.path[..slash.unwrap_or(0)]), "a member comes before its directory");
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        assert!(member.path.is_empty() || member.path.split(|byte| *byte == b'/').all(is_name));
        if let Some(first) = member.same_as {
            assert!(members[first].same_as.is_none() && paths.contains(&members[first].path[..]));
        }
        let mut end = 0;
        for piece in &member.pieces {
            assert!(piece.file >= end && piece.len > 0, "pieces are in order");
            end = piece.file.checked_add(piece.len).expect("a piece ends in its file");
            assert!(piece.image.checked_add(piece.len).is_some() && end <= member.size);
        }
    }
    // As while a layer streams by: more bytes change nothing about what was told.
    for part in [data.len() / 2, data.len() * 7 / 8] {
        match read(&data[..part]) {
            Ok(told) => assert_eq!(told, members),
            Err(ContentsError::Absent { end }) => assert!(end > part as u64),
            Err(other) => panic!("less of the image is wrong: {other}"),
        }
    }
    true
}

fn read(mut data: &[u8]) -> Result<Vec<Member>, ContentsError> {
    let limits = ReadLimits { inodes: 4096, entries: 16 << 10, chunks: 16 << 10, bytes: 1 << 20 };
    contents(&mut data, &limits)
}
