//! The waterfall in a terminal.
//!
//! With colour, bars are Unicode blocks of an eighth of a column; without, everything is ASCII: `#` is on the critical
//! path, `-` went on beside it, `x` is a wait for bytes.

use glowplug_base::size::nanos;
use glowplug_timeline::{Event, Phase, Report};

use super::raster::raster;
use super::rows::{Bar, Paint, PhaseRow, largest, rows};
use super::scale::{Tick, ticks};
use super::{summary, text};

/// How to draw; the caller knows the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// ANSI colours and Unicode blocks; without it the drawing is ASCII.
    pub colour: bool,
    /// Columns of the terminal.
    pub width: usize,
}

/// Rows of work that are drawn at most; with the four waits and their `more` rows a waterfall has at most 18.
const WORKS_MAX: usize = 14;
/// Of them, how many are kept when there are more, which leaves room for a `more` row for each wait.
const WORKS_FOLDED: usize = 10;
/// Eighths of a column, from none to all.
const EIGHTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
/// How many wrong eighths it is worth to show a paint that would not show in its column at all.
const HIDDEN_COST: usize = 3;
/// Columns of the durations, and of the shares beside them.
const DURATION_COLUMNS: usize = 8;
const SHARE_COLUMNS: usize = 6;

/// The waterfall of a start, some lines that each end in a line feed.
pub fn waterfall(report: &Report, events: &[Event], style: Style) -> String {
    let rows = rows(report, events);
    let lines = fold(&rows);
    let plot = Plot::new(report.wall_ns, &lines, style);
    let mut out = plot.title(report);
    out.push_str(&plot.axis());
    for line in &lines {
        out.push_str(&plot.row(line));
    }
    out.push('\n');
    for sentence in sentences(report, plot.style) {
        out.push_str(&text::wrap(&text::terminal(&sentence, style.colour), plot.style.width));
        out.push('\n');
    }
    out
}

/// A row as it is drawn.
struct Line<'a> {
    label: String,
    total_ns: u64,
    bar: Option<&'a Bar>,
    /// Of a wait, not of a kind of work.
    phase: Option<Phase>,
}

/// The waits with the works that matter most; what costs the start nothing is not drawn.
fn fold<'a>(rows: &'a [PhaseRow<'a>; 4]) -> Vec<Line<'a>> {
    let shown = |row: &'a PhaseRow<'a>| row.works.iter().filter(|work| work.total_ns > 0);
    let totals: Vec<u64> = rows.iter().flat_map(|row| shown(row).map(|work| work.total_ns)).collect();
    let most = if totals.len() > WORKS_MAX { WORKS_FOLDED } else { WORKS_MAX };
    let mut among = largest(&totals, most).into_iter();

    let mut lines = Vec::new();
    for row in rows {
        lines.push(Line {
            label: row.phase.to_string(),
            total_ns: row.total_ns,
            bar: Some(&row.bar),
            phase: Some(row.phase),
        });
        let (mut more, mut more_ns) = (0, 0);
        for work in shown(row) {
            if among.next() == Some(true) {
                let label = format!("  {}", work.label());
                lines.push(Line { label, total_ns: work.total_ns, bar: Some(&work.bar), phase: None });
            } else {
                more += 1;
                more_ns += work.total_ns;
            }
        }
        if more > 0 {
            lines.push(Line { label: format!("  {more} more"), total_ns: more_ns, bar: None, phase: None });
        }
    }
    lines
}

/// The common axis of all rows.
struct Plot {
    style: Style,
    wall_ns: u64,
    label_columns: usize,
    bar_columns: usize,
    /// Column and tick.
    ticks: Vec<(usize, Tick)>,
}

impl Plot {
    fn new(wall_ns: u64, lines: &[Line<'_>], style: Style) -> Self {
        let style = Style { width: style.width.clamp(48, 160), ..style };
        let longest = lines.iter().map(|line| line.label.chars().count()).max().unwrap_or(0);
        let label_columns = longest.clamp(8, (style.width / 3).min(28));
        let bar_columns = style.width - label_columns - DURATION_COLUMNS - SHARE_COLUMNS - 4;
        let ticks = ticks(wall_ns, bar_columns / 12)
            .into_iter()
            .map(|tick| ((tick.at_ns as f64 / wall_ns as f64 * bar_columns as f64) as usize, tick))
            .collect();
        Self { style, wall_ns, label_columns, bar_columns, ticks }
    }

    fn title(&self, report: &Report) -> String {
        let verdict = match report.ready_ns {
            Some(_) => format!("ready in {}", nanos(self.wall_ns)),
            None => format!("not ready after {}", nanos(self.wall_ns)),
        };
        let verdict = self.safe(&verdict);
        let room = self.style.width.saturating_sub(verdict.chars().count() + 2);
        let image = text::shorten(&self.safe(&report.header.image), room, self.ellipsis());
        let gap =
            " ".repeat(self.style.width.saturating_sub(image.chars().count() + verdict.chars().count()));
        format!("{}{gap}{}\n\n", self.ansi("1", &image), self.ansi("1", &verdict))
    }

    fn axis(&self) -> String {
        let (mut labels, mut rule) = (String::new(), vec![self.glyph('─', '-'); self.bar_columns]);
        for (column, tick) in &self.ticks {
            let label = self.safe(&tick.label);
            let used = labels.chars().count();
            if *column >= used && column + label.chars().count() <= self.bar_columns {
                labels.push_str(&" ".repeat(column - used));
                labels.push_str(&label);
            }
            if let Some(cell) = rule.get_mut(*column) {
                *cell = self.glyph('┬', '+');
            }
        }
        let indent = " ".repeat(self.label_columns + 2);
        let rule: String = rule.into_iter().collect();
        format!("{indent}{}\n{indent}{}\n", self.ansi("2", labels.trim_end()), self.ansi("2", &rule))
    }

    fn row(&self, line: &Line<'_>) -> String {
        let label = text::shorten(
            &self.safe(&line.label.replace('\u{d7}', self.times())),
            self.label_columns,
            self.ellipsis(),
        );
        let label = format!("{label:<0$}", self.label_columns);
        let bar = self.bar(line.bar.map_or(&[][..], Vec::as_slice));
        let total = if line.total_ns == 0 { "-".to_owned() } else { self.safe(&nanos(line.total_ns)) };
        let total = format!("{total:>DURATION_COLUMNS$}");
        let Some(phase) = line.phase else {
            return format!("{}  {bar}  {}\n", self.ansi("2", &label), self.ansi("2", &total));
        };
        let label = self.ansi(&format!("1;{}", foreground(Paint::Path(phase))), &label);
        let share = text::percent(line.total_ns, self.wall_ns);
        format!("{label}  {bar}  {}{share:>SHARE_COLUMNS$}\n", self.ansi("1", &total))
    }

    fn bar(&self, bar: &[(glowplug_timeline::Interval, Paint)]) -> String {
        if !self.style.colour {
            let cells = raster(bar, self.wall_ns, self.bar_columns);
            let cell = |(column, paint): (usize, Option<Paint>)| match paint {
                Some(Paint::Path(_)) => '#',
                Some(Paint::Beside(_)) => '-',
                Some(Paint::Stall) => 'x',
                None if self.is_tick(column) => ':',
                None => ' ',
            };
            return cells.into_iter().enumerate().map(cell).collect();
        }
        let eighths = raster(bar, self.wall_ns, self.bar_columns * 8);
        let cells = eighths.chunks(8).enumerate().map(|(column, eighths)| match cell(eighths) {
            (code, ' ') if code.is_empty() && self.is_tick(column) => ("2".to_owned(), '┊'),
            cell => cell,
        });
        let mut out = String::new();
        let mut current = String::new();
        for (code, glyph) in cells {
            if code != current {
                out.push_str(if current.is_empty() { "" } else { "\x1b[0m" });
                out.push_str(&if code.is_empty() { String::new() } else { format!("\x1b[{code}m") });
                current = code;
            }
            out.push(glyph);
        }
        out.push_str(if current.is_empty() { "" } else { "\x1b[0m" });
        out
    }

    fn is_tick(&self, column: usize) -> bool {
        self.ticks.iter().any(|(at, _)| *at == column)
    }

    fn ansi(&self, code: &str, text: &str) -> String {
        if self.style.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn safe(&self, text: &str) -> String {
        text::terminal(text, self.style.colour)
    }

    fn glyph(&self, unicode: char, ascii: char) -> char {
        if self.style.colour { unicode } else { ascii }
    }

    fn ellipsis(&self) -> &'static str {
        ellipsis(self.style)
    }

    fn times(&self) -> &'static str {
        if self.style.colour { "×" } else { "x" }
    }
}

const fn ellipsis(style: Style) -> &'static str {
    if style.colour { "…" } else { "..." }
}

/// The ANSI code and the glyph that come closest to eight painted eighths: one border, a paint left and right of it.
fn cell(eighths: &[Option<Paint>]) -> (String, char) {
    let mut paints = eighths.to_vec();
    paints.push(None);
    paints.sort_unstable();
    paints.dedup();
    let paints = &paints;
    let pairs = |at| paints.iter().flat_map(move |left| paints.iter().map(move |right| (at, *left, *right)));
    let choices = (0..=eighths.len()).flat_map(pairs);
    let cost = |(at, left, right): &(usize, Option<Paint>, Option<Paint>)| {
        let shown = |eighth: usize| if eighth < *at { left } else { right };
        let wrong = eighths.iter().enumerate().filter(|(eighth, paint)| shown(*eighth) != *paint).count();
        let hidden = |paint: &&Option<Paint>| {
            paint.is_some() && !(*at > 0 && *paint == left || *at < eighths.len() && *paint == right)
        };
        wrong + HIDDEN_COST * paints.iter().filter(hidden).count()
    };
    let (at, left, right) = choices.min_by_key(cost).unwrap_or_default();
    match (left, right) {
        (None, None) => (String::new(), ' '),
        (Some(left), _) if at == eighths.len() => (foreground(left), '█'),
        (_, Some(right)) if at == 0 => (foreground(right), '█'),
        (Some(left), None) => (foreground(left), EIGHTHS[at]),
        // There is no glyph for a right part, so the left part is drawn in the colour of the background.
        (None, Some(right)) => (format!("7;{}", foreground(right)), EIGHTHS[at]),
        (Some(left), Some(right)) => (format!("{};48;5;{}", foreground(left), colour(right)), EIGHTHS[at]),
    }
}

fn foreground(paint: Paint) -> String {
    format!("38;5;{}", colour(paint))
}

/// Colours of the 256-colour palette, the nearest to those of the page.
const fn colour(paint: Paint) -> u8 {
    match paint {
        Paint::Path(Phase::Place) => 140,
        Paint::Path(Phase::Pull) => 69,
        Paint::Path(Phase::Create) => 178,
        Paint::Path(Phase::Init) => 36,
        Paint::Beside(Phase::Place) => 60,
        Paint::Beside(Phase::Pull) => 24,
        Paint::Beside(Phase::Create) => 94,
        Paint::Beside(Phase::Init) => 23,
        Paint::Stall => 203,
    }
}

/// Short sentences: what moved, how long the application waited, when everything was here.
fn sentences(report: &Report, style: Style) -> Vec<String> {
    let longest = report.stalls.worst.first().map_or(String::new(), |worst| {
        let path = text::shorten(&worst.path, style.width.saturating_sub(16), ellipsis(style));
        format!("; longest: {path}: {}", nanos(worst.waited_ns))
    });
    let waited = summary::waited(report) + &longest;
    [summary::moved(report), waited].into_iter().chain(summary::complete(report)).collect()
}
