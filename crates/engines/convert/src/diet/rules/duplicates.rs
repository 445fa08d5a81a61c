//! Files of equal content, in one layer or in several: all but one of them.
//!
//! Compared are files from 64 KiB on whose bytes are in the store, by length and then by digest. The copy that counts as
//! the original is the lowest layer's, there the one with the shortest path.

use std::collections::BTreeMap;

use super::super::{Facts, Item};
use super::{Draft, Rule};

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let files = &facts.inventory.files;
    let mut equal: BTreeMap<(u64, &glowplug_base::Digest), Vec<usize>> = BTreeMap::new();
    for (number, digest) in &facts.contents.digests {
        equal.entry((files[*number].size, digest)).or_default().push(*number);
    }
    let mut items = Vec::new();
    for mut copies in equal.into_values() {
        copies.sort_by_key(|number| (files[*number].layer, files[*number].path.len(), *number));
        let Some((original, further)) = copies.split_first() else { continue };
        let note = || format!("the same as {}", files[*original].path);
        items.extend(further.iter().map(|number| Item::whole(*number, &files[*number]).noted(note())));
    }
    items.sort_by_key(|item| item.file);
    let way_out = "Keep one and link the others to it in the RUN that makes them: ln -f ORIGINAL COPY, or for whole folders \
                   rdfind -makehardlinks true FOLDER. Across layers, leave out the copy of the upper one.";
    Rule::Duplicates.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use glowplug_base::Digest;

    use super::super::super::fixture::{ask, inventory, layer, number, paths};
    use super::super::super::{Contents, Rule};

    #[test]
    fn all_but_the_first_of_equal_files_are_too_many() {
        let inventory = inventory(&[
            layer(&[("x/long/a", 70_000), ("a", 70_000), ("b", 70_000)]),
            layer(&[("0", 70_000)]),
        ]);
        let digest = |text: &str| Digest::of(text.as_bytes());
        let of = |path: &str, text: &str| (number(&inventory, path), digest(text));
        let digests = [of("/x/long/a", "same"), of("/a", "same"), of("/0", "same"), of("/b", "other")].into();
        let draft = ask(Rule::Duplicates, &inventory, &Contents { digests, ..Contents::default() }).unwrap();
        assert_eq!(draft.items[0].note.as_deref(), Some("the same as /a"));
        assert_eq!(paths(&inventory, Some(draft)), ["/x/long/a", "/0"]);
        assert_eq!(ask(Rule::Duplicates, &inventory, &Contents::default()), None, "nothing was read");
    }
}
