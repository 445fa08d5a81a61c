//! Targets of the kind "at least so many times the peer", held against the medians of interleaved runs.

use anyhow::{Context, bail};
use serde::Serialize;

use super::ratio;

/// A ratio and what it must be at least.
#[derive(Debug, Serialize)]
pub struct AtLeast {
    /// What is compared with what, for people.
    pub what: String,
    /// Ours divided by the peer's; more is better.
    pub ratio: f64,
    /// The promise.
    pub at_least: f64,
}

impl AtLeast {
    /// Ours against the best of `peers`, which have names; of all figures more is better.
    pub fn best<'a>(
        what: &str,
        ours: f64,
        peers: impl IntoIterator<Item = (&'a str, f64)>,
        at_least: f64,
    ) -> anyhow::Result<Self> {
        let best = peers.into_iter().max_by(|one, other| one.1.total_cmp(&other.1));
        let (name, theirs) = best.context("no peer ran")?;
        Ok(Self { what: format!("{what}, against {name}"), ratio: ours / theirs, at_least })
    }

    /// Whether the promise is kept.
    pub fn is_met(&self) -> bool {
        self.ratio >= self.at_least
    }
}

/// Prints each target with its verdict. With `check` a target that is missed is an error.
pub fn close(targets: &[AtLeast], check: bool) -> anyhow::Result<()> {
    println!();
    for target in targets {
        let word = if target.is_met() { "met   " } else { "missed" };
        let ratio = ratio::shown(target.ratio, target.at_least);
        println!("{word}  {ratio} (at least {:.2}x)  {}", target.at_least, target.what);
    }
    let missed = targets.iter().filter(|target| !target.is_met()).count();
    if check && missed > 0 {
        bail!("{missed} of {} targets missed", targets.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_peer_counts_and_a_missed_target_is_an_error_where_it_is_asked_for() {
        let target = AtLeast::best("made", 3.0, [("slow", 1.0), ("quick", 2.0)], 2.0).unwrap();
        assert_eq!((&*target.what, target.ratio), ("made, against quick", 1.5));
        close(&[target], false).unwrap();
        let missed = AtLeast::best("made", 3.0, [("quick", 2.0)], 2.0).unwrap();
        let met = AtLeast::best("made", 3.0, [("slow", 1.0)], 2.0).unwrap();
        assert_eq!(close(&[missed, met], true).unwrap_err().to_string(), "1 of 2 targets missed");
        assert!(AtLeast::best("made", 3.0, [], 2.0).is_err());
    }
}
