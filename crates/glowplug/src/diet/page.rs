//! The report as a page: the map with the findings beside it, then each finding with its files, then the layers.

use std::fmt::Write as _;

use glowplug_base::size::human;
use glowplug_convert::diet::{Finding, Item, Rule};

use super::map::map;
use super::{ESTIMATES, Report, beginning, instruction, seconds, start_seconds};
use crate::page::words::{count, html, percent};
use crate::page::{begin, end, end_table, meter, path_cell, row, table};

const STYLE: &str = include_str!("page.css");
/// Characters of a path; the rest is in its title.
const PATH_CHARS: usize = 110;
/// Characters of an instruction; the rest is in its title.
const INSTRUCTION_CHARS: usize = 160;

/// The page, with `top` files for each finding.
pub fn page(report: &Report<'_>, top: usize) -> String {
    let mut out =
        begin(&format!("What {} is made of", report.image), &format!("{STYLE}{}", highlights(report)));
    header(&mut out, report);
    tiles(&mut out, report);
    let _ = write!(
        out,
        "<div class=\"pair\">\n<section class=\"card\">\n<h2>Every byte that a pull moves</h2>\n{}<div class=\"scroll\">\n{}</div>\n\
         </section>\n<section class=\"card beside\">\n<h2>Worst first</h2>\n",
        legend(report),
        map(report)
    );
    findings(&mut out, report);
    out.push_str("</section>\n</div>\n");
    report.diet.findings.iter().for_each(|finding| one(&mut out, finding, report, top));
    beside(&mut out, report, top);
    layers(&mut out, report);
    let _ = writeln!(out, "<p class=\"quiet\">{}</p>", html(ESTIMATES));
    if let Some(left_out) = report.not_looked_at() {
        let _ = writeln!(out, "<p class=\"quiet\">{}</p>", html(&left_out));
    }
    end(&mut out, None);
    out
}

/// Who points at a finding sees its files alone.
fn highlights(report: &Report<'_>) -> String {
    let mut style = String::new();
    for id in report.diet.findings.iter().map(|finding| finding.rule.id()) {
        let _ = writeln!(
            style,
            "main:has(tr.{id}:hover, .legend .{id}:hover) #map :is(rect, text):not(.{id}, .directory) {{ opacity: 0.15; }}"
        );
    }
    style
}

fn header(out: &mut String, report: &Report<'_>) {
    let (diet, inventory) = (report.diet, report.inventory);
    let _ = write!(
        out,
        "<header>\n<div>\n<p class=\"kicker\">image diet</p>\n<h1>{}</h1>\n<p class=\"quiet\">{}</p>\n</div>\n\
         <p class=\"wall\"><b>{}</b><span>to pull, {} at {} Mbit/s</span></p>\n</header>\n",
        html(report.image),
        report.manifest,
        human(inventory.blob_bytes()),
        html(&seconds(diet.seconds(inventory.blob_bytes()))),
        diet.link_mbit,
    );
}

fn tiles(out: &mut String, report: &Report<'_>) {
    let (diet, inventory) = (report.diet, report.inventory);
    let whole = inventory.blob_bytes();
    let start: f64 = diet.findings.iter().map(|finding| finding.start_seconds).sum();
    out.push_str("<div class=\"tiles\">\n");
    let mut tile = |class: &str, name: &str, part: &str, total: &str, what: &str| {
        let (part, total, what) = (html(part), html(total), html(what));
        let _ = writeln!(
            out,
            "<div class=\"tile {class}\"><h2>{name}<span>{part}</span></h2><p class=\"total\">{total}</p><p class=\"quiet\">{what}</p></div>"
        );
    };
    let spare = diet.spare.blob_bytes;
    let saved = format!("{} of a pull", seconds(diet.seconds(spare)));
    tile("all", "need not be there", &percent(spare, whole), &human(spare), &saved);
    if inventory.starts > 0 {
        let idle = diet.idle.blob_bytes;
        let what = format!(
            "by {}, and no other finding has it",
            count(u64::from(inventory.starts), "recorded start")
        );
        tile("untouched", "not touched", &percent(idle, whole), &human(idle), &what);
    }
    if start > 0.0 {
        tile(
            "bytecode-missing",
            "lost at every start",
            "estimated",
            &start_seconds(start),
            Rule::Bytecode.title(),
        );
    }
    let files = count(inventory.files.len() as u64, "file");
    let in_layers = format!("in {}", count(inventory.layers.len() as u64, "layer"));
    tile("any", "unpacked", &files, &human(inventory.bytes()), &in_layers);
    out.push_str("</div>\n");
}

fn legend(report: &Report<'_>) -> String {
    let mut legend = String::from("<p class=\"legend\">");
    for finding in report.diet.findings.iter().filter(|finding| finding.own.blob_bytes > 0) {
        let _ =
            write!(legend, "<span class=\"{}\"><i></i>{}</span>", finding.rule.id(), finding.rule.title());
    }
    legend.push_str("<span class=\"none\"><i></i>no finding</span></p>\n");
    legend
}

fn findings(out: &mut String, report: &Report<'_>) {
    let diet = report.diet;
    if diet.findings.is_empty() {
        out.push_str("<p class=\"quiet\">Nothing was found.</p>\n");
        return;
    }
    out.push_str("<div class=\"found\">");
    table(out, &["finding", "files", "to pull", "pull", "start"]);
    for finding in &diet.findings {
        let id = finding.rule.id();
        let pull = if finding.own.blob_bytes > 0 { seconds(finding.pull_seconds) } else { "–".to_owned() };
        let _ = writeln!(
            out,
            "<tr class=\"{id}\"><td><i></i>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            finding.rule.title(),
            finding.own.files,
            human(finding.own.blob_bytes),
            html(&pull),
            html(&start_seconds(finding.start_seconds)),
        );
    }
    for (words, amount) in [("need not be there", diet.spare), ("only not touched", diet.idle)] {
        if amount.files > 0 {
            let _ = writeln!(
                out,
                "<tr class=\"sum\"><td>{words}</td><td>{}</td><td>{}</td><td>{}</td><td></td></tr>",
                amount.files,
                human(amount.blob_bytes),
                html(&seconds(diet.seconds(amount.blob_bytes))),
            );
        }
    }
    end_table(out);
    out.push_str("</div>\n<p class=\"quiet\">Each file is counted once.</p>\n");
}

fn one(out: &mut String, finding: &Finding, report: &Report<'_>, top: usize) {
    let id = finding.rule.id();
    let mut facts = vec![count(finding.own.files as u64, "file")];
    if finding.own.blob_bytes > 0 {
        facts.push(format!("{} to pull, {}", human(finding.own.blob_bytes), seconds(finding.pull_seconds)));
        facts.push(format!("{} unpacked", human(finding.own.bytes)));
    }
    if finding.start_seconds > 0.0 {
        facts.push(format!("{} at every start, estimated", start_seconds(finding.start_seconds)));
    }
    facts.push(format!("paid by {}", finding.cost.words()));
    if finding.all != finding.own {
        let more = finding.all.blob_bytes - finding.own.blob_bytes;
        facts.push(format!("{} more counted at other findings", human(more)));
    }
    let _ = writeln!(
        out,
        "<section class=\"card {id}\">\n<h2><i></i>{}<span>{}</span></h2>\n<p class=\"way\">{}</p>",
        finding.rule.title(),
        html(&facts.join(", ")),
        html(&finding.way_out)
    );
    if top > 0 {
        table(out, &["file", "", "unpacked", "to pull"]);
        let largest = finding.items.first().map_or(0, |item| item.blob_bytes);
        finding.items.iter().take(top).for_each(|item| line(out, item, report, id, largest));
        end_table(out);
    }
    let more = finding.items.len().saturating_sub(top);
    if more > 0 {
        let _ = writeln!(out, "<p class=\"quiet\">and {more} more</p>");
    }
    out.push_str("</section>\n");
}

fn line(out: &mut String, item: &Item, report: &Report<'_>, class: &str, largest: u64) {
    let file = &report.inventory.files[item.file];
    let note = item.note.as_deref().map_or(String::new(), html);
    let (bytes, to_pull) = if item.bytes > 0 {
        (item.bytes, meter(item.blob_bytes as f64, largest as f64, class, &human(item.blob_bytes)))
    } else {
        (file.bytes, "stays".to_owned())
    };
    row(out, &path_cell(&file.path, PATH_CHARS), &[note, human(bytes), to_pull]);
}

fn beside(out: &mut String, report: &Report<'_>, top: usize) {
    let (Some(artifact), Some(words)) = (report.beside, report.lies_beside()) else { return };
    let _ = writeln!(
        out,
        "<section class=\"card\">\n<h2>Models beside the image</h2>\n<p class=\"way\">{}</p>",
        html(&words)
    );
    let files = &artifact.models.files;
    if top > 0 {
        table(out, &["file", "bytes"]);
        for file in files.iter().take(top) {
            row(out, &path_cell(&file.path, PATH_CHARS), &[human(file.size)]);
        }
        end_table(out);
    }
    let more = files.len().saturating_sub(top);
    if more > 0 {
        let _ = writeln!(out, "<p class=\"quiet\">and {more} more</p>");
    }
    out.push_str("</section>\n");
}

fn layers(out: &mut String, report: &Report<'_>) {
    let inventory = report.inventory;
    out.push_str("<section class=\"card layers\">\n<h2>Layers</h2>\n");
    table(out, &["#", "made by", "files", "unpacked", "to pull"]);
    let largest = inventory.layers.iter().map(|layer| layer.blob_bytes).max().unwrap_or(0);
    for (number, layer) in inventory.layers.iter().enumerate() {
        let made_by = report.made_by.get(number).and_then(Option::as_deref).unwrap_or_default();
        let made_by = format!(
            "<code title=\"{}\">{}</code>",
            html(made_by),
            html(&beginning(instruction(made_by), INSTRUCTION_CHARS))
        );
        let to_pull = meter(layer.blob_bytes as f64, largest as f64, "all", &human(layer.blob_bytes));
        row(out, &number.to_string(), &[made_by, layer.files.to_string(), human(layer.bytes), to_pull]);
    }
    end_table(out);
    out.push_str("</section>\n");
}
