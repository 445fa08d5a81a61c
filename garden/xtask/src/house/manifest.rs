//! The parts of a `Cargo.toml` the rules look at, with line numbers, and the rule that crates inherit the workspace.

use std::collections::BTreeMap;

use anyhow::anyhow;
use toml::de::{DeTable, DeValue};

use super::tree::{Crate, Place};
use super::{Finding, line_of};

/// Which table a dependency stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `[dependencies]`
    Normal,
    /// `[dev-dependencies]`
    Dev,
    /// `[build-dependencies]`
    Build,
}

/// One dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Package name, renames undone.
    pub package: String,
    /// Table it stands in.
    pub kind: Kind,
    /// Line of its key.
    pub line: usize,
}

/// What a manifest says.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Path relative to the root.
    pub path: String,
    /// `package.name`
    pub name: String,
    /// All dependencies of all tables and targets.
    pub dependencies: Vec<Dependency>,
    /// Package keys that say `.workspace = true`.
    inherited: Vec<String>,
    /// Whether `[lints] workspace = true` is there.
    inherits_lints: bool,
    /// Whether the crate is a workspace of its own.
    own_workspace: bool,
}

impl Manifest {
    /// Parses a manifest; `root` is the workspace manifest, needed to undo renames declared there.
    pub fn parse(path: &str, text: &str, root: &str) -> anyhow::Result<Self> {
        let table = DeTable::parse(text).map_err(|error| anyhow!("{path}: {error}"))?;
        let root = DeTable::parse(root).map_err(|error| anyhow!("Cargo.toml: {error}"))?;
        let renames = renames(root.get_ref());
        let table = table.get_ref();
        let package = get_table(table, "package").ok_or_else(|| anyhow!("{path}: no [package]"))?;
        let name = match package.get("name").map(|value| value.get_ref()) {
            Some(DeValue::String(name)) => name.to_string(),
            _ => return Err(anyhow!("{path}: no package name")),
        };
        let inherited = package
            .iter()
            .filter(|(_, v)| is_workspace(v.get_ref()))
            .map(|(k, _)| k.get_ref().to_string())
            .collect();
        let mut dependencies = Vec::new();
        collect(table, text, &renames, &mut dependencies);
        if let Some(targets) = get_table(table, "target") {
            for target in targets.values() {
                if let DeValue::Table(target) = target.get_ref() {
                    collect(target, text, &renames, &mut dependencies);
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            name,
            dependencies,
            inherited,
            inherits_lints: table.get("lints").is_some_and(|lints| is_workspace(lints.get_ref())),
            own_workspace: table.contains_key("workspace"),
        })
    }
}

fn get_table<'t, 'i>(table: &'t DeTable<'i>, key: &str) -> Option<&'t DeTable<'i>> {
    match table.get(key)?.get_ref() {
        DeValue::Table(inner) => Some(inner),
        _ => None,
    }
}

fn is_workspace(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(table) => {
            matches!(table.get("workspace").map(|v| v.get_ref()), Some(DeValue::Boolean(true)))
        }
        _ => false,
    }
}

/// Keys of `[workspace.dependencies]` that stand for a package of another name.
fn renames(root: &DeTable<'_>) -> BTreeMap<String, String> {
    let Some(dependencies) = get_table(root, "workspace").and_then(|w| get_table(w, "dependencies")) else {
        return BTreeMap::new();
    };
    dependencies
        .iter()
        .filter_map(|(key, value)| Some((key.get_ref().to_string(), package(value.get_ref())?)))
        .collect()
}

fn package(value: &DeValue<'_>) -> Option<String> {
    let DeValue::Table(table) = value else {
        return None;
    };
    match table.get("package")?.get_ref() {
        DeValue::String(name) => Some(name.to_string()),
        _ => None,
    }
}

fn collect(table: &DeTable<'_>, text: &str, renames: &BTreeMap<String, String>, into: &mut Vec<Dependency>) {
    let tables = [
        ("dependencies", Kind::Normal),
        ("dev-dependencies", Kind::Dev),
        ("build-dependencies", Kind::Build),
    ];
    for (name, kind) in tables {
        let Some(dependencies) = get_table(table, name) else {
            continue;
        };
        for (key, value) in dependencies.iter() {
            let line = line_of(text.as_bytes(), key.span().start);
            let key = key.get_ref().to_string();
            let package = package(value.get_ref()).or_else(|| renames.get(&key).cloned()).unwrap_or(key);
            into.push(Dependency { package, kind, line });
        }
    }
}

/// Package keys that are decided once, in the workspace.
const INHERITED: [&str; 6] = ["version", "edition", "rust-version", "license", "repository", "publish"];

/// Rule `manifest`: crates take their lints and package keys from the workspace and are named after their folder.
pub fn inherits(crates: &[Crate]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in crates {
        let manifest = &member.manifest;
        let expected = match member.place {
            Place::Floor(6) => "glowplug".to_owned(),
            _ => format!("glowplug-{}", member.room()),
        };
        let mut report =
            |message: String| findings.push(Finding::new(&manifest.path, 1, "manifest", message));
        if manifest.name != expected {
            report(format!("package is named {}, its folder says {expected}", manifest.name));
        }
        // A crate outside the workspace has nothing to inherit from.
        if manifest.own_workspace {
            continue;
        }
        if !manifest.inherits_lints {
            report("does not say [lints] workspace = true".to_owned());
        }
        for key in INHERITED {
            if !manifest.inherited.iter().any(|inherited| inherited == key) {
                report(format!("package key {key} is not inherited ({key}.workspace = true)"));
            }
        }
    }
    findings
}
