//! Documentation, manual pages and translations. Licences stay: they must.

use super::super::Facts;
use super::{Draft, Rule, lying};

/// Folders below a `share` directory.
const FOLDERS: [&str; 8] = ["doc/", "man/", "info/", "locale/", "gtk-doc/", "help/", "doc-base/", "lintian/"];
/// Parts of the names of files that licences ask for.
const LICENCES: [&str; 4] = ["copyright", "licen", "copying", "notice"];

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let items = lying(facts, |path| {
        let is_doc = path
            .split_once("/share/")
            .is_some_and(|(_, inside)| FOLDERS.iter().any(|it| inside.starts_with(it)));
        let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
        is_doc && !LICENCES.iter().any(|licence| name.contains(licence))
    });
    let way_out = "Start from a -slim image, or before the first apt-get install: RUN printf 'path-exclude=/usr/share/%s/*\\n' \
                   doc man info locale > /etc/dpkg/dpkg.cfg.d/01-no-docs && echo 'path-include=/usr/share/doc/*/copyright' \
                   >> /etc/dpkg/dpkg.cfg.d/01-no-docs.";
    Rule::Docs.draft(items, way_out)
}

#[cfg(test)]
mod tests {
    use super::super::super::Rule;
    use super::super::super::fixture::found;

    #[test]
    fn documentation_is_found_and_licences_are_left() {
        let files = [
            ("usr/share/doc/bash/README", 900),
            ("usr/share/doc/bash/copyright", 900),
            ("opt/conda/share/man/man1/x.1", 900),
            ("usr/share/zoneinfo/UTC", 900),
        ];
        assert_eq!(
            found(Rule::Docs, &files),
            ["/usr/share/doc/bash/README", "/opt/conda/share/man/man1/x.1"]
        );
    }
}
