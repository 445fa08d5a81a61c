//! What all pages have in common: each is one file, nothing is loaded from elsewhere, light and dark.
//!
//! Whatever comes from an image or a timeline goes through [`words::html`] before it becomes part of a page.

pub mod words;

use std::fmt::Write as _;

use words::{html, shorten};

const STYLE: &str = include_str!("page/page.css");

/// Begins a page with a title, which is plain text, and what its style has beyond that of all pages.
pub fn begin(title: &str, style: &str) -> String {
    let title = html(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n"
    )
}

/// Ends a page, with a script if it has one.
pub fn end(out: &mut String, script: Option<&str>) {
    let script = script.map_or(String::new(), |script| format!("<script>\n{script}</script>\n"));
    let _ = write!(out, "</main>\n{script}</body>\n</html>\n");
}

/// Begins a table.
pub fn table(out: &mut String, heads: &[&str]) {
    out.push_str("<table><thead><tr>");
    for head in heads {
        let _ = write!(out, "<th>{head}</th>");
    }
    out.push_str("</tr></thead><tbody>\n");
}

/// A row of a table; the cells are HTML already.
pub fn row(out: &mut String, first: &str, cells: &[String]) {
    let _ = write!(out, "<tr><td>{first}</td>");
    for cell in cells {
        let _ = write!(out, "<td>{cell}</td>");
    }
    out.push_str("</tr>\n");
}

/// Ends a table.
pub fn end_table(out: &mut String) {
    out.push_str("</tbody></table>\n");
}

/// A number in words with a bar beside it, as long as `part` is of `whole`.
pub fn meter(part: f64, whole: f64, class: &str, words: &str) -> String {
    let percent = if whole > 0.0 { part * 100.0 / whole } else { 0.0 };
    format!(
        "<span class=\"meter\"><i class=\"{class}\" style=\"width:{percent:.1}%\"></i></span><b>{words}</b>"
    )
}

/// A path, shortened where it is longer than `max` characters; all of it is in its title.
pub fn path_cell(path: &str, max: usize) -> String {
    format!("<code title=\"{}\">{}</code>", html(path), html(&shorten(path, max, "…")))
}
