//! What an image is made of and what to do about it: findings with bytes and seconds, worst first.
//!
//! ```text
//! Inventory   every file that a pull moves: the compressed bytes it costs, whether the image still shows it, whether
//!             a recorded start touched it
//! Contents    what reading tells: weights by their first bytes, debug sections, digests of files of equal size
//! rules       each names files, and how many of their bytes need not be there
//! Diet        each file belongs to one finding, so that no byte is counted twice
//! ```
//!
//! Nothing here moves bytes: contents are looked at as far as they are in the store. Three numbers are estimates, and are
//! called so where they are shown: the compressed bytes of a file, which are its share of the spans that it lies in; the
//! compressed bytes of a part of a file; and the seconds that missing bytecode costs.

mod contents;
mod elf;
mod finding;
#[cfg(test)]
mod fixture;
mod inventory;
pub(crate) mod magic;
mod place;
mod rules;
mod share;

pub use contents::Contents;
pub use finding::{Amount, Cost, Diet, Finding, Item};
pub use inventory::{Fate, File, Inventory, Pulled};
pub use rules::Rule;

/// What the rules go by.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The files.
    pub inventory: &'a Inventory,
    /// What is in them, as far as it was looked at.
    pub contents: &'a Contents,
    /// The environment that the image's configuration sets, as `NAME=value`.
    pub env: &'a [String],
}

/// The files that are known for model weights, by their numbers in the inventory.
pub(crate) fn weights(facts: Facts<'_>) -> Vec<usize> {
    Rule::Weights.ask(facts).into_iter().flat_map(|draft| draft.items).map(|item| item.file).collect()
}

/// Asks every rule, and settles which finding each file belongs to; seconds are those of a link of `link_mbit` Mbit/s.
pub fn examine(facts: Facts<'_>, link_mbit: u64) -> Diet {
    let drafts = Rule::ALL.into_iter().filter_map(|rule| rule.ask(facts)).collect();
    Diet::settle(facts.inventory, drafts, link_mbit)
}
