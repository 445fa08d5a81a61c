//! What package managers keep for the next time they run; in an image there is none.
//!
//! Other caches are not waste: compiled kernels and downloaded models make starts quick.

use super::super::Facts;
use super::{Draft, Rule, lying};

/// One package manager.
struct Manager {
    name: &'static str,
    /// Folders from the root, with a slash at both ends.
    rooted: &'static [&'static str],
    /// Parts of paths, anywhere.
    anywhere: &'static [&'static str],
    way_out: &'static str,
}

const MANAGERS: [Manager; 9] = [
    Manager {
        name: "apt",
        rooted: &["/var/lib/apt/lists/", "/var/cache/apt/"],
        anywhere: &[],
        way_out: "RUN apt-get update && apt-get install -y … && rm -rf /var/lib/apt/lists/* /var/cache/apt/*, in one RUN",
    },
    Manager {
        name: "apk",
        rooted: &["/var/cache/apk/", "/etc/apk/cache/"],
        anywhere: &[],
        way_out: "RUN apk add --no-cache …",
    },
    Manager {
        name: "dnf",
        rooted: &["/var/cache/dnf/", "/var/cache/yum/", "/var/cache/libdnf5/", "/var/cache/zypp/"],
        anywhere: &[],
        way_out: "RUN dnf install -y … && dnf clean all, in one RUN",
    },
    Manager {
        name: "pip",
        rooted: &[],
        anywhere: &["/.cache/pip/", "/.cache/pypoetry/", "/.cache/pipenv/"],
        way_out: "ENV PIP_NO_CACHE_DIR=1, or RUN --mount=type=cache,target=/pip pip install --cache-dir /pip …",
    },
    Manager { name: "uv", rooted: &[], anywhere: &["/.cache/uv/"], way_out: "ENV UV_NO_CACHE=1" },
    Manager {
        name: "conda",
        rooted: &[],
        anywhere: &[
            "conda/pkgs/",
            "conda3/pkgs/",
            "miniforge3/pkgs/",
            "mambaforge/pkgs/",
            "micromamba/pkgs/",
            ".conda/pkgs/",
        ],
        way_out: "RUN conda install -y … && conda clean -afy, in one RUN",
    },
    Manager {
        name: "npm",
        rooted: &[],
        anywhere: &[
            "/.npm/_cacache/",
            "/.cache/yarn/",
            "/.yarn/cache/",
            "/.cache/node-gyp/",
            "/.local/share/pnpm/store/",
        ],
        way_out: "RUN npm ci && npm cache clean --force, in one RUN",
    },
    Manager {
        name: "cargo",
        rooted: &[],
        anywhere: &["/.cargo/registry/", "/cargo/registry/", "/.cache/sccache/"],
        way_out: "build in a stage of its own and COPY --from=build what it made",
    },
    Manager {
        name: "go",
        rooted: &[],
        anywhere: &["/.cache/go-build/", "/go/pkg/mod/"],
        way_out: "build in a stage of its own and COPY --from=build what it made",
    },
];

/// Runs the rule.
pub fn find(facts: Facts<'_>) -> Draft {
    let (mut items, mut ways) = (Vec::new(), Vec::new());
    for manager in &MANAGERS {
        let found = lying(facts, |path| manager.has(path));
        if !found.is_empty() {
            ways.push(format!("{}: {}", manager.name, manager.way_out));
            items.extend(found.into_iter().map(|item| item.noted(manager.name)));
        }
    }
    Rule::Caches.draft(items, format!("Keep nothing for the next installation. {}.", ways.join("; ")))
}

impl Manager {
    fn has(&self, path: &str) -> bool {
        self.rooted.iter().any(|folder| path.starts_with(folder))
            || self.anywhere.iter().any(|folder| path.contains(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::{ask, found, inventory, layer};
    use super::super::super::{Contents, Rule};

    #[test]
    fn caches_of_package_managers_are_found_and_others_are_left() {
        let files = [
            ("var/lib/apt/lists/deb_main_Packages", 9_000),
            ("srv/me/.cache/pip/http/a", 100),
            ("opt/conda/pkgs/numpy/x.so", 100),
            ("srv/me/.cache/huggingface/hub/x", 100),
            ("srv/me/.cache/torch_extensions/k.so", 100),
            ("var/lib/dpkg/info/libc6.list", 100),
        ];
        assert_eq!(
            found(Rule::Caches, &files),
            [
                "/var/lib/apt/lists/deb_main_Packages",
                "/srv/me/.cache/pip/http/a",
                "/opt/conda/pkgs/numpy/x.so"
            ]
        );
        let draft = ask(Rule::Caches, &inventory(&[layer(&files)]), &Contents::default()).unwrap();
        for (line, there) in [("rm -rf /var/lib/apt/lists/*", true), ("conda clean", true), ("npm", false)] {
            assert_eq!(draft.way_out.contains(line), there, "{}", draft.way_out);
        }
    }

    #[test]
    fn two_managers_never_name_the_same_file() {
        let all = super::MANAGERS.iter().flat_map(|manager| manager.rooted.iter().chain(manager.anywhere));
        for folder in all {
            let path = if folder.starts_with('/') { format!("{folder}x") } else { format!("/opt/{folder}x") };
            let count = super::MANAGERS.iter().filter(|manager| manager.has(&path)).count();
            assert_eq!(count, 1, "{path}");
        }
    }
}
