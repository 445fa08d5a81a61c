//! What to prefetch next: the profile's order first, then every layer from its first span to its last.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use glowplug_layer::Recipe;
use glowplug_store::{Claim, Layer, Ticket};
use glowplug_timeline::Cause;

/// Blob bytes of one prefetch request. Long enough that a round trip is small beside it (4 MiB are 34 ms of a 1 Gbit/s
/// link), short enough that several streams share the work.
const RUN_BYTES: u64 = 4 * 1024 * 1024;

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
    /// Where the sweep over everything stands: layer and span.
    sweep: (usize, usize),
}

impl Plan {
    pub(super) fn new(layers: Vec<Arc<Layer>>, order: Vec<(usize, usize)>) -> Self {
        let known = |(layer, span): &(usize, usize)| *span < layers[*layer].index().spans.len();
        let profile = order.into_iter().filter(known).collect();
        Self { layers, state: Mutex::new(State { profile, sweep: (0, 0) }) }
    }

    /// The next run to bring, claimed; nothing when all is here or on its way.
    pub(super) fn next(&self) -> Option<(usize, Vec<Ticket>, Cause)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((layer, span)) = state.profile.pop_front() {
            if let Claim::Mine(ticket) = self.layers[layer].claim(span) {
                let mut run = vec![ticket];
                // Neighbours follow in one request as long as the profile wants them next.
                while let Some(&(next_layer, next)) = state.profile.front() {
                    if next_layer != layer || next != span + run.len() || self.bytes(layer, &run) >= RUN_BYTES
                    {
                        break;
                    }
                    state.profile.pop_front();
                    let Claim::Mine(ticket) = self.layers[layer].claim(next) else { break };
                    run.push(ticket);
                }
                return Some((layer, run, Cause::Profile));
            }
        }
        while state.sweep.0 < self.layers.len() {
            let layer = state.sweep.0;
            let spans = self.layers[layer].index().spans.len();
            let mut run: Vec<Ticket> = Vec::new();
            while state.sweep.1 < spans && self.bytes(layer, &run) < RUN_BYTES {
                match self.layers[layer].claim(state.sweep.1) {
                    Claim::Mine(ticket) => run.push(ticket),
                    _ if run.is_empty() => {}
                    _ => break,
                }
                state.sweep.1 += 1;
            }
            if !run.is_empty() {
                return Some((layer, run, Cause::Background));
            }
            state.sweep = (layer + 1, 0);
        }
        None
    }

    fn bytes(&self, layer: usize, run: &[Ticket]) -> u64 {
        let spans = &self.layers[layer].index().spans;
        // A layer without a way in streams as a whole, however much of it is missing: take all of it.
        let counted = run.iter().filter(|ticket| spans[ticket.span()].recipe != Recipe::Whole);
        counted.map(|ticket| spans[ticket.span()].blob.len()).sum()
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
