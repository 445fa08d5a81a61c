//! Every rule is made to fail here, on the smallest tree that breaks it, and to hold on one that does not.

use super::source::Source;
use super::tree::Crate;
use super::*;

const ROOT: &str = "[workspace.dependencies]\nquick-store = { package = \"redb\", version = \"3\" }\n";

const INHERITED: &str = "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n\
    license.workspace = true\nrepository.workspace = true\npublish.workspace = true\n[lints]\nworkspace = true\n";

/// A member at `dir` that keeps the manifest rule, with `tables` behind its package.
fn member(dir: &str, tables: &str) -> Crate {
    let room = dir.rsplit('/').next().unwrap();
    let name = if dir == "crates/glowplug" { "glowplug".to_owned() } else { format!("glowplug-{room}") };
    Crate::parse(dir, &format!("[package]\nname = \"{name}\"\n{INHERITED}{tables}"), ROOT).unwrap()
}

fn source(path: &str, text: &str) -> Source {
    Source::parse(path, text.to_owned())
}

fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Asserts that there is exactly one finding, at `place` and with `part` in its words.
#[track_caller]
fn one(findings: Vec<Finding>, place: &str, part: &str) {
    let shown = shown(&findings);
    assert_eq!(shown.len(), 1, "{shown:#?}");
    assert!(shown[0].starts_with(place) && shown[0].contains(part), "{shown:#?}");
}

#[track_caller]
fn none(findings: Vec<Finding>) {
    assert!(findings.is_empty(), "{:#?}", shown(&findings));
}

// floors

fn floors_of(importer: &str, table: &str, imported: &str) -> Vec<Finding> {
    let other = member(imported, "");
    let tables = format!("[{table}]\nserde = \"1\"\n{} = {{ path = \"x\" }}\n", other.manifest.name);
    floors::check(&[member(importer, &tables), other])
}

#[test]
fn imports_go_down() {
    none(floors_of("crates/engines/image", "dependencies", "crates/formats/layer"));
    none(floors_of("crates/glowplug", "dependencies", "crates/host/mount"));
    one(
        floors_of("crates/formats/toc", "dependencies", "crates/bytes/store"),
        "crates/formats/toc/Cargo.toml:13: [floors]",
        "toc on floor 1 imports store on floor 2",
    );
    let under_target = "target.'cfg(unix)'.dependencies";
    one(
        floors_of("crates/ground/base", under_target, "crates/formats/oci"),
        "crates/ground/base/",
        "floor 1",
    );
    one(
        floors_of("crates/ground/base", "build-dependencies", "crates/formats/oci"),
        "crates/ground/base/",
        "floor 1",
    );
    one(
        floors_of("crates/ground/base", "dev-dependencies", "crates/formats/oci"),
        "crates/ground/base/",
        "floor 1",
    );
}

#[test]
fn imports_go_sideways_only_where_listed() {
    none(floors_of("crates/formats/toc", "dependencies", "crates/formats/tarwalk"));
    one(
        floors_of("crates/formats/tarwalk", "dependencies", "crates/formats/toc"),
        "crates/formats/tarwalk/",
        "sideways",
    );
    none(floors_of("crates/formats/tarwalk", "dev-dependencies", "crates/formats/toc"));
}

#[test]
fn the_garden_is_for_tests_only() {
    none(floors_of("crates/bytes/store", "dev-dependencies", "garden/testkit"));
    none(floors_of("garden/e2e", "dependencies", "crates/glowplug"));
    one(
        floors_of("crates/bytes/store", "dependencies", "garden/testkit"),
        "crates/bytes/store/",
        "from the garden",
    );
    one(
        floors_of("crates/bytes/store", "dev-dependencies", "garden/e2e"),
        "crates/bytes/store/",
        "from the garden",
    );
}

#[test]
fn a_crate_lies_on_a_floor() {
    one(floors::check(&[member("crates/attic/box", "")]), "crates/attic/box/Cargo.toml:1:", "no floor");
    one(floors::check(&[member("crates/box", "")]), "crates/box/Cargo.toml:1:", "no floor");
}

// manifest

fn without(key: &str) -> String {
    INHERITED.lines().filter(|line| *line != key).map(|line| format!("{line}\n")).collect()
}

#[test]
fn manifests_inherit_from_the_workspace() {
    none(manifest::inherits(&[member("crates/formats/toc", ""), member("crates/glowplug", "")]));
    for key in INHERITED.lines().filter(|line| *line != "[lints]") {
        let text = format!("[package]\nname = \"glowplug-toc\"\n{}", without(key));
        let broken = Crate::parse("crates/formats/toc", &text, ROOT).unwrap();
        let missing = key.split('.').next().unwrap();
        let missing = if key == "workspace = true" { "[lints]" } else { missing };
        one(manifest::inherits(&[broken]), "crates/formats/toc/Cargo.toml:1: [manifest]", missing);
    }
    let text = format!("[package]\nname = \"glowplug-tock\"\n{INHERITED}");
    one(
        manifest::inherits(&[Crate::parse("crates/formats/toc", &text, ROOT).unwrap()]),
        "crates/",
        "glowplug-toc",
    );
}

// walls, banned, unsafe

fn walls_of(dir: &str, tables: &str) -> Vec<Finding> {
    walls::dependencies(&[member(dir, tables)])
}

#[test]
fn heavy_dependencies_have_one_owner() {
    none(walls_of("crates/host/mount", "[dependencies]\nfuser = \"1\"\n"));
    one(
        walls_of("crates/host/sandbox", "[dependencies]\nfuser = \"1\"\n"),
        "crates/host/sandbox/Cargo.toml:12: [walls]",
        "belongs to mount",
    );
    one(walls_of("crates/glowplug", "[dependencies]\nkube-runtime = \"1\"\n"), "crates/glowplug/", "cluster");
    none(walls_of("crates/glowplug", "[dependencies]\nlibcool = \"1\"\nclap_mangen = \"1\"\n"));
    none(walls_of("garden/xtask", "[dependencies]\nclap = \"1\"\n"));
    none(walls_of("crates/bytes/store", "[dev-dependencies]\nanyhow = \"1\"\n"));
}

#[test]
fn renames_do_not_hide_a_dependency() {
    let renamed = "[dependencies]\nc = { package = \"libc\", version = \"0.2\" }\n";
    one(walls_of("crates/host/mount", renamed), "crates/host/mount/", "libc belongs to linux");
    let in_workspace = "[dependencies]\nquick-store.workspace = true\n";
    one(walls_of("crates/formats/toc", in_workspace), "crates/formats/toc/", "redb belongs to store");
}

#[test]
fn banned_crates_are_named_nowhere() {
    one(
        walls_of("garden/e2e", "[dev-dependencies]\nonce_cell = \"1\"\n"),
        "garden/e2e/Cargo.toml:12: [banned]",
        "std",
    );
    none(walls_of("garden/e2e", "[dev-dependencies]\nring-buffer = \"1\"\n"));
}

#[test]
fn banned_crates_are_not_built_in_by_others() {
    let lock = "[[package]]\nname = \"ring\"\nversion = \"0.17.14\"\n";
    one(walls::built_from("base v0.1.0\nring v0.17.14\n", lock), "Cargo.lock:2: [banned]", "ring");
    none(walls::built_from("base v0.1.0\nonce_cell v1.0.0\nstring v1.0.0\n", lock));
}

#[test]
fn unsafe_code_stands_on_its_islands_only() {
    let crates = [member("crates/host/linux", ""), member("crates/formats/toc", "")];
    let lib = |dir: &str, text: &str| source(&format!("{dir}/src/lib.rs"), text);
    let safe = "//! Doc.\n#![forbid( unsafe_code )]\n";
    none(walls::forbids_unsafe(
        &crates,
        &[lib("crates/host/linux", "//! Doc.\n"), lib("crates/formats/toc", safe)],
    ));
    let commented = "//! Doc.\n// #![forbid(unsafe_code)]\n";
    one(
        walls::forbids_unsafe(&crates, &[lib("crates/formats/toc", commented)]),
        "crates/formats/toc/src/lib.rs:1: [unsafe]",
        "forbid",
    );
}

// names, docs

#[test]
fn modules_are_named_for_what_they_hold() {
    none(names::check(&[source("crates/a/b/src/commonplace.rs", "//! Doc.\nmod manager_of_none { }\n")]));
    one(
        names::check(&[source("crates/a/b/src/x/mod.rs", "//! Doc.\n")]),
        "crates/a/b/src/x/mod.rs:1: [names]",
        "foo.rs",
    );
    one(
        names::check(&[source("crates/a/b/src/utils.rs", "//! Doc.\n")]),
        "crates/a/b/src/utils.rs:1:",
        "utils",
    );
    one(
        names::check(&[source("crates/a/b/src/misc/x.rs", "//! Doc.\n")]),
        "crates/a/b/src/misc/x.rs:1:",
        "misc",
    );
    one(
        names::check(&[source("a.rs", "//! Doc.\n// mod utils {}\nmod helpers {}\n")]),
        "a.rs:3: [names]",
        "helpers",
    );
}

#[test]
fn the_module_doc_comes_first() {
    none(names::check(&[source("a.rs", "\n//! What it is for.\nuse std::fs;\n")]));
    one(names::check(&[source("a.rs", "\nuse std::fs;\n//! Late.\n")]), "a.rs:2: [docs]", "module doc");
    one(names::check(&[source("a.rs", "")]), "a.rs:1: [docs]", "module doc");
}

// sizes

#[test]
fn files_end_at_six_hundred_lines_of_code() {
    let code = |lines: usize| "let x = 1;\n".repeat(lines);
    none(sizes::check(&[source("a.rs", &code(600))]));
    one(sizes::check(&[source("a.rs", &code(602))]), "a.rs:601: [sizes]", "602 lines");
    let padded = format!("// why\n\n/* a\n b */\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", code(600), code(300));
    none(sizes::check(&[source("a.rs", &padded)]));
}

#[test]
fn test_files_may_be_twice_as_long() {
    let code = |lines: usize| "let x = 1;\n".repeat(lines);
    for path in ["crates/a/b/tests/x.rs", "crates/a/b/src/x/tests.rs"] {
        none(sizes::check(&[source(path, &code(1200))]));
        one(sizes::check(&[source(path, &code(1201))]), path, "1201 lines");
    }
    let mut sources = [
        source("crates/a/b/src/x.rs", "#[cfg(test)]\nmod model;\n"),
        source("crates/a/b/src/x/model.rs", &code(1000)),
        source("crates/a/b/src/model.rs", ""),
    ];
    source::mark_tests(&mut sources);
    assert_eq!(sources.each_ref().map(|source| source.is_test), [false, true, false]);
    none(sizes::check(&sources));
}

// cycles

/// Cycles of one crate whose modules are given as `(file below src, text)`.
fn cycles_of(files: &[(&str, &str)]) -> Vec<Finding> {
    let sources: Vec<Source> =
        files.iter().map(|(file, text)| source(&format!("crates/formats/toc/src/{file}"), text)).collect();
    cycles::check(&[member("crates/formats/toc", "")], &sources)
}

#[test]
fn modules_do_not_import_each_other_in_a_ring() {
    none(cycles_of(&[
        ("lib.rs", "mod a; mod b; pub use crate::a::A;"),
        ("a.rs", "use crate::b::B;\nuse super::a::A;"),
        (
            "b.rs",
            "// use crate::a::A;\nconst X: &str = \"crate::a::A\";\n#[cfg(test)]\nmod tests { use crate::a::A; }\n",
        ),
    ]));
    one(
        cycles_of(&[("a.rs", "\nuse crate::b::B;"), ("b.rs", "fn x() -> super::a::A {}")]),
        "crates/formats/toc/src/a.rs:2: [cycles]",
        "a -> b (crates/formats/toc/src/a.rs:2), b -> a (crates/formats/toc/src/b.rs:1)",
    );
}

#[test]
fn rings_are_seen_through_groups_nesting_and_reexports() {
    one(
        cycles_of(&[
            ("a.rs", "use crate::{x::{b, Y}, c::C};"),
            ("c.rs", "use super::{b};"),
            ("b.rs", "use crate::a;"),
        ]),
        "crates/formats/toc/src/a.rs:1:",
        "c -> b",
    );
    one(
        cycles_of(&[("a/deep.rs", "use super::super::b::B;"), ("b.rs", "use crate::a;")]),
        "crates/",
        "a -> b",
    );
    one(
        cycles_of(&[("a.rs", "mod inner { use super::super::b::B; }"), ("b.rs", "use crate::a;")]),
        "crates/",
        "a -> b",
    );
    one(
        cycles_of(&[
            ("lib.rs", "mod a; mod b;\npub use b::{Kind, Old as New};"),
            ("a.rs", "use crate::New;"),
            ("b.rs", "use crate::a::A;"),
        ]),
        "crates/",
        "a -> b",
    );
}

#[test]
fn names_that_only_look_like_modules_make_no_ring() {
    none(cycles_of(&[
        ("a.rs", "use super::b::B;\nmod inner { use super::c; }"),
        ("b.rs", "use crate::{x::a};\npub(in crate::a) fn x() {}\nuse super::c;"),
        ("c.rs", "mod inner { mod x {} use super::b; }"),
    ]));
}

// the lexer below all this

#[test]
fn literals_and_comments_are_not_code() {
    let text = r####"let a = "x // y"; // z
let b = 'x'; let c = '\''; let l: &'static str = r#"a " b"#; /* /* n */ q */ let r#type = b"\"w"; let e = 'é';"####;
    let parsed = source("a.rs", text);
    let words: Vec<&str> =
        source::tokens(parsed.code()).into_iter().filter(source::Token::is_word).map(|t| t.text).collect();
    assert_eq!(
        words,
        [
            "let", "a", "let", "b", "let", "c", "let", "l", "static", "str", "let", "r", "type", "b", "let",
            "e"
        ]
        .into_iter()
        .collect::<Vec<_>>()
    );
    assert_eq!(parsed.code().len(), text.len());
}

#[test]
fn items_for_tests_are_cut_out_and_nothing_else() {
    let text = "\
        struct S { a: u8, #[cfg(test)] b: u8, c: u8 }\n\
        #[cfg(test)] use x::{y, z};\n\
        #[cfg(all(test, unix))] #[allow(dead_code)] fn gone<A, B>(a: A) -> [u8; 2] { kept() }\n\
        #[cfg(any(test, unix))] fn stays() {}\n\
        #[cfg(test)] const GONE: [u8; 2] = [1, 2];\n\
        fn f() { #[cfg(test)] gone(); last(); }\n\
        #[cfg(test)] impl S { fn gone() {} }\n\
        #[cfg(not(test))] fn end() {}\n";
    let parsed = source("a.rs", text);
    let code = parsed.shipped();
    for gone in ["b: u8", "y, z", "gone", "GONE", "kept"] {
        assert!(!code.contains(gone), "{gone} in {code}");
    }
    for stays in ["a: u8", "c: u8 }", "fn stays", "last();", "fn end"] {
        assert!(code.contains(stays), "{stays} in {code}");
    }
    assert_eq!(source("a.rs", "//! Doc.\n#![cfg(test)]\nfn x() {}").shipped(), "");
}

// privacy

#[test]
fn files_do_not_tell_where_they_were_written() {
    let home = concat!("see /ho", "me/me/x\n");
    one(privacy::scan("a.md", format!("fine\n{home}").as_bytes(), "/x"), "a.md:2: [privacy]", "home");
    one(
        privacy::scan("a.toml", concat!("https://ARTIF", "ACTORY.example").as_bytes(), "/x"),
        "a.toml:1:",
        "registry",
    );
    one(privacy::scan("a.rs", b"\n\n/builds/glow/x", "/builds/glow"), "a.rs:3:", "this checkout");
    none(privacy::scan("a.rs", b"/src/lib.rs", "/src"));
    none(privacy::scan("a.rs", b"home/me and root/x and /var/lib", "/builds/glow"));
}

// promises

#[test]
fn promises_name_what_holds_them() {
    let tests = [source("crates/bytes/store/tests/kill.rs", "//! Doc.\nfn kill_anywhere() {}\n")];
    let table = |cell: &str| {
        format!("Text | with a bar.\n\n| promise | held by |\n|---|:-:|\n| never wrong | {cell} |\n")
    };
    for good in ["`kill::kill_anywhere`", "*pending*", "`cargo xtask bench read`"] {
        none(promises::rows(&table(good), &tests));
    }
    one(promises::rows(&table(""), &tests), "docs/specification.md:5: [promises]", "names no");
    one(promises::rows(&table("somebody"), &tests), "docs/specification.md:5:", "names no");
    one(
        promises::rows(&table("`kill::kill_nowhere`"), &tests),
        "docs/specification.md:5:",
        "no such function",
    );
}

// licences

#[test]
fn licence_expressions_are_read_as_meant() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        "(MIT OR GPL-3.0-only) AND Unicode-3.0",
        "ISC AND (Apache-2.0 OR ISC)",
    ] {
        assert_eq!(licences::accepts(good), Some(true), "{good}");
    }
    for bad in
        ["GPL-3.0-only", "MIT AND GPL-3.0-only", "MIT WITH odd-exception", "(GPL-2.0 OR LGPL-2.1) AND MIT"]
    {
        assert_eq!(licences::accepts(bad), Some(false), "{bad}");
    }
    let deep = "(".repeat(1 << 20);
    for garbage in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT Apache-2.0", deep.as_str()] {
        assert_eq!(licences::accepts(garbage), None);
    }
}

#[test]
fn packages_without_an_accepted_licence_are_named() {
    let metadata = br#"{"packages":[
        {"name":"good","version":"1.0.0","license":"MIT"},
        {"name":"bad","version":"2.0.0","license":"AGPL-3.0-only"},
        {"name":"bare","version":"3.0.0","license":null}]}"#;
    let lock = "[[package]]\nname = \"bare\"\n\n[[package]]\nname = \"bad\"\n";
    let findings = shown(&licences::judge(metadata, lock).unwrap());
    assert_eq!(findings.len(), 2, "{findings:#?}");
    assert!(
        findings[0].starts_with("Cargo.lock:5: [licences] bad 2.0.0 is under AGPL-3.0-only"),
        "{findings:#?}"
    );
    assert!(findings[1].starts_with("Cargo.lock:2: [licences] bare 3.0.0 names no licence"), "{findings:#?}");
    assert!(licences::judge(b"not json", lock).is_err());
}
