//! What to prefetch next: the profile's order first, then everything, from where readers were last.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use glowplug_layer::Recipe;
use glowplug_store::{Claim, Layer, Ticket};
use glowplug_timeline::Cause;

/// Blob bytes of the first prefetch requests: what is wanted first is behind nothing else.
const FIRST_RUN_BYTES: u64 = 1024 * 1024;
/// Blob bytes of one prefetch request at most while the start goes on. Each costs the registry a few milliseconds of a processor, and
/// a far one a round trip; but what is asked for comes, also when a reader's request is made a moment later.
const STARTING_RUN_BYTES: u64 = 4 * 1024 * 1024;
/// Blob bytes of one prefetch request where no processor is free.
pub(super) const BUSY_RUN_BYTES: u64 = 1024 * 1024;
/// Blob bytes of one prefetch request when the start is over: a round trip is small beside it.
const SETTLED_RUN_BYTES: u64 = 8 * 1024 * 1024;
/// Blob bytes of one prefetch request, before the start is over or `settled`, when `moved` bytes came already: requests
/// grow with them.
pub(super) fn run_bytes(settled: bool, moved: u64) -> u64 {
    if settled { SETTLED_RUN_BYTES } else { moved.clamp(FIRST_RUN_BYTES, STARTING_RUN_BYTES) }
}
/// How far ahead in the profile a neighbour may stand to come along in one request, in spans.
const PROFILE_LOOKAHEAD: usize = 512;
/// Bytes of the blob that nobody expects and that come along all the same, between two spans that are expected: a request of its own
/// costs more. Never more of them than are expected.
const MOST_GAP_BYTES: u64 = 128 * 1024;

/// The plan of one image, shared by its prefetch streams.
#[derive(Debug)]
pub(super) struct Plan {
    layers: Vec<Arc<Layer>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Spans of the profile still to bring.
    profile: VecDeque<(usize, usize)>,
    /// Where the sweep over everything goes on: layer and span.
    sweep: (usize, usize),
    /// Layers that the sweep leaves to their audit.
    audited: HashSet<usize>,
}

impl Plan {
    pub(super) fn new(layers: Vec<Arc<Layer>>) -> Self {
        let state = State { profile: VecDeque::new(), sweep: (0, 0), audited: HashSet::new() };
        Self { layers, state: Mutex::new(state) }
    }

    /// Leaves the rest of these layers to others, until they are handed back by leaving none.
    pub(super) fn leave(&self, layers: &[usize]) {
        self.lock().audited = layers.iter().copied().collect();
    }

    /// Sets the order of the start profile.
    pub(super) fn expect(&self, order: Vec<(usize, usize)>) {
        let known = |(layer, span): &(usize, usize)| *span < self.layers[*layer].index().spans.len();
        self.lock().profile = order.into_iter().filter(known).collect();
    }

    /// Puts spans before what the start profile still has.
    pub(super) fn hasten(&self, spans: impl DoubleEndedIterator<Item = (usize, usize)>) {
        let mut state = self.lock();
        spans.rev().for_each(|span| state.profile.push_front(span));
    }

    /// Whether the start profile has spans left to bring.
    pub(super) fn expects_more(&self) -> bool {
        !self.lock().profile.is_empty()
    }

    /// A reader wanted this span: what lies behind it is likely to be wanted next, for archives keep together what
    /// belongs together.
    pub(super) fn follow(&self, layer: usize, span: usize) {
        self.lock().sweep = (layer, span);
    }

    /// The next run to bring, of about `limit` bytes of the blob, claimed; nothing when all is here or on its way.
    pub(super) fn next(&self, limit: u64) -> Option<(usize, Vec<Ticket>, Cause)> {
        let mut state = self.lock();
        while let Some((layer, span)) = state.profile.pop_front() {
            if let Claim::Mine(ticket) = self.layers[layer].claim(span) {
                return Some((
                    layer,
                    self.expected_row(&mut state.profile, layer, ticket, limit),
                    Cause::Profile,
                ));
            }
        }
        let count = self.layers.len();
        let (first, from) = state.sweep;
        // Once around: the rest of the layer, the others, and at last what lies before.
        for step in 0..=count {
            let layer = (first + step) % count.max(1);
            if state.audited.contains(&layer) {
                continue;
            }
            let spans = self.layers.get(layer)?.index().spans.len();
            let range = match step {
                0 => from..spans,
                _ if step == count => 0..from.min(spans),
                _ => 0..spans,
            };
            let run = self.missing_row(layer, range, limit);
            if let Some(last) = run.last() {
                state.sweep = (layer, last.span() + 1);
                return Some((layer, run, Cause::Background));
            }
        }
        None
    }

    /// A span and those behind it that the profile wants soon, with what little lies between.
    fn expected_row(
        &self,
        profile: &mut VecDeque<(usize, usize)>,
        layer: usize,
        ticket: Ticket,
        limit: u64,
    ) -> Vec<Ticket> {
        let mut run = vec![ticket];
        let mut wanted = self.bytes(layer, &run);
        while self.bytes(layer, &run) < limit {
            let next = run.last().map_or(0, |last| last.span() + 1);
            let Some((at, span)) = self.expected_behind(profile, layer, next, wanted.min(MOST_GAP_BYTES))
            else {
                break;
            };
            let row = (next..=span).map_while(|span| match self.layers[layer].claim(span) {
                Claim::Mine(ticket) => Some(ticket),
                _ => None,
            });
            run.extend(row);
            if run.last().is_none_or(|last| last.span() != span) {
                break;
            }
            profile.remove(at);
            wanted += self.layers[layer].index().spans[span].blob.len();
        }
        run
    }

    /// The first span from `next` on that the profile wants soon, and where it stands there, if no more than `gap` bytes lie before it.
    fn expected_behind(
        &self,
        profile: &VecDeque<(usize, usize)>,
        layer: usize,
        next: usize,
        gap: u64,
    ) -> Option<(usize, usize)> {
        let spans = &self.layers[layer].index().spans;
        let from = spans.get(next)?.blob.start;
        (next..spans.len()).take_while(|span| spans[*span].blob.start <= from + gap).find_map(|span| {
            let mut soon = profile.iter().take(PROFILE_LOOKAHEAD);
            soon.position(|wanted| *wanted == (layer, span)).map(|at| (at, span))
        })
    }

    /// The first row of spans in `range` that nobody has or fetches.
    fn missing_row(&self, layer: usize, range: std::ops::Range<usize>, limit: u64) -> Vec<Ticket> {
        let mut run: Vec<Ticket> = Vec::new();
        for span in range {
            if self.bytes(layer, &run) >= limit {
                break;
            }
            match self.layers[layer].claim(span) {
                Claim::Mine(ticket) => run.push(ticket),
                _ if run.is_empty() => {}
                _ => break,
            }
        }
        run
    }

    fn bytes(&self, layer: usize, run: &[Ticket]) -> u64 {
        let spans = &self.layers[layer].index().spans;
        // A layer without a way in streams as a whole, however much of it is missing: take all of it.
        let counted = run.iter().filter(|ticket| spans[ticket.span()].recipe != Recipe::Whole);
        counted.map(|ticket| spans[ticket.span()].blob.len()).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts tickets, ascending by span, into rows of neighbours.
pub(super) fn rows(tickets: Vec<Ticket>) -> Vec<Vec<Ticket>> {
    let mut rows: Vec<Vec<Ticket>> = Vec::new();
    for ticket in tickets {
        match rows.last_mut() {
            Some(row) if row.last().is_some_and(|last| last.span() + 1 == ticket.span()) => row.push(ticket),
            _ => rows.push(vec![ticket]),
        }
    }
    rows
}
