//! One request for a row of neighbouring spans, and the restreaming of a layer that has no way in.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use glowplug_base::ByteRange;
use glowplug_layer::Span;
use glowplug_source::{SourceError, read_all};
use glowplug_store::{FlightError, Ticket};
use glowplug_timeline::Cause;

use super::courtesy::politely;
use super::memory::Room;
use super::split::split;
use super::{Contradiction, Fetcher};
use crate::claim;
use crate::decode::decode;
use crate::error::chain;
use crate::ingest::{Decoder, Piece};

/// Network pieces that may wait for the decoder of a restreamed layer.
const PIECES_AHEAD: usize = 16;
/// What a network piece is seldom longer than, in bytes: room for what comes behind a span's end.
const PIECE_BYTES: usize = 64 * 1024;

/// Fetches a row of spans and commits each as it comes. Whatever goes wrong is told to those who wait.
pub(super) async fn fetch(fetcher: &Arc<Fetcher>, layer: usize, run: Vec<Ticket>, cause: Cause) {
    let supply = &fetcher.supplies[layer];
    let spans = &supply.layer.index().spans;
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
    let range = ByteRange::new(spans[first.span()].blob.start, spans[last.span()].blob.end);
    let capacity = spans[first.span()].blob.len() as usize + PIECE_BYTES;
    let room = Arc::new(
        fetcher.scheduler.memory.room(bytes_at_once(spans, &run, cause), cause == Cause::Fault).await,
    );
    let mut waiting: VecDeque<Ticket> = run.into();
    let mut stream = match supply.source.open(range, cause).await {
        Ok(stream) => stream,
        Err(error) => return fetcher.give_up(waiting, &error, cause),
    };
    let mut waits = fetcher.waits.subscribe();
    // Somebody may wait already.
    waits.mark_changed();
    // `held` are the bytes from `held_at` on that a span still needs.
    let (mut held, mut held_at) = (BytesMut::with_capacity(capacity), range.start);
    while let Some(wanted) = waiting.front().map(|ticket| spans[ticket.span()].blob) {
        let have = held_at + held.len() as u64;
        if have >= wanted.end {
            let Some(ticket) = waiting.pop_front() else { break };
            // Neighbours may share a byte, so what the next one needs is copied: little, as pieces are short.
            let next = waiting.front().map(|next| spans[next.span()].blob);
            let mut rest = BytesMut::new();
            if let Some(next) = next {
                rest.reserve(next.len() as usize + PIECE_BYTES);
                rest.extend_from_slice(&held[(next.start - held_at) as usize..]);
            }
            let bytes = std::mem::replace(&mut held, rest).freeze();
            let bytes = bytes.slice((wanted.start - held_at) as usize..(wanted.end - held_at) as usize);
            held_at = next.map_or(held_at, |next| next.start);
            finish(fetcher, layer, ticket, bytes, cause, room.clone()).await;
            continue;
        }
        if cause != Cause::Fault {
            fetcher.make_way(&waiting).await;
        }
        let piece = tokio::select! {
            biased;
            _ = waits.changed(), if cause != Cause::Fault => {
                split(fetcher, layer, &mut waiting, have, cause);
                continue;
            }
            piece = stream.next() => piece,
        };
        match piece {
            Some(Ok(piece)) => {
                fetcher.came(piece.len(), cause);
                held.extend_from_slice(&piece);
            }
            Some(Err(error)) => return fetcher.give_up(waiting, &error, cause),
            None => {
                let error = SourceError::short(supply.source.name(), range, have - range.start);
                return fetcher.give_up(waiting, &error, cause);
            }
        }
    }
}

/// The most bytes that a run has in memory, encoded and decoded: a reader's spans are decoded while the next ones come, others one by one.
fn bytes_at_once(spans: &[Span], run: &[Ticket], cause: Cause) -> u64 {
    let bytes =
        run.iter().map(|ticket| &spans[ticket.span()]).map(|span| span.blob.len() + span.stream.len());
    if cause == Cause::Fault { bytes.sum() } else { bytes.max().unwrap_or(0) }
}

/// Decodes and commits one span off the runtime's threads; `memory` is what its bytes count in. For a reader it does not wait its turn.
async fn finish(
    fetcher: &Arc<Fetcher>,
    layer: usize,
    ticket: Ticket,
    bytes: Bytes,
    cause: Cause,
    memory: Arc<Room>,
) {
    let this = fetcher.clone();
    let work = async move {
        let _memory = memory;
        let _turn = match cause {
            Cause::Fault => None,
            _ => this.scheduler.decoders.acquire().await.ok(),
        };
        let supply = this.supplies[layer].clone();
        // Also after the start: the first requests want the processor as much, and idle cores are taken all the same.
        let polite = cause == Cause::Background;
        let (attempt, ticket) = land(&this, layer, ticket, bytes.clone(), polite).await;
        let (Err(reason), Some(ticket)) = (attempt, ticket) else { return };
        if let Some(lie) = supply.layer.distrusted() {
            Contradiction::of_distrusted(&supply.layer).into_iter().for_each(|found| this.contradict(found));
            return ticket.fail(FlightError::io(lie.to_string()));
        }
        // Wrong bytes are asked for once more: a proxy or a cable may have garbled them. The store never sees them.
        tracing::warn!(layer = %supply.source.name(), span = ticket.span(), %reason, "wrong bytes, fetching them again");
        let range = supply.layer.index().spans[ticket.span()].blob;
        supply.source.distrust(range);
        match read_all(&*supply.source, range, cause).await {
            Ok(second) => {
                let same = second == bytes;
                let (again, ticket) = land(&this, layer, ticket, second.into(), polite).await;
                if let (Err(reason), Some(ticket)) = (again, ticket) {
                    if same {
                        claim::doubt(&supply.layer, ticket.span());
                    }
                    // The next reader's request goes past whoever answered both times.
                    supply.source.distrust(range);
                    let message = format!("{}: span {}: {reason}", supply.source.name(), ticket.span());
                    ticket.fail(FlightError::io(message));
                }
            }
            Err(error) => ticket.fail(FlightError::io(chain(&error))),
        }
    };
    if cause == Cause::Fault {
        tokio::spawn(work);
    } else {
        // Prefetching goes no faster than decoding: the link's bytes wait in the kernel, not in our memory.
        work.await;
    }
}

/// Decodes and commits; gives the ticket back when the bytes were wrong.
async fn land(
    fetcher: &Arc<Fetcher>,
    layer: usize,
    ticket: Ticket,
    bytes: Bytes,
    polite: bool,
) -> (Result<(), String>, Option<Ticket>) {
    let this = fetcher.clone();
    let work = move || {
        this.rooms.with(|room| match decode(&this.supplies[layer].layer, ticket.span(), &bytes, room) {
            Ok(stream) => {
                let span = ticket.span();
                this.seams.keep(layer, &this.supplies[layer].layer, span, stream);
                match ticket.commit(stream) {
                    Ok(()) => {
                        this.seams.pack(layer, span);
                        (Ok(()), None)
                    }
                    Err((ticket, error)) => {
                        this.seams.take(layer, span);
                        (Err(chain(&error)), ticket)
                    }
                }
            }
            Err(reason) => (Err(reason), Some(ticket)),
        })
    };
    let done = tokio::task::spawn_blocking(move || if polite { politely(work) } else { work() });
    done.await.unwrap_or_else(|panic| (Err(panic.to_string()), None))
}

/// Streams a whole layer again and commits the spans that are missing.
pub(super) async fn restream(fetcher: &Arc<Fetcher>, layer: usize, run: Vec<Ticket>, cause: Cause) {
    let supply = fetcher.supplies[layer].clone();
    let longest = supply.layer.index().spans.iter().map(|span| span.stream.len()).max().unwrap_or(0);
    let _room = fetcher.scheduler.memory.room(longest, cause == Cause::Fault).await;
    let mut mine: VecDeque<Ticket> = run.into();
    let size = supply.source.size();
    let mut stream = match supply.source.open(ByteRange::new(0, size), cause).await {
        Ok(stream) => stream,
        Err(error) => return fetcher.give_up(mine, &error, cause),
    };
    let (pieces, mut incoming) = tokio::sync::mpsc::channel::<Bytes>(PIECES_AHEAD);
    let here = supply.layer.clone();
    let compression = supply.compression;
    let decoding = tokio::task::spawn_blocking(move || {
        let spans = &here.index().spans;
        let (mut span, mut held) = (0, Vec::new());
        let mut take = |piece: Piece| {
            let Piece::Bytes(bytes) = piece else { return true };
            let mut rest = &bytes[..];
            while !rest.is_empty() && span < spans.len() {
                let room = spans[span].stream.len() as usize - held.len();
                let wanted = mine.front().is_some_and(|ticket| ticket.span() == span);
                let (now, later) = rest.split_at(room.min(rest.len()));
                held.extend_from_slice(now);
                rest = later;
                if held.len() as u64 == spans[span].stream.len() {
                    if wanted
                        && let Some(ticket) = mine.pop_front()
                        && let Err((Some(ticket), error)) = ticket.commit(&held)
                    {
                        ticket.fail(FlightError { message: chain(&error), errno: error.errno() });
                    }
                    held.clear();
                    span += 1;
                }
            }
            !mine.is_empty()
        };
        let decoded = Decoder::new(compression, false).and_then(|mut decoder| {
            std::iter::from_fn(|| incoming.blocking_recv())
                .try_for_each(|piece| decoder.push(&piece, &mut take))
        });
        decoded.err().map(|reason| (reason, std::mem::take(&mut mine)))
    });
    let mut trouble = None;
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => {
                fetcher.came(piece.len(), cause);
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                trouble = Some(error);
                break;
            }
        }
    }
    drop(pieces);
    // Tickets still open when the decoder ends are failed by being dropped.
    if let Ok(Some((reason, left))) = decoding.await {
        let message = trouble.map_or(reason, |error| chain(&error));
        for ticket in left {
            ticket.fail(FlightError::io(message.clone()));
        }
    }
}

impl Fetcher {
    /// Tells everybody who waits for these spans that they do not come.
    fn give_up(&self, waiting: impl IntoIterator<Item = Ticket>, error: &SourceError, cause: Cause) {
        if cause != Cause::Fault {
            self.pace.failed();
        }
        let failure = FlightError::io(chain(error));
        for ticket in waiting {
            ticket.fail(failure.clone());
        }
    }
}
