//! One flight per span, whoever asks, and its outcome for everybody.

use std::sync::Arc;

use glowplug_store::{Claim, FlightError, Layer, Store, StoreError};
use tempfile::TempDir;

use crate::fixture::{Sample, open};

const READERS: usize = 40;

struct Rig {
    _dir: TempDir,
    _store: Store,
    layer: Arc<Layer>,
    sample: Arc<Sample>,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let (store, sample) = (open(dir.path()), Arc::new(Sample::new(1, 4)));
    Rig { layer: sample.in_store(&store), sample, _store: store, _dir: dir }
}

/// Readers who find the span in flight, started before the flight lands.
fn waiting(layer: &Arc<Layer>, span: usize) -> Vec<tokio::task::JoinHandle<Result<(), FlightError>>> {
    let waiters = (0..READERS).map(|_| match layer.claim(span) {
        Claim::Theirs(waiter) => waiter,
        other => panic!("{other:?}"),
    });
    waiters.map(|waiter| tokio::spawn(waiter.wait())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_claim_at_once_one_fetches_and_all_are_served() {
    let rig = rig();
    let start = Arc::new(tokio::sync::Barrier::new(READERS));
    let tasks: Vec<_> = (0..READERS)
        .map(|_| {
            let (layer, sample, start) = (rig.layer.clone(), rig.sample.clone(), start.clone());
            tokio::spawn(async move {
                start.wait().await;
                let mut flights = 0;
                for span in 0..sample.spans() {
                    match layer.claim(span) {
                        Claim::Present => {}
                        Claim::Theirs(waiter) => waiter.wait().await.unwrap(),
                        Claim::Mine(ticket) => {
                            flights += 1;
                            tokio::task::yield_now().await;
                            ticket.commit(sample.span(span)).map_err(|(_, error)| error).unwrap();
                        }
                    }
                    let mut bytes = vec![0; sample.image(span).len()];
                    layer.read_at(&mut bytes, sample.index.spans[span].data.start).unwrap();
                    assert!(bytes == sample.image(span));
                }
                flights
            })
        })
        .collect();
    let mut flights = 0;
    for task in tasks {
        flights += task.await.unwrap();
    }
    assert_eq!(flights, rig.sample.spans());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_reaches_everybody_and_the_span_can_be_tried_again() {
    let rig = rig();
    let Claim::Mine(ticket) = rig.layer.claim(0) else { panic!("nobody else fetches") };
    let own = ticket.waiter();
    let others = waiting(&rig.layer, 0);
    ticket.fail(FlightError { message: "the cable was cut".to_owned(), errno: 113 });
    for other in others {
        let error = other.await.unwrap().unwrap_err();
        assert_eq!((error.message.as_str(), error.errno), ("the cable was cut", 113));
    }
    own.wait().await.unwrap_err();
    rig.sample.bring(&rig.layer, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetcher_that_vanishes_fails_everybody_who_waits() {
    let rig = rig();
    let Claim::Mine(ticket) = rig.layer.claim(0) else { panic!("nobody else fetches") };
    let others = waiting(&rig.layer, 0);
    drop(ticket);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap_err().errno, 5);
    }
    rig.sample.bring(&rig.layer, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_leave_the_flight_open_for_another_try() {
    let rig = rig();
    let Claim::Mine(ticket) = rig.layer.claim(0) else { panic!("nobody else fetches") };
    let others = waiting(&rig.layer, 0);
    let mut wrong = rig.sample.span(0).to_vec();
    wrong[600] ^= 1;
    let (ticket, error) = ticket.commit(&wrong).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }));
    assert!(rig.layer.in_flight(0) && !rig.layer.is_present(0));
    ticket.unwrap().commit(rig.sample.span(0)).map_err(|(_, error)| error).unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(rig.sample.check(&rig.layer), [0]);
}
