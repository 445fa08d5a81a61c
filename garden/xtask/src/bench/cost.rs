//! What running one program costs: seconds of the clock and of all processors.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use serde::Serialize;

use super::targets::Spread;
use crate::step;

/// `USER_HZ`: the unit of times in `/proc` on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

/// The cost of one run.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cost {
    /// From its start to its end.
    pub wall_seconds: f64,
    /// Of the program and what it started, user and system.
    pub cpu_seconds: f64,
}

/// Runs a program to its end; gives its cost and what it printed. Nothing else may end meanwhile.
pub fn of(command: &mut Command) -> anyhow::Result<(Cost, String)> {
    let (before, began) = (children()?, Instant::now());
    let printed = step::read(command)?;
    let wall_seconds = began.elapsed().as_secs_f64();
    Ok((Cost { wall_seconds, cpu_seconds: children()? - before }, printed))
}

/// The same for a program whose output is thrown away.
pub fn of_discarding(command: &mut Command) -> anyhow::Result<Cost> {
    let (before, began) = (children()?, Instant::now());
    step::run(command.stdout(Stdio::null()))?;
    let wall_seconds = began.elapsed().as_secs_f64();
    Ok(Cost { wall_seconds, cpu_seconds: children()? - before })
}

/// Median, least and most of a figure of some runs.
pub fn spread(costs: &[Cost], figure: impl Fn(&Cost) -> f64) -> anyhow::Result<Spread> {
    Spread::of(costs.iter().map(figure)).context("no run")
}

/// CPU seconds of our children that have ended: fields 16 and 17 of `/proc/self/stat`, the second of which may hold
/// spaces and ends with the last parenthesis.
fn children() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let ticks = |number: usize| {
        let fields = stat.rsplit_once(')')?.1;
        fields.split_whitespace().nth(number - 3)?.parse::<u64>().ok()
    };
    let (user, system) = ticks(16).zip(ticks(17)).context("/proc/self/stat is not what it was")?;
    Ok((user + system) as f64 / TICKS_PER_SECOND)
}
