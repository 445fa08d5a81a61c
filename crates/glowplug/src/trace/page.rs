//! The timeline as a page: one file, nothing loaded from elsewhere, light and dark.

use std::cmp::Reverse;
use std::fmt::Write as _;

use glowplug_base::size::{human, nanos};
use glowplug_timeline::{Cause, Event, Interval, Phase, Report, Span, Stall};

use super::canvas::class;
use super::chart::chart;
use super::raster::{raster, runs};
use super::rows::{Paint, path_bar};
use super::{summary, text};
use crate::page::{begin, end, end_table, path_cell, row, table};

const STYLE: &str = include_str!("page.css");
const CURSOR: &str = include_str!("cursor.js");
/// Cells of the strip at the top; its width is the page's.
const STRIP_CELLS: usize = 1000;
/// Rows of the tables; who wants more reads the JSON lines.
const STALLS_MAX: usize = 10;
const SPANS_MAX: usize = 300;
/// Characters of a path in the tables.
const PATH_CHARS: usize = 36;

/// The page of a start.
pub fn page(report: &Report, events: &[Event]) -> String {
    let mut out = begin(&format!("Cold start of {}", report.header.image), STYLE);
    header(&mut out, report);
    tiles(&mut out, report);
    let legend = legend();
    let chart = chart(report, events);
    let _ =
        write!(out, "<section class=\"card\">\n{legend}<div class=\"scroll\">\n{chart}</div>\n</section>\n");
    out.push_str("<div class=\"pair\">\n");
    files(&mut out, report);
    stalls(&mut out, report, events);
    out.push_str("</div>\n");
    spans(&mut out, events);
    end(&mut out, Some(CURSOR));
    out
}

fn header(out: &mut String, report: &Report) {
    let started = text::moment(report.header.unix_start_ns);
    let verdict = if report.ready_ns.is_some() { "until ready" } else { "and not ready" };
    let _ = write!(
        out,
        "<header>\n<div>\n<p class=\"kicker\">cold start</p>\n<h1>{}</h1>\n\
         <p class=\"quiet\">{started}, recorded by glowplug {}</p>\n</div>\n\
         <p class=\"wall\"><b>{}</b><span>{verdict}</span></p>\n</header>\n",
        text::html(&report.header.image),
        text::html(&report.header.recorder),
        nanos(report.wall_ns),
    );
    out.push_str(
        "<svg class=\"strip\" viewBox=\"0 0 1000 10\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    for (from, to, paint) in runs(&raster(&path_bar(report), report.wall_ns, STRIP_CELLS)) {
        let width = to - from;
        let class = class(paint);
        let _ = write!(out, "<rect class=\"{class}\" x=\"{from}\" width=\"{width}\" height=\"10\"/>");
    }
    out.push_str("</svg>\n");
}

fn tiles(out: &mut String, report: &Report) {
    out.push_str("<div class=\"tiles\">\n");
    for phase in Phase::ALL {
        let total_ns = report.total_ns(phase);
        let what = match phase {
            Phase::Place => "finding somewhere to run".to_owned(),
            Phase::Pull if report.stalls.count > 0 => {
                format!("getting the bytes, {} in stalls", nanos(report.stalls.waited_ns))
            }
            Phase::Pull => "getting the bytes".to_owned(),
            Phase::Create => "making the container".to_owned(),
            Phase::Init => "the application gets ready".to_owned(),
        };
        let (class, share) = (class(Paint::Path(phase)), text::percent(total_ns, report.wall_ns));
        let total = if total_ns == 0 { "0 s".to_owned() } else { nanos(total_ns) };
        let _ = writeln!(
            out,
            "<div class=\"tile {class}\"><h2>{phase}<span>{share}</span></h2><p class=\"total\">{total}</p>\
             <p class=\"quiet\">{what}</p></div>",
        );
    }
    out.push_str("</div>\n<ul class=\"facts\">\n");
    let mut fact = |text: String| {
        let _ = writeln!(out, "<li>{}</li>", text::html(&text));
    };
    fact(summary::moved(report));
    fact(summary::waited(report));
    summary::complete(report).into_iter().for_each(fact);
    out.push_str("</ul>\n");
}

/// Two groups: what the bars mean, and what the areas of the link mean.
fn legend() -> String {
    let key = |class: &str, what: &str| format!("<span><i class=\"{class}\"></i>{what}</span>");
    let mut legend = String::from("<p class=\"legend\"><b>time</b>");
    for phase in Phase::ALL {
        legend.push_str(&key(class(Paint::Path(phase)), &phase.to_string()));
    }
    legend.push_str(&key(class(Paint::Stall), "waiting for bytes"));
    legend.push_str(&key("any beside", "beside something slower"));
    legend.push_str("<b>link</b>");
    for cause in Cause::ALL {
        legend.push_str(&key(&format!("area {cause}"), text::cause(cause)));
    }
    legend.push_str("</p>\n");
    legend
}

fn files(out: &mut String, report: &Report) {
    out.push_str("<section class=\"card\">\n<h2>Files waited for longest</h2>\n");
    let Some(longest_ns) = report.stalls.worst.first().map(|w| w.waited_ns) else {
        out.push_str("<p class=\"quiet\">The application never waited for bytes.</p>\n</section>\n");
        return;
    };
    table(out, &["file", "waits", "asked for", "waited"]);
    for worst in &report.stalls.worst {
        let cells =
            [worst.count.to_string(), human(worst.bytes), meter(worst.waited_ns, longest_ns, "stall")];
        row(out, &path_cell(&worst.path, PATH_CHARS), &cells);
    }
    end_table(out);
    out.push_str("</section>\n");
}

fn stalls(out: &mut String, report: &Report, events: &[Event]) {
    let mut stalls: Vec<&Stall> = events
        .iter()
        .filter_map(|e| if let Event::Stall(stall) = e { Some(stall) } else { None })
        .filter(|stall| !Interval::from(*stall).intersect(report.wall()).is_empty())
        .collect();
    stalls.sort_by_key(|stall| Reverse(Interval::from(*stall).len_ns()));
    let Some(longest_ns) = stalls.first().map(|stall| Interval::from(*stall).len_ns()) else {
        return;
    };
    let heading = format!("Longest of {}", text::count(report.stalls.count, "stall"));
    let _ = writeln!(out, "<section class=\"card\">\n<h2>{heading}</h2>");
    table(out, &["file", "at", "asked for", "waited"]);
    for stall in stalls.into_iter().take(STALLS_MAX) {
        let waited = meter(Interval::from(stall).len_ns(), longest_ns, "stall");
        row(
            out,
            &path_cell(&stall.path, PATH_CHARS),
            &[text::moment_in(stall.start_ns), human(stall.bytes), waited],
        );
    }
    end_table(out);
    out.push_str("</section>\n");
}

fn spans(out: &mut String, events: &[Event]) {
    let mut spans: Vec<&Span> =
        events.iter().filter_map(|e| if let Event::Span(span) = e { Some(span) } else { None }).collect();
    let all = spans.len();
    let length = |span: &Span| Interval::from(span).len_ns();
    spans.sort_by_key(|span| Reverse(length(span)));
    spans.truncate(SPANS_MAX);
    let longest_ns = spans.first().map_or(0, |span| length(span));
    spans.sort_by_key(|span| (span.start_ns, Reverse(span.end_ns)));
    let heading = if all > SPANS_MAX {
        format!("The longest {SPANS_MAX} of {all} spans")
    } else {
        text::count(all as u64, "span")
    };
    let _ = writeln!(out, "<section class=\"card\">\n<h2>{heading}</h2>");
    table(out, &["work", "detail", "at", "took"]);
    for span in spans {
        let phase = class(Paint::Path(span.phase));
        let name = format!("<i class=\"{phase}\" title=\"{}\"></i>{}", span.phase, text::html(&span.name));
        let detail = span.detail.as_deref().map_or(String::new(), text::html);
        row(out, &name, &[detail, text::moment_in(span.start_ns), meter(length(span), longest_ns, phase)]);
    }
    end_table(out);
    out.push_str("</section>\n");
}

/// A duration with a bar beside it, as long as it is of the longest.
fn meter(ns: u64, longest_ns: u64, class: &str) -> String {
    crate::page::meter(ns as f64, longest_ns.max(1) as f64, class, &nanos(ns))
}
