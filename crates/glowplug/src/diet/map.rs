//! The map of an image: an area for every file, as large as what a pull moves for it, in the colour of the finding that it
//! belongs to, within those of its directories.
//!
//! What is too small to be seen is drawn together, by finding: areas and colours are exact down to the last byte, and the
//! number of elements is bounded whatever the image holds.

use std::fmt::Write as _;

use glowplug_base::size::human;
use glowplug_convert::diet::Finding;

use super::Report;
use super::blocks::{Block, blocks};
use super::squares::{Rect, squares};
use crate::page::words::{count, html, shorten};

/// The drawing's size; it is scaled to the page.
const WIDTH: f64 = 940.0;
const HEIGHT: f64 = 760.0;
/// Directories within directories that are drawn as such.
const MAX_DEPTH: usize = 14;
/// Directories below this are one area, in square units.
const MIN_DIRECTORY_AREA: f64 = 700.0;
/// Areas below this are drawn together with their neighbours, in square units.
const MIN_AREA: f64 = 60.0;
/// Room for a directory's name.
const LABEL_HEIGHT: f64 = 16.0;
/// A frame's width around what a directory holds.
const FRAME: f64 = 2.0;
/// The least that a label needs.
const LABEL_MIN_WIDTH: f64 = 62.0;
/// The width of a character of a file's label, on average, and of a directory's, which is bold.
const CHAR_WIDTH: f64 = 6.4;
const BOLD_CHAR_WIDTH: f64 = 7.0;

/// The map as an `svg` element.
pub(super) fn map(report: &Report<'_>) -> String {
    let mut svg = format!(
        "<svg id=\"map\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"map of the image's files\">\n"
    );
    let root = blocks(report);
    let all = Rect { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT };
    Map { findings: &report.diet.findings, svg: &mut svg }.directory(&root, all, 0);
    svg.push_str("</svg>\n");
    svg
}

/// The class of an owner in the page's style: 0 for none, else one more than the finding's number.
fn class(findings: &[Finding], owner: usize) -> &'static str {
    owner.checked_sub(1).and_then(|finding| findings.get(finding)).map_or("none", |finding| finding.rule.id())
}

struct Map<'a> {
    findings: &'a [Finding],
    svg: &'a mut String,
}

impl Map<'_> {
    fn block(&mut self, block: &Block, rect: Rect, depth: usize) {
        let is_small = rect.area() < MIN_DIRECTORY_AREA || rect.width < 14.0 || rect.height < 14.0;
        if block.children.is_empty() || depth >= MAX_DEPTH || is_small {
            self.leaf(block, rect);
        } else {
            self.directory(block, rect, depth);
        }
    }

    fn directory(&mut self, block: &Block, rect: Rect, depth: usize) {
        let is_labelled =
            !block.name.is_empty() && rect.width >= LABEL_MIN_WIDTH && rect.height >= 2.5 * LABEL_HEIGHT;
        let top = if is_labelled { LABEL_HEIGHT } else { FRAME };
        let inner = rect.within(FRAME, top);
        let title =
            html(&format!("{}\n{}, {}", path(block), human(block.bytes), count(block.files as u64, "file")));
        self.rect("directory", rect, &title);
        if is_labelled {
            let words = format!("{} {}", block.name, human(block.bytes));
            let words = fitting(&words, &block.name, (rect.width - 8.0) / BOLD_CHAR_WIDTH);
            self.text("directory", rect.x + 4.0, rect.y + 11.5, &words);
        }
        // How many bytes an area stands for that is just large enough.
        let least = (block.bytes as f64 * MIN_AREA / inner.area().max(1.0)) as u64;
        let seen = block.children.partition_point(|child| child.bytes >= least);
        let (large, small) = block.children.split_at(seen);
        let rest = (!small.is_empty()).then(|| {
            let files: usize = small.iter().map(|child| child.files).sum();
            Block::merged(format!("{files} more"), path(block).to_owned(), small)
        });
        let mut children: Vec<&Block> = large.iter().chain(&rest).collect();
        children.sort_by_key(|child| std::cmp::Reverse(child.bytes));
        let weights: Vec<u64> = children.iter().map(|child| child.bytes).collect();
        for (child, rect) in children.into_iter().zip(squares(&weights, inner)) {
            self.block(child, rect, depth + 1);
        }
    }

    /// One area, split by owner.
    fn leaf(&mut self, block: &Block, rect: Rect) {
        let mut owned: Vec<(usize, u64)> =
            block.owned.iter().map(|(owner, bytes)| (*owner, *bytes)).collect();
        owned.sort_by_key(|(owner, bytes)| (std::cmp::Reverse(*bytes), *owner));
        let weights: Vec<u64> = owned.iter().map(|(_, bytes)| *bytes).collect();
        for (number, ((owner, bytes), rect)) in owned.iter().zip(squares(&weights, rect)).enumerate() {
            let finding = owner.checked_sub(1).and_then(|finding| self.findings.get(finding));
            let why = finding.map_or("", |finding| finding.rule.title());
            let what = if block.files == 1 {
                String::new()
            } else {
                format!(", {}", count(block.files as u64, "file"))
            };
            let title = html(&format!("{}\n{}{what}\n{why}", path(block), human(*bytes)));
            let class = class(self.findings, *owner);
            self.rect(class, rect, title.trim_end());
            if number == 0 && rect.width >= LABEL_MIN_WIDTH && rect.height >= LABEL_HEIGHT {
                let words = fitting(&block.name, &block.name, (rect.width - 8.0) / CHAR_WIDTH);
                self.text(class, rect.x + 4.0, rect.y + 12.0, &words);
                if rect.height >= 2.0 * LABEL_HEIGHT {
                    self.text(class, rect.x + 4.0, rect.y + 25.0, &human(*bytes));
                }
            }
        }
    }

    /// `title` is HTML already.
    fn rect(&mut self, class: &str, rect: Rect, title: &str) {
        let Rect { x, y, width, height } = rect;
        let _ = writeln!(
            self.svg,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{title}</title></rect>"
        );
    }

    fn text(&mut self, class: &str, x: f64, y: f64, words: &str) {
        let words = html(words);
        let _ = writeln!(self.svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>");
    }
}

fn path(block: &Block) -> &str {
    if block.path.is_empty() { "/" } else { &block.path }
}

/// The longer of two labels that has at most so many characters, shortened if neither does.
fn fitting(long: &str, short: &str, chars: f64) -> String {
    let chars = chars.max(1.0) as usize;
    if long.chars().count() <= chars { long.to_owned() } else { shorten(short, chars, "…") }
}
