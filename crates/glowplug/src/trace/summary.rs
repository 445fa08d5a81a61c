//! The start in sentences, each without a full stop.

use std::cmp::Reverse;

use glowplug_base::size::{human, nanos};
use glowplug_timeline::Report;

use super::text;

/// What came over the network until the start was over, and why.
pub(super) fn moved(report: &Report) -> String {
    let link = &report.link;
    let until = if report.ready_ns.is_some() { "until ready" } else { "so far" };
    if link.bytes_until_ready() == 0 {
        return format!("nothing moved over the network {until}");
    }
    let mut causes = link.by_cause;
    causes.sort_by_key(|c| Reverse(c.bytes_until_ready));
    let causes: Vec<String> = causes
        .iter()
        .filter(|c| c.bytes_until_ready > 0)
        .map(|c| format!("{} {}", human(c.bytes_until_ready), text::cause(c.cause)))
        .collect();
    let of = report.header.image_bytes.map_or(String::new(), |bytes| format!(" of {}", human(bytes)));
    let rate = link.bytes_per_second().map_or(String::new(), |r| format!("; {} while busy", text::rate(r)));
    format!("{}{of} moved {until}: {}{rate}", human(link.bytes_until_ready()), causes.join(", "))
}

/// How long the application waited for bytes.
pub(super) fn waited(report: &Report) -> String {
    match report.stalls.count {
        0 => "the application never waited for bytes".to_owned(),
        n => format!(
            "the application waited {} in {}",
            nanos(report.stalls.waited_ns),
            text::count(n, "stall")
        ),
    }
}

/// When the whole image was here, if it was.
pub(super) fn complete(report: &Report) -> Option<String> {
    report.complete_ns.map(|at_ns| format!("every byte was here after {}", nanos(at_ns)))
}
