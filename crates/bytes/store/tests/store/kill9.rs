//! A process that fills the store is killed at random moments. Whatever it leaves, no wrong byte is readable, and what
//! its journal holds is not fetched again. (`cargo xtask chaos store` does the same to a whole image, and longer.)

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use crate::fixture::{Random, Sample, layer_dir, open, worker, worker_dir};

const KILLS: usize = 20;
const SPANS: u64 = 60;

fn sample() -> Sample {
    Sample::new(9, SPANS)
}

#[test]
fn killed_at_random_moments() {
    let dir = tempfile::tempdir().unwrap();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let (mut random, sample) = (Random::new(seed), sample());
    let mut kept = HashSet::new();
    for kill in 0..KILLS {
        let mut child = worker("kill9::process_that_is_killed", dir.path())
            .env("GLOWPLUG_STORE_TEST_SEED", random.below(1 << 40).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It says each step, so the moment is a number of steps rather than of milliseconds.
        let mut steps = random.below(40);
        for line in lines.map_while(Result::ok) {
            if let Some(span) = line.strip_prefix("fetch ") {
                let span: usize = span.parse().unwrap();
                assert!(
                    !kept.contains(&span),
                    "kill {kill}: span {span} is in the journal and fetched again"
                );
            }
            steps = steps.saturating_sub(1);
            if steps == 0 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kept = journaled(dir.path(), &sample);
        if kept.len() == sample.spans() {
            open(dir.path()).drop_data(&sample.blob()).unwrap();
            kept.clear();
        }
    }
    let store = open(dir.path());
    let here: HashSet<usize> = store
        .layer(&sample.blob())
        .map(|layer| sample.check(&layer))
        .unwrap_or_default()
        .into_iter()
        .collect();
    assert_eq!(here, kept);
}

/// The spans in the journal, read as the format says.
fn journaled(root: &Path, sample: &Sample) -> HashSet<usize> {
    let journal = std::fs::read(layer_dir(root, &sample.blob()).join("presence")).unwrap_or_default();
    let records = journal.get(16..).unwrap_or_default().chunks_exact(40);
    records.map(|record| u32::from_le_bytes(record[..4].try_into().unwrap()) as usize).collect()
}

#[test]
#[ignore = "a process of another test"]
fn process_that_is_killed() {
    let Some(dir) = worker_dir() else { return };
    let seed = std::env::var("GLOWPLUG_STORE_TEST_SEED").unwrap().parse().unwrap();
    let (mut random, sample) = (Random::new(seed), sample());
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
    };
    let store = open(&dir);
    let layer = sample.in_store(&store);
    say(format!("present {}", sample.check(&layer).len()));
    while !layer.is_complete() {
        let span = random.below(sample.spans() as u64) as usize;
        if layer.is_present(span) {
            continue;
        }
        say(format!("fetch {span}"));
        sample.bring(&layer, span);
        if random.below(4) == 0 {
            layer.flush().unwrap();
            say("flush".to_owned());
        }
    }
    layer.flush().unwrap();
    say("complete".to_owned());
}
