//! Python modules without bytecode: every start of a container compiles them again, and throws the result away.
//!
//! The seconds are an estimate. The measure is the import of sentence-transformers with torch, where all was in the page
//! cache: 10.2 s without bytecode, 5.9 s with it.

use std::collections::{BTreeMap, HashSet};

use super::super::place::{has_extension, in_packages, in_python, is_below};
use super::super::{Facts, File, Item};
use super::{Draft, Rule};

/// What compiling cost in that measurement, in seconds.
const MEASURED_SECONDS: f64 = 10.2 - 5.9;
/// What that import compiled: 3159 modules of so many bytes of source.
const MEASURED_SOURCE_BYTES: f64 = 66.1e6;
/// Which part that was of the source without bytecode in the image, 180.8 MB but for test suites; taken where no recorded
/// start tells what was touched.
const IMPORTED_SHARE: f64 = MEASURED_SOURCE_BYTES / 180.8e6;
/// Which part it was of what a recorded start of that application touched, 101.6 MB: the kernel reads ahead into modules
/// that nobody imports.
const TOUCHED_SHARE: f64 = MEASURED_SOURCE_BYTES / 101.6e6;
/// Less than this is no finding: a few modules of a distribution are without bytecode everywhere.
const FROM_SECONDS: f64 = 0.05;
/// Folders that the way out names.
const MAX_FOLDERS: usize = 3;

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let compiled: HashSet<(&str, &str)> =
        facts.inventory.shown().filter_map(|(_, file)| compiled(file)).collect();
    let lacks = |(_, file): &(usize, &File)| match file.name().strip_suffix(".py") {
        Some(module) => !is_test(&file.path) && !compiled.contains(&(file.directory(), module)),
        None => false,
    };
    let in_library = |(_, file): &(usize, &File)| in_python(&file.path).is_some();
    let sources: Vec<(usize, &File)> = facts.inventory.shown().filter(in_library).filter(lacks).collect();
    let known = facts.inventory.starts > 0;
    let touched = sources.iter().filter(|(_, file)| !known || file.touched);
    let bytes = touched.map(|(_, file)| file.bytes).sum::<u64>() as f64
        * if known { TOUCHED_SHARE } else { IMPORTED_SHARE };
    let start_seconds = bytes * MEASURED_SECONDS / MEASURED_SOURCE_BYTES;
    let items = if start_seconds < FROM_SECONDS {
        Vec::new()
    } else {
        sources.iter().map(|(at, _)| Item::kept(*at)).collect()
    };
    Draft { start_seconds, ..Rule::Bytecode.draft(items, way_out(facts, &sources)) }
}

/// The module that a file is the bytecode of: its folder and its name. Optimised bytecode is another module's.
fn compiled(file: &File) -> Option<(&str, &str)> {
    let name = file.name().strip_suffix(".pyc").filter(|name| !name.contains(".opt-"))?;
    Some(match file.directory().strip_suffix("/__pycache__") {
        Some(directory) => (directory, name.rsplit_once('.')?.0),
        None => (file.directory(), name),
    })
}

/// Test suites are rarely imported.
fn is_test(path: &str) -> bool {
    has_extension(path, &["py"])
        && ["tests", "test"].iter().any(|folder| is_below(in_packages(path).unwrap_or(path), folder))
}

fn way_out(facts: Facts<'_>, sources: &[(usize, &File)]) -> String {
    let mut folders: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, file) in sources {
        let inside = in_python(&file.path).map_or(0, str::len);
        *folders.entry(file.path[..file.path.len() - inside].trim_end_matches('/')).or_default() +=
            file.bytes;
    }
    let mut folders: Vec<(&str, u64)> = folders.into_iter().collect();
    folders.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let folders: Vec<&str> = folders.into_iter().take(MAX_FOLDERS).map(|(folder, _)| folder).collect();
    let mut text = format!(
        "Behind the last installation: RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash {}",
        folders.join(" ")
    );
    if facts.env.iter().any(|variable| variable.starts_with("PYTHONDONTWRITEBYTECODE=")) {
        text.push_str(
            "; the image sets PYTHONDONTWRITEBYTECODE, which does not keep compileall from writing",
        );
    }
    let told = if facts.inventory.starts > 0 {
        "the modules that recorded starts touched"
    } else {
        "the part of the modules that an application like the measured one imports"
    };
    text.push_str(&format!(". The seconds are estimated from {told}."));
    text
}

#[cfg(test)]
mod tests {
    use glowplug_image::Profile;

    use super::super::super::fixture::{found, inventory, layer, paths, started};
    use super::super::super::{Contents, Facts, Rule};

    const MIB: u64 = 1 << 20;

    #[test]
    fn modules_without_bytecode_are_found() {
        let files = [
            ("usr/lib/python3.11/site-packages/a/__init__.py", 9 * MIB),
            ("usr/lib/python3.11/site-packages/b/c.py", 9 * MIB),
            ("usr/lib/python3.11/site-packages/b/__pycache__/c.cpython-311.pyc", 900),
            ("usr/lib/python3.11/site-packages/b/d.py", 9 * MIB),
            ("usr/lib/python3.11/site-packages/b/__pycache__/d.cpython-311.opt-1.pyc", 900),
            ("usr/lib/python3.11/site-packages/b/tests/e.py", 9 * MIB),
            ("usr/lib/python3.11/site-packages/f.py", 9 * MIB),
            ("usr/lib/python3.11/site-packages/f.pyc", 900),
            ("srv/app.py", 9 * MIB),
        ];
        assert_eq!(
            found(Rule::Bytecode, &files),
            ["/usr/lib/python3.11/site-packages/a/__init__.py", "/usr/lib/python3.11/site-packages/b/d.py"]
        );
        assert!(
            found(Rule::Bytecode, &[("usr/lib/python3/dist-packages/a.py", 1_000)]).is_empty(),
            "too little"
        );
    }

    #[test]
    fn only_what_starts_touched_costs_seconds_where_starts_are_recorded() {
        let touched = layer(&[("usr/lib/python3/dist-packages/a.py", 2 * MIB)]);
        let layers = [touched, layer(&[("usr/lib/python3/dist-packages/b.py", 20 * MIB)])];
        let env = ["PYTHONDONTWRITEBYTECODE=1".to_owned()];
        let ask = |inventory| {
            let contents = Contents::default();
            Rule::Bytecode.ask(Facts { inventory, contents: &contents, env: &env }).unwrap()
        };
        let never = inventory(&layers);
        let never = ask(&never);
        let profile = Profile::of_run([("usr/lib/python3/dist-packages/a.py".to_owned(), 0, 5)]);
        let once = started(&layers, &[profile]);
        let draft = ask(&once);
        assert!(draft.start_seconds < never.start_seconds && draft.start_seconds > 0.0, "{draft:?}");
        assert!(
            draft.way_out.contains("/usr/lib/python3 ") || draft.way_out.contains("/usr/lib/python3;"),
            "{}",
            draft.way_out
        );
        assert!(draft.way_out.contains("PYTHONDONTWRITEBYTECODE"), "{}", draft.way_out);
        assert!(draft.items.iter().all(|item| item.bytes == 0), "sources stay");
        assert_eq!(paths(&once, Some(draft)).len(), 2);
    }
}
