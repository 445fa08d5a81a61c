//! A layer whose published index lied is unreadable from then on, and gone for whoever opens the store next.

use std::path::Path;
use std::sync::Arc;

use glowplug_layer::{Check, Origin};
use glowplug_store::{Claim, FlightError, Layer, Store, StoreError};

use crate::fixture::{Sample, killed_copy, layer_dir, open};

const EIO: i32 = 5;

/// A layer as a publisher's index has it.
fn published() -> Sample {
    let mut sample = Sample::new(1, 6);
    sample.index.origin = Origin::Soci;
    sample.index.spans.iter_mut().for_each(|span| span.check = Check::Blob(sample.index.blob));
    sample
}

/// The same layer when it has streamed by.
fn streamed() -> Sample {
    Sample::new(1, 6)
}

fn adopt(store: &Store) -> Result<Arc<Layer>, StoreError> {
    let sample = published();
    store.adopt(store.build(sample.blob())?, &sample.index)
}

fn stream_by(store: &Store) -> Result<Arc<Layer>, StoreError> {
    let sample = streamed();
    let builder = store.build(sample.blob())?;
    builder.write_at(&sample.data, 0)?;
    builder.finish(store, &sample.index, true)
}

fn is_distrusted<T>(outcome: Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Distrusted { layer, .. }) if layer == streamed().blob())
}

fn failure(layer: &Arc<Layer>, span: usize) -> FlightError {
    let Claim::Theirs(waiter) = layer.claim(span) else { panic!("span {span} can be had") };
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(waiter.wait()).unwrap_err()
}

#[test]
fn nothing_of_it_is_read_while_it_is_held_and_the_next_user_streams_it_by() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), published());
    let layer = adopt(&store).unwrap();
    sample.bring(&layer, 0);
    layer.flush().unwrap();
    let Claim::Mine(on_its_way) = layer.claim(1) else { panic!("span 1 is not here yet") };
    let waiter = on_its_way.waiter();

    layer.distrust("the name of a file");
    layer.distrust("another reason, which comes too late");
    assert!(is_distrusted(layer.read_at(&mut [0; 10], 0)), "what is here is read");
    for span in [0, 2] {
        let error = failure(&layer, span);
        assert!(error.errno == EIO && error.message.contains("the name of a file"), "{error}");
    }
    on_its_way.commit(sample.span(1)).unwrap_err();
    let told = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(waiter.wait());
    assert_eq!(told.unwrap_err().errno, EIO);
    assert!(!layer.is_present(1));

    // Held, it stays as it is: nobody gets it, and nobody makes another in its place.
    let index = layer_dir(dir.path(), &sample.blob()).join("index");
    assert!(store.layer(&sample.blob()).is_none() && store.distrusts(&sample.blob()));
    assert!(is_distrusted(stream_by(&store)) && index.exists());
    assert!(matches!(store.remove(&sample.blob()), Err(StoreError::LayerInUse(_))));

    drop(layer);
    assert!(store.layer(&sample.blob()).is_none() && !index.exists());
    assert!(is_distrusted(adopt(&store)), "no published index is taken any more");
    let layer = stream_by(&store).unwrap();
    assert_eq!(streamed().check(&layer).len(), sample.spans());
    drop((layer, store));

    let store = open(dir.path());
    let layer = store.layer(&sample.blob()).unwrap();
    assert_eq!(streamed().check(&layer).len(), sample.spans());
    drop(layer);
    // With the layer goes what was known about its publisher.
    store.remove(&sample.blob()).unwrap();
    assert!(!store.distrusts(&sample.blob()));
    adopt(&store).unwrap();
}

#[test]
fn a_doubtful_layer_is_read_on_and_streams_by_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), published());
    let layer = adopt(&store).unwrap();
    sample.bring(&layer, 0);
    layer.doubt("a digest");
    layer.read_at(&mut [0; 10], 0).unwrap();
    sample.bring(&layer, 1);
    drop((layer, store));
    let store = open(dir.path());
    assert!(store.layer(&sample.blob()).is_none());
    stream_by(&store).unwrap();
}

/// A store that was killed just after its layer was found to lie, with the first `gone` of the layer's files removed by
/// a later user who was killed as well.
fn killed(from: &Path, to: &Path, gone: usize) {
    killed_copy(from, to);
    let layer = layer_dir(to, &published().blob());
    for name in ["index", "presence", "data", "windows"].iter().take(gone) {
        std::fs::remove_file(layer.join(name)).unwrap();
    }
}

#[test]
fn a_kill_at_any_step_leaves_either_the_lie_marked_or_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), published());
    let layer = adopt(&store).unwrap();
    sample.bring(&layer, 0);
    layer.flush().unwrap();
    layer.distrust("a lie");
    for gone in 0..5 {
        let copy = tempfile::tempdir().unwrap();
        killed(dir.path(), copy.path(), gone);
        // Opened twice: the clean-up of the first must not lose the mark.
        drop(open(copy.path()));
        let store = open(copy.path());
        assert!(store.distrusts(&sample.blob()), "{gone} files gone");
        assert!(store.layer(&sample.blob()).is_none(), "{gone} files gone");
        assert!(is_distrusted(adopt(&store)), "{gone} files gone");
        assert_eq!(streamed().check(&stream_by(&store).unwrap()).len(), sample.spans());
    }
}

#[test]
fn cleaning_up_takes_a_lie_along() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), published());
    let layer = adopt(&store).unwrap();
    sample.fill(&layer);
    layer.distrust("a lie");
    assert!(matches!(store.drop_data(&sample.blob()), Err(StoreError::LayerInUse(_))));
    drop(layer);
    store.drop_data(&sample.blob()).unwrap();
    assert!(store.usage().unwrap().iter().all(|layer| layer.data_bytes == 0));
    assert!(store.distrusts(&sample.blob()));
    store.collect_garbage(&std::collections::HashSet::new()).unwrap();
    assert!(!store.distrusts(&sample.blob()));
}
