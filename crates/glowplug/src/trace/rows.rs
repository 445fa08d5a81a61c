//! What both renderers draw: a row for each wait, and under it one for each kind of work.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use glowplug_timeline::{Event, Interval, Phase, Report, Segment, SegmentKind, Span};

/// What a stretch of a bar means, and so its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paint {
    /// The start waited for this.
    Path(Phase),
    /// It went on while the start waited for something else.
    Beside(Phase),
    /// A reader waited for bytes.
    Stall,
}

/// Stretches of time with their paint; stretches of different paint do not overlap.
pub(super) type Bar = Vec<(Interval, Paint)>;

/// One of the four waits.
#[derive(Debug)]
pub(super) struct PhaseRow<'a> {
    pub(super) phase: Phase,
    /// On the critical path, nanoseconds.
    pub(super) total_ns: u64,
    pub(super) bar: Bar,
    /// By the first begin.
    pub(super) works: Vec<Work<'a>>,
}

/// All spans of one name, or all waits for bytes.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) name: &'a str,
    /// How many spans or stalls.
    pub(super) count: u64,
    /// On the critical path, nanoseconds.
    pub(super) total_ns: u64,
    pub(super) bar: Bar,
    /// The spans themselves, in the order of recording.
    pub(super) spans: Vec<&'a Span>,
}

impl Work<'_> {
    /// Name of the row of all waits for bytes.
    pub(super) const WAITING: &'static str = "waiting for bytes";

    /// The name, and how often if more than once.
    pub(super) fn label(&self) -> String {
        if self.count > 1 { format!("{} \u{d7}{}", self.name, self.count) } else { self.name.to_owned() }
    }
}

/// The four waits in their order.
pub(super) fn rows<'a>(report: &'a Report, events: &'a [Event]) -> [PhaseRow<'a>; 4] {
    Phase::ALL.map(|phase| PhaseRow {
        phase,
        total_ns: report.total_ns(phase),
        bar: phase_bar(report, phase),
        works: works(report, events, phase),
    })
}

/// For each of `totals`, whether it is among the `most` largest; of equals the first are.
pub(super) fn largest(totals: &[u64], most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..totals.len()).collect();
    order.sort_by_key(|i| Reverse(totals[*i]));
    let mut among = vec![false; totals.len()];
    order.into_iter().take(most).for_each(|i| among[i] = true);
    among
}

/// The critical path as one bar.
pub(super) fn path_bar(report: &Report) -> Bar {
    report.path.iter().map(|s| (s.interval(), paint(s))).collect()
}

fn paint(segment: &Segment) -> Paint {
    if segment.kind == SegmentKind::Stall { Paint::Stall } else { Paint::Path(segment.phase) }
}

/// The phase's part of the path; in *init* also the waits, which interrupt it though they are charged to *pull*.
fn phase_bar(report: &Report, phase: Phase) -> Bar {
    let interrupts = |s: &Segment| {
        phase == Phase::Init
            && s.kind == SegmentKind::Stall
            && report.exec_ns.is_some_and(|exec| s.start_ns >= exec)
    };
    let segments = report.path.iter().filter(|s| s.phase == phase || interrupts(s));
    segments.map(|s| (s.interval(), paint(s))).collect()
}

fn works<'a>(report: &'a Report, events: &'a [Event], phase: Phase) -> Vec<Work<'a>> {
    let mut on_path: BTreeMap<(SegmentKind, &str), Vec<Interval>> = BTreeMap::new();
    for segment in report.path.iter().filter(|s| s.phase == phase) {
        let name = if segment.kind == SegmentKind::Stall { Work::WAITING } else { &segment.name };
        on_path.entry((segment.kind, name)).or_default().push(segment.interval());
    }
    let mut spans: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for event in events {
        if let Event::Span(span) = event
            && span.phase == phase
            && !Interval::from(span).intersect(report.wall()).is_empty()
        {
            spans.entry(&span.name).or_default().push(span);
            on_path.entry((SegmentKind::Work, &span.name)).or_default();
        }
    }
    let mut works: Vec<Work<'a>> = Vec::new();
    for ((kind, name), pieces) in on_path {
        let spans =
            if kind == SegmentKind::Work { spans.remove(name).unwrap_or_default() } else { Vec::new() };
        let count = match kind {
            SegmentKind::Stall => report.stalls.count,
            SegmentKind::Work => spans.len() as u64,
            SegmentKind::Application | SegmentKind::Other => 1,
        };
        let solid = Interval::union(pieces);
        let whole = Interval::union(spans.iter().map(|s| Interval::from(*s).intersect(report.wall())));
        let faint = Interval::subtract(&whole, &solid);
        let colour = if kind == SegmentKind::Stall { Paint::Stall } else { Paint::Path(phase) };
        let mut bar: Bar = solid.iter().map(|i| (*i, colour)).collect();
        bar.extend(faint.iter().map(|i| (*i, Paint::Beside(phase))));
        bar.sort_unstable();
        works.push(Work { name, count, total_ns: Interval::total_ns(&solid), bar, spans });
    }
    // A single work that only says the wait's name again is no news.
    let no_news = |works: &[Work<'_>]| works[0].spans.is_empty() && works[0].name != Work::WAITING;
    if works.len() == 1 && no_news(&works) {
        works.clear();
    }
    works.sort_by_key(|w| w.bar.first().map(|(interval, _)| interval.start_ns));
    works
}
