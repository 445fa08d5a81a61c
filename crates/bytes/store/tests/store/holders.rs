//! One process per store, one open layer per blob, and nobody's bytes go while they hold the layer.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use glowplug_layer::encode;
use glowplug_store::{Claim, Options, Store, StoreError};

use crate::fixture::{Sample, killed_copy, layer_dir, open, worker, worker_dir};

fn in_use_by(error: &StoreError) -> u32 {
    let StoreError::InUse { pid, .. } = error else { panic!("{error}") };
    pid.parse().unwrap()
}

#[test]
fn a_second_user_is_told_the_first_ones_pid() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Store::open(dir.path(), Options::default()).unwrap_err();
    assert_eq!(in_use_by(&error), std::process::id());
    // A layer that outlives its store still writes to it.
    let layer = Sample::new(1, 3).in_store(&store);
    drop(store);
    Store::open(dir.path(), Options::default()).unwrap_err();
    drop(layer);
    open(dir.path());
}

#[test]
fn another_process_holds_the_store_until_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = worker("holders::process_that_holds_the_store", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with("held")), "the other process did not start");
    let error = Store::open(dir.path(), Options::default()).unwrap_err();
    assert_eq!(in_use_by(&error), child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    open(dir.path());
}

#[test]
#[ignore = "a process of another test"]
fn process_that_holds_the_store() {
    let Some(dir) = worker_dir() else { return };
    let _store = open(&dir);
    println!("held");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("format"), "glowplug store 99\n").unwrap();
    let error = Store::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { found, .. } if found.contains("99")));
}

#[test]
fn two_who_build_the_same_layer_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), Sample::new(1, 6));
    let mut first = store.build(sample.blob()).unwrap();
    first.write_at(&sample.data, 0).unwrap();
    first.add_window(b"window").unwrap();
    let second = store.build(sample.blob()).unwrap();
    let layer = first.finish(&store, &sample.index, true).unwrap();
    assert_eq!(sample.check(&layer).len(), sample.spans());
    // The second has written nothing yet, and says that it has: the first one's layer is open, so it stays.
    let same = second.finish(&store, &sample.index, true).unwrap();
    assert!(Arc::ptr_eq(&layer, &same));
    let third = store.build(sample.blob()).unwrap();
    drop(third);
    drop((layer, same, store));
    let store = open(dir.path());
    assert_eq!(sample.check(&sample.in_store(&store)).len(), sample.spans());
}

#[test]
fn a_builder_that_is_dropped_or_killed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), Sample::new(1, 6));
    let folder = layer_dir(dir.path(), &sample.blob());
    let builder = store.build(sample.blob()).unwrap();
    builder.write_at(&sample.data, 0).unwrap();
    assert!(store.layer(&sample.blob()).is_none());
    let left = tempfile::tempdir().unwrap();
    killed_copy(dir.path(), left.path());
    drop(builder);
    assert!(!folder.exists());
    let folder = layer_dir(left.path(), &sample.blob());
    assert!(folder.exists());
    let store = open(left.path());
    assert!(store.layer(&sample.blob()).is_none() && !folder.exists());
    // Killed between the renames: data without an index.
    drop(store);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("data"), &sample.data).unwrap();
    let store = open(left.path());
    assert!(store.layer(&sample.blob()).is_none() && !folder.exists());
}

#[test]
fn a_damaged_index_reads_as_no_layer_and_another_index_ends_the_old_presence() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 6);
    let store = open(dir.path());
    sample.fill(&sample.in_store(&store));
    let path = layer_dir(dir.path(), &sample.blob()).join("index");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(store.layer(&sample.blob()).is_none());
    // The same number of spans with other places: the journal belongs to the old index.
    let mut other = sample.index.clone();
    other.entries[0].path = b"renamed".to_vec();
    std::fs::write(&path, encode(&other).unwrap()).unwrap();
    let layer = store.layer(&sample.blob()).unwrap();
    assert_eq!(sample.check(&layer), [] as [usize; 0]);
}

#[test]
fn a_layer_that_is_made_again_does_not_inherit_the_old_ones_presence() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 6);
    let store = open(dir.path());
    sample.fill(&sample.in_store(&store));
    std::fs::write(layer_dir(dir.path(), &sample.blob()).join("index"), "garbage").unwrap();
    assert!(store.layer(&sample.blob()).is_none());
    // The same index, so the old journal would fit; but the data is gone with the old layer.
    let layer = sample.in_store(&store);
    assert_eq!(sample.check(&layer), [] as [usize; 0]);
    sample.fill(&layer);
    drop((layer, store));
    let store = open(dir.path());
    assert_eq!(sample.check(&store.layer(&sample.blob()).unwrap()).len(), sample.spans());
}

#[test]
fn data_never_goes_while_somebody_holds_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), Sample::new(1, 3));
    drop(sample.in_store(&store));
    let done = AtomicBool::new(false);
    let (store, sample, done) = (&store, &sample, &done);
    std::thread::scope(|scope| {
        let evicting = scope.spawn(move || {
            let mut evictions = 0_u32;
            while !done.load(Ordering::Relaxed) {
                match store.drop_data(&sample.blob()) {
                    Ok(()) => evictions += 1,
                    Err(error) => assert!(matches!(error, StoreError::LayerInUse(_)), "{error}"),
                }
                std::thread::yield_now();
            }
            evictions
        });
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                scope.spawn(move || {
                    for round in 0..100 {
                        let layer = store.layer(&sample.blob()).unwrap();
                        let span = (round + reader) % sample.spans();
                        match layer.claim(span) {
                            Claim::Present => {}
                            Claim::Mine(ticket) => {
                                ticket.commit(sample.span(span)).map_err(|(_, e)| e).unwrap()
                            }
                            Claim::Theirs(_) => continue,
                        }
                        let mut bytes = vec![0; sample.image(span).len()];
                        layer.read_at(&mut bytes, sample.index.spans[span].data.start).unwrap();
                        assert!(bytes == sample.image(span));
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        evicting.join().unwrap();
    });
}
