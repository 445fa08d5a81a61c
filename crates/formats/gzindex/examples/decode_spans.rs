//! Decodes a whole gzip file span by span on several threads, from checkpoints that an earlier run wrote down, to nowhere.
//!
//! `cargo xtask bench decode` runs it beside other decompressors:
//! `cargo run --release -p glowplug-gzindex --example decode_spans -- index FILE INDEX`
//! `cargo run --release -p glowplug-gzindex --example decode_spans -- decode FILE INDEX THREADS`
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use glowplug_gzindex::{Checkpoint, Indexer, SpanStart, decode_span, span_compressed_range};

/// Decoded bytes between two checkpoints: what SOCI's tools and the peer's index have.
const SPACING_BYTES: u64 = 4 << 20;
/// Decoded bytes that are thrown away at once while indexing.
const ROOM_BYTES: usize = 1 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["index", file, index] => write_index(file, index),
        ["decode", file, index, threads] => decode(file, index, threads.parse().unwrap()),
        _ => panic!("usage: decode_spans index FILE INDEX | decode FILE INDEX THREADS"),
    }
}

fn write_index(file: &str, index: &str) {
    let mut input = BufReader::with_capacity(1 << 20, File::open(file).unwrap());
    let (mut indexer, mut checkpoints) = (Indexer::new(SPACING_BYTES), Vec::new());
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = input.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        let mut rest = &piece[..read];
        loop {
            let mut out = Vec::with_capacity(ROOM_BYTES);
            let taken = indexer.push(rest, &mut out, ROOM_BYTES, &mut checkpoints).unwrap();
            rest = &rest[taken..];
            if rest.is_empty() && out.len() < ROOM_BYTES {
                break;
            }
        }
    }
    let totals = indexer.finish().unwrap();
    let mut out = BufWriter::new(File::create(index).unwrap());
    let mut number = |value: u64| out.write_all(&value.to_le_bytes()).unwrap();
    number(totals.compressed);
    number(totals.uncompressed);
    number(checkpoints.len() as u64);
    for checkpoint in &checkpoints {
        let (bits, member) = (u64::from(checkpoint.bits), u64::from(checkpoint.member_start));
        for value in [checkpoint.compressed, checkpoint.uncompressed, bits, member] {
            out.write_all(&value.to_le_bytes()).unwrap();
        }
        out.write_all(&(checkpoint.window.len() as u64).to_le_bytes()).unwrap();
        out.write_all(&checkpoint.window).unwrap();
    }
    out.flush().unwrap();
}

fn read_index(index: &str) -> (u64, u64, Vec<Checkpoint>) {
    let mut input = BufReader::new(File::open(index).unwrap());
    let number = |input: &mut BufReader<File>| {
        let mut bytes = [0; 8];
        input.read_exact(&mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    };
    let (compressed, uncompressed, count) = (number(&mut input), number(&mut input), number(&mut input));
    let checkpoint = |_| {
        let (compressed, uncompressed) = (number(&mut input), number(&mut input));
        let (bits, member_start) = (number(&mut input) as u8, number(&mut input) != 0);
        let mut window = vec![0; number(&mut input) as usize];
        input.read_exact(&mut window).unwrap();
        Checkpoint { compressed, uncompressed, bits, member_start, window }
    };
    (compressed, uncompressed, (0..count).map(checkpoint).collect())
}

fn decode(file: &str, index: &str, threads: usize) {
    let (compressed, uncompressed, checkpoints) = read_index(index);
    let file = File::open(file).unwrap();
    let (next, done) = (AtomicUsize::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (mut blob, mut room) = (Vec::new(), Vec::new());
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(start) = checkpoints.get(number)
                {
                    let end = checkpoints.get(number + 1);
                    let range =
                        span_compressed_range(start.position(), end.map(Checkpoint::position), compressed);
                    let length = end.map_or(uncompressed, |end| end.uncompressed) - start.uncompressed;
                    blob.resize(range.len() as usize, 0);
                    file.read_exact_at(&mut blob, range.start).unwrap();
                    room.resize(length as usize, 0);
                    let start = SpanStart {
                        bits: start.bits,
                        window: &start.window,
                        member_start: start.member_start,
                    };
                    decode_span(start, &blob, &mut room).unwrap();
                    done.fetch_add(length, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(done.into_inner(), uncompressed);
    println!("{uncompressed}");
}
