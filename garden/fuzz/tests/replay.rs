//! Replays every seed of every corpus, and a few thousand mutations of them that are the same on every run.

use std::fs;
use std::path::{Path, PathBuf};

use glowplug_fuzz::{TARGETS, Target};

/// Mutations of each corpus: a second or two for all targets together.
const MUTATIONS: usize = 3000;
/// A mutant of mutants would grow without end; this is room for a zTOC with three windows.
const MAX_MUTANT_BYTES: usize = 128 << 10;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("the folder lists").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn replay(name: &str, target: Target) {
    let corpus = folder("corpus").join(name);
    let seeds: Vec<Vec<u8>> =
        names(&corpus).iter().map(|seed| fs::read(corpus.join(seed)).expect("a seed reads")).collect();
    let understood = seeds.iter().filter(|seed| target(seed)).count();
    assert!(understood > 0, "no seed of {name} is understood: the corpus is stale");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut sound = 0;
    for _ in 0..MUTATIONS {
        sound += usize::from(target(&mutant(&seeds, &mut random)));
    }
    println!("{name}: {} executions, {} understood", seeds.len() + MUTATIONS, understood + sound);
}

/// One seed with one to four changes.
fn mutant(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'7', b'/'][random.below(8)],
            2 => bytes.insert(at, random.next() as u8),
            3 => drop(bytes.drain(at..(at + 1 + random.below(64)).min(bytes.len()).max(at))),
            4 => bytes.truncate(at),
            5 => {
                // A number that lies at the edge of something.
                let number = [0_u32, 1, 0x7fff_ffff, u32::MAX, 0x1_0000, 4096][random.below(6)].to_le_bytes();
                let end = (at + 4).min(bytes.len());
                let room = end - at;
                bytes[at..end].copy_from_slice(&number[..room]);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(1024)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes.truncate(MAX_MUTANT_BYTES);
    bytes
}

/// Xorshift: good enough for mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), glowplug_fuzz::$name);
            }
        )*

        #[test]
        fn every_target_has_a_program_a_corpus_and_a_replay() {
            let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names(&folder("corpus")), targets);
            assert_eq!(names(&folder("fuzz_targets")), targets.iter().map(|name| format!("{name}.rs")).collect::<Vec<_>>());
            assert_eq!([$(stringify!($name)),*].as_slice(), targets);
        }
    };
}

replays!(chunks erofs erofscontents estargz gzindex layer manifest reference soci tarwalk zstdchunked ztoc);
