//! What no recorded start touched. Only with a record: a start that nobody watched tells nothing.
//!
//! What is named here was not read until ten seconds after the start was over, nor lies in a file that was. It may be wanted
//! later, and of several runs what fewer than half of them read counts as not read.

use super::super::{Facts, Item};
use super::{Draft, Rule};

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let starts = facts.inventory.starts;
    let untouched = facts.inventory.shown().filter(|(_, file)| starts > 0 && !file.touched);
    let items = untouched.map(|(number, file)| Item::whole(number, file)).collect();
    let recorded =
        if starts == 1 { "the recorded start".to_owned() } else { format!("the {starts} recorded starts") };
    let way_out = format!(
        "Nothing here was read until ten seconds after {recorded}. Leave out the packages that are not wanted; what is wanted \
         later costs the start nothing as long as the image is read lazily."
    );
    Rule::Untouched.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use glowplug_image::Profile;

    use super::super::super::fixture::{ask, inventory, layer, paths, started};
    use super::super::super::{Contents, Cost, Diet, Rule};

    #[test]
    fn what_starts_did_not_touch_is_named_only_where_one_is_recorded() {
        let layers = [layer(&[("a", 9_000)]), layer(&[("b", 9_000)])];
        assert_eq!(ask(Rule::Untouched, &inventory(&layers), &Contents::default()), None);
        let profile = Profile::of_run([("a".to_owned(), 0, 5)]);
        let inventory = started(&layers, &[profile]);
        let draft = ask(Rule::Untouched, &inventory, &Contents::default());
        assert_eq!(paths(&inventory, draft.clone()), ["/b"]);
        let diet = Diet::settle(&inventory, draft.into_iter().collect(), 1000);
        assert_eq!((diet.findings[0].cost, diet.idle.files, diet.spare.files), (Cost::Pull, 1, 0));
    }
}
