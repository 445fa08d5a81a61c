//! The lanes under the waterfall: throughput of the link by cause, and the waits for bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use glowplug_base::size::human;
use glowplug_timeline::{Cause, Event, Fetch, Interval, Stall};

use super::canvas::{Canvas, LEFT, RIGHT, WIDTH, when};
use super::rows::Paint;
use super::{scale, text};

/// Bins of the throughput.
const BINS: usize = 200;
const LINK_HEIGHT: f64 = 96.0;
/// Rows on which waits side by side are drawn; more share the last ones.
const WAIT_ROWS: usize = 6;
const WAIT_HEIGHT: f64 = 9.0;
/// Waits that get a tooltip, the longest first.
const TOOLTIPS_MAX: usize = 1000;

/// Bytes of each cause that came in each bin.
type Bins = Vec<[f64; Cause::ALL.len()]>;

/// The throughput of the link over time, a stacked area by cause.
pub(super) fn link(canvas: &mut Canvas, events: &[Event]) {
    let bins = bins(events, canvas.wall_ns());
    let bin_s = canvas.wall_ns() as f64 / BINS as f64 / 1e9;
    let peak = bins.iter().map(|bin| bin.iter().sum::<f64>()).fold(0.0, f64::max) / bin_s;
    canvas.heading("link");
    if peak <= 0.0 {
        nothing(canvas, "nothing moved");
        return;
    }
    let (top, base) = (canvas.y + 6.0, canvas.y + 6.0 + LINK_HEIGHT);
    let full = peak * 1.04;
    let step = scale::round_up((peak * 8.0 / 3.0) as u64) as f64 / 8.0;
    for line in (1..=3).map(|i| step * f64::from(i)).filter(|line| *line <= full) {
        let y = base - LINK_HEIGHT * line / full;
        let label = text::rate(line as u64);
        canvas.push(&format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"work end\" x=\"{WIDTH}\" y=\"{:.1}\">{label}</text>",
            y + 4.0
        ));
    }
    let height = |bytes: f64| bytes / bin_s / full * LINK_HEIGHT;
    let bin_width = (RIGHT - LEFT) / BINS as f64;
    let mut below = vec![0.0; BINS];
    for cause in Cause::ALL {
        let above: Vec<f64> =
            bins.iter().zip(&below).map(|(bin, below)| below + bin[cause as usize]).collect();
        if above != below {
            let mut path = String::new();
            let corners = above.iter().enumerate().chain(below.iter().enumerate().rev());
            for (index, (bin, bytes)) in corners.enumerate() {
                let (x, y) = (LEFT + bin as f64 * bin_width, base - height(*bytes));
                let (x1, x2) = if index < BINS { (x, x + bin_width) } else { (x + bin_width, x) };
                let _ = write!(path, "{}{x1:.1} {y:.1}L{x2:.1} {y:.1}", if index == 0 { "M" } else { "L" });
            }
            canvas.push(&format!("<path class=\"area {cause}\" d=\"{path}Z\"/>"));
        }
        below = above;
    }
    for (index, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.iter().sum::<f64>() > 0.0) {
        let at = |index: usize| (canvas.wall_ns() as f64 / BINS as f64 * index as f64) as u64;
        let interval = Interval::new(at(index), at(index + 1));
        let sum = text::rate((bin.iter().sum::<f64>() / bin_s) as u64);
        let mut title = format!("{sum}\n{}", when(interval));
        for cause in Cause::ALL.into_iter().filter(|c| bin[*c as usize] >= 1.0) {
            let _ = write!(title, "\n{}: {}", text::cause(cause), human(bin[cause as usize] as u64));
        }
        canvas.tooltip(interval, top, LINK_HEIGHT, &title);
    }
    let axis =
        format!("<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{base:.1}\" y2=\"{base:.1}\"/>");
    canvas.push(&axis);
    canvas.y = base + 4.0;
}

/// Bytes of a request are spread evenly over the time from its first to its last byte.
fn bins(events: &[Event], wall_ns: u64) -> Bins {
    let mut bins = vec![[0.0; Cause::ALL.len()]; BINS];
    let scale = BINS as f64 / wall_ns as f64;
    for fetch in events.iter().filter_map(|e| if let Event::Fetch(f) = e { Some(f) } else { None }) {
        let Fetch { cause, first_byte_ns, end_ns, bytes, .. } = *fetch;
        let (from, to) = (first_byte_ns.min(end_ns) as f64 * scale, end_ns as f64 * scale);
        let last = (to as usize).min(BINS - 1);
        for (bin, sums) in bins.iter_mut().enumerate().take(last + 1).skip(from as usize) {
            let part =
                if to > from { (to.min(bin as f64 + 1.0) - from.max(bin as f64)) / (to - from) } else { 1.0 };
            sums[cause as usize] += part.max(0.0) * bytes as f64;
        }
    }
    bins
}

/// The waits of all readers, side by side where they were.
pub(super) fn waits(canvas: &mut Canvas, events: &[Event]) {
    let wall = Interval::new(0, canvas.wall_ns());
    let mut stalls: Vec<&Stall> = events
        .iter()
        .filter_map(|e| if let Event::Stall(stall) = e { Some(stall) } else { None })
        .filter(|stall| !Interval::from(*stall).intersect(wall).is_empty())
        .collect();
    stalls.sort_by_key(|stall| stall.start_ns);
    canvas.heading("waits for bytes");
    if stalls.is_empty() {
        nothing(canvas, "the application never waited");
        return;
    }
    let mut rows: BTreeMap<usize, Vec<&Stall>> = BTreeMap::new();
    let mut free_ns = [0; WAIT_ROWS];
    for stall in stalls {
        let free = free_ns.iter().position(|at| *at <= stall.start_ns).unwrap_or(WAIT_ROWS - 1);
        free_ns[free] = free_ns[free].max(stall.end_ns);
        rows.entry(free).or_default().push(stall);
    }
    let top = canvas.y + 6.0;
    let row_y = |row: usize| top + row as f64 * (WAIT_HEIGHT + 3.0);
    for (row, stalls) in &rows {
        let bar: Vec<_> = Interval::union(stalls.iter().map(|s| Interval::from(*s).intersect(wall)))
            .into_iter()
            .map(|interval| (interval, Paint::Stall))
            .collect();
        canvas.bar(&bar, row_y(*row), WAIT_HEIGHT);
    }
    let mut longest: Vec<(usize, &Stall)> =
        rows.iter().flat_map(|(row, stalls)| stalls.iter().map(|s| (*row, *s))).collect();
    longest.sort_by_key(|(_, stall)| Reverse(Interval::from(*stall).len_ns()));
    for (row, stall) in longest.into_iter().take(TOOLTIPS_MAX) {
        let interval = Interval::from(stall);
        let title = format!("{}\n{}, {} asked for", stall.path, when(interval), human(stall.bytes));
        canvas.tooltip(interval, row_y(row) - 1.5, WAIT_HEIGHT + 3.0, &title);
    }
    canvas.y = row_y(rows.len().max(2));
}

fn nothing(canvas: &mut Canvas, text: &str) {
    let y = canvas.y + 14.0;
    canvas.push(&format!("<text class=\"work\" x=\"{LEFT}\" y=\"{y:.1}\">{text}</text>"));
    canvas.y = y + 8.0;
}
