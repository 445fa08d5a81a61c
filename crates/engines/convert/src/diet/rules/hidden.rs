//! Files that a layer brings and a later one hides: they are pulled and never seen.

use super::super::{Facts, Fate, File, Item};
use super::{Draft, Rule};

/// What a later layer deletes.
pub fn deleted(facts: Facts<'_>) -> Draft {
    let item = |(number, file): (usize, &File)| {
        let Fate::Deleted(by) = file.fate else { return None };
        let item = Item::whole(number, file);
        Some(match by {
            Some(layer) => item.noted(format!("of layer {}, deleted in layer {layer}", file.layer)),
            None => item.noted(format!("of layer {}", file.layer)),
        })
    };
    let items = facts.inventory.files.iter().enumerate().filter_map(item).collect();
    let way_out = "Delete in the RUN that makes the files (RUN make … && rm -rf build), or make them in a stage of its own \
                   and COPY --from=build only what is wanted: a later RUN rm hides files, and their bytes are pulled all \
                   the same.";
    Rule::Deleted.draft(items, way_out)
}

/// What a later layer has again.
pub fn replaced(facts: Facts<'_>) -> Draft {
    // By path, the sizes of what is shown: what is as long as its successor most likely changed owner or mode only.
    let shown: std::collections::HashMap<&str, u64> =
        facts.inventory.shown().map(|(_, file)| (&*file.path, file.size)).collect();
    let item = |(number, file): (usize, &File)| {
        let Fate::Replaced(by) = file.fate else { return None };
        let same = shown.get(&*file.path) == Some(&file.size);
        let how = if same { ", as long as before" } else { "" };
        let note = format!("of layer {}, written again in layer {by}{how}", file.layer);
        Some(Item::whole(number, file).noted(note))
    };
    let items = facts.inventory.files.iter().enumerate().filter_map(item).collect();
    let way_out = "Write each file once, in one layer. A RUN chown -R or chmod -R writes all files again: \
                   COPY --chown=USER:GROUP --chmod=MODE sets both without a copy.";
    Rule::Replaced.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{ask, inventory, layer, paths};
    use super::super::super::{Contents, Rule};

    #[test]
    fn what_later_layers_hide_is_named_with_both_layers() {
        let inventory = inventory(&[
            layer(&[("big.tar", 90_000), ("app.py", 500), ("kept", 10)]),
            layer(&[(".wh.big.tar", 0), ("app.py", 500)]),
        ]);
        let deleted = ask(Rule::Deleted, &inventory, &Contents::default()).unwrap();
        assert_eq!(deleted.items[0].note.as_deref(), Some("of layer 0, deleted in layer 1"));
        assert_eq!(paths(&inventory, Some(deleted)), ["/big.tar"]);
        let replaced = ask(Rule::Replaced, &inventory, &Contents::default()).unwrap();
        let note = "of layer 0, written again in layer 1, as long as before";
        assert_eq!(replaced.items[0].note.as_deref(), Some(note));
        assert_eq!(inventory.files[replaced.items[0].file].layer, 0, "the copy below is the one too many");
        assert_eq!(paths(&inventory, Some(replaced)), ["/app.py"]);
    }
}
