//! Brings spans: what a reader waits for first, then what the start profile expects, then everything else.
//!
//! A *run* is a row of neighbouring spans fetched by one ranged request; each span is decoded, checked and committed as
//! soon as its last byte is here, so the first reader does not wait for the last span. Runs for readers start at once.
//! All other runs pause between pieces while a reader waits, so the link is the reader's.

mod audit;
mod courtesy;
mod memory;
mod pace;
mod plan;
mod run;
mod scheduler;
mod seams;
mod split;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{Entry, Recipe};
use glowplug_source::{RangeSource, SourceError, read_all};
use glowplug_store::{Claim, FlightError, Layer, Ticket};
use glowplug_timeline::{Cause, Mark, Timeline};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use audit::Contradiction;
use audit::Way;
pub use courtesy::Spare;
use courtesy::a_free_processor;
use pace::{Class, Pace};
use plan::Plan;
pub use scheduler::Scheduler;
use seams::Seams;

use crate::decode::Rooms;

/// Most neighbours that a reader's request brings along when reads are sequential, in spans.
const MAX_READAHEAD_SPANS: usize = 8;
/// Least bytes of the blob that a reader's request asks for, neighbours included, where spans are short, as they are where every
/// small file is one: archives keep together what belongs together, and this is 4 ms of a 1 Gbit/s link.
const LEAST_FAULT_BYTES: u64 = 512 * 1024;

/// One layer and where its missing bytes come from.
#[derive(Debug, Clone)]
pub(crate) struct Supply {
    pub(crate) layer: Arc<Layer>,
    pub(crate) source: Arc<dyn RangeSource>,
    pub(crate) compression: glowplug_oci::Compression,
    /// Digest of the archive as the image's configuration has it.
    pub(crate) diff_id: Option<Digest>,
    /// What the layer shows, if that is not what its index says: the store keeps a model once, wherever images have it.
    pub(crate) placed: Option<Vec<Entry>>,
}

impl Supply {
    /// The entries that the layer brings into the image, numbered as in its index.
    pub(crate) fn entries(&self) -> &[Entry] {
        self.placed.as_deref().unwrap_or(&self.layer.index().entries)
    }
}

/// The fetcher of one opened image.
#[derive(Debug)]
pub(crate) struct Fetcher {
    supplies: Vec<Supply>,
    timeline: Timeline,
    scheduler: Arc<Scheduler>,
    /// Changes when a reader begins to wait for what somebody brings already.
    waits: watch::Sender<()>,
    /// For each layer, where the last reader's run ended and how long it was, in spans.
    trails: Vec<AtomicU64>,
    moved: AtomicU64,
    rooms: Rooms,
    plan: Plan,
    pace: Arc<Pace>,
    /// Streams that look for a free processor, or go on without one.
    reluctant: Arc<Semaphore>,
    /// The start is over: nobody minds long requests any more.
    settled: AtomicBool,
    /// Nobody has the image open any more.
    closed: AtomicBool,
    /// What of archives is kept until they are held against their index.
    seams: Seams,
    /// Layers that are not what their published indexes say.
    contradictions: watch::Sender<Vec<Contradiction>>,
}

impl Fetcher {
    pub(crate) fn new(supplies: Vec<Supply>, scheduler: Arc<Scheduler>, timeline: Timeline) -> Self {
        // An image's layers come from one registry; if not, the first one's host stands for all.
        let pace = scheduler.pace(supplies.first().map_or("", |supply| supply.source.host()));
        Self {
            trails: supplies.iter().map(|_| AtomicU64::new(u64::MAX)).collect(),
            plan: Plan::new(supplies.iter().map(|supply| supply.layer.clone()).collect()),
            settled: AtomicBool::new(false),
            contradictions: watch::Sender::new(Vec::new()),
            seams: Seams::new(
                supplies.iter().map(|supply| audit::due(supply) == Some(Way::Complete)).collect(),
            ),
            supplies,
            timeline,
            pace,
            reluctant: Arc::new(Semaphore::new(pace::LEAST_STREAMS)),
            waits: watch::Sender::new(()),
            scheduler,
            moved: AtomicU64::new(0),
            rooms: Rooms::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn supplies(&self) -> &[Supply] {
        &self.supplies
    }

    /// Bytes that have come over the network so far; deadlines extend while it grows.
    pub(crate) fn moved_bytes(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Returns when the spans of a layer are present.
    pub(crate) async fn ensure(
        self: &Arc<Self>,
        layer: usize,
        spans: std::ops::Range<usize>,
    ) -> Result<(), FlightError> {
        let here = &self.supplies[layer].layer;
        let mut mine = Vec::new();
        let mut waiters = Vec::new();
        for span in spans.clone() {
            match here.claim(span) {
                Claim::Present => {}
                Claim::Mine(ticket) => {
                    waiters.push(ticket.waiter());
                    mine.push(ticket);
                }
                Claim::Theirs(waiter) => waiters.push(waiter),
            }
        }
        // While somebody waits for what nobody was bringing, prefetching makes room; else its bytes are what is waited for.
        let _urgent = (!mine.is_empty()).then(|| self.scheduler.urgent());
        if mine.len() < waiters.len() {
            self.waits.send_replace(());
        }
        if !mine.is_empty() {
            self.read_ahead(layer, &mut mine, spans.end);
            self.plan.follow(layer, mine.last().map_or(spans.end, |ticket| ticket.span() + 1));
            for run in plan::rows(mine) {
                self.begin(layer, run, Cause::Fault);
            }
        }
        for waiter in waiters {
            waiter.wait().await?;
        }
        Ok(())
    }

    /// Claims further spans when the reader goes on where it stopped, twice as many each time.
    fn read_ahead(&self, layer: usize, mine: &mut Vec<Ticket>, end: usize) {
        let trail = self.trails[layer].load(Ordering::Relaxed);
        let (stopped, length) = ((trail >> 8) as usize, (trail & 0xff) as usize);
        let first = mine.first().map_or(0, Ticket::span);
        let length = if first == stopped { (length * 2).clamp(1, MAX_READAHEAD_SPANS) } else { 0 };
        let here = &self.supplies[layer].layer;
        let spans = &here.index().spans;
        let mut bytes: u64 = mine.iter().map(|ticket| spans[ticket.span()].blob.len()).sum();
        let mut next = end;
        while next < spans.len()
            && (next < end + length || bytes + spans[next].blob.len() <= LEAST_FAULT_BYTES)
        {
            let Claim::Mine(ticket) = here.claim(next) else { break };
            bytes += spans[next].blob.len();
            mine.push(ticket);
            next += 1;
        }
        self.trails[layer].store((next as u64) << 8 | length.max(1) as u64, Ordering::Relaxed);
    }

    /// Begins to bring a run, beside everything else that goes on.
    fn begin(self: &Arc<Self>, layer: usize, run: Vec<Ticket>, cause: Cause) {
        let this = self.clone();
        tokio::spawn(async move { this.bring(layer, run, cause).await });
    }

    async fn bring(self: &Arc<Self>, layer: usize, run: Vec<Ticket>, cause: Cause) {
        let spans = &self.supplies[layer].layer.index().spans;
        if run.iter().any(|ticket| spans[ticket.span()].recipe == Recipe::Whole) {
            run::restream(self, layer, run, cause).await;
        } else {
            run::fetch(self, layer, run, cause).await;
        }
    }

    /// Brings the profile's spans in its order, then all others. Ends when everything is here or the image is closed.
    ///
    /// What nobody is known to want comes only while `spare` says that a processor is free.
    pub(crate) fn start_prefetch(self: &Arc<Self>, order: Vec<(usize, usize)>, spare: &Spare) {
        self.plan.expect(order);
        let due = |way| {
            let is_due = |layer: &usize| audit::due(&self.supplies[*layer]) == Some(way);
            (0..self.supplies.len()).filter(is_due).collect::<Vec<usize>>()
        };
        let (doubtful, published) = (due(Way::Streaming), due(Way::Complete));
        self.plan.leave(&doubtful);
        let (this, spare, timeline) = (Arc::downgrade(self), spare.clone(), self.timeline.clone());
        let mut streams = sweep(&this, &spare);
        tokio::spawn(async move {
            if !doubtful.is_empty() {
                for layer in doubtful {
                    audit::audit(&this, layer, Way::Streaming, &spare).await;
                }
                if let Some(this) = this.upgrade() {
                    this.plan.leave(&[]);
                }
                // What an audit cannot bring.
                streams.append(&mut sweep(&this, &spare));
            }
            for stream in streams {
                let _ = stream.await;
            }
            if let Some(this) = this.upgrade()
                && this.supplies.iter().all(|supply| supply.layer.is_complete())
            {
                timeline.mark(Mark::COMPLETE);
            }
            for layer in published {
                audit::audit(&this, layer, Way::Complete, &spare).await;
            }
        });
    }

    /// Returns when no reader waits and, unless the profile has spans left, a processor is free or it was waited for one long
    /// enough; tells whether one is.
    async fn may_go_on(&self, spare: &Spare) -> bool {
        // Nothing is claimed while readers wait: who claims a span must bring it.
        self.make_way(&VecDeque::new()).await;
        self.plan.expects_more() || {
            if !spare() {
                self.pace.disturbed();
            }
            a_free_processor(spare).await
        }
    }

    /// Blob bytes of one prefetch request now, where a processor is `free` or none is.
    fn run_bytes(&self, free: bool) -> u64 {
        if free { plan::run_bytes(self.is_settled(), self.moved_bytes()) } else { plan::BUSY_RUN_BYTES }
    }

    /// Bytes came over the network.
    fn came(&self, bytes: usize, cause: Cause) {
        self.moved.fetch_add(bytes as u64, Ordering::Relaxed);
        if cause != Cause::Fault {
            self.pace.moved(bytes as u64, self.timeline.now_ns());
        }
    }

    /// The next bytes of a layer's blob, from `at`, for whoever wants all of them in order; nothing at its end.
    ///
    /// # Errors
    /// The source's.
    pub(crate) async fn next_bytes(
        &self,
        layer: usize,
        at: u64,
        spare: &Spare,
    ) -> Result<Vec<u8>, SourceError> {
        let free = self.may_go_on(spare).await;
        let source = &self.supplies[layer].source;
        let range = ByteRange::new(at, source.size().min(at.saturating_add(self.run_bytes(free))));
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = read_all(&**source, range, Cause::Background).await?;
        self.came(bytes.len(), Cause::Background);
        Ok(bytes)
    }

    /// Notes that a layer is not what its published index says, if that is news.
    pub(crate) fn contradict(&self, contradiction: Contradiction) {
        self.contradictions.send_if_modified(|all| {
            let is_news = all.iter().all(|known| known.layer != contradiction.layer);
            if is_news {
                self.timeline.mark(Mark::CONTRADICTED);
                all.push(contradiction);
            }
            is_news
        });
    }

    /// Notes that a layer is what its published index says, by its own digest or by that of its `archive`.
    fn confirm(&self, layer: &Layer, archive: Option<&Digest>) {
        self.timeline.mark(Mark::CONFIRMED);
        layer.confirm(archive);
    }

    pub(crate) fn contradictions(&self) -> Vec<Contradiction> {
        self.contradictions.borrow().clone()
    }

    pub(crate) async fn contradicted(&self) -> Contradiction {
        let mut all = self.contradictions.subscribe();
        let found = all.wait_for(|all| !all.is_empty()).await;
        // The sender lives in self.
        match found.ok().and_then(|all| all.first().cloned()) {
            Some(first) => first,
            None => std::future::pending().await,
        }
    }

    /// Brings spans of a layer before everything else that no reader waits for.
    pub(crate) fn hasten(&self, layer: usize, spans: std::ops::Range<usize>) {
        let here = &self.supplies[layer].layer;
        self.plan.hasten(spans.filter(|span| !here.is_present(*span)).map(|span| (layer, span)));
    }

    /// The image is closed: what is on its way comes, and nothing else.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The start is over.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Relaxed);
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Lets readers go first: returns when nobody waits, or when somebody waits for this very run.
    async fn make_way(&self, run: &VecDeque<Ticket>) {
        // Subscribed to before they are looked at, so no change is missed.
        let (mut urgent, mut waits) = (self.scheduler.urgent.subscribe(), self.waits.subscribe());
        while *urgent.borrow_and_update() > 0 && !run.iter().any(Ticket::is_wanted) {
            self.pace.disturbed();
            // The senders live in self.
            tokio::select! {
                _ = urgent.changed() => {}
                _ = waits.changed() => {}
            }
        }
    }
}

/// Begins the streams that bring what the profile expects, then everything else; they end when everything is here or the
/// image is closed.
fn sweep(fetcher: &Weak<Fetcher>, spare: &Spare) -> Vec<JoinHandle<()>> {
    let stream = |_| {
        let (this, spare) = (fetcher.clone(), spare.clone());
        tokio::spawn(async move {
            let Some(pace) = alive(&this).map(|this| this.pace.clone()) else { return };
            loop {
                let Some(image) = alive(&this) else { break };
                // A few streams look for a free processor, and if there is none those few go on.
                let reluctant = image.reluctant.clone().acquire_owned().await.ok();
                let free = image.may_go_on(&spare).await;
                let _reluctant = reluctant.filter(|_| !free);
                let class = if image.plan.expects_more() { Class::Profile } else { Class::Background };
                // Who waits for a turn does not keep the image open.
                drop(image);
                let turn = pace.turn(class).await;
                let Some(image) = alive(&this) else { break };
                // Things change while one waits: somebody brought what was expected, or took the free processor.
                let still = match class {
                    Class::Profile => image.plan.expects_more(),
                    Class::Background => !free || spare(),
                };
                if turn.waited && !still {
                    continue;
                }
                let Some((layer, run, cause)) = image.plan.next(image.run_bytes(free)) else {
                    break;
                };
                image.bring(layer, run, cause).await;
            }
        })
    };
    (0..pace::MOST_STREAMS).map(stream).collect()
}

/// The fetcher of an image that is still open: streams that hold it for each other must not keep it.
fn alive(fetcher: &Weak<Fetcher>) -> Option<Arc<Fetcher>> {
    fetcher.upgrade().filter(|fetcher| !fetcher.closed.load(Ordering::Relaxed))
}
