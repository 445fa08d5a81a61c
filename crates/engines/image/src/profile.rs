//! The start profile: which pieces of which files a start reads, in which order, learned by watching.
//!
//! Kept by image digest and command, and published beside an image as an artifact of type [`ARTIFACT_TYPE`]. The next start
//! streams the pieces in that order before anybody asks. A profile speaks of paths and places in files, not of spans or
//! blobs: so it holds for the image in whatever format its layers come, and for every node.
//!
//! Runs merge: a piece's place is the mean of its first touches; what fewer than half of the runs touched is noise and is left
//! out. The serialised form is JSON, `{"version": 2, "runs": R, "files": [{"path": P, "pieces": [[N, MS, SEEN], …]}, …]}`:
//! piece `N` holds the bytes from `N` times [`PIECE_BYTES`] on, was first touched `MS` milliseconds after the image was opened,
//! and in `SEEN` of `R` runs.

mod recorder;
pub mod shared;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

pub(crate) use recorder::Recorder;

/// Type of the artifact that holds a profile beside its image.
pub const ARTIFACT_TYPE: &str = "application/vnd.glowplug.start-profile.v2+json";
/// Version of the serialised form; another one reads as no profile at all.
pub const PROFILE_VERSION: u32 = 2;
/// Bytes of a file that are one piece: less than any request that is worth making.
pub const PIECE_BYTES: u64 = 64 * 1024;
/// Longest serialised profile that is read, in bytes.
pub const MAX_PROFILE_BYTES: u64 = 32 << 20;
/// Older runs fade: a profile speaks for at most this many.
const MAX_RUNS: u32 = 8;

/// What runs have taught about one image and command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// How many runs it is made of.
    pub runs: u32,
    /// The pieces, in the order of their mean first touch.
    pub touches: Vec<Touch>,
}

/// One piece of a file that starts touch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Touch {
    /// The file's path in the image, without a leading slash.
    pub path: String,
    /// The piece's number.
    pub piece: u64,
    /// Mean time of the first touch, milliseconds after the image was opened.
    pub at_ms: u64,
    /// How many runs touched it.
    pub seen: u32,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    runs: u32,
    files: Vec<FileTouches>,
}

#[derive(Serialize, Deserialize)]
struct FileTouches {
    path: String,
    pieces: Vec<(u64, u64, u32)>,
}

impl Profile {
    /// The profile of a single run: paths, piece numbers and milliseconds.
    pub fn of_run(touches: impl IntoIterator<Item = (String, u64, u64)>) -> Self {
        let mut first: HashMap<(String, u64), u64> = HashMap::new();
        for (path, piece, at_ms) in touches {
            first.entry((path, piece)).and_modify(|at| *at = at_ms.min(*at)).or_insert(at_ms);
        }
        let touches = first.into_iter().map(|((path, piece), at_ms)| Touch { path, piece, at_ms, seen: 1 });
        Self { runs: 1, touches: touches.collect() }.sorted()
    }

    /// Reads a serialised profile; anything unusable is no profile.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 > MAX_PROFILE_BYTES {
            return None;
        }
        let document: Document = serde_json::from_slice(bytes).ok()?;
        if document.version != PROFILE_VERSION {
            return None;
        }
        let touches = document.files.into_iter().flat_map(|file| {
            let path = file.path;
            let touch = move |(piece, at_ms, seen)| Touch { path: path.clone(), piece, at_ms, seen };
            file.pieces.into_iter().map(touch)
        });
        Some(Self { runs: document.runs, touches: touches.collect() }.sorted())
    }

    /// Serialises it; the same profile always gives the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut files: BTreeMap<&str, Vec<(u64, u64, u32)>> = BTreeMap::new();
        for touch in &self.touches {
            files.entry(&touch.path).or_default().push((touch.piece, touch.at_ms, touch.seen));
        }
        let files = files.into_iter().map(|(path, mut pieces)| {
            pieces.sort_unstable();
            FileTouches { path: path.to_owned(), pieces }
        });
        let document = Document { version: PROFILE_VERSION, runs: self.runs, files: files.collect() };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// Adds another run.
    #[must_use]
    pub fn merge(self, run: &Self) -> Self {
        let runs = self.runs.saturating_add(run.runs);
        let mut all: BTreeMap<(String, u64), (u64, u32)> = BTreeMap::new();
        for touch in self.touches.into_iter().chain(run.touches.iter().cloned()) {
            all.entry((touch.path, touch.piece))
                .and_modify(|(at_ms, seen)| {
                    let (old, new) = (u128::from(*seen), u128::from(touch.seen));
                    let sum = u128::from(*at_ms) * old + u128::from(touch.at_ms) * new;
                    *at_ms = (sum / (old + new).max(1)) as u64;
                    *seen = seen.saturating_add(touch.seen);
                })
                .or_insert((touch.at_ms, touch.seen));
        }
        let touches = all
            .into_iter()
            .map(|((path, piece), (at_ms, seen))| Touch { path, piece, at_ms, seen })
            .filter(|touch| u64::from(touch.seen) * 2 >= u64::from(runs))
            .map(|touch| Touch { seen: touch.seen.min(MAX_RUNS), ..touch });
        Self { runs: runs.min(MAX_RUNS), touches: touches.collect() }.sorted()
    }

    /// Whether a start can be streamed by it.
    pub fn is_empty(&self) -> bool {
        self.touches.is_empty()
    }

    /// The files, each once, in the order of their first touch.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let mut seen = std::collections::HashSet::new();
        self.touches.iter().map(|touch| touch.path.as_str()).filter(move |path| seen.insert(*path))
    }

    fn sorted(mut self) -> Self {
        self.touches.sort_unstable_by(|a, b| (a.at_ms, &a.path, a.piece).cmp(&(b.at_ms, &b.path, b.piece)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pieces: &[(u64, u64)]) -> Profile {
        Profile::of_run(pieces.iter().map(|(piece, at)| ("a/b".to_owned(), *piece, *at)))
    }

    #[test]
    fn runs_merge_by_mean_time_and_noise_drops_out() {
        let merged =
            run(&[(1, 0), (2, 10), (9, 20)]).merge(&run(&[(2, 0), (1, 20)])).merge(&run(&[(1, 10), (2, 2)]));
        let order: Vec<_> = merged.touches.iter().map(|touch| touch.piece).collect();
        assert_eq!((merged.runs, order), (3, vec![2, 1]), "piece 9 was touched once in three runs");
        assert_eq!(Profile::parse(&merged.encode()), Some(merged));
    }

    #[test]
    fn a_profile_speaks_for_the_last_runs_only() {
        let mut profile = run(&[(1, 10)]);
        (0..20).for_each(|_| profile = profile.clone().merge(&run(&[(1, 10), (2, 5)])));
        assert_eq!(profile.runs, MAX_RUNS);
        assert_eq!(profile.touches.iter().map(|touch| touch.piece).collect::<Vec<_>>(), [2, 1]);
        assert!(profile.touches.iter().all(|touch| touch.seen <= MAX_RUNS));
    }

    #[test]
    fn other_versions_and_garbage_are_no_profile() {
        assert_eq!(Profile::parse(b"{}"), None);
        assert_eq!(Profile::parse(br#"{"version":1,"runs":1,"files":[]}"#), None);
        assert_eq!(Profile::parse(br#"{"version":2,"runs":1,"files":[]}"#).map(|it| it.runs), Some(1));
        let huge = br#"{"version":2,"runs":4294967295,"files":[{"path":"x","pieces":[[18446744073709551615,18446744073709551615,4294967295]]}]}"#;
        let huge = Profile::parse(huge).expect("numbers that no run gives are no reason to panic");
        assert_eq!(huge.clone().merge(&huge).runs, MAX_RUNS);
    }

    #[test]
    fn files_come_in_the_order_of_their_first_touch() {
        let touches = [("z", 3, 7), ("a", 0, 9), ("z", 0, 12), ("m", 1, 8)];
        let profile = Profile::of_run(touches.map(|(path, piece, at)| (path.to_owned(), piece, at)));
        assert_eq!(profile.files().collect::<Vec<_>>(), ["z", "m", "a"]);
    }
}
