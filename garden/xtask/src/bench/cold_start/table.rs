//! What the rounds gave, for people.

use serde::Serialize;

use crate::bench::case::Case;
use crate::bench::ratio;
use crate::bench::targets::{Runs, Spread, Verdict, added_waits};
use crate::rig::measure::Outcome;

/// The spreads of one case.
#[derive(Serialize)]
pub struct Summary {
    case: Case,
    answer_seconds: Spread,
    answer_link_megabytes: Spread,
    answer_cpu_seconds: Spread,
    complete_seconds: Option<Spread>,
    complete_cpu_seconds: Spread,
    peak_loader_megabytes: Spread,
    peak_application_megabytes: Spread,
}

impl Summary {
    /// Of at least one run.
    pub fn of(case: Case, runs: &[Outcome]) -> Option<Self> {
        let spread = |figure: &dyn Fn(&Outcome) -> f64| Spread::of(runs.iter().map(figure));
        Some(Self {
            case,
            answer_seconds: spread(&|run| run.answer_seconds)?,
            answer_link_megabytes: spread(&|run| run.answer_link_bytes as f64 / 1e6)?,
            answer_cpu_seconds: spread(&|run| run.answer_cpu_seconds)?,
            complete_seconds: Spread::of(runs.iter().filter_map(|run| run.complete_seconds)),
            complete_cpu_seconds: spread(&|run| run.complete_cpu_seconds)?,
            peak_loader_megabytes: spread(&|run| run.peak_loader_bytes as f64 / 1e6)?,
            peak_application_megabytes: spread(&|run| run.peak_application_bytes as f64 / 1e6)?,
        })
    }
}

/// Prints the table, the added waits where lazy peers ran, and the verdicts.
pub fn print(summary: &[Summary], runs: &Runs, verdicts: &[Verdict]) {
    println!("\nmedian (least-most)");
    println!(
        "{:<26}{:>22}{:>10}{:>22}{:>8}{:>8}{:>11}{:>11}",
        "", "first answer s", "MB then", "every byte here s", "CPU s", "in all", "loader MB", "server MB"
    );
    let range = |spread: &Spread| spread.shown(2);
    for row in summary {
        let never = if row.case.is_lazy_peer() { "never" } else { "-" };
        println!(
            "{:<26}{:>22}{:>10.0}{:>22}{:>8.1}{:>8.1}{:>11.0}{:>11.0}",
            row.case.title(),
            range(&row.answer_seconds),
            row.answer_link_megabytes.median,
            row.complete_seconds.as_ref().map_or_else(|| never.to_owned(), range),
            row.answer_cpu_seconds.median,
            row.complete_cpu_seconds.median,
            row.peak_loader_megabytes.median,
            row.peak_application_megabytes.median,
        );
    }
    if runs.keys().any(|case| case.is_lazy_peer()) {
        println!("\nadded wait: first answer s less that of warm-local");
        let added = added_waits(runs);
        for (case, seconds) in &added {
            println!("{:<26}{seconds:>22.2}", case.title());
        }
        if added.iter().any(|(case, seconds)| case.is_lazy_peer() && *seconds <= 0.0) {
            println!(
                "a peer was no slower than warm-local: the machine was busy, and added waits are not judged"
            );
        }
    }
    println!();
    for verdict in verdicts {
        let word = if verdict.met { "met   " } else { "missed" };
        let ratio = ratio::shown(verdict.ratio, verdict.at_most);
        let hope = verdict.stretch.map_or_else(String::new, |stretch| format!(", stretch {stretch:.2}x"));
        println!("{word}  {ratio} (at most {:.2}x{hope})  {}", verdict.at_most, verdict.target);
    }
}
