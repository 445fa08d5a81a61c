//! Documents are whole or absent.

use std::path::{Path, PathBuf};

use crate::fixture::open;

fn files(root: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(root.join("documents/tag")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn any_name_holds_any_bytes_and_the_last_write_counts() {
    let dir = tempfile::tempdir().unwrap();
    let documents = open(dir.path()).documents();
    let long = "n".repeat(5_000);
    for name in ["docker.io/library/debian:12", "", "../../etc/passwd", &long] {
        assert_eq!(documents.get("tag", name), None);
        documents.put("tag", name, b"first").unwrap();
        documents.put("tag", name, name.as_bytes()).unwrap();
        assert_eq!(documents.get("tag", name).unwrap(), name.as_bytes());
    }
    assert_eq!(documents.all("tag").len(), 4);
    assert_eq!(documents.get("other kind", ""), None);
    documents.remove("tag", "").unwrap();
    documents.remove("tag", "").unwrap();
    assert_eq!((documents.get("tag", ""), documents.all("tag").len()), (None, 3));
}

#[test]
fn a_damaged_document_is_absent_wherever_the_damage_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let documents = store.documents();
    documents.put("tag", "name", b"the body").unwrap();
    let path = files(dir.path()).remove(0);
    let sound = std::fs::read(&path).unwrap();
    for at in 0..sound.len() {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(documents.get("tag", "name"), None, "byte {at}");
        std::fs::write(&path, &sound[..at]).unwrap();
        assert_eq!((documents.get("tag", "name"), documents.all("tag").len()), (None, 0), "cut at {at}");
    }
    std::fs::write(&path, [&sound[..], b"more"].concat()).unwrap();
    assert_eq!(documents.get("tag", "name"), None);
    documents.put("tag", "name", b"again").unwrap();
    assert_eq!(documents.get("tag", "name").unwrap(), b"again");
}

#[test]
fn what_was_never_renamed_into_place_was_never_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.documents().put("tag", "name", b"body").unwrap();
    let path = files(dir.path()).remove(0);
    std::fs::copy(&path, path.with_extension("0.new")).unwrap();
    assert_eq!(store.documents().all("tag").len(), 1);
    drop(store);
    open(dir.path());
    assert_eq!(files(dir.path()), [path]);
}

#[test]
fn writers_of_one_document_do_not_mix() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let documents = store.documents();
            scope.spawn(move || {
                for length in 0..50 {
                    documents.put("tag", "name", &vec![writer; 1_000 * length]).unwrap();
                    let read = documents.get("tag", "name").unwrap();
                    assert!(read.windows(2).all(|pair| pair[0] == pair[1]));
                }
            });
        }
    });
}
