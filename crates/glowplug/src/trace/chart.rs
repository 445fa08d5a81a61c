//! The waterfall of the page: rows of work, then the lanes of link and waits, along one time axis.

use glowplug_timeline::{Event, Interval, Phase, Report};

use super::canvas::{Canvas, class, when};
use super::lanes;
use super::rows::{Bar, Paint, PhaseRow, Work, largest, rows};

/// Works drawn for each wait; the rest is counted.
const WORKS_MAX: usize = 14;
/// Spans of one row that get a tooltip of their own; more are too narrow to point at.
const TOOLTIPS_MAX: usize = 300;

/// The waterfall as an `svg` element.
pub(super) fn chart(report: &Report, events: &[Event]) -> String {
    let mut canvas = Canvas::new(report.wall_ns);
    for row in &rows(report, events) {
        phase_row(&mut canvas, row);
    }
    lanes::link(&mut canvas, events);
    lanes::waits(&mut canvas, events);
    canvas.finish(report)
}

fn phase_row(canvas: &mut Canvas, row: &PhaseRow<'_>) {
    let y = canvas.y;
    let class = class(Paint::Path(row.phase));
    canvas.push(&format!("<circle class=\"{class}\" cx=\"5\" cy=\"{:.1}\" r=\"5\"/>", y + 9.0));
    canvas.label("phase", 18.0, y + 14.0, &row.phase.to_string());
    canvas.bar(&row.bar, y, 18.0);
    canvas.duration("phase", y + 14.0, row.total_ns);
    row_tooltips(canvas, &row.bar, y, 18.0, row.phase);
    canvas.y += 26.0;

    let totals: Vec<u64> = row.works.iter().map(|work| work.total_ns).collect();
    for (work, _) in row.works.iter().zip(largest(&totals, WORKS_MAX)).filter(|(_, among)| *among) {
        work_row(canvas, work, row.phase);
    }
    let more = row.works.len().saturating_sub(WORKS_MAX);
    if more > 0 {
        let y = canvas.y;
        canvas.label("work", 18.0, y + 10.0, &format!("{more} more"));
        canvas.y += 18.0;
    }
    canvas.y += 8.0;
}

fn work_row(canvas: &mut Canvas, work: &Work<'_>, phase: Phase) {
    let y = canvas.y;
    canvas.label("work", 18.0, y + 10.0, &work.label());
    canvas.bar(&work.bar, y + 1.0, 10.0);
    canvas.duration("work", y + 10.0, work.total_ns);
    for span in work.spans.iter().take(TOOLTIPS_MAX) {
        let interval = Interval::from(*span);
        let detail = span.detail.as_ref().map_or(String::new(), |detail| format!("\n{detail}"));
        let title = format!("{phase}: {}\n{}{detail}", span.name, when(interval));
        canvas.tooltip(interval, y - 2.0, 16.0, &title);
    }
    if work.spans.is_empty() {
        work_tooltips(canvas, work, y);
    }
    canvas.y += 18.0;
}

/// For works without spans: the waits, the application, the gaps.
fn work_tooltips(canvas: &mut Canvas, work: &Work<'_>, y: f64) {
    for (interval, _) in work.bar.iter().take(TOOLTIPS_MAX) {
        canvas.tooltip(*interval, y - 2.0, 16.0, &format!("{}\n{}", work.name, when(*interval)));
    }
}

fn row_tooltips(canvas: &mut Canvas, bar: &Bar, y: f64, height: f64, phase: Phase) {
    for (interval, paint) in bar.iter().take(TOOLTIPS_MAX) {
        let what = if *paint == Paint::Stall { Work::WAITING.to_owned() } else { phase.to_string() };
        canvas.tooltip(*interval, y, height, &format!("{what}\n{}", when(*interval)));
    }
}
