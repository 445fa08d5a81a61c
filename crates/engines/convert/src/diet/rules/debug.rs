//! Debug sections and symbol tables in programs and libraries, and files of nothing else.

use super::super::place::has_extension;
use super::super::{Facts, File, Item};
use super::{Draft, Rule};

/// Where Debian and Fedora put them.
const DEBUG_FOLDERS: [&str; 2] = ["/usr/lib/debug/", "/usr/src/debug/"];
/// Less in one file is not worth a line: 64 KiB.
const FROM_BYTES: u64 = 64 << 10;

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let item = |(number, file): (usize, &File)| {
        let is_apart = has_extension(&file.path, &["debug", "dwp"])
            || DEBUG_FOLDERS.iter().any(|folder| file.path.starts_with(folder));
        if is_apart {
            return Some(Item::whole(number, file));
        }
        let bytes = facts.contents.debug_bytes.get(&number).copied().filter(|bytes| *bytes >= FROM_BYTES)?;
        Some(
            Item::part(number, file, bytes)
                .noted(format!("{} % of the file", bytes * 100 / file.bytes.max(1))),
        )
    };
    let items = facts.inventory.shown().filter_map(item).collect();
    let way_out = "Link with -Wl,--strip-all, or in the RUN that installs: find / -xdev -name '*.so*' -type f -exec strip \
                   --strip-unneeded {} +. Try it: a few libraries of wheels do not survive, and stack traces of native \
                   code lose their names.";
    Rule::Debug.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{ask, inventory, layer, number, paths};
    use super::super::super::{Contents, Rule};

    #[test]
    fn sections_count_as_parts_and_debug_files_as_a_whole() {
        let inventory = inventory(&[layer(&[
            ("usr/lib/libbig.so", 1_000_000),
            ("usr/lib/libsmall.so", 100_000),
            ("usr/lib/debug/.build-id/ab/cd.debug", 50_000),
        ])]);
        let (big, small) =
            (number(&inventory, "/usr/lib/libbig.so"), number(&inventory, "/usr/lib/libsmall.so"));
        let contents =
            Contents { debug_bytes: [(big, 400_000), (small, 1_000)].into(), ..Contents::default() };
        let draft = ask(Rule::Debug, &inventory, &contents).unwrap();
        let of_big = &draft.items[0];
        let whole = inventory.files[big].blob_bytes;
        assert_eq!((of_big.bytes, of_big.blob_bytes), (400_000, whole * 400_000 / 1_000_000));
        assert_eq!(
            paths(&inventory, Some(draft)),
            ["/usr/lib/libbig.so", "/usr/lib/debug/.build-id/ab/cd.debug"]
        );
    }
}
