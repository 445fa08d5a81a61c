//! How many prefetch streams one registry gets at the same time, and whose turn it is.
//!
//! The number is found by trying: one more is kept as long as it brings more bytes, and trouble halves them. A near registry fills the
//! link with the few streams that there are at first; a far one, or one that gives each stream so much and no more, wants more of
//! them. The rate is taken in windows. One in which a reader or the application's need of a processor held the streams up says nothing
//! about the link and is not counted.
//!
//! Streams of all images that come from one registry take turns, first come, first served: each has the same number of them, so
//! each image gets its share. What a start profile expects goes before what nobody is known to want.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Streams at first, and at least: enough to hide one round trip behind another's bytes, few enough that a reader's request
/// meets short queues.
pub(super) const LEAST_STREAMS: usize = 3;
/// Streams at most: as many requests as one client may well have open at a registry.
pub(super) const MOST_STREAMS: usize = 12;
/// How long bytes are counted for one rate.
const WINDOW_NS: u64 = 250_000_000;
/// A further stream is worth its queue when the rate grows at least so many times.
const WORTH: f64 = 1.1;
/// Windows until the next try after one that was not worth it: links and registries change in seconds.
const REST_WINDOWS: u32 = 20;

/// The pace of prefetch from one registry.
#[derive(Debug)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug)]
struct State {
    streams: usize,
    /// Turns that go on; more than `streams` until those end that are over the number.
    taken: usize,
    /// Who waits for a turn, by class.
    waiting: [VecDeque<oneshot::Sender<Turn>>; 2],
    window: Option<Window>,
    /// Bytes per second before the last stream was added; the try is not decided yet.
    before: Option<f64>,
    rest: u32,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    began_ns: u64,
    bytes: u64,
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A start profile expects it.
    Profile = 0,
    /// Nobody is known to want it.
    Background = 1,
}

/// The right to have one request open.
#[derive(Debug)]
pub(super) struct Turn {
    pace: Arc<Pace>,
    /// Others had to end theirs first.
    pub(super) waited: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            streams: LEAST_STREAMS,
            taken: 0,
            waiting: Default::default(),
            window: None,
            before: None,
            rest: 0,
        }))
    }

    /// Waits for one's turn.
    pub(super) async fn turn(self: &Arc<Self>, class: Class) -> Turn {
        let (sender, mut mine) = oneshot::channel();
        self.lock().waiting[class as usize].push_back(sender);
        self.call();
        if let Ok(turn) = mine.try_recv() {
            return turn;
        }
        match mine.await {
            Ok(mut turn) => {
                turn.waited = true;
                turn
            }
            // The sender is in the queue until it is used.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives turns that are free to those who wait.
    fn call(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                if state.taken >= state.streams {
                    return;
                }
                let Some(next) = state.waiting.iter_mut().find_map(VecDeque::pop_front) else { return };
                state.taken += 1;
                next
            };
            // Who waits no more gives it back by dropping it.
            drop(next.send(Turn { pace: self.clone(), waited: false }));
        }
    }

    /// Bytes came at `now_ns`.
    pub(super) fn moved(self: &Arc<Self>, bytes: u64, now_ns: u64) {
        let more = {
            let mut state = self.lock();
            let window = state.window.get_or_insert(Window { began_ns: now_ns, bytes: 0 });
            window.bytes += bytes;
            let (took_ns, sum) = (now_ns.saturating_sub(window.began_ns), window.bytes);
            took_ns >= WINDOW_NS && {
                state.window = None;
                state.decide(sum as f64 * 1e9 / took_ns as f64)
            }
        };
        if more {
            self.call();
        }
    }

    /// Something else than the link held the streams up.
    pub(super) fn disturbed(&self) {
        let mut state = self.lock();
        state.window = None;
        // A try that was disturbed is not decided by what comes after it.
        state.before = None;
    }

    /// A request failed for good.
    pub(super) fn failed(&self) {
        let mut state = self.lock();
        state.streams = (state.streams / 2).max(1);
        (state.window, state.before, state.rest) = (None, None, REST_WINDOWS);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes the rate of a window; tells whether there is one stream more now.
    fn decide(&mut self, rate: f64) -> bool {
        match self.before {
            Some(before) if rate < before * WORTH => {
                self.streams = (self.streams - 1).max(1);
                (self.before, self.rest) = (None, REST_WINDOWS);
            }
            None if self.rest > 0 => self.rest -= 1,
            _ if self.streams < MOST_STREAMS => {
                self.before = Some(rate);
                self.streams += 1;
                return true;
            }
            _ => (self.before, self.rest) = (None, REST_WINDOWS),
        }
        false
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pace.lock().taken -= 1;
        self.pace.call();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Lets windows go by in which the link gives `rate(streams)` bytes a second.
    fn run(pace: &Arc<Pace>, windows: u64, clock: &mut u64, rate: impl Fn(usize) -> u64) {
        for _ in 0..windows {
            let streams = pace.lock().streams;
            // The first piece opens the window, the last one closes it.
            pace.moved(0, *clock);
            *clock += WINDOW_NS;
            pace.moved(rate(streams) / 4, *clock);
        }
    }

    /// How many turns there are to have.
    fn free(pace: &Arc<Pace>) -> usize {
        let turns = std::iter::from_fn(|| pace.turn(Class::Background).now_or_never());
        turns.collect::<Vec<_>>().len()
    }

    #[test]
    fn a_registry_that_gives_each_stream_so_much_gets_more_of_them() {
        let (pace, mut clock) = (Arc::new(Pace::new()), 0);
        run(&pace, 30, &mut clock, |streams| streams as u64 * 10 * MIB);
        assert_eq!(pace.lock().streams, 11, "the twelfth would be worth less than a tenth");
        assert_eq!(free(&pace), 11);
    }

    #[test]
    fn a_full_link_keeps_the_few() {
        let (pace, mut clock) = (Arc::new(Pace::new()), 0);
        run(&pace, 200, &mut clock, |_| 110 * MIB);
        assert!((3..=4).contains(&pace.lock().streams), "one try now and then");
        // It follows a link that changes.
        run(&pace, 200, &mut clock, |streams| streams as u64 * 10 * MIB);
        assert!(pace.lock().streams >= 9);
    }

    #[tokio::test]
    async fn trouble_halves_the_streams_those_in_use_as_they_end() {
        let (pace, mut clock) = (Arc::new(Pace::new()), 0);
        run(&pace, 6, &mut clock, |streams| streams as u64 * 10 * MIB);
        let streams = pace.lock().streams;
        let mut turns = Vec::new();
        for _ in 0..streams {
            turns.push(pace.turn(Class::Background).await);
        }
        pace.failed();
        assert_eq!(pace.lock().streams, streams / 2);
        turns.pop();
        assert_eq!(free(&pace), 0, "more go on than there may be");
        turns.clear();
        assert_eq!(free(&pace), streams / 2);
        for _ in 0..10 {
            pace.failed();
        }
        assert_eq!(free(&pace), 1, "never none");
    }

    #[test]
    fn what_is_held_up_by_others_says_nothing() {
        let (pace, mut clock) = (Arc::new(Pace::new()), 0);
        for _ in 0..100 {
            pace.moved(MIB, clock);
            clock += WINDOW_NS / 2;
            pace.disturbed();
        }
        assert_eq!(pace.lock().streams, LEAST_STREAMS);
    }

    #[tokio::test]
    async fn what_is_expected_goes_first_and_who_waits_no_more_takes_no_turn() {
        let pace = Arc::new(Pace::new());
        let mut taken = Vec::new();
        for _ in 0..LEAST_STREAMS {
            taken.push(pace.turn(Class::Background).await);
        }
        let mut images: Vec<_> = [Class::Background, Class::Background, Class::Profile, Class::Profile]
            .into_iter()
            .map(|class| Box::pin(pace.turn(class)))
            .collect();
        assert!(images.iter_mut().all(|image| image.now_or_never().is_none()), "all turns are taken");
        // The first of those who are expected is closed.
        drop(images.remove(2));
        taken.pop();
        let mut came: Vec<bool> = images
            .iter_mut()
            .map(|image| image.now_or_never().map(|turn| taken.push(turn)).is_some())
            .collect();
        assert_eq!(came, [false, false, true]);
        images.pop();
        taken.pop();
        came = images.iter_mut().map(|image| image.now_or_never().is_some()).collect();
        assert!(came[0], "then first come, first served");
    }
}
