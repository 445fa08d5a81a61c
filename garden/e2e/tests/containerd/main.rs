//! What we mount equals, entry by entry, what containerd's overlayfs shows of the same image, through both doors.
//!
//! Where it does not, a row of [`EXCEPTIONS`] says why.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod nasty;
mod random;
mod refused;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use glowplug_e2e::{Containerd, Difference, Door, Facts, Kind, Mounted, Survey, Unpacked, layout, serve};
use glowplug_testkit::{Image, TestRegistry};

/// A difference that may be.
struct Exception {
    reason: &'static str,
    excuses: fn(&Difference, &Shown<'_>) -> bool,
}

/// What containerd shows of the path that differs.
struct Shown<'a> {
    facts: Option<&'a Facts>,
    /// When it unpacked, seconds since the epoch: nothing in an image is of that time.
    unpacked_s: &'a RangeInclusive<i64>,
}

impl Shown<'_> {
    fn is_directory(&self) -> bool {
        self.facts.is_some_and(|facts| facts.kind == Kind::Directory)
    }
}

const EXCEPTIONS: [Exception; 7] = [
    Exception {
        reason: "the size and the link count of a directory are those of the disk's file system, and the count is 1 where \
                 layers are joined; ours are of the image alone",
        excuses: |difference, shown| shown.is_directory() && ["size", "links"].contains(&difference.field),
    },
    Exception {
        reason: "the root, and a directory that a layer does not list but changes, have the moment of unpacking as their \
                 mtime; we do not unpack",
        excuses: |difference, shown| {
            let is_new = shown.facts.is_some_and(|facts| shown.unpacked_s.contains(&facts.mtime.0));
            shown.is_directory() && difference.field == "mtime" && is_new
        },
    },
    Exception {
        reason: "where no lower layer has a directory, overlayfs lists the whiteouts in it, of which nothing can be opened",
        excuses: |difference, _| difference.field == "ghost" && difference.there == "false",
    },
    Exception {
        reason: "libarchive's own records of extended attributes are read, which containerd passes over; who writes them \
                 writes the usual ones beside",
        excuses: |difference, _| difference.path == Path::new("attr/bsd") && difference.field == "xattrs",
    },
    Exception {
        reason: "POSIX access control lists are not kept: the tools that build images leave them out",
        excuses: |difference, _| {
            difference.path.to_string_lossy().starts_with("attr/acl") && difference.field == "xattrs"
        },
    },
    Exception {
        reason: "owners and times of a global PAX header hold for the entries after it, as POSIX has it; containerd \
                 passes over it",
        excuses: |difference, _| {
            difference.path == Path::new("global/file") && ["owner", "mtime"].contains(&difference.field)
        },
    },
    Exception {
        reason: "aufs's bookkeeping is not part of the image; containerd takes some of it for files",
        excuses: |difference, _| difference.path.to_string_lossy().starts_with(".wh."),
    },
];

/// An image unpacked by containerd, and what it shows.
struct Peer {
    survey: Survey,
    unpacked_s: RangeInclusive<i64>,
    /// Numbers of the exceptions that were met.
    used: BTreeSet<usize>,
    _unpacked: Unpacked,
    _containerd: Containerd,
}

impl Peer {
    fn of(registry: &TestRegistry, name: &str) -> Self {
        let began_s = now_s();
        let containerd = Containerd::start();
        let reference = registry.reference(name);
        containerd.pull(&reference).unwrap();
        let unpacked = containerd.mount(&reference);
        let survey = Survey::of(unpacked.path());
        Self {
            survey,
            unpacked_s: began_s..=now_s(),
            used: BTreeSet::new(),
            _unpacked: unpacked,
            _containerd: containerd,
        }
    }

    /// Fails with every path and field that differs and that nothing excuses.
    fn equals(&mut self, layout: &Path, door: Door) {
        let mounted = Mounted::new(layout, door);
        let ours = Survey::of(mounted.path());
        let mut wrong = Vec::new();
        for difference in self.survey.differences(&ours) {
            let facts = self.survey.entries().get(&difference.path);
            let shown = Shown { facts, unpacked_s: &self.unpacked_s };
            match EXCEPTIONS.iter().position(|exception| (exception.excuses)(&difference, &shown)) {
                Some(number) => _ = self.used.insert(number),
                None => wrong.push(difference.to_string()),
            }
        }
        assert!(
            wrong.is_empty(),
            "containerd against {door:?}, {} differences:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Compares an image through the doors; gives the exceptions that it took.
fn compare(image: &Image, doors: &[Door]) -> BTreeSet<usize> {
    let registry = TestRegistry::start();
    image.push(&registry, "made/image:1");
    let folder = tempfile::tempdir().unwrap();
    image.write_layout(folder.path(), Some("1"));
    let mut peer = Peer::of(&registry, "made/image:1");
    doors.iter().for_each(|door| peer.equals(folder.path(), *door));
    peer.used
}

/// A mere difference of doors must not show.
const EVERY_DOOR: [Door; 3] = [Door::Fuse, Door::Lazy, Door::Erofs];

/// Compares one of the test images through every door.
fn compare_layout(name: &str) {
    let registry = TestRegistry::start();
    serve(&registry, name, "test/image:1");
    let mut peer = Peer::of(&registry, "test/image:1");
    for door in EVERY_DOOR {
        peer.equals(&layout(name), door);
    }
}

#[test]
fn the_tiny_image_is_what_containerd_shows() {
    compare_layout("tiny-gzip");
}

#[test]
fn the_ocr_image_is_what_containerd_shows() {
    compare_layout("ocr-gzip");
}

#[test]
fn a_nasty_image_is_what_containerd_shows() {
    let used = compare(&nasty::image(), &EVERY_DOOR);
    let unused = EXCEPTIONS.iter().enumerate().filter(|(number, _)| !used.contains(number));
    let unused: Vec<_> = unused.map(|(_, exception)| exception.reason).collect();
    assert!(unused.is_empty(), "exceptions that nothing needs any more: {unused:#?}");
}

#[test]
fn holes_anywhere_are_what_containerd_shows() {
    // Not at the boundaries of blocks, which are all that EROFS knows.
    compare(&nasty::odd_holes(), &EVERY_DOOR);
}

#[test]
fn random_layers_are_what_containerd_shows() {
    compare(&random::image(random::SEED), &EVERY_DOOR);
}
