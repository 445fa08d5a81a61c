//! Prints how fast a gzip file is indexed, and how fast all its spans are decoded again.
//!
//! `cargo run --release -p glowplug-gzindex --example throughput -- FILE.gz [SPACING_BYTES]`
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use glowplug_gzindex::{Indexer, decode_span, span_compressed_range};

/// The output is drained at this many bytes, as a pipeline would.
const CAP_BYTES: usize = 1 << 20;

fn main() {
    let mut args = std::env::args().skip(1);
    let path = args.next().expect("usage: throughput FILE.gz [SPACING_BYTES]");
    let spacing = args.next().map_or(1 << 20, |text| text.parse().expect("the spacing is a number of bytes"));
    let file = std::fs::read(path).unwrap();

    for spacing in [u64::MAX, spacing] {
        let begin = Instant::now();
        let mut indexer = Indexer::new(spacing);
        let (mut out, mut checkpoints) = (Vec::new(), Vec::new());
        for mut piece in file.chunks(1 << 20) {
            loop {
                let taken = indexer.push(piece, &mut out, CAP_BYTES, &mut checkpoints).unwrap();
                piece = &piece[taken..];
                let all = piece.is_empty() && out.len() < CAP_BYTES;
                out.clear();
                if all {
                    break;
                }
            }
        }
        let totals = indexer.finish().unwrap();
        report("indexed", totals.uncompressed, begin, checkpoints.len());

        let begin = Instant::now();
        for (at, this) in checkpoints.iter().enumerate() {
            let next = checkpoints.get(at + 1);
            let range =
                span_compressed_range(this.position(), next.map(|next| next.position()), file.len() as u64);
            let end = next.map_or(totals.uncompressed, |next| next.uncompressed);
            out.resize((end - this.uncompressed) as usize, 0);
            decode_span(this.start(), &file[range.start as usize..range.end as usize], &mut out).unwrap();
        }
        report("spans decoded", totals.uncompressed, begin, checkpoints.len());
    }
}

fn report(what: &str, bytes: u64, begin: Instant, spans: usize) {
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{what}: {bytes} bytes, {spans} spans, {seconds:.3} s, {:.2} GB/s",
        bytes as f64 / seconds / 1e9
    );
}
