//! The process that is killed. It says on standard output what it does, one line each.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use glowplug_base::Clock;
use glowplug_image::{Image, LayerSpec, open};
use glowplug_store::{Options, Store, StoreError};
use glowplug_timeline::Timeline;

use crate::image::{self, Random};

const READERS: u64 = 3;
/// Longest pause between two flushes, in milliseconds; a node waits seconds, which no kill here would see.
const FLUSH_WITHIN_MS: u64 = 25;
/// Bytes of one read of the check: no multiple of a block, so that reads cross files' and spans' ends.
const CHECK_BYTES: usize = 100_000;

type Files = Arc<Vec<(&'static str, Vec<u8>)>>;

pub fn say(line: &str) {
    // Killed in the middle of a line, or nobody listens any more: both are the end.
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(2);
    }
}

fn wrong(what: &str) -> ! {
    say(&format!("wrong {what}"));
    std::process::exit(3);
}

/// Fills the store until it is killed. The seed decides over the form of the layer and over what is read when.
pub fn run(dir: &Path, seed: u64) {
    let form = (seed % image::FORMS.len() as u64) as usize;
    let (spec, files) = (image::spec(dir, form), Arc::new(image::files()));
    let mut random = Random::new(seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    say("begin");
    let store = Arc::new(Store::open(&dir.join("store"), Options::default()).unwrap());
    runtime.block_on(async {
        loop {
            fill(&store, &spec, &files, &mut random).await;
            again(&store, &spec, &mut random).await;
        }
    });
}

/// Opens the image, checks what is readable, then brings everything under reads.
async fn fill(store: &Arc<Store>, spec: &LayerSpec, files: &Files, random: &mut Random) {
    let timeline = Timeline::new(Clock::system());
    let opened = open(store, std::slice::from_ref(spec), &timeline).await;
    let image = Arc::new(opened.unwrap_or_else(|error| wrong(&error.to_string())).image);
    say(&format!("readable {}", check(&image, files)));
    let stop = Arc::new(AtomicBool::new(false));
    let flushing = std::thread::spawn({
        let (image, stop, mut random) = (image.clone(), stop.clone(), Random::new(random.below(u64::MAX)));
        move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(random.below(FLUSH_WITHIN_MS)));
                image.layers().for_each(|layer| layer.flush().unwrap_or_else(|e| wrong(&e.to_string())));
            }
        }
    });
    image.start_prefetch(None, &(Arc::new(|| true) as glowplug_image::Spare));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (image, files) = (image.clone(), files.clone());
            let mut random = Random::new(random.below(u64::MAX));
            tokio::spawn(async move {
                while !image.is_complete() {
                    let (name, bytes) = &files[random.below(files.len() as u64) as usize];
                    let offset = random.below(bytes.len() as u64) as usize;
                    let len = 1 + random.below(200_000) as usize;
                    let id = image.tree().find(name).unwrap();
                    match image.read(id, offset as u64, len as u32).await {
                        Ok(read) if read == bytes[offset..bytes.len().min(offset + len)] => {}
                        Ok(_) => wrong(&format!("bytes of {name} at {offset}, {len} of them")),
                        Err(error) => wrong(&format!("error reading {name} at {offset}: {error}")),
                    }
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap_or_else(|error| wrong(&error.to_string()));
    }
    stop.store(true, Ordering::Relaxed);
    flushing.join().unwrap_or_else(|_| wrong("the flushing thread panicked"));
    check(&image, files);
    say("complete");
}

/// Compares every byte that is readable now: how many those are.
fn check(image: &Image, files: &Files) -> usize {
    let mut readable = 0;
    for (name, bytes) in files.iter() {
        let id = image.tree().find(name).unwrap();
        for (number, expected) in bytes.chunks(CHECK_BYTES).enumerate() {
            let offset = number * CHECK_BYTES;
            match image.try_read(id, offset as u64, expected.len() as u32) {
                None => {}
                Some(Ok(read)) if read == expected => readable += read.len(),
                Some(Ok(_)) => wrong(&format!("bytes of {name} at {offset} after the kill")),
                Some(Err(error)) => wrong(&format!("error reading {name} at {offset}: {error}")),
            }
        }
    }
    readable
}

/// Makes room for the next round: drops the data, or forgets the layer altogether so that it streams by again.
async fn again(store: &Store, spec: &LayerSpec, random: &mut Random) {
    let forget = random.below(3) == 0;
    say("dropping");
    loop {
        let outcome = if forget { store.remove(&spec.blob) } else { store.drop_data(&spec.blob) };
        match outcome {
            Ok(()) => return,
            // The last prefetch task is just ending.
            Err(StoreError::LayerInUse(_)) => tokio::task::yield_now().await,
            Err(error) => wrong(&error.to_string()),
        }
    }
}
