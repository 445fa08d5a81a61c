//! The rules: what an image need not carry, one way out for each.
//!
//! A rule names files by where they lie, by what is in them, or by what the layers above make of them. All but
//! [`Rule::Deleted`] and [`Rule::Replaced`] look only at files that the image shows.

mod bytecode;
mod caches;
mod cuda;
mod debug;
mod development;
mod docs;
mod duplicates;
mod hidden;
mod test_suites;
mod untouched;
mod weights;

use super::{Cost, Facts, Item};

/// What a rule found, before files are given to findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The rule.
    pub rule: Rule,
    /// What to do about it.
    pub way_out: String,
    /// The files, each once.
    pub items: Vec<Item>,
    /// An estimate of what it costs every start beside the link, in seconds.
    pub start_seconds: f64,
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// Model weights.
    Weights,
    /// What package managers keep for the next time.
    Caches,
    /// Files that a later layer deletes.
    Deleted,
    /// Files that a later layer has again.
    Replaced,
    /// Files of equal content.
    Duplicates,
    /// Libraries of CUDA in more than one place.
    Cuda,
    /// Static libraries and headers.
    Development,
    /// Debug sections and symbol tables.
    Debug,
    /// Test suites.
    Tests,
    /// Documentation and translations.
    Docs,
    /// Python without its bytecode.
    Bytecode,
    /// What no recorded start touched.
    Untouched,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Weights,
        Self::Caches,
        Self::Deleted,
        Self::Replaced,
        Self::Duplicates,
        Self::Cuda,
        Self::Development,
        Self::Debug,
        Self::Tests,
        Self::Docs,
        Self::Bytecode,
        Self::Untouched,
    ];

    /// Its name for machines; the name of its colour, too.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Caches => "package-caches",
            Self::Deleted => "deleted-later",
            Self::Replaced => "replaced-later",
            Self::Duplicates => "duplicates",
            Self::Cuda => "cuda-copies",
            Self::Development => "development-files",
            Self::Debug => "debug-symbols",
            Self::Tests => "test-suites",
            Self::Docs => "documentation",
            Self::Bytecode => "bytecode-missing",
            Self::Untouched => "untouched",
        }
    }

    /// Its name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Weights => "model weights in the image",
            Self::Caches => "package caches",
            Self::Deleted => "files deleted by a later layer",
            Self::Replaced => "files written again by a later layer",
            Self::Duplicates => "further copies of the same file",
            Self::Cuda => "further copies of CUDA's libraries",
            Self::Development => "static libraries and headers",
            Self::Debug => "debug symbols",
            Self::Tests => "test suites",
            Self::Docs => "documentation and translations",
            Self::Bytecode => "Python without bytecode",
            Self::Untouched => "files that no recorded start touched",
        }
    }

    /// Who pays for it, as long as no recorded start says better.
    pub(super) const fn cost(self) -> Cost {
        match self {
            Self::Weights => Cost::PullAndStart,
            Self::Bytecode => Cost::Start,
            _ => Cost::Pull,
        }
    }

    /// Which findings a file belongs to first: those by which it goes as a whole, those by which it loses a part, and last
    /// those that know nothing of it but that it was not touched.
    pub(super) const fn precedence(self) -> u8 {
        match self {
            Self::Debug => 1,
            Self::Untouched => 2,
            _ => 0,
        }
    }

    /// What it finds; `None` for nothing.
    pub(super) fn ask(self, facts: Facts<'_>) -> Option<Draft> {
        let draft = match self {
            Self::Weights => weights::find(facts),
            Self::Caches => caches::find(facts),
            Self::Deleted => hidden::deleted(facts),
            Self::Replaced => hidden::replaced(facts),
            Self::Duplicates => duplicates::find(facts),
            Self::Cuda => cuda::find(facts),
            Self::Development => development::find(facts),
            Self::Debug => debug::find(facts),
            Self::Tests => test_suites::find(facts),
            Self::Docs => docs::find(facts),
            Self::Bytecode => bytecode::find(facts),
            Self::Untouched => untouched::find(facts),
        };
        Some(draft).filter(|draft| !draft.items.is_empty())
    }

    fn draft(self, items: Vec<Item>, way_out: impl Into<String>) -> Draft {
        Draft { rule: self, way_out: way_out.into(), items, start_seconds: 0.0 }
    }
}

/// Whole files that the image shows and that lie where `here` says, by path.
fn lying(facts: Facts<'_>, here: impl Fn(&str) -> bool) -> Vec<Item> {
    let found = facts.inventory.shown().filter(|(_, file)| here(&file.path));
    found.map(|(number, file)| Item::whole(number, file)).collect()
}
