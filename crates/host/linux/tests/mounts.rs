//! Whole mounts, for real: needs root, and a thread may have a mount namespace of its own, so nothing is left to undo.

#![allow(clippy::unwrap_used, reason = "clippy takes only annotated functions for tests")]

use std::fs;
use std::path::Path;

use glowplug_linux::mount::{self, Attributes, Detached, Writable};
use glowplug_linux::namespaces::{Namespace, unshare};
use rustix::io::Errno;

/// Runs a test where its mounts are its own; without root it is skipped, except on the build machine.
fn isolated(test: impl FnOnce(&Path) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "these tests need root");
        eprintln!("skipped: needs root");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(&[Namespace::Mount]).unwrap();
        mount::make_all_private().unwrap();
        let dir = tempfile::tempdir().unwrap();
        // Overlay wants file systems that can be upper; tmpfs is one everywhere.
        let tmpfs = Detached::filesystem("tmpfs", &[("size", Some("16m"))], Attributes::empty()).unwrap();
        tmpfs.attach(dir.path()).unwrap();
        for name in ["low", "high", "upper", "work", "target"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("low/a"), "low a").unwrap();
        fs::write(dir.path().join("low/b"), "low b").unwrap();
        fs::write(dir.path().join("high/b"), "high b").unwrap();
        test(dir.path());
        mount::unmount(dir.path(), true).unwrap();
    });
    thread.join().unwrap();
}

#[test]
fn overlays_are_writable_above_and_read_only_without() {
    isolated(|dir| {
        let (low, high, target) = (dir.join("low"), dir.join("high"), dir.join("target"));
        let writable = Writable { upper: &dir.join("upper"), work: &dir.join("work"), volatile: true };
        mount::overlay(&[&high, &low], Some(writable), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "low a");
        assert_eq!(fs::read_to_string(target.join("b")).unwrap(), "high b");
        fs::write(target.join("a"), "changed").unwrap();
        assert_eq!(fs::read_to_string(dir.join("upper/a")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(dir.join("low/a")).unwrap(), "low a");
        mount::unmount(&target, false).unwrap();
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
        mount::overlay(&[&high, &low], None, &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("b")).unwrap(), "high b");
        assert!(fs::write(target.join("a"), "x").is_err());
        let real = target.canonicalize().unwrap();
        std::os::unix::fs::symlink(&target, dir.join("link")).unwrap();
        for path in [&target, &dir.join("link")] {
            assert_eq!(mount::mounts_below(path).unwrap(), std::slice::from_ref(&real));
        }
    });
}

#[test]
fn binds_carry_what_is_below_and_may_be_read_only() {
    isolated(|dir| {
        let (low, target) = (dir.join("low"), dir.join("target"));
        fs::create_dir(low.join("deep")).unwrap();
        mount::bind(&dir.join("high"), &low.join("deep"), false).unwrap();
        mount::bind(&low, &target, true).unwrap();
        assert_eq!(fs::read_to_string(target.join("deep/b")).unwrap(), "high b");
        assert!(fs::write(target.join("a"), "x").is_err());
        assert!(fs::write(target.join("deep/b"), "x").is_err());
        fs::write(low.join("a"), "still writable here").unwrap();
    });
}

#[test]
fn the_kernels_reason_comes_with_the_error() {
    isolated(|dir| {
        let image = dir.join("image");
        fs::write(&image, vec![0; 8192]).unwrap();
        let error = mount::erofs(&image, &[], &dir.join("target")).unwrap_err();
        // A kernel without EROFS says so; one with it does not find a superblock.
        assert_eq!(error.step, if error.errno == Errno::NODEV { "open file system type" } else { "create" });
        let odd = Detached::filesystem("tmpfs", &[("size", Some("huge"))], Attributes::empty()).unwrap_err();
        assert_eq!((odd.step, odd.errno), ("set", Errno::INVAL));
        assert!(odd.log.iter().any(|l| l.contains("size")), "{odd:?}");
        assert!(odd.to_string().contains("tmpfs option size=huge ("), "{odd}");
        let missing = mount::bind(&dir.join("nowhere"), &dir.join("target"), false).unwrap_err();
        assert_eq!(missing.errno, Errno::NOENT);
        assert!(missing.to_string().contains("nowhere"));
    });
}

#[test]
fn long_paths_are_errors_not_other_mounts() {
    isolated(|dir| {
        let long = dir.join("x".repeat(200)).join("y".repeat(200));
        fs::create_dir_all(&long).unwrap();
        let target = dir.join("target");
        let outcome = mount::overlay(&[&long, &dir.join("low")], None, &target);
        if let Err(error) = outcome {
            assert_eq!(error.errno, Errno::INVAL, "{error}");
        }
    });
}
