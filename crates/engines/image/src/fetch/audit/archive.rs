//! Hashes an archive out of the store: its files from the data file, what lies between them as [`Seams`](super::super::seams::Seams) kept it.
//!
//! What is local is not fetched again. The image's configuration, which the manifest vouches for, names the digest of the archive, so that
//! hashing the archive proves every byte of every file, here and now, and every header, with which the index is compared on the way.
//! One that does not match streams by as a whole: that says which files are wrong.

use std::sync::{Arc, Weak};

use glowplug_base::{Digest, Hasher};
use glowplug_layer::Origin;
use glowplug_oci::Compression;
use glowplug_source::read_all;
use glowplug_store::{Claim, Layer};
use glowplug_timeline::Cause;

use super::super::courtesy::politely;
use super::super::seams;
use super::super::{Fetcher, Spare, Supply, alive};
use super::compare::Comparison;
use super::{Contradiction, Found, Trouble, stream_by};
use crate::decode::decode;
use crate::error::chain;

/// Length of a tar's blocks in bytes.
const BLOCK: [u8; 512] = [0; 512];
/// Most zeros that may follow an archive whose index does not count them: far more than any tar's record has.
const MOST_PADDING_BYTES: usize = 16 * 1024 * 1024;

/// Audits a layer whose index has the archive for its stream, and waits for what of it is not here yet.
pub(super) async fn audit(fetcher: &Weak<Fetcher>, number: usize, spare: &Spare) -> Result<Found, Trouble> {
    let vouched = fetcher.upgrade().and_then(|fetcher| vouched(&fetcher.supplies()[number]));
    let wrong = match vouched {
        Some(vouched) => match read(fetcher, number, spare, vouched).await? {
            Outcome::Vouched(contradiction) => {
                let own = fetcher.upgrade().ok_or(Trouble::Closed)?.supplies()[number].layer.index().blob;
                return Ok(Found { contradiction, archive: (vouched != own).then_some(vouched) });
            }
            Outcome::Others => true,
            Outcome::Unknown => false,
        },
        None => false,
    };
    bring(fetcher, number, spare).await?;
    match stream_by(fetcher, number, spare).await {
        Err(Trouble::Broken(reason)) if wrong => {
            let layer = fetcher.upgrade().ok_or(Trouble::Closed)?.supplies()[number].layer.index().blob;
            let first = format!("its bytes are not those that the image's manifest names: {reason}");
            let contradiction = Some(Contradiction { layer, entries: 1, first, is_readable: false });
            Ok(Found { contradiction, archive: None })
        }
        other => other,
    }
}

/// What hashing an archive found.
enum Outcome {
    /// Its bytes are the ones that the image names. What the index says of them is right, or is not.
    Vouched(Option<Contradiction>),
    /// Its bytes are others, or more follow than the index says.
    Others,
    /// What was fetched again is not what came before: either is wrong, or garbled.
    Unknown,
}

/// The digest of the archive as the image has it; `None` where it cannot be hashed span by span.
fn vouched(supply: &Supply) -> Option<Digest> {
    let index = supply.layer.index();
    let digest = if supply.compression == Compression::None { Some(index.blob) } else { supply.diff_id };
    digest.filter(|_| index.is_lazy())
}

/// Hashes the archive and compares its headers, span by span.
async fn read(
    fetcher: &Weak<Fetcher>,
    number: usize,
    spare: &Spare,
    vouched: Digest,
) -> Result<Outcome, Trouble> {
    let layer = fetcher.upgrade().ok_or(Trouble::Closed)?.supplies()[number].layer.clone();
    let mut reading = Reading::new(layer.clone(), vouched);
    for span in 0..layer.index().spans.len() {
        let this = alive(fetcher).ok_or(Trouble::Closed)?;
        this.may_go_on(spare).await;
        come(&this, number, span).await?;
        let kept = match seams::length(&layer, span) {
            0 => Some(Vec::new()),
            _ => this.seams.take(number, span),
        };
        let kept = match kept {
            Some(kept) => kept,
            None => match fetch_again(&this, number, span).await {
                Err(Trouble::Broken(_)) => return Ok(Outcome::Unknown),
                fetched => fetched?,
            },
        };
        drop(this);
        let step = move || politely(|| reading.push(span, &kept).map(|()| reading));
        reading =
            tokio::task::spawn_blocking(step).await.map_err(|panic| Trouble::Unable(panic.to_string()))??;
    }
    let step = move || politely(|| reading.finish());
    tokio::task::spawn_blocking(step).await.map_err(|panic| Trouble::Unable(panic.to_string()))?
}

/// Returns when every span of a layer is here.
async fn bring(fetcher: &Weak<Fetcher>, number: usize, spare: &Spare) -> Result<(), Trouble> {
    let layer = fetcher.upgrade().ok_or(Trouble::Closed)?.supplies()[number].layer.clone();
    for span in (0..layer.index().spans.len()).filter(|span| !layer.is_present(*span)) {
        let this = alive(fetcher).ok_or(Trouble::Closed)?;
        this.may_go_on(spare).await;
        come(&this, number, span).await?;
    }
    Ok(())
}

/// Returns when a span is here: what the fill left, or a reader is at, is waited for.
async fn come(fetcher: &Arc<Fetcher>, number: usize, span: usize) -> Result<(), Trouble> {
    let layer = &fetcher.supplies()[number].layer;
    match layer.claim(span) {
        Claim::Present => return Ok(()),
        Claim::Mine(ticket) => fetcher.bring(number, vec![ticket], Cause::Background).await,
        Claim::Theirs(waiter) => waiter.wait().await.map_err(|error| Trouble::Unable(error.message))?,
    }
    let missing = || Trouble::Unable(format!("span {span} does not come"));
    layer.is_present(span).then_some(()).ok_or_else(missing)
}

/// Fetches what a span has between files, which was not kept: it came at an earlier start.
async fn fetch_again(fetcher: &Arc<Fetcher>, number: usize, span: usize) -> Result<Vec<u8>, Trouble> {
    let supply = fetcher.supplies()[number].clone();
    let blob = supply.layer.index().spans[span].blob;
    let bytes = read_all(&*supply.source, blob, Cause::Background).await;
    let bytes = bytes.map_err(|error| Trouble::Unable(chain(&error)))?;
    fetcher.came(bytes.len(), Cause::Background);
    let this = fetcher.clone();
    let step = move || {
        let layer = &supply.layer;
        let cut = |room: &mut Vec<u8>| {
            decode(layer, span, &bytes, room).map(|stream| seams::cut(layer, span, stream))
        };
        politely(|| this.rooms.with(cut))
    };
    let cut = tokio::task::spawn_blocking(step).await.map_err(|panic| Trouble::Unable(panic.to_string()))?;
    cut.map_err(Trouble::Broken)
}

/// An archive on its way out of the store.
struct Reading {
    layer: Arc<Layer>,
    vouched: Digest,
    hasher: Hasher,
    comparison: Comparison,
    /// Why the archive cannot be walked any further; its bytes are hashed all the same.
    broken: Option<String>,
}

impl Reading {
    fn new(layer: Arc<Layer>, vouched: Digest) -> Box<Self> {
        let comparison = Comparison::of_archive(layer.clone());
        Box::new(Self { layer, vouched, hasher: Hasher::new(), comparison, broken: None })
    }

    /// Takes the next span.
    fn push(&mut self, span: usize, seams: &[u8]) -> Result<(), Trouble> {
        let stream = assemble(&self.layer, span, seams).map_err(Trouble::Unable)?;
        self.hasher.update(&stream);
        if self.broken.is_none() {
            match self.comparison.push(&stream) {
                Err(Trouble::Broken(reason)) => self.broken = Some(reason),
                other => other?,
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Outcome, Trouble> {
        let Self { layer, vouched, hasher, comparison, broken } = *self;
        // SOCI's tool counts to the end marker of the archive. Behind it are zeros, if anything.
        let padding = if layer.index().origin == Origin::Soci { MOST_PADDING_BYTES } else { 0 };
        match broken {
            _ if !is_vouched(hasher, vouched, padding) => Ok(Outcome::Others),
            Some(reason) => Err(Trouble::Broken(reason)),
            None => comparison.finish().map(Outcome::Vouched),
        }
    }
}

/// Whether what was hashed is what `vouched` is of, with at most `padding` bytes of zeros behind it.
fn is_vouched(mut hasher: Hasher, vouched: Digest, padding: usize) -> bool {
    (0..=padding / BLOCK.len()).any(|_| {
        let found = hasher.clone().finish();
        hasher.update(&BLOCK);
        found == vouched
    })
}

/// A span's piece of the archive, put together from the data file and `seams`.
fn assemble(layer: &Layer, span: usize, seams: &[u8]) -> Result<Vec<u8>, String> {
    let span = &layer.index().spans[span];
    let mut data = vec![0; usize::try_from(span.data.len()).map_err(|error| error.to_string())?];
    layer.read_at(&mut data, span.data.start).map_err(|error| chain(&error))?;
    let mut stream = Vec::with_capacity(span.stream.len() as usize);
    let (mut at, mut rest) = (span.stream.start, seams);
    let short = || "what was kept between the files is too short".to_owned();
    for (part, extent) in seams::parts(layer, span.stream) {
        let (seam, others) = rest.split_at_checked((part.start - at) as usize).ok_or_else(short)?;
        stream.extend_from_slice(seam);
        let from = (extent.data + (part.start - extent.stream)).wrapping_sub(span.data.start) as usize;
        let file = from.checked_add(part.len() as usize).and_then(|to| data.get(from..to));
        stream.extend_from_slice(file.ok_or("a file lies outside its span")?);
        (at, rest) = (part.end, others);
    }
    stream.extend_from_slice(rest);
    (stream.len() as u64 == span.stream.len()).then_some(stream).ok_or_else(short)
}
