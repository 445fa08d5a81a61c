//! Kills a process that fills the byte store under reads, again and again, and checks what each kill left.
//!
//! `cargo xtask chaos store` runs it. One worker process after the other opens the same store, reads everything that is
//! readable and compares it, then fills the store as a started image does: readers, prefetch, flushes; when all is here
//! it drops the data or forgets the layer and begins again. The supervisor kills it at a random moment, notes what the
//! presence journal holds, and holds the next worker's requests against it: what is in the journal is not fetched again.
#![allow(clippy::unwrap_used)]

mod image;
mod supervisor;
mod worker;

use std::path::PathBuf;

const USAGE: &str = "usage: chaos_store --dir DIR [--kills N] [--seed N]";

fn main() {
    let mut words = std::env::args().skip(1);
    let (mut dir, mut kills, mut seed, mut work) = (None, 500, None, false);
    while let Some(word) = words.next() {
        if word == "--worker" {
            work = true;
            continue;
        }
        let value = words.next().expect(USAGE);
        match word.as_str() {
            "--dir" => dir = Some(PathBuf::from(value)),
            "--kills" => kills = value.parse().expect(USAGE),
            "--seed" => seed = Some(value.parse().expect(USAGE)),
            other => panic!("{other}: not understood; {USAGE}"),
        }
    }
    let dir = dir.expect(USAGE);
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |since| since.as_nanos() as u64 & 0xffff_ffff)
    });
    if work {
        worker::run(&dir, seed);
    } else if !supervisor::run(&dir, kills, seed) {
        std::process::exit(1);
    }
}
