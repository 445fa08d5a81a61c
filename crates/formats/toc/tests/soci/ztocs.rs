//! Random zTOCs.

use glowplug_base::Digest;
use glowplug_toc::{Checkpoint, Compression, EntryKind, Timestamp, Ztoc, ZtocEntry};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn entry() -> impl Strategy<Value = ZtocEntry> {
    let kind = prop::sample::select(vec![
        EntryKind::Regular,
        EntryKind::Regular,
        EntryKind::Directory,
        EntryKind::Symlink,
        EntryKind::Hardlink,
        EntryKind::Character,
        EntryKind::Block,
        EntryKind::Fifo,
    ]);
    let names = (text(), text(), text(), text());
    let numbers = (0..5000_u64, any::<i64>(), any::<u32>(), any::<u32>(), any::<i64>(), 0..3_i64);
    let time = (-62_167_219_200..253_402_300_800_i64, 0..1_000_000_000_u32);
    (kind, names, numbers, time, btree_map(text(), text(), 0..3)).prop_map(
        |(kind, (name, link, uname, gname), (size, mode, uid, gid, dev_major, dev_minor), time, pax)| {
            ZtocEntry {
                name,
                kind,
                offset: 0,
                size,
                link,
                mode,
                uid,
                gid,
                uname,
                gname,
                mtime: Timestamp { seconds: time.0, nanoseconds: time.1 },
                dev_major,
                dev_minor,
                pax,
            }
        },
    )
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let start = vec(any::<u8>(), 0..8);
    (1..10_000_u64, 1..100_000_u64, 0..8_u8, start).prop_map(|(compressed, uncompressed, bits, start)| {
        let mut window = vec![0; 32 * 1024];
        window[..start.len()].copy_from_slice(&start);
        Checkpoint { compressed, uncompressed, bits, window }
    })
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![
        (0..1_u64 << 40, vec(checkpoint(), 1..5))
            .prop_map(|(span_size, checkpoints)| Compression::Gzip { span_size, checkpoints }),
        (1000..1_u64 << 30).prop_map(|span_size| Compression::Uncompressed { span_size }),
    ]
}

/// Consistent zTOCs with entries in order.
pub fn any_ztoc() -> impl Strategy<Value = Ztoc> {
    (vec(entry(), 0..12), compression(), 0..5000_u64, text()).prop_map(
        |(mut entries, mut compression, rest, tool)| {
            let mut end = 0;
            for entry in &mut entries {
                entry.offset = end + 512;
                end = (entry.offset + entry.payload_size()).next_multiple_of(512);
            }
            let uncompressed_size = end + 1024;
            let (compressed_size, spans) = match &mut compression {
                Compression::Gzip { checkpoints, .. } => {
                    // So far they are steps from one to the next.
                    let (mut compressed, mut uncompressed) = (0, 0);
                    for (index, checkpoint) in checkpoints.iter_mut().enumerate() {
                        // One byte more, because a span may begin within the byte before.
                        compressed += checkpoint.compressed + 1;
                        uncompressed += if index == 0 { 0 } else { checkpoint.uncompressed };
                        (checkpoint.compressed, checkpoint.uncompressed) = (compressed, uncompressed);
                    }
                    (compressed + rest, checkpoints.len() as u64)
                }
                Compression::Uncompressed { span_size } => {
                    let size = uncompressed_size + rest;
                    (size, size.div_ceil(*span_size))
                }
            };
            Ztoc {
                build_tool: String::from_utf8_lossy(&tool).into_owned(),
                compressed_size,
                uncompressed_size,
                entries,
                compression,
                span_digests: (0..spans).map(|span| Digest::of(&span.to_le_bytes())).collect(),
            }
        },
    )
}
