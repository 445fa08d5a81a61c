//! Rule `cycles`: the top-level modules of a crate do not import each other in a ring.
//!
//! Edges come from `crate::…` and `super::…` paths in shipped code, also inside `use crate::{…}` and through names the
//! crate root re-exports. The root's own imports do not count: it is the table of contents. Names that a root brings
//! in by a glob are not followed.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, Token, tokens};
use super::tree::Crate;
use super::{Finding, line_of};

/// Where one module names another: file and line of the first such place.
type Edges<'s> = BTreeMap<(&'s str, &'s str), (&'s str, usize)>;

/// Checks every crate.
pub fn check(crates: &[Crate], sources: &[Source]) -> Vec<Finding> {
    crates.iter().flat_map(|member| one(&member.dir, sources)).collect()
}

fn one(dir: &str, sources: &[Source]) -> Vec<Finding> {
    let files: Vec<(Vec<&str>, &Source)> =
        sources.iter().filter_map(|source| Some((source.module_path(dir)?, source))).collect();
    let modules: BTreeSet<&str> =
        files.iter().map(|(path, _)| path[0]).filter(|name| !is_root(name)).collect();
    let mut reexports = BTreeMap::new();
    for (_, root) in files.iter().filter(|(path, _)| path.len() == 1 && is_root(path[0])) {
        reexports.extend(root_names(root.shipped(), &modules));
    }
    let mut edges = Edges::new();
    for (path, source) in files.iter().filter(|(path, _)| !is_root(path[0])) {
        for (target, offset) in targets(source.shipped(), path) {
            let target = modules.get(target).copied().or_else(|| reexports.get(target).copied());
            let Some(target) = target.filter(|target| *target != path[0]) else {
                continue;
            };
            let place = || (source.path.as_str(), line_of(source.text.as_bytes(), offset));
            edges.entry((path[0], target)).or_insert_with(place);
        }
    }
    rings(&modules, &edges)
}

fn is_root(name: &str) -> bool {
    matches!(name, "lib" | "main")
}

/// One finding for each ring, at its first edge, naming every edge inside it.
fn rings(modules: &BTreeSet<&str>, edges: &Edges<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut done = BTreeSet::new();
    for module in modules {
        let down = reachable(module, edges);
        let ring: BTreeSet<&str> =
            down.iter().copied().filter(|other| reachable(other, edges).contains(module)).collect();
        if ring.is_empty() || !done.insert(ring.clone()) {
            continue;
        }
        let inside: Vec<_> =
            edges.iter().filter(|((a, b), _)| ring.contains(a) && ring.contains(b)).collect();
        let described: Vec<String> =
            inside.iter().map(|((a, b), (file, line))| format!("{a} -> {b} ({file}:{line})")).collect();
        if let Some((_, (file, line))) = inside.first() {
            let message = format!("modules import each other: {}", described.join(", "));
            findings.push(Finding::new(file, *line, "cycles", message));
        }
    }
    findings
}

/// Everything that can be reached from `from` by at least one edge.
fn reachable<'s>(from: &str, edges: &Edges<'s>) -> BTreeSet<&'s str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(module) = open.pop() {
        for (_, target) in edges.keys().filter(|(source, _)| *source == module) {
            if seen.insert(*target) {
                open.push(target);
            }
        }
    }
    seen
}

/// First names below the crate root that the code mentions, with the offset of the mention.
fn targets<'c>(code: &'c str, path: &[&str]) -> Vec<(&'c str, usize)> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    // Inline modules deepen what `super` means: each is remembered with the brace depth that closes it.
    let (mut depth, mut inline) = (0_usize, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let text = |index: usize| tokens.get(index).map_or("", |token| token.text);
        match token.text {
            "{" => {
                if at >= 2 && text(at - 2) == "mod" {
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
            }
            // `pub(in crate::x)` says who may look, not who is looked at.
            "crate" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "in") => {
                leaves(&tokens, at + 2, &mut found);
            }
            "super" if text(at + 1) == "::" && (at == 0 || text(at - 1) != "::") => {
                let mut up = 1;
                while text(at + 2 * up) == "super" && text(at + 2 * up + 1) == "::" {
                    up += 1;
                }
                if up == path.len() + inline.len() {
                    leaves(&tokens, at + 2 * up, &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

/// First names of the path tree at `at`: one word, or the first word of each branch of `{…}`.
fn leaves<'c>(tokens: &[Token<'c>], at: usize, found: &mut Vec<(&'c str, usize)>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        found.push((first.text, first.offset));
        return;
    }
    let (mut depth, mut begins) = (1_usize, true);
    for token in &tokens[at + 1..] {
        match token.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," if depth == 1 => begins = true,
            _ if begins && depth == 1 => {
                found.push((token.text, token.offset));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Names the root re-exports with `use module::{A, B as C}`, and the module each comes from.
fn root_names<'s>(code: &str, modules: &BTreeSet<&'s str>) -> BTreeMap<String, &'s str> {
    let tokens = tokens(code);
    let mut names = BTreeMap::new();
    let mut at = 0;
    while at < tokens.len() {
        let end =
            tokens[at..].iter().position(|token| token.text == ";").map_or(tokens.len(), |found| at + found);
        if tokens[at].text != "use" {
            at += 1;
            continue;
        }
        let path: Vec<&str> = tokens[at + 1..end].iter().map(|token| token.text).collect();
        let path = match path.as_slice() {
            ["self" | "crate", "::", rest @ ..] => rest,
            rest => rest,
        };
        if let Some(module) = path.first().and_then(|first| modules.get(*first)) {
            for (index, word) in path.iter().enumerate().skip(1) {
                // The last word of a branch is the name, renamed or not.
                if matches!(path.get(index + 1).copied(), None | Some("," | "}")) {
                    names.insert((*word).to_owned(), *module);
                }
            }
        }
        at = end;
    }
    names
}
