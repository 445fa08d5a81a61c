//! From events to answers: the critical path whose parts add up to the wall time, and what moved meanwhile.
//!
//! Invariants: the segments of [`Report::path`] tile `[0, wall_ns]` exactly, in order, and no two neighbours are equal;
//! the phase totals add up to `wall_ns`. Any sequence of events can be reduced: ends before starts, overlaps, events
//! after the end and sums beyond 64 bits do no harm.

mod critical_path;
mod link;
mod stalls;

pub use critical_path::{Segment, SegmentKind};
pub use link::{CauseBytes, Link};
use serde::Serialize;
pub use stalls::{PathStalls, Stalls};

use crate::{Event, Fetch, Header, Interval, Mark, Phase, Span, Stall};

/// What a start was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What the timeline is of.
    pub header: Header,
    /// Length of the start in nanoseconds: until ready, or until the last event when it never became ready.
    pub wall_ns: u64,
    /// When the application answered that it is ready, nanoseconds; `None` when it never did.
    pub ready_ns: Option<u64>,
    /// When the container's first process was executed, nanoseconds.
    pub exec_ns: Option<u64>,
    /// When every byte of the image was here, nanoseconds; often after ready.
    pub complete_ns: Option<u64>,
    /// The critical path: what the start waited for, from 0 to `wall_ns` without a gap.
    pub path: Vec<Segment>,
    /// The path's time by phase, in the order of [`Phase::ALL`].
    pub totals: [PhaseTotal; 4],
    /// The waits for bytes until ready.
    pub stalls: Stalls,
    /// What came over the network.
    pub link: Link,
}

/// Time of one phase on the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PhaseTotal {
    /// The phase.
    pub phase: Phase,
    /// Its time, nanoseconds.
    pub total_ns: u64,
}

impl Report {
    /// Time of `phase` on the critical path, nanoseconds.
    pub fn total_ns(&self, phase: Phase) -> u64 {
        self.totals.iter().find(|t| t.phase == phase).map_or(0, |t| t.total_ns)
    }

    /// The start as a stretch of time: `0..wall_ns`.
    pub fn wall(&self) -> Interval {
        Interval::new(0, self.wall_ns)
    }
}

/// Why events cannot be reduced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReduceError {
    /// Nothing says what the timeline is of.
    #[error("timeline has no header")]
    NoHeader,
}

/// Reduces events, in any order, to a report.
///
/// # Errors
/// [`ReduceError::NoHeader`] when no event is a [`Header`].
pub fn reduce(events: &[Event]) -> Result<Report, ReduceError> {
    let sorted = Sorted::of(events);
    let header = sorted.header.ok_or(ReduceError::NoHeader)?.clone();
    let ready_ns = sorted.first_mark(Mark::READY);
    let wall_ns = ready_ns.unwrap_or(sorted.last_ns);
    let exec_ns = sorted.first_mark(Mark::EXEC);
    let path = critical_path::critical_path(&sorted.spans, &sorted.stalls, exec_ns, wall_ns);
    let totals = Phase::ALL.map(|phase| PhaseTotal {
        phase,
        total_ns: path.iter().filter(|s| s.phase == phase).map(|s| s.interval().len_ns()).sum(),
    });
    Ok(Report {
        header,
        wall_ns,
        ready_ns,
        exec_ns,
        complete_ns: sorted.first_mark(Mark::COMPLETE),
        path,
        totals,
        stalls: Stalls::of(&sorted.stalls, wall_ns),
        link: Link::of(&sorted.fetches, wall_ns),
    })
}

/// The events by kind.
#[derive(Default)]
struct Sorted<'a> {
    header: Option<&'a Header>,
    spans: Vec<&'a Span>,
    stalls: Vec<&'a Stall>,
    fetches: Vec<&'a Fetch>,
    marks: Vec<&'a Mark>,
    last_ns: u64,
}

impl<'a> Sorted<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut sorted = Self::default();
        for event in events {
            let last_ns = match event {
                Event::Header(header) => {
                    sorted.header.get_or_insert(header);
                    0
                }
                Event::Span(span) => {
                    sorted.spans.push(span);
                    span.end_ns
                }
                Event::Stall(stall) => {
                    sorted.stalls.push(stall);
                    stall.end_ns
                }
                Event::Fetch(fetch) => {
                    sorted.fetches.push(fetch);
                    fetch.end_ns
                }
                Event::Mark(mark) => {
                    sorted.marks.push(mark);
                    mark.at_ns
                }
            };
            sorted.last_ns = sorted.last_ns.max(last_ns);
        }
        sorted
    }

    fn first_mark(&self, name: &str) -> Option<u64> {
        self.marks.iter().filter(|mark| mark.name == name).map(|mark| mark.at_ns).min()
    }
}

#[cfg(test)]
mod tests;
