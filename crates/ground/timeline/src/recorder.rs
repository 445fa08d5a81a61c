//! The recorder: a cheap handle that every part clones.

use std::sync::{Arc, Mutex, PoisonError};

use glowplug_base::Clock;

use crate::{Event, Fetch, Mark, Phase, Span, Stall};

/// Collects the events of one start. Clones record into the same timeline.
#[derive(Debug, Clone)]
pub struct Timeline {
    clock: Clock,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Timeline {
    /// An empty timeline whose zero is the clock's.
    pub fn new(clock: Clock) -> Self {
        Self { clock, events: Arc::default() }
    }

    /// Now, in nanoseconds of this timeline.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Adds an event.
    pub fn record(&self, event: Event) {
        self.lock().push(event);
    }

    /// Begins a piece of work that is recorded when the guard is dropped.
    pub fn span(&self, phase: Phase, name: impl Into<String>) -> SpanGuard {
        SpanGuard { timeline: self.clone(), phase, name: name.into(), start_ns: self.now_ns(), detail: None }
    }

    /// Records that a reader of `path` waited from `start_ns` until now for `bytes` bytes.
    pub fn stall(&self, start_ns: u64, path: String, bytes: u64) {
        self.record(Event::Stall(Stall { start_ns, end_ns: self.now_ns(), path, bytes }));
    }

    /// Records bytes that came over the network.
    pub fn fetch(&self, fetch: Fetch) {
        self.record(Event::Fetch(fetch));
    }

    /// Records a moment.
    pub fn mark(&self, name: impl Into<String>) {
        self.record(Event::Mark(Mark { at_ns: self.now_ns(), name: name.into() }));
    }

    /// A copy of everything recorded so far, in the order of recording.
    pub fn events(&self) -> Vec<Event> {
        self.lock().clone()
    }

    /// A panic while pushing leaves the list whole, so a poisoned lock is still good.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records a [`Span`] from its making to its drop.
#[derive(Debug)]
pub struct SpanGuard {
    timeline: Timeline,
    phase: Phase,
    name: String,
    start_ns: u64,
    detail: Option<String>,
}

impl SpanGuard {
    /// Adds a word for people.
    pub fn detail(&mut self, text: impl Into<String>) {
        self.detail = Some(text.into());
    }
}

impl Drop for SpanGuard {
    fn drop(&mut self) {
        self.timeline.record(Event::Span(Span {
            phase: self.phase,
            name: std::mem::take(&mut self.name),
            start_ns: self.start_ns,
            end_ns: self.timeline.now_ns(),
            detail: self.detail.take(),
        }));
    }
}
