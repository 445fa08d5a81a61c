//! Layers that containerd's overlayfs unpack refuses, and what becomes of them here: where their meaning is plain they open.

use std::path::Path;

use glowplug_e2e::{Containerd, Door, Mounted, Survey};
use glowplug_testkit::{ImageBuilder, Layer, TestRegistry, Tree};

use crate::nasty;

/// Layers, and what must hold of what we show.
struct Case {
    why: &'static str,
    layers: [fn(&mut Tree); 3],
    holds: fn(&Survey) -> bool,
}

fn nothing(_: &mut Tree) {}

fn has(survey: &Survey, path: &str) -> bool {
    survey.entries().contains_key(Path::new(path))
}

const CASES: [Case; 5] = [
    Case {
        why: "a hard link to a file of a lower layer: all names are the one file",
        layers: [
            |tree| _ = tree.file("a", "0"),
            |tree| _ = tree.hardlink("b", "a"),
            |tree| _ = tree.hardlink("c", "b"),
        ],
        holds: |survey| {
            let names = ["a", "b", "c"].map(|name| &survey.entries()[Path::new(name)]);
            names.iter().all(|facts| facts.first_name == Path::new("a") && facts.links == 3)
        },
    },
    Case {
        why: "a whiteout after what the same layer brings: it hides what is below",
        layers: [
            |tree| _ = tree.dir("d").file("d/below", "0").file("f", "0"),
            |tree| _ = tree.dir("d").file("d/new", "1").whiteout("d").file("f", "1").whiteout("f"),
            nothing,
        ],
        holds: |survey| {
            has(survey, "d/new") && !has(survey, "d/below") && survey.entries()[Path::new("f")].size == 1
        },
    },
    Case {
        why: "an entry in an unlisted directory that the same layer hides: a new directory",
        layers: [
            |tree| _ = tree.dir("d").file("d/below", "0"),
            |tree| _ = tree.whiteout("d").file("d/new", "1"),
            nothing,
        ],
        holds: |survey| has(survey, "d/new") && !has(survey, "d/below"),
    },
    Case {
        why: "unlisted directories where a lower layer has hidden their parent: new directories",
        layers: [
            |tree| _ = tree.dir("d").dir("d/sub").file("d/sub/below", "0"),
            |tree| _ = tree.whiteout("d"),
            |tree| _ = tree.file("d/sub/new", "2"),
        ],
        holds: |survey| has(survey, "d/sub/new") && !has(survey, "d/sub/below"),
    },
    Case {
        why: "a sparse file in GNU's old form: as GNU tar reads it",
        layers: [nasty::old_sparse, nothing, nothing],
        holds: |survey| survey.entries()[Path::new("old-sparse")].size == nasty::OLD_SPARSE_BYTES,
    },
];

#[test]
fn what_containerd_refuses_opens_where_its_meaning_is_plain() {
    let (registry, containerd) = (TestRegistry::start(), Containerd::start());
    for (number, case) in CASES.iter().enumerate() {
        let layers = case.layers.iter().map(|fill| Layer::plain(fill));
        let image = layers.fold(ImageBuilder::new(), ImageBuilder::layer).build();
        let name = format!("refused/image:{number}");
        image.push(&registry, &name);
        let answer = containerd.pull(&registry.reference(&name));
        assert!(answer.is_err(), "containerd takes it now, so it can be compared: {}", case.why);
        let folder = tempfile::tempdir().unwrap();
        image.write_layout(folder.path(), Some("1"));
        let mounted = Mounted::new(folder.path(), Door::Fuse);
        let survey = Survey::of(mounted.path());
        assert!((case.holds)(&survey), "{}: {survey:#?}", case.why);
    }
}
