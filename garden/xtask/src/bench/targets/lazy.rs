//! The targets against lazy peers. What a loader can be blamed for is the *added wait*: the time to the first right answer
//! less that of a start with everything local. Each figure is held against the peer that is best at it.

use super::{Case, Figure, Runs, Verdict, added_waits, median};

/// Added wait with the order learned, at most; and what is hoped for.
const ORDER_LEARNED: (f64, f64) = (0.3, 0.2);
/// Added wait with the index only.
const INDEX_KNOWN: f64 = 0.7;
/// Time until every byte is here.
const COMPLETE: f64 = 0.5;
/// Bytes over the link until the answer.
const BYTES: f64 = 1.15;

/// Holds ours against the best of the lazy peers that were run, as far as both were.
pub fn judge(runs: &Runs) -> Vec<Verdict> {
    let added = added_waits(runs);
    let best_added = best(runs, |case| added.get(&case).copied());
    let against_added = |case: Case, at_most: f64| {
        let (peer, theirs) = best_added?;
        Some(Verdict::of(case, "added wait", peer, added.get(&case)? / theirs, at_most))
    };
    let against = |figure: Figure, at_most: f64| {
        let (peer, theirs) = best(runs, |case| median(runs, case, figure))?;
        let ratio = median(runs, Case::OrderLearned, figure)? / theirs;
        Some(Verdict::of(Case::OrderLearned, figure.title(), peer, ratio, at_most))
    };
    let order_learned = against_added(Case::OrderLearned, ORDER_LEARNED.0)
        .map(|verdict| Verdict { stretch: Some(ORDER_LEARNED.1), ..verdict });
    [
        order_learned,
        against_added(Case::IndexKnown, INDEX_KNOWN),
        against(Figure::Complete, COMPLETE),
        against(Figure::Bytes, BYTES),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The lazy peer with the least of a figure. One that is not above zero can't be divided by: then there is none.
fn best(runs: &Runs, figure: impl Fn(Case) -> Option<f64>) -> Option<(Case, f64)> {
    runs.keys()
        .filter(|case| case.is_lazy_peer())
        .filter_map(|case| Some((*case, figure(*case)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, least)| *least > 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::outcome;
    use super::*;

    #[test]
    fn ours_are_held_against_the_peer_that_is_best_at_each_figure() {
        let runs = Runs::from([
            (Case::OrderLearned, vec![outcome(1.5, Some(3.0))]),
            (Case::IndexKnown, vec![outcome(3.0, Some(4.0))]),
            (Case::WarmLocal, vec![outcome(1.0, Some(0.0))]),
            (Case::Soci, vec![outcome(4.0, Some(5.0))]),
            (Case::NydusOnDemand, vec![outcome(3.0, None)]),
        ]);
        let verdicts = judge(&runs);
        let ratios: Vec<f64> = verdicts.iter().map(|verdict| verdict.ratio).collect();
        assert_eq!(ratios, [0.25, 1.0, 0.6, 0.5]);
        let met: Vec<bool> = verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [true, false, false, true]);
        // On demand never has every byte: the one that has is the one to beat.
        assert!(verdicts[2].target.ends_with("against soci, prefetch files"));
        assert_eq!(verdicts[0].stretch, Some(0.2));
    }

    #[test]
    fn without_lazy_peers_nothing_is_judged() {
        let runs = Runs::from([
            (Case::OrderLearned, vec![outcome(1.5, None)]),
            (Case::WarmLocal, vec![outcome(1.0, None)]),
            (Case::Containerd, vec![outcome(9.0, None)]),
        ]);
        assert!(judge(&runs).is_empty());
    }
}
