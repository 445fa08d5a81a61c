//! Compressed bytes: made, and decoded as a reader of layers does.

use glowplug_gzindex::Indexer;
use glowplug_toc::{Toc, TocChunk};

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    member.extend(crc32fast::hash(bytes).to_le_bytes());
    member.extend((bytes.len() as u32).to_le_bytes());
    member
}

/// What members decode to.
pub fn gunzip(members: &[u8]) -> Vec<u8> {
    let (mut indexer, mut out) = (Indexer::new(u64::MAX), Vec::new());
    assert_eq!(indexer.push(members, &mut out, usize::MAX, &mut Vec::new()).unwrap(), members.len());
    indexer.finish().unwrap();
    out
}

/// What frames decode to.
pub fn unzstd(frames: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(frames).unwrap()
}

/// The contents of every file, by what the table says: read chunk by chunk, each held against its digest.
pub fn contents(toc: &Toc, blob: &[u8], decode: fn(&[u8]) -> Vec<u8>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut contents = Vec::new();
    for entry in &toc.entries {
        let mut file = Vec::new();
        for TocChunk { file: at, size, blob: place, inner, digest, zeros } in &entry.chunks {
            assert_eq!(*at, file.len() as u64);
            let start = file.len();
            if *zeros {
                file.resize(start + *size as usize, 0);
            } else {
                let decoded = decode(&blob[place.start as usize..place.end as usize]);
                file.extend_from_slice(&decoded[*inner as usize..(*inner + *size) as usize]);
            }
            let found = glowplug_base::Digest::of(&file[start..]);
            assert_eq!(Some(found), *digest, "{}", String::from_utf8_lossy(&entry.name));
        }
        assert_eq!(file.len() as u64, entry.size);
        if entry.size > 0 {
            assert_eq!(entry.digest, Some(glowplug_base::Digest::of(&file)));
            contents.push((entry.name.clone(), file));
        }
    }
    contents
}
