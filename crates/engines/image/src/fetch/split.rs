//! A run that a reader has overtaken: what the reader waits for far behind the place that the run has come to is fetched by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use glowplug_store::Ticket;
use glowplug_timeline::Cause;

use super::{Fetcher, LEAST_FAULT_BYTES};

/// How far ahead a span may be without being worth a request of its own: a round trip and a turn in a registry take as long as so
/// many bytes of a 1 Gbit/s link.
const FAR_BYTES: u64 = 1 << 20;

/// Splits a run that has come to `reached`, a place in the blob, before the first span that a reader waits for and that is far from
/// there. The reader's part is brought at once, with what lies right behind it; the rest as before.
pub(super) fn split(
    fetcher: &Arc<Fetcher>,
    layer: usize,
    waiting: &mut VecDeque<Ticket>,
    reached: u64,
    cause: Cause,
) {
    let spans = &fetcher.supplies[layer].layer.index().spans;
    let is_far = |ticket: &Ticket| spans[ticket.span()].blob.end > reached + FAR_BYTES && ticket.is_wanted();
    // The next one is on its way, however far its end.
    let Some(at) = waiting.iter().skip(1).position(is_far) else { return };
    let mut wanted: Vec<Ticket> = waiting.split_off(at + 1).into();
    let start = wanted.first().map_or(0, |ticket| spans[ticket.span()].blob.start);
    let near =
        wanted.iter().skip(1).take_while(|next| spans[next.span()].blob.end <= start + LEAST_FAULT_BYTES);
    let rest = wanted.split_off(1 + near.count());
    make_way_for(fetcher, wanted.first());
    fetcher.begin(layer, wanted, Cause::Fault);
    if !rest.is_empty() {
        fetcher.begin(layer, rest, cause);
    }
}

/// Makes prefetch wait until a ticket that a reader wants has landed.
fn make_way_for(fetcher: &Fetcher, wanted: Option<&Ticket>) {
    let Some(waiter) = wanted.map(Ticket::waiter) else { return };
    let urgent = fetcher.scheduler.urgent();
    tokio::spawn(async move {
        // Whether it came is for the reader to say.
        let _ = waiter.wait().await;
        drop(urgent);
    });
}
