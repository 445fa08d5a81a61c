//! What the start waited for at each instant.
//!
//! The rule, first match wins:
//! 1. A reader waits for bytes: *pull*, named after the longest stall of that wait, also while the application runs.
//! 2. Work is going on: the innermost span, which is the one that began last. Once the container's process is
//!    executed only *init* spans count: what goes on beside the running application costs the start nothing unless the
//!    application waits for it, and then it is a stall.
//! 3. The process is executed: the application is getting ready, *init*.
//! 4. A gap that nobody recorded: the phase of the work that comes next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Serialize;

use crate::{Interval, Phase, Span, Stall};

/// A part of the critical path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// The wait it belongs to.
    pub phase: Phase,
    /// Which rule chose it.
    pub kind: SegmentKind,
    /// The span's name, the path that was waited for, [`Segment::APPLICATION`] or [`Segment::OTHER`].
    pub name: String,
    /// Begin, nanoseconds.
    pub start_ns: u64,
    /// End, nanoseconds; after the begin.
    pub end_ns: u64,
}

impl Segment {
    /// Name of the segments in which the application runs and waits for nothing of ours.
    pub const APPLICATION: &'static str = "application";
    /// Name of the gaps that nobody recorded.
    pub const OTHER: &'static str = "other";

    /// When it was.
    pub const fn interval(&self) -> Interval {
        Interval::new(self.start_ns, self.end_ns)
    }
}

/// Why a segment is on the critical path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentKind {
    /// A reader waited for bytes; the name is the path.
    Stall,
    /// A recorded span; the name is the span's.
    Work,
    /// The application ran.
    Application,
    /// Nobody recorded anything.
    Other,
}

/// The path from 0 to `wall_ns`; see the module for the rule.
pub(super) fn critical_path(
    spans: &[&Span],
    stalls: &[&Stall],
    exec_ns: Option<u64>,
    wall_ns: u64,
) -> Vec<Segment> {
    let wall = Interval::new(0, wall_ns);
    let mut spans: Vec<&Span> = spans.iter().copied().filter(|s| !Interval::from(*s).is_empty()).collect();
    spans.sort_by_key(|s| s.start_ns);
    let waits = waits(stalls);
    let mut cuts: Vec<u64> = spans.iter().flat_map(|s| [s.start_ns, s.end_ns]).collect();
    cuts.extend(waits.iter().flat_map(|w| [w.interval.start_ns, w.interval.end_ns]));
    cuts.extend(exec_ns);
    cuts.extend([0, wall_ns]);
    cuts.sort_unstable();
    cuts.dedup();

    let mut sweep =
        Sweep { spans: &spans, waits: &waits, exec_ns, begun: 0, open: BinaryHeap::new(), waited: 0 };
    let mut path: Vec<Segment> = Vec::new();
    for cut in cuts.windows(2) {
        let piece = Interval::new(cut[0], cut[1]).intersect(wall);
        if piece.is_empty() {
            continue;
        }
        let (phase, kind, name) = sweep.at(piece.start_ns);
        match path.last_mut() {
            Some(last) if (last.phase, last.kind, last.name.as_str()) == (phase, kind, name) => {
                last.end_ns = piece.end_ns;
            }
            _ => path.push(Segment {
                phase,
                kind,
                name: name.to_owned(),
                start_ns: piece.start_ns,
                end_ns: piece.end_ns,
            }),
        }
    }
    path
}

/// A stretch in which at least one reader waited all the time.
struct Wait<'a> {
    interval: Interval,
    /// Of the longest stall in it; of the first among equals.
    path: &'a str,
    longest_ns: u64,
}

/// The union of all stalls, in order.
fn waits<'a>(stalls: &[&'a Stall]) -> Vec<Wait<'a>> {
    let mut stalls: Vec<&Stall> = stalls.iter().copied().filter(|s| !Interval::from(*s).is_empty()).collect();
    stalls.sort_by_key(|s| (s.start_ns, Reverse(s.end_ns)));
    let mut waits: Vec<Wait<'a>> = Vec::new();
    for stall in stalls {
        let interval = Interval::from(stall);
        match waits.last_mut() {
            // Stalls that only touch are two waits: a reader got its bytes in between.
            Some(wait) if interval.start_ns < wait.interval.end_ns => {
                wait.interval.end_ns = wait.interval.end_ns.max(interval.end_ns);
                if interval.len_ns() > wait.longest_ns {
                    (wait.path, wait.longest_ns) = (&stall.path, interval.len_ns());
                }
            }
            _ => waits.push(Wait { interval, path: &stall.path, longest_ns: interval.len_ns() }),
        }
    }
    waits
}

/// The state of a sweep over time; asked for instants in rising order only.
struct Sweep<'a> {
    /// By start.
    spans: &'a [&'a Span],
    waits: &'a [Wait<'a>],
    exec_ns: Option<u64>,
    /// How many of `spans` have begun.
    begun: usize,
    /// Begun spans by start, the innermost on top: of equal starts the one that ends first, then the one recorded
    /// first, since a guard inside another is dropped before it. Ended spans leave when they come to the top.
    open: BinaryHeap<(u64, Reverse<u64>, Reverse<usize>)>,
    /// How many of `waits` have ended.
    waited: usize,
}

impl<'a> Sweep<'a> {
    fn at(&mut self, now_ns: u64) -> (Phase, SegmentKind, &'a str) {
        while let Some(span) = self.spans.get(self.begun).filter(|s| s.start_ns <= now_ns) {
            self.open.push((span.start_ns, Reverse(span.end_ns), Reverse(self.begun)));
            self.begun += 1;
        }
        if let Some(wait) = self.wait_at(now_ns) {
            return (Phase::Pull, SegmentKind::Stall, wait.path);
        }
        if let Some(span) = self.innermost_at(now_ns) {
            return (span.phase, SegmentKind::Work, &span.name);
        }
        if self.executed(now_ns) {
            return (Phase::Init, SegmentKind::Application, Segment::APPLICATION);
        }
        (self.gap_phase(), SegmentKind::Other, Segment::OTHER)
    }

    fn executed(&self, now_ns: u64) -> bool {
        self.exec_ns.is_some_and(|exec| exec <= now_ns)
    }

    fn wait_at(&mut self, now_ns: u64) -> Option<&'a Wait<'a>> {
        self.waited += self.waits[self.waited..].iter().take_while(|w| w.interval.end_ns <= now_ns).count();
        self.waits.get(self.waited).filter(|w| w.interval.start_ns <= now_ns)
    }

    fn innermost_at(&mut self, now_ns: u64) -> Option<&'a Span> {
        while let Some((_, Reverse(end_ns), Reverse(index))) = self.open.peek() {
            let span = self.spans[*index];
            if *end_ns > now_ns && (span.phase == Phase::Init || !self.executed(now_ns)) {
                return Some(span);
            }
            self.open.pop();
        }
        None
    }

    /// Of the work that comes next before the process is executed, else *create*, which leads to it; without an
    /// execution a last gap belongs to what came before it.
    fn gap_phase(&self) -> Phase {
        let next = self.spans.get(self.begun).filter(|s| self.exec_ns.is_none_or(|exec| s.start_ns < exec));
        match (next, self.exec_ns) {
            (Some(span), _) => span.phase,
            (None, Some(_)) => Phase::Create,
            (None, None) => self.spans.last().map_or(Phase::Place, |s| s.phase),
        }
    }
}
