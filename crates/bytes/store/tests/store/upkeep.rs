//! Quota, eviction, garbage collection.

use std::collections::HashSet;

use glowplug_store::{Freed, Options, Store, StoreError};

use crate::fixture::{Sample, open};

fn samples() -> [Sample; 3] {
    [1, 2, 3].map(|seed| Sample::new(seed, 10))
}

fn data_bytes(store: &Store, sample: &Sample) -> u64 {
    store.usage().unwrap().iter().find(|usage| usage.blob == sample.blob()).unwrap().data_bytes
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_open_never() {
    let dir = tempfile::tempdir().unwrap();
    let all = samples();
    let store = open(dir.path());
    all.iter().for_each(|sample| sample.fill(&sample.in_store(&store)));
    // Used again: the first is no longer the oldest.
    drop(store.layer(&all[0].blob()).unwrap());
    let order: Vec<_> = store.usage().unwrap().iter().map(|usage| usage.blob).collect();
    assert_eq!(order, [1, 2, 0].map(|at: usize| all[at].blob()));
    let each: u64 = data_bytes(&store, &all[0]);
    drop(store);

    let store = Store::open(dir.path(), Options { quota_bytes: Some(each + each / 2) }).unwrap();
    let held = store.layer(&all[1].blob()).unwrap();
    let freed = store.enforce_quota().unwrap();
    assert_eq!(freed.layers, 2, "{freed:?}");
    assert_eq!((data_bytes(&store, &all[0]), data_bytes(&store, &all[2])), (0, 0));
    assert_eq!(all[1].check(&held).len(), all[1].spans());
    assert_eq!(store.enforce_quota().unwrap(), Freed::default());

    // Evicted is not forgotten: the index is still here, and the layer fills again.
    let back = store.layer(&all[2].blob()).unwrap();
    assert_eq!((all[2].check(&back).len(), back.present_bytes()), (0, 0));
    all[2].fill(&back);
    assert!(back.is_complete() && back.present_bytes() == all[2].index.data_size);
    // Over the quota with everything open: nothing can go.
    assert_eq!(store.enforce_quota().unwrap(), Freed::default());
    drop(held);
    assert_eq!(store.enforce_quota().unwrap().layers, 1);
    assert_eq!(all[2].check(&back).len(), all[2].spans());
}

#[test]
fn without_a_quota_everything_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    samples().iter().for_each(|sample| sample.fill(&sample.in_store(&store)));
    assert_eq!(store.enforce_quota().unwrap(), Freed::default());
}

#[test]
fn garbage_is_what_nobody_keeps_and_nobody_holds() {
    let dir = tempfile::tempdir().unwrap();
    let all = samples();
    let store = open(dir.path());
    all.iter().for_each(|sample| sample.fill(&sample.in_store(&store)));
    let held = store.layer(&all[0].blob()).unwrap();
    assert!(matches!(store.remove(&all[0].blob()), Err(StoreError::LayerInUse(_))));
    let freed = store.collect_garbage(&HashSet::from([all[1].blob()])).unwrap();
    assert!(freed.layers == 1 && freed.bytes > 0, "{freed:?}");
    assert!(store.layer(&all[2].blob()).is_none());
    for kept in &all[..2] {
        assert_eq!(kept.check(&store.layer(&kept.blob()).unwrap()).len(), kept.spans());
    }
    drop(held);
    assert_eq!(store.collect_garbage(&HashSet::new()).unwrap().layers, 2);
    assert!(store.usage().unwrap().is_empty());
    // Gone altogether, and it can come again.
    all[0].fill(&all[0].in_store(&store));
}

#[test]
fn data_without_a_sound_index_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(1, 10);
    let store = open(dir.path());
    sample.fill(&sample.in_store(&store));
    std::fs::write(crate::fixture::layer_dir(dir.path(), &sample.blob()).join("index"), "garbage").unwrap();
    store.drop_data(&sample.blob()).unwrap();
    assert!(store.usage().unwrap().is_empty());
}
