//! One peer: how quick it is, whether it is well, whether it lied.
//!
//! A peer that does not answer, or is overtaken again and again, is put aside for a while that doubles each time; one
//! good answer makes it well. A peer that gave wrong bytes is left alone for longer, and only time forgives it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glowplug_base::Clock;
use tokio::sync::Notify;

use crate::latency::Latency;

/// Times in a row that a peer may be overtaken before it counts as slow.
const OVERTAKEN_BEFORE_ASIDE: u32 = 3;
/// How long a peer is put aside at first, and at most.
const ASIDE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// How long a peer that lied is left alone at first, and at most.
const QUARANTINE: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(6 * 3600));

/// How long a peer is waited for before somebody else is asked, too. What 95 of 100 of its answers take, within these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// While its speed is not known.
    pub first: Duration,
    /// Never less.
    pub least: Duration,
    /// Never more.
    pub most: Duration,
}

impl Default for Patience {
    /// First what a piece takes over a slow link from the registry to the peer, and some. At least what a busy machine
    /// takes for a piece that it has. At most what a reader behind a page fault bears before a second request is worth
    /// it.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            least: Duration::from_millis(50),
            most: Duration::from_secs(2),
        }
    }
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, which is its name: `http://HOST:PORT`.
    pub(crate) name: Arc<str>,
    state: Mutex<State>,
    /// Tells that it is no longer asked.
    fell: Notify,
}

#[derive(Debug, Default)]
struct State {
    latency: Latency,
    overtaken: u32,
    failures: u32,
    aside_until_ns: u64,
    lies: u32,
    quarantined_until_ns: u64,
}

impl Peer {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), state: Mutex::default(), fell: Notify::new() }
    }

    /// Whether it is asked.
    pub(crate) fn is_well(&self, now_ns: u64) -> bool {
        let state = self.lock();
        now_ns >= state.aside_until_ns.max(state.quarantined_until_ns)
    }

    /// Returns when it is no longer asked.
    pub(crate) async fn until_ill(&self, clock: &Clock) {
        loop {
            // Listening before looking: what happens in between is heard.
            let fell = self.fell.notified();
            if !self.is_well(clock.now_ns()) {
                return;
            }
            fell.await;
        }
    }

    /// Whether it lied, and that is not yet forgiven.
    pub(crate) fn is_quarantined(&self, now_ns: u64) -> bool {
        now_ns < self.lock().quarantined_until_ns
    }

    /// How long it is waited for before somebody else is asked, too.
    pub(crate) fn patience(&self, limits: &Patience) -> Duration {
        match self.lock().latency.usual() {
            Some(usual) => usual.clamp(limits.least, limits.most.max(limits.least)),
            None => limits.first,
        }
    }

    /// It answered as agreed, after `took_ns`, before anybody else did.
    pub(crate) fn answered(&self, took_ns: u64) {
        let mut state = self.lock();
        state.latency.learn(took_ns);
        (state.overtaken, state.failures) = (0, 0);
    }

    /// Somebody who was asked later answered first. Whether it is put aside now.
    pub(crate) fn was_overtaken(&self, now_ns: u64) -> bool {
        let mut state = self.lock();
        state.overtaken += 1;
        let slow = state.overtaken >= OVERTAKEN_BEFORE_ASIDE;
        if slow {
            state.overtaken = 0;
            state.put_aside(now_ns);
            self.fell.notify_waiters();
        }
        slow
    }

    /// It did not answer, or not as agreed. Whether it is put aside now, and was not before.
    pub(crate) fn failed(&self, now_ns: u64) -> bool {
        let mut state = self.lock();
        // Requests that were under way together fail together.
        let already = now_ns < state.aside_until_ns;
        if !already {
            state.put_aside(now_ns);
            self.fell.notify_waiters();
        }
        !already
    }

    /// It gave wrong bytes: for how long it is left alone, or nothing where it is already.
    pub(crate) fn lied(&self, now_ns: u64) -> Option<Duration> {
        let mut state = self.lock();
        if now_ns < state.quarantined_until_ns {
            return None;
        }
        let pause = doubled(QUARANTINE, state.lies);
        state.lies = state.lies.saturating_add(1);
        state.quarantined_until_ns = now_ns.saturating_add(nanos(pause));
        self.fell.notify_waiters();
        Some(pause)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put_aside(&mut self, now_ns: u64) {
        let pause = doubled(ASIDE, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.aside_until_ns = now_ns.saturating_add(nanos(pause));
    }
}

/// The first pause, doubled so many times, and never more than the longest.
fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(1 << times.min(16)).min(longest)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn patience_follows_the_answers() {
        let peer = Peer::new("http://a:1");
        let limits = Patience::default();
        assert_eq!(peer.patience(&limits), limits.first);
        (0..64).for_each(|_| peer.answered(SECOND / 10));
        assert_eq!(peer.patience(&limits), Duration::from_millis(100));
        (0..5).for_each(|_| peer.answered(SECOND));
        assert_eq!(peer.patience(&limits), Duration::from_secs(1), "one in twenty is slow");
        (0..64).for_each(|_| peer.answered(1));
        assert_eq!(peer.patience(&limits), limits.least);
        (0..64).for_each(|_| peer.answered(9 * SECOND));
        assert_eq!(peer.patience(&limits), limits.most);
    }

    #[test]
    fn failures_cost_more_each_time_and_an_answer_forgives_them() {
        let peer = Peer::new("http://a:1");
        assert!(peer.failed(0) && !peer.failed(1), "two that were under way are one failure");
        assert!(!peer.is_well(5 * SECOND - 1) && peer.is_well(5 * SECOND));
        assert!(peer.failed(5 * SECOND));
        assert!(!peer.is_well(15 * SECOND - 1) && peer.is_well(15 * SECOND));
        peer.answered(1);
        assert!(peer.failed(100 * SECOND));
        assert!(peer.is_well(105 * SECOND));
        (0..40).for_each(|at| _ = peer.failed(1000 * SECOND * at));
        assert!(!peer.is_well(39_299 * SECOND) && peer.is_well(39_300 * SECOND), "five minutes at most");
    }

    #[test]
    fn a_peer_that_is_overtaken_again_and_again_is_put_aside() {
        let peer = Peer::new("http://a:1");
        assert!(!peer.was_overtaken(0) && !peer.was_overtaken(0));
        peer.answered(1);
        assert!(!peer.was_overtaken(0) && !peer.was_overtaken(0), "an answer in time begins anew");
        assert!(peer.was_overtaken(0) && !peer.is_well(0));
    }

    #[test]
    fn a_lie_is_forgiven_by_time_alone() {
        let peer = Peer::new("http://a:1");
        assert_eq!((peer.lied(0), peer.lied(1)), (Some(Duration::from_secs(300)), None));
        peer.answered(1);
        assert!(peer.is_quarantined(300 * SECOND - 1) && !peer.is_well(300 * SECOND - 1));
        assert!(peer.is_well(300 * SECOND));
        assert_eq!(peer.lied(300 * SECOND), Some(Duration::from_secs(600)));
        assert!(!peer.is_well(899 * SECOND));
    }
}
