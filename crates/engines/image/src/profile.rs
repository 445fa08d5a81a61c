//! The start profile: which spans a start touches, in which order, learned by watching.
//!
//! Kept by image digest and command. The next start streams the spans in that order before anybody asks. Runs merge: a
//! span's place is the mean of its first touches; what fewer than half of the runs touched is noise and is left out.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use glowplug_base::Digest;
use serde::{Deserialize, Serialize};

/// Version of the serialised form; another one reads as no profile at all.
pub const PROFILE_VERSION: u32 = 1;
/// Older runs fade: a profile speaks for at most this many.
const MAX_RUNS: u32 = 8;

/// What runs have taught about one image and command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// [`PROFILE_VERSION`].
    pub version: u32,
    /// How many runs it is made of.
    pub runs: u32,
    /// The spans, in the order of their mean first touch.
    pub touches: Vec<Touch>,
}

/// One span that starts touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// The layer's blob.
    pub layer: Digest,
    /// The span's number.
    pub span: u32,
    /// Mean time of the first touch, milliseconds after the image was opened.
    pub at_ms: u64,
    /// How many runs touched it.
    pub seen: u32,
}

impl Profile {
    /// The profile of a single run.
    pub fn of_run(touches: impl IntoIterator<Item = (Digest, u32, u64)>) -> Self {
        let touches =
            touches.into_iter().map(|(layer, span, at_ms)| Touch { layer, span, at_ms, seen: 1 }).collect();
        Self { version: PROFILE_VERSION, runs: 1, touches }
    }

    /// Reads a serialised profile; anything unusable is no profile.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|profile: &Self| profile.version == PROFILE_VERSION)
    }

    /// Serialises it.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Adds another run.
    #[must_use]
    pub fn merge(self, run: &Self) -> Self {
        let mut all: BTreeMap<(Digest, u32), Touch> =
            self.touches.into_iter().map(|touch| ((touch.layer, touch.span), touch)).collect();
        for new in &run.touches {
            all.entry((new.layer, new.span))
                .and_modify(|old| {
                    let (a, b) = (u64::from(old.seen), u64::from(new.seen));
                    old.at_ms = (old.at_ms * a + new.at_ms * b) / (a + b).max(1);
                    old.seen += new.seen;
                })
                .or_insert(*new);
        }
        let runs = self.runs + run.runs;
        let mut touches: Vec<_> = all.into_values().filter(|touch| touch.seen * 2 >= runs).collect();
        touches.sort_by_key(|touch| touch.at_ms);
        let faded = runs > MAX_RUNS;
        if faded {
            touches.iter_mut().for_each(|touch| touch.seen = touch.seen.min(MAX_RUNS));
        }
        Self { version: PROFILE_VERSION, runs: runs.min(MAX_RUNS), touches }
    }

    /// Whether a start can be streamed by it.
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }
}

/// Notes the first touch of each span.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// One bit a span, for each layer.
    seen: Vec<Vec<AtomicU64>>,
    order: Mutex<Vec<(u32, u32, u64)>>,
}

impl Recorder {
    pub(crate) fn new(spans: impl Iterator<Item = usize>) -> Self {
        let bits = |count: usize| (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { seen: spans.map(bits).collect(), order: Mutex::default() }
    }

    /// Notes that spans of a layer were touched now.
    pub(crate) fn touch(&self, layer: usize, spans: std::ops::Range<usize>, now_ms: impl Fn() -> u64) {
        for span in spans {
            let (word, bit) = (&self.seen[layer][span / 64], 1 << (span % 64));
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.lock().push((layer as u32, span as u32, now_ms()));
            }
        }
    }

    /// What was touched so far, in order: layer number, span number, milliseconds.
    pub(crate) fn touches(&self) -> Vec<(u32, u32, u64)> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(u32, u32, u64)>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The profile's spans for layers given by their blobs, as (layer number, span number), each once.
pub(crate) fn order(profile: &Profile, blobs: &[Digest]) -> Vec<(usize, usize)> {
    let mut seen = HashSet::new();
    let number = |blob: &Digest| blobs.iter().position(|known| known == blob);
    profile
        .touches
        .iter()
        .filter_map(|touch| number(&touch.layer).map(|layer| (layer, touch.span as usize)))
        .filter(|place| seen.insert(*place))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(spans: &[(u32, u64)]) -> Profile {
        Profile::of_run(spans.iter().map(|(span, at)| (Digest::of(b"l"), *span, *at)))
    }

    #[test]
    fn runs_merge_by_mean_time_and_noise_drops_out() {
        let merged =
            run(&[(1, 0), (2, 10), (9, 20)]).merge(&run(&[(2, 0), (1, 20)])).merge(&run(&[(1, 10), (2, 2)]));
        let order: Vec<_> = merged.touches.iter().map(|touch| touch.span).collect();
        assert_eq!((merged.runs, order), (3, vec![2, 1]), "span 9 was touched once in three runs");
        assert_eq!(Profile::parse(&merged.encode()), Some(merged));
    }

    #[test]
    fn other_versions_and_garbage_are_no_profile() {
        assert_eq!(Profile::parse(b"{}"), None);
        let other = Profile { version: 99, ..run(&[]) };
        assert_eq!(Profile::parse(&other.encode()), None);
    }

    #[test]
    fn each_span_is_noted_once_in_order() {
        let recorder = Recorder::new([100, 3].into_iter());
        recorder.touch(0, 70..72, || 5);
        recorder.touch(1, 2..3, || 6);
        recorder.touch(0, 71..73, || 7);
        assert_eq!(recorder.touches(), [(0, 70, 5), (0, 71, 5), (1, 2, 6), (0, 72, 7)]);
    }
}
