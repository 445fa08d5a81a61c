//! Starts workers, kills them, and judges.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use glowplug_base::ByteRange;
use glowplug_layer::{Limits, decode};

use crate::image::{self, Random};

/// Kills fall within this many milliseconds after the worker has begun.
const KILL_WITHIN_MS: u64 = 300;
/// Kills after which the store is begun anew with the layer in another form.
const KILLS_PER_FORM: u64 = 25;
/// Longest time a worker may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(60);

/// What the kills came to.
#[derive(Default)]
struct Tally {
    /// Kills before the layer had an index.
    before_index: u64,
    /// Kills that left a journal with some spans, not all.
    partial: u64,
    fills: u64,
    readable_bytes: u64,
    fetched: u64,
    /// Spans fetched again that the journal did not hold when the worker was killed.
    explained: u64,
    wrong: Vec<String>,
}

/// Whether every kill left the store sound.
pub fn run(dir: &Path, kills: u64, seed: u64) -> bool {
    let dir = dir.join("chaos-store");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    println!("seed {seed}: {kills} kills within {KILL_WITHIN_MS} ms of filling under reads");
    image::write(&dir);
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut round = Round::new(&dir, 0);
    for kill in 0..kills {
        if kill > 0 && kill.is_multiple_of(KILLS_PER_FORM) {
            std::fs::remove_dir_all(dir.join("store")).unwrap();
            round = Round::new(&dir, (round.form + 1) % image::FORMS.len());
        }
        let found = tally.wrong.len();
        round.kill(&dir, &mut random, &mut tally);
        for wrong in &tally.wrong[found..] {
            println!("kill {}, {}: {wrong}", kill + 1, image::FORMS[round.form].0);
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
    println!(
        "{kills} kills in {:.0} s: {} before the layer had an index, {} with part of it in the journal; {} fills completed",
        began.elapsed().as_secs_f64(),
        tally.before_index,
        tally.partial,
        tally.fills,
    );
    println!(
        "{:.1} GB readable after kills, all compared; {} spans fetched, {} of them again because the journal did not \
         have them yet",
        tally.readable_bytes as f64 / 1e9,
        tally.fetched,
        tally.explained,
    );
    match tally.wrong.len() {
        0 => println!("passed: no wrong byte was readable, nothing in the journal was fetched again"),
        count => println!("not passed: {count} findings"),
    }
    tally.wrong.is_empty()
}

/// The kills of one store.
struct Round {
    form: usize,
    layer: PathBuf,
    /// Spans that the journal held at the last kill.
    kept: HashSet<usize>,
    /// Spans fetched since the data was last dropped, whether or not they were kept.
    fetched: HashSet<usize>,
}

impl Round {
    fn new(dir: &Path, form: usize) -> Self {
        let layer = dir.join("store/layers").join(image::digest(dir, form).hex());
        Self { form, layer, kept: HashSet::new(), fetched: HashSet::new() }
    }

    /// One worker from its begin to its end.
    fn kill(&mut self, dir: &Path, random: &mut Random, tally: &mut Tally) {
        let forms = image::FORMS.len() as u64;
        let seed = random.below(1 << 40) * forms + self.form as u64;
        let (mut child, lines) = start(dir, seed);
        let mut spans = self.spans();
        let mut here = std::mem::take(&mut self.kept);
        let mut deadline = Instant::now() + BEGIN_WITHIN;
        let mut killed = false;
        loop {
            let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                // The moment has come; what it said before it dies still counts.
                Err(RecvTimeoutError::Timeout) if !killed => {
                    child.kill().unwrap();
                    (killed, deadline) = (true, Instant::now() + BEGIN_WITHIN);
                    continue;
                }
                Err(_) => break,
            };
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["begin"] => {
                    deadline = Instant::now() + Duration::from_micros(random.below(KILL_WITHIN_MS * 1000))
                }
                ["readable", bytes] => tally.readable_bytes += bytes.parse::<u64>().unwrap(),
                ["complete"] => tally.fills += 1,
                ["dropping"] => {
                    here.clear();
                    self.fetched.clear();
                }
                ["fetch", start, end] => {
                    if spans.is_empty() {
                        // An index made since we looked; a layer that streams by as a whole has none yet.
                        spans = self.spans();
                    }
                    let asked = ByteRange::new(start.parse().unwrap(), end.parse().unwrap());
                    if !self.layer.join("index").exists() {
                        continue;
                    }
                    self.fetch(asked, &spans, &mut here, tally);
                }
                ["wrong", ..] => tally.wrong.push(line),
                // A line that the kill cut short.
                _ => {}
            }
        }
        child.wait().unwrap();
        if !killed {
            tally.wrong.push("the worker ended by itself".to_owned());
        }
        self.kept = self.journaled();
        tally.before_index += u64::from(!self.layer.join("index").exists());
        tally.partial += u64::from(!self.kept.is_empty() && self.kept.len() < self.spans().len());
    }

    /// Holds one request against what is here.
    fn fetch(&mut self, asked: ByteRange, spans: &[ByteRange], here: &mut HashSet<usize>, tally: &mut Tally) {
        for (span, _) in spans.iter().enumerate().filter(|(_, blob)| asked.contains(blob)) {
            tally.fetched += 1;
            if !here.insert(span) {
                tally.wrong.push(format!("span {span} was here and is fetched again"));
            }
            tally.explained += u64::from(!self.fetched.insert(span));
        }
    }

    /// The blob's bytes of each span; none while there is no index.
    fn spans(&self) -> Vec<ByteRange> {
        let index = std::fs::read(self.layer.join("index")).ok();
        let index = index.and_then(|bytes| decode(&bytes, &Limits::default()).ok());
        index.map(|index| index.spans.iter().map(|span| span.blob).collect()).unwrap_or_default()
    }

    /// The spans in the journal, read as its format says: 16 bytes, then records of 40 whose first four are the span and
    /// whose last 32 are zero when it is gone.
    fn journaled(&self) -> HashSet<usize> {
        let journal = std::fs::read(self.layer.join("presence")).unwrap_or_default();
        let mut spans = HashSet::new();
        for record in journal.get(16..).unwrap_or_default().chunks_exact(40) {
            let span = u32::from_le_bytes([record[0], record[1], record[2], record[3]]) as usize;
            if record[8..].iter().all(|byte| *byte == 0) {
                spans.remove(&span)
            } else {
                spans.insert(span)
            };
        }
        spans
    }
}

fn start(dir: &Path, seed: u64) -> (Child, Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--worker", "--seed", &seed.to_string(), "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (sender, lines) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (child, lines)
}
