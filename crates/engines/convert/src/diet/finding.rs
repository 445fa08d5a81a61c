//! Findings, and which of them a file belongs to.
//!
//! Rules may name the same file. It belongs to one: a rule by which a file can go as a whole comes before one by which it
//! loses a part, and the rule that files are merely untouched by comes last; of equals the one with more compressed bytes
//! comes first. What a finding costs is counted over the files that belong to it, so that sums are of distinct files.

use std::cmp::Reverse;

use super::rules::{Draft, Rule};
use super::share::scale;
use super::{File, Inventory};

/// Of a finding whose bytes starts touch at least this part, one in so many, the bytes also are in the way of starts.
const TOUCHED_ONE_IN: u64 = 10;

/// A file of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Number of the file in the inventory.
    pub file: usize,
    /// How many of its bytes need not be there; none where the file is to stay.
    pub bytes: u64,
    /// What a pull moves for them, in bytes: an estimate.
    pub blob_bytes: u64,
    /// What is to be known about this file.
    pub note: Option<String>,
}

impl Item {
    /// All of a file.
    pub fn whole(number: usize, file: &File) -> Self {
        Self { file: number, bytes: file.bytes, blob_bytes: file.blob_bytes, note: None }
    }

    /// `bytes` of a file, which compress as the rest does.
    pub fn part(number: usize, file: &File, bytes: u64) -> Self {
        let bytes = bytes.min(file.bytes);
        Self { file: number, bytes, blob_bytes: scale(bytes, file.blob_bytes, file.bytes), note: None }
    }

    /// A file that is to stay as it is.
    pub const fn kept(number: usize) -> Self {
        Self { file: number, bytes: 0, blob_bytes: 0, note: None }
    }

    /// With something to be known about it.
    #[must_use]
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}

/// How much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files.
    pub files: usize,
    /// Bytes of files.
    pub bytes: u64,
    /// What a pull moves for them, in bytes.
    pub blob_bytes: u64,
}

impl Amount {
    fn add(&mut self, item: &Item) {
        self.files += 1;
        self.bytes += item.bytes;
        self.blob_bytes += item.blob_bytes;
    }

    fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut amount = Self::default();
        items.into_iter().for_each(|item| amount.add(item));
        amount
    }
}

/// What pays for a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// The pull; a lazy start does not wait for it.
    Pull,
    /// The start, however the bytes come.
    Start,
    /// Both: starts read these bytes.
    PullAndStart,
}

impl Cost {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Start => "start",
            Self::PullAndStart => "pull and start",
        }
    }
}

/// What one rule found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What to do about it.
    pub way_out: String,
    /// The files that it names, those with most to spare first.
    pub items: Vec<Item>,
    /// All of them.
    pub all: Amount,
    /// Those that belong to it.
    pub own: Amount,
    /// How long the link moves what belongs to it.
    pub pull_seconds: f64,
    /// An estimate of what it costs every start beside the link.
    pub start_seconds: f64,
    /// What pays for it.
    pub cost: Cost,
}

impl Finding {
    /// What it costs in seconds, link and start together.
    pub fn seconds(&self) -> f64 {
        self.pull_seconds + self.start_seconds
    }
}

/// The report on an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Diet {
    /// What costs most seconds first.
    pub findings: Vec<Finding>,
    /// For each file of the inventory the number of its finding in `findings`, and what it has to spare there.
    pub owners: Vec<Option<(usize, Item)>>,
    /// Distinct files of all findings but those that only no start touched.
    pub spare: Amount,
    /// Distinct files that no recorded start touched and no other finding has.
    pub idle: Amount,
    /// Speed of the link in Mbit/s.
    pub link_mbit: u64,
}

impl Diet {
    /// Gives each file to one of the drafts, and counts.
    pub(super) fn settle(inventory: &Inventory, drafts: Vec<Draft>, link_mbit: u64) -> Self {
        let mut ranked: Vec<(Draft, Amount)> = drafts
            .into_iter()
            .map(|draft| (Amount::of(&draft.items), draft))
            .map(|(all, draft)| (draft, all))
            .collect();
        ranked.sort_by_key(|(draft, all)| (draft.rule.precedence(), Reverse(all.blob_bytes)));
        let mut owners: Vec<Option<(Rule, Item)>> = vec![None; inventory.files.len()];
        let mut findings: Vec<Finding> = Vec::new();
        for (mut draft, all) in ranked {
            let (mut own, mut touched) = (Amount::default(), 0);
            // What is to stay belongs to nobody, and is counted all the same.
            let free = |owner: &Option<(Rule, Item)>, item: &Item| owner.is_none() || item.bytes == 0;
            for item in &draft.items {
                let owner = &mut owners[item.file];
                if !free(owner, item) {
                    continue;
                }
                own.add(item);
                let file = &inventory.files[item.file];
                // Which part of a file was touched is not told.
                if item.bytes == file.bytes {
                    touched += file.touched_blob_bytes;
                }
                if item.bytes > 0 {
                    *owner = Some((draft.rule, item.clone()));
                }
            }
            let is_touched = touched > 0 && touched >= own.blob_bytes / TOUCHED_ONE_IN;
            draft
                .items
                .sort_by_key(|item| (Reverse(item.blob_bytes), Reverse(inventory.files[item.file].bytes)));
            findings.push(Finding {
                rule: draft.rule,
                way_out: draft.way_out,
                items: draft.items,
                all,
                own,
                pull_seconds: seconds(own.blob_bytes, link_mbit),
                start_seconds: draft.start_seconds,
                cost: match draft.rule.cost() {
                    Cost::Pull if is_touched => Cost::PullAndStart,
                    Cost::PullAndStart if inventory.starts > 0 && !is_touched => Cost::Pull,
                    cost => cost,
                },
            });
        }
        findings.sort_by(|a, b| b.seconds().total_cmp(&a.seconds()));
        let place = |rule: Rule| findings.iter().position(|finding| finding.rule == rule);
        let owners: Vec<Option<(usize, Item)>> = owners
            .into_iter()
            .map(|owner| owner.and_then(|(rule, item)| Some((place(rule)?, item))))
            .collect();
        let (mut spare, mut idle) = (Amount::default(), Amount::default());
        for (finding, item) in owners.iter().flatten() {
            let sum = if findings[*finding].rule == Rule::Untouched { &mut idle } else { &mut spare };
            sum.add(item);
        }
        Self { findings, owners, spare, idle, link_mbit }
    }

    /// How long the link moves so many bytes, in seconds.
    pub fn seconds(&self, blob_bytes: u64) -> f64 {
        seconds(blob_bytes, self.link_mbit)
    }
}

fn seconds(blob_bytes: u64, link_mbit: u64) -> f64 {
    blob_bytes as f64 * 8.0 / (link_mbit.max(1) as f64 * 1e6)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{inventory, layer, number};
    use super::*;

    fn draft(rule: Rule, items: Vec<Item>) -> Draft {
        Draft { rule, way_out: String::new(), items, start_seconds: 0.0 }
    }

    #[test]
    fn a_file_belongs_to_one_finding_and_sums_are_of_distinct_files() {
        let inventory = inventory(&[layer(&[("a", 1_000_000), ("b", 2_000_000), ("c", 4_000_000)])]);
        let at = |path: &str| (number(&inventory, path), &inventory.files[number(&inventory, path)]);
        let whole = |path: &str| Item::whole(at(path).0, at(path).1);
        let part = |path: &str, bytes| Item::part(at(path).0, at(path).1, bytes);
        let diet = Diet::settle(
            &inventory,
            vec![
                draft(Rule::Tests, vec![whole("/a"), whole("/b")]),
                draft(Rule::Docs, vec![whole("/b")]),
                draft(Rule::Debug, vec![part("/a", 900_000), part("/c", 3_000_000)]),
                draft(Rule::Untouched, vec![whole("/a"), whole("/b"), whole("/c")]),
            ],
            8,
        );
        let of = |rule: Rule| diet.findings.iter().find(|finding| finding.rule == rule).unwrap();
        assert_eq!(of(Rule::Tests).own, of(Rule::Tests).all, "what can go whole goes before a part");
        assert_eq!((of(Rule::Docs).own.files, of(Rule::Docs).all.files), (0, 1));
        assert_eq!((of(Rule::Debug).own.bytes, of(Rule::Debug).all.bytes), (3_000_000, 3_900_000));
        assert_eq!((of(Rule::Untouched).own.files, diet.idle.files), (0, 0), "a part of /c is spoken for");
        assert_eq!((diet.spare.files, diet.spare.bytes), (3, 6_000_000));
        let sum: u64 = diet.findings.iter().map(|finding| finding.own.blob_bytes).sum();
        assert_eq!(sum, diet.spare.blob_bytes);
        assert!((diet.seconds(1_000_000) - 1.0).abs() < 1e-9, "a megabyte at 8 Mbit/s");
        let order: Vec<f64> = diet.findings.iter().map(Finding::seconds).collect();
        assert!(order.is_sorted_by(|a, b| a >= b), "worst first: {order:?}");
    }
}
