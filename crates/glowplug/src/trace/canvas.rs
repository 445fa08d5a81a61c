//! The drawing of the page while it grows downwards: one time axis, and what is drawn along it.
//!
//! Bars are drawn from a raster of half pixels, so that the size of the page is bounded whatever the timeline holds.

use std::fmt::Write as _;

use glowplug_base::size::nanos;
use glowplug_timeline::{Interval, Phase, Report};

use super::rows::Paint;
use super::scale::ticks;
use super::{raster, text};

/// Width of the drawing; it is scaled to the page.
pub(super) const WIDTH: f64 = 1200.0;
/// Where time 0 and the end of the start are.
pub(super) const LEFT: f64 = 190.0;
pub(super) const RIGHT: f64 = 1104.0;
/// Cells of a bar's raster: two a pixel.
const CELLS: usize = 1828;
/// Height of the axis at the top.
const AXIS: f64 = 34.0;

/// The drawing while it grows downwards.
pub(super) struct Canvas {
    wall_ns: u64,
    body: String,
    /// Where the next thing goes.
    pub(super) y: f64,
}

impl Canvas {
    /// An empty drawing of a start of `wall_ns`.
    pub(super) fn new(wall_ns: u64) -> Self {
        Self { wall_ns, body: String::new(), y: AXIS + 6.0 }
    }

    /// Length of the axis, nanoseconds; never 0.
    pub(super) fn wall_ns(&self) -> u64 {
        self.wall_ns.max(1)
    }

    /// The abscissa of a moment.
    pub(super) fn x(&self, at_ns: u64) -> f64 {
        LEFT + at_ns.min(self.wall_ns()) as f64 / self.wall_ns() as f64 * (RIGHT - LEFT)
    }

    /// Adds an element.
    pub(super) fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// A label left of the plot.
    pub(super) fn label(&mut self, class: &str, x: f64, y: f64, label: &str) {
        let short = text::html(&text::shorten(label, 26, "…"));
        let full = text::html(label);
        self.push(&format!(
            "<text class=\"{class}\" x=\"{x:.0}\" y=\"{y:.1}\">{short}<title>{full}</title></text>"
        ));
    }

    /// A bar `height` high at `y`.
    pub(super) fn bar(&mut self, bar: &[(Interval, Paint)], y: f64, height: f64) {
        let cells = raster::raster(bar, self.wall_ns, CELLS);
        for (from, to, paint) in raster::runs(&cells) {
            let x = LEFT + from as f64 / CELLS as f64 * (RIGHT - LEFT);
            let width = (to - from) as f64 / CELLS as f64 * (RIGHT - LEFT);
            let class = class(paint);
            self.push(&format!(
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            ));
        }
    }

    /// An unseen area that says `title` when it is pointed at.
    pub(super) fn tooltip(&mut self, at: Interval, y: f64, height: f64, title: &str) {
        let x = self.x(at.start_ns);
        let width = (self.x(at.end_ns) - x).max(2.0);
        let title = text::html(title);
        self.push(&format!(
            "<rect class=\"hit\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>"
        ));
    }

    /// A heading above a lane, with a line over the whole width.
    pub(super) fn heading(&mut self, heading: &str) {
        self.y += 18.0;
        let y = self.y;
        self.push(&format!("<line class=\"rule\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        self.label("phase", 0.0, y + 24.0, heading);
        self.y += 10.0;
    }

    /// A time right of the plot.
    pub(super) fn duration(&mut self, class: &str, y: f64, total_ns: u64) {
        let total = if total_ns == 0 { "–".to_owned() } else { nanos(total_ns) };
        self.push(&format!("<text class=\"{class} end\" x=\"{WIDTH}\" y=\"{y:.1}\">{total}</text>"));
    }

    /// The whole drawing as an `svg` element.
    pub(super) fn finish(self, report: &Report) -> String {
        let height = self.y + 14.0;
        let mut svg = format!(
            "<svg id=\"chart\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"waterfall of the start\" \
             data-left=\"{LEFT}\" data-right=\"{RIGHT}\" data-wall=\"{}\">\n",
            self.wall_ns
        );
        let marks = [(report.exec_ns, "exec"), (report.ready_ns, "ready")];
        let marks: Vec<(u64, &str)> = marks
            .into_iter()
            .filter_map(|(at_ns, name)| Some((at_ns.filter(|at| *at <= self.wall_ns)?, name)))
            .collect();
        for tick in ticks(self.wall_ns, 10) {
            let x = self.x(tick.at_ns);
            // A label under a flag could not be read.
            let free = marks.iter().all(|(at_ns, _)| (self.x(*at_ns) - x).abs() > 48.0);
            let label = if free { tick.label.as_str() } else { "" };
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{AXIS}\" y2=\"{height:.0}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.0}\">{}</text>",
                AXIS - 9.0,
                label
            );
        }
        svg.push_str(&self.body);
        for (at_ns, name) in marks {
            let x = self.x(at_ns);
            let at = nanos(at_ns);
            let _ = writeln!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{AXIS}\" y2=\"{height:.0}\"/>\
                 <g class=\"flag\"><rect x=\"{:.1}\" y=\"12\" width=\"44\" height=\"18\" rx=\"4\"/>\
                 <text x=\"{x:.1}\" y=\"25\">{name}</text><title>{name} at {at}</title></g>",
                x - 22.0
            );
        }
        let _ = writeln!(
            svg,
            "<g id=\"cursor\" visibility=\"hidden\"><line y1=\"{AXIS}\" y2=\"{height:.0}\"/>\
             <rect x=\"-34\" y=\"12\" width=\"68\" height=\"18\" rx=\"4\"/><text y=\"25\"></text></g>\n</svg>"
        );
        svg
    }
}

/// The class of a paint in the page's style.
pub(super) const fn class(paint: Paint) -> &'static str {
    match paint {
        Paint::Path(Phase::Place) => "place",
        Paint::Path(Phase::Pull) => "pull",
        Paint::Path(Phase::Create) => "create",
        Paint::Path(Phase::Init) => "init",
        Paint::Beside(Phase::Place) => "place beside",
        Paint::Beside(Phase::Pull) => "pull beside",
        Paint::Beside(Phase::Create) => "create beside",
        Paint::Beside(Phase::Init) => "init beside",
        Paint::Stall => "stall",
    }
}

/// When something was and how long it took.
pub(super) fn when(interval: Interval) -> String {
    format!("{} from {}", nanos(interval.len_ns()), text::moment_in(interval.start_ns))
}
