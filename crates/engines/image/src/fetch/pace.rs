//! How many streams prefetch at the same time, found by trying: one more is kept as long as it brings more bytes, and trouble halves
//! them.
//!
//! A near registry fills the link with the few streams that there are at first; a far one, or one that gives each stream so
//! much and no more, wants more of them. The rate is taken in windows. One in which a reader or the application's need of a processor
//! held the streams up says nothing about the link and is not counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Streams at first, and at least: enough to hide one round trip behind another's bytes, few enough that a reader's request
/// meets short queues.
const LEAST_STREAMS: usize = 3;
/// Streams at most: as many requests as one client may well have open at a registry.
pub(super) const MOST_STREAMS: usize = 12;
/// How long bytes are counted for one rate.
const WINDOW_NS: u64 = 250_000_000;
/// A further stream is worth its queue when the rate grows at least so many times.
const WORTH: f64 = 1.1;
/// Windows until the next try after one that was not worth it: links and registries change in seconds.
const REST_WINDOWS: u32 = 20;

/// The pace of one image's prefetch.
#[derive(Debug)]
pub(super) struct Pace {
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams: usize,
    /// Turns that end for good when they are over.
    surplus: usize,
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

/// The right to have one request open.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pace: &'a Pace,
    permit: Option<SemaphorePermit<'a>>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(LEAST_STREAMS),
            state: Mutex::new(State {
                streams: LEAST_STREAMS,
                surplus: 0,
                window: None,
                before: None,
                rest: 0,
            }),
        }
    }

    /// Waits for one's turn.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // Never closed.
        Turn { pace: self, permit: self.turns.acquire().await.ok() }
    }

    /// Bytes came at `now_ns`.
    pub(super) fn moved(&self, bytes: u64, now_ns: u64) {
        let mut state = self.lock();
        let window = state.window.get_or_insert(Window { began_ns: now_ns, bytes: 0 });
        window.bytes += bytes;
        let (took_ns, sum) = (now_ns.saturating_sub(window.began_ns), window.bytes);
        if took_ns >= WINDOW_NS {
            state.window = None;
            self.decide(&mut state, sum as f64 * 1e9 / took_ns as f64);
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
        let fewer = (state.streams / 2).max(1);
        let gone = state.streams - fewer;
        self.shrink(&mut state, gone);
        (state.window, state.before, state.rest) = (None, None, REST_WINDOWS);
    }

    fn decide(&self, state: &mut State, rate: f64) {
        match state.before {
            Some(before) if rate < before * WORTH => {
                self.shrink(state, 1);
                (state.before, state.rest) = (None, REST_WINDOWS);
            }
            None if state.rest > 0 => state.rest -= 1,
            _ if state.streams < MOST_STREAMS => {
                state.before = Some(rate);
                state.streams += 1;
                match state.surplus.checked_sub(1) {
                    Some(less) => state.surplus = less,
                    None => self.turns.add_permits(1),
                }
            }
            _ => (state.before, state.rest) = (None, REST_WINDOWS),
        }
    }

    fn shrink(&self, state: &mut State, gone: usize) {
        state.streams -= gone;
        // Those that are in use end when they are given back.
        state.surplus += gone - self.turns.forget_permits(gone);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.pace.lock();
        if let Some(less) = state.surplus.checked_sub(1)
            && let Some(permit) = self.permit.take()
        {
            state.surplus = less;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Lets windows go by in which the link gives `rate(streams)` bytes a second.
    fn run(pace: &Pace, windows: u64, clock: &mut u64, rate: impl Fn(usize) -> u64) {
        for _ in 0..windows {
            let streams = pace.lock().streams;
            // The first piece opens the window, the last one closes it.
            pace.moved(0, *clock);
            *clock += WINDOW_NS;
            pace.moved(rate(streams) / 4, *clock);
        }
    }

    #[test]
    fn a_registry_that_gives_each_stream_so_much_gets_more_of_them() {
        let (pace, mut clock) = (Pace::new(), 0);
        run(&pace, 30, &mut clock, |streams| streams as u64 * 10 * MIB);
        assert_eq!(pace.lock().streams, 11, "the twelfth would be worth less than a tenth");
        assert_eq!(pace.turns.available_permits(), 11);
    }

    #[test]
    fn a_full_link_keeps_the_few() {
        let (pace, mut clock) = (Pace::new(), 0);
        run(&pace, 200, &mut clock, |_| 110 * MIB);
        assert!((3..=4).contains(&pace.lock().streams), "one try now and then");
        // It follows a link that changes.
        run(&pace, 200, &mut clock, |streams| streams as u64 * 10 * MIB);
        assert!(pace.lock().streams >= 9);
    }

    #[tokio::test]
    async fn trouble_halves_the_streams_those_in_use_as_they_end() {
        let (pace, mut clock) = (Pace::new(), 0);
        run(&pace, 6, &mut clock, |streams| streams as u64 * 10 * MIB);
        let streams = pace.lock().streams;
        let mut turns = Vec::new();
        for _ in 0..streams {
            turns.push(pace.turn().await);
        }
        pace.failed();
        assert_eq!(pace.lock().streams, streams / 2);
        turns.clear();
        assert_eq!(pace.turns.available_permits(), streams / 2);
        for _ in 0..10 {
            pace.failed();
        }
        assert_eq!((pace.lock().streams, pace.turns.available_permits()), (1, 1), "never none");
    }

    #[test]
    fn what_is_held_up_by_others_says_nothing() {
        let (pace, mut clock) = (Pace::new(), 0);
        for _ in 0..100 {
            pace.moved(MIB, clock);
            clock += WINDOW_NS / 2;
            pace.disturbed();
        }
        assert_eq!(pace.lock().streams, LEAST_STREAMS);
    }
}
