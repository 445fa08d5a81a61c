//! The statistics of the runs, and the targets that they are held against: containerd's and the local start's here, the
//! lazy peers' in [`lazy`].

mod lazy;

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::Case;
use crate::images::Name;
use crate::rig::measure::Outcome;

/// All runs by case.
pub type Runs = BTreeMap<Case, Vec<Outcome>>;

/// Median, least and most of some runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: low.midpoint(high), min, max })
    }

    /// Median, least and most, with so many digits behind the point.
    pub fn shown(&self, digits: usize) -> String {
        format!("{:.digits$} ({:.digits$}-{:.digits$})", self.median, self.min, self.max)
    }
}

/// What a figure is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// Seconds to the first right answer.
    Answer,
    /// Seconds until every byte is here, of the runs that got there.
    Complete,
    /// Bytes over the link until the answer.
    Bytes,
}

struct Target {
    case: Case,
    figure: Figure,
    of: Case,
    at_most: f64,
}

const fn answer(case: Case, of: Case, at_most: f64) -> Target {
    Target { case, figure: Figure::Answer, of, at_most }
}

const fn complete(case: Case, at_most: f64) -> Target {
    Target { case, figure: Figure::Complete, of: Case::Containerd, at_most }
}

/// The promises for the large image at 1 Gbit/s.
const TORCH: &[Target] = &[
    answer(Case::OrderLearned, Case::Containerd, 0.15),
    answer(Case::OrderLearned, Case::WarmLocal, 1.6),
    answer(Case::IndexKnown, Case::Containerd, 0.30),
    answer(Case::FirstEver, Case::Containerd, 0.5),
    complete(Case::FirstEver, 0.5),
];

/// The promises for the small one.
const OCR: &[Target] = &[
    answer(Case::OrderLearned, Case::Containerd, 0.22),
    answer(Case::IndexKnown, Case::Containerd, 0.35),
    answer(Case::FirstEver, Case::Containerd, 0.5),
];

/// A target with what was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Which, for people.
    pub target: String,
    /// The measured ratio of the medians.
    pub ratio: f64,
    /// What it may be at most.
    pub at_most: f64,
    /// What it is hoped to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stretch: Option<f64>,
    /// Whether it is at most what it may be.
    pub met: bool,
}

/// Holds the runs against the targets of the image.
pub fn judge(image: Name, runs: &Runs) -> Vec<Verdict> {
    let targets = match image {
        Name::Torch => TORCH,
        Name::Ocr => OCR,
        Name::Tiny | Name::Triton => &[],
    };
    let mut verdicts: Vec<Verdict> = targets.iter().filter_map(|target| target.judge(runs)).collect();
    verdicts.extend(lazy::judge(runs));
    verdicts
}

/// How much longer each case takes than the start with everything local: seconds between the medians. Nothing where that
/// start was not measured.
pub fn added_waits(runs: &Runs) -> BTreeMap<Case, f64> {
    let Some(warm) = median(runs, Case::WarmLocal, Figure::Answer) else { return BTreeMap::new() };
    let added = |case: &Case| Some((*case, median(runs, *case, Figure::Answer)? - warm));
    runs.keys().filter(|case| **case != Case::WarmLocal).filter_map(added).collect()
}

fn median(runs: &Runs, case: Case, figure: Figure) -> Option<f64> {
    let of = |outcome: &Outcome| match figure {
        Figure::Answer => Some(outcome.answer_seconds),
        Figure::Complete => outcome.complete_seconds,
        Figure::Bytes => Some(outcome.answer_link_bytes as f64),
    };
    Some(Spread::of(runs.get(&case)?.iter().filter_map(of))?.median)
}

impl Target {
    fn judge(&self, runs: &Runs) -> Option<Verdict> {
        let ratio = median(runs, self.case, self.figure)? / median(runs, self.of, self.figure)?;
        Some(Verdict::of(self.case, self.figure.title(), self.of, ratio, self.at_most))
    }
}

impl Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Answer => "first answer",
            Self::Complete => "every byte here",
            Self::Bytes => "bytes until the answer",
        }
    }
}

impl Verdict {
    fn of(case: Case, what: &str, against: Case, ratio: f64, at_most: f64) -> Self {
        let target = format!("{}: {what} against {}", case.title(), against.title());
        Self { target, ratio, at_most, stretch: None, met: ratio <= at_most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With as many bytes as milliseconds.
    pub(super) fn outcome(answer_seconds: f64, complete_seconds: Option<f64>) -> Outcome {
        Outcome {
            answer_seconds,
            answer_link_bytes: (answer_seconds * 1e3) as u64,
            answer_cpu_seconds: 0.0,
            complete_seconds,
            complete_link_bytes: 0,
            complete_cpu_seconds: 0.0,
            peak_loader_bytes: 0,
            peak_application_bytes: 0,
            answer: String::new(),
            printed: String::new(),
        }
    }

    #[test]
    fn the_spread_of_odd_and_even_numbers_of_runs() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([4.0, 1.0]).unwrap().shown(1), "2.5 (1.0-4.0)");
    }

    #[test]
    fn targets_are_met_or_missed_by_the_medians() {
        let runs = Runs::from([
            (Case::Containerd, vec![outcome(10.0, Some(8.0))]),
            (Case::OrderLearned, vec![outcome(2.0, None), outcome(2.1, None), outcome(9.0, None)]),
            (Case::IndexKnown, vec![outcome(4.0, None)]),
        ]);
        let verdicts = judge(Name::Ocr, &runs);
        // What was not run is not judged.
        assert_eq!(verdicts.len(), 2);
        assert!(verdicts[0].met && (verdicts[0].ratio - 0.21).abs() < 1e-9);
        assert!(!verdicts[1].met);
    }
}
