//! The ways to start that are measured, the statistics of their runs, and the targets that they are held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::images::Name;
use crate::rig::measure::Outcome;

/// From which state, and by whom.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Glowplug, nothing known.
    FirstEver,
    /// Glowplug, index known, order not.
    IndexKnown,
    /// Glowplug, index known and order learned.
    OrderLearned,
    /// containerd: full pull with overlayfs, then start.
    Containerd,
    /// Every byte unpacked and in the page cache.
    WarmLocal,
}

impl Case {
    /// In the order in which one round runs them: each brings the node into the state that the next needs.
    pub const ALL: [Self; 5] =
        [Self::FirstEver, Self::IndexKnown, Self::OrderLearned, Self::Containerd, Self::WarmLocal];

    /// For file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstEver => "first-ever",
            Self::IndexKnown => "index-known",
            Self::OrderLearned => "order-learned",
            Self::Containerd => "containerd",
            Self::WarmLocal => "warm-local",
        }
    }

    /// Whether it is Glowplug's.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::FirstEver | Self::IndexKnown | Self::OrderLearned)
    }

    /// The case that must have run before it.
    pub fn needs(self) -> Option<Self> {
        match self {
            Self::FirstEver | Self::Containerd => None,
            Self::IndexKnown | Self::OrderLearned => Some(Self::FirstEver),
            Self::WarmLocal => Some(Self::Containerd),
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::FirstEver => "glowplug, first ever",
            Self::IndexKnown => "glowplug, index known",
            Self::OrderLearned => "glowplug, order learned",
            Self::Containerd => "containerd, full pull",
            Self::WarmLocal => "warm-local",
        }
    }
}

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
}

/// What a figure is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    Answer,
    Complete,
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
    /// Whether it is.
    pub met: bool,
}

/// Holds the runs against the targets of the image.
pub fn judge(image: Name, runs: &Runs) -> Vec<Verdict> {
    let targets = match image {
        Name::Torch => TORCH,
        Name::Ocr => OCR,
        Name::Tiny | Name::Triton => &[],
    };
    targets.iter().filter_map(|target| target.judge(runs)).collect()
}

impl Target {
    fn judge(&self, runs: &Runs) -> Option<Verdict> {
        let median = |case: Case| {
            let figure = |outcome: &Outcome| match self.figure {
                Figure::Answer => Some(outcome.answer_seconds),
                Figure::Complete => outcome.complete_seconds,
            };
            Some(Spread::of(runs.get(&case)?.iter().filter_map(figure))?.median)
        };
        let ratio = median(self.case)? / median(self.of)?;
        let what = match self.figure {
            Figure::Answer => "first answer",
            Figure::Complete => "every byte here",
        };
        Some(Verdict {
            target: format!("{}: {what} against {}", self.case.title(), self.of.title()),
            ratio,
            at_most: self.at_most,
            met: ratio <= self.at_most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(answer_seconds: f64, complete_seconds: Option<f64>) -> Outcome {
        Outcome {
            answer_seconds,
            answer_link_bytes: 0,
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
