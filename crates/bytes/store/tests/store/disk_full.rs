//! A full disk is an error to the write that met it and to nobody else. Needs root for a small tmpfs.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use glowplug_store::{Claim, Options, Store, StoreError};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::fixture::{Sample, open};

const ENOSPC: i32 = 28;

/// A file system of a few hundred KiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where mounting is not allowed, unless this is CI, where it must be.
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        match mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"size=384k") {
            Ok(()) => Some(Self(dir)),
            Err(error) if std::env::var_os("CI").is_some() => panic!("CI must be able to mount: {error}"),
            Err(error) => {
                eprintln!("skipped: mounting a small disk: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Commits until the disk is full: how many spans fitted.
fn fill_up(sample: &Sample, layer: &std::sync::Arc<glowplug_store::Layer>) -> usize {
    for span in 0..sample.spans() {
        let Claim::Mine(ticket) = layer.claim(span) else { panic!("span {span} cannot be here yet") };
        let waiter = ticket.waiter();
        if let Err((ticket, error)) = ticket.commit(sample.span(span)) {
            assert!(ticket.is_none() && error.errno() == ENOSPC, "{error}");
            let told = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(waiter.wait());
            assert_eq!(told.unwrap_err().errno, ENOSPC);
            return span;
        }
    }
    panic!("the disk was never full");
}

#[test]
fn a_full_disk_fails_the_commit_and_leaves_the_store_sound() {
    let Some(disk) = SmallDisk::new() else { return };
    let sample = Sample::new(1, 100);
    let store = open(disk.path());
    let layer = sample.in_store(&store);
    let fitted = fill_up(&sample, &layer);
    assert!(fitted > 3, "only {fitted} spans fitted");
    let here: Vec<usize> = (0..fitted).collect();
    assert_eq!(sample.check(&layer), here, "what came before stays readable");
    store.documents().put("tag", "name", &vec![1; 100_000]).unwrap_err();
    // There may be no room for the journal either. What it cannot hold is fetched again, never misread.
    let durable = layer.flush().is_ok();
    drop((layer, store));

    let store = open(disk.path());
    let layer = store.layer(&sample.blob()).unwrap();
    let kept = sample.check(&layer);
    assert!(if durable { kept == here } else { kept.iter().all(|span| here.contains(span)) });
    assert_eq!(store.documents().get("tag", "name"), None);
    drop(layer);

    // Room is made on the full disk itself, and then the layer fills again.
    store.drop_data(&sample.blob()).unwrap();
    let layer = store.layer(&sample.blob()).unwrap();
    assert_eq!(fill_up(&sample, &layer), fitted);
}

#[test]
fn a_layer_that_does_not_fit_while_it_is_built_leaves_no_trace() {
    let Some(disk) = SmallDisk::new() else { return };
    let sample = Sample::new(1, 100);
    let store = open(disk.path());
    let small = Sample::new(2, 4);
    let builder = store.build(sample.blob()).unwrap();
    let error = sample
        .data
        .chunks(4096)
        .enumerate()
        .find_map(|(at, block)| builder.write_at(block, at as u64 * 4096).err());
    assert_eq!(error.unwrap().errno(), ENOSPC);
    drop(builder);
    assert!(store.layer(&sample.blob()).is_none());
    small.fill(&small.in_store(&store));
}

#[test]
fn a_store_on_a_full_disk_opens_so_that_it_can_be_emptied() {
    let Some(disk) = SmallDisk::new() else { return };
    let root = disk.path().join("store");
    let sample = Sample::new(1, 4);
    let store = open(&root);
    sample.fill(&sample.in_store(&store));
    drop(store);
    let filler = std::fs::File::create(disk.path().join("filler")).unwrap();
    let mut at = 0;
    while filler.write_all_at(&[1; 4096], at).is_ok() {
        at += 4096;
    }
    let store = Store::open(&root, Options { quota_bytes: Some(0) }).unwrap();
    let error = Store::open(&root, Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { pid, .. } if pid == std::process::id().to_string()));
    assert_eq!(sample.check(&store.layer(&sample.blob()).unwrap()).len(), sample.spans());
    assert_eq!(store.enforce_quota().unwrap().layers, 1);
}
