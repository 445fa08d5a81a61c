//! A range of a blob on its way to a reader on this machine.
//!
//! The pieces it touches come in order, some ahead of the reader and no more, so memory is bounded by what is ahead and a
//! slow reader slows the fetching. A blob that passes as a whole is hashed on its way. Its last piece is held back until the digest was found
//! right: a reader never has a complete wrong blob, and before it can ask again, whoever gave wrong pieces is looked for.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use glowplug_base::{ByteRange, Digest, Hasher};

use crate::cache::Origin;
use crate::fetch::{Fetcher, Wanted};
use crate::piece::touched;
use crate::{Error, PieceId, RepositoryName};

/// Pieces that are brought ahead of the reader: what a link of 1 Gbit/s carries in the tenth of a second that a registry
/// takes to answer.
const AHEAD: usize = 12;

/// Whose bytes, and which.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) repository: RepositoryName,
    pub(crate) blob: Digest,
    /// Bytes of the blob.
    pub(crate) size: u64,
    /// Inside the blob.
    pub(crate) range: ByteRange,
    /// Whether what is here is not to be believed.
    pub(crate) anew: bool,
}

impl Request {
    fn wanted(&self, number: u64) -> Wanted {
        let piece = PieceId { blob: self.blob, number };
        Wanted { repository: self.repository.clone(), piece, size: self.size }
    }
}

/// The bytes of the range, in order.
pub struct Passage {
    bytes: BoxStream<'static, Result<Bytes, Error>>,
    fetcher: Arc<Fetcher>,
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passage")
    }
}

impl Stream for Passage {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.bytes.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            self.fetcher.counters.served_bytes.add(bytes.len() as u64);
        }
        polled
    }
}

impl Passage {
    /// Begins to bring the range, and waits for its first piece: what keeps that from coming can still be told as such.
    pub(crate) async fn open(fetcher: &Arc<Fetcher>, request: Request) -> Result<Self, Error> {
        let (this, of) = (fetcher.clone(), request.clone());
        let pieces = futures::stream::iter(touched(request.range)).map(move |number| {
            let (this, wanted) = (this.clone(), of.wanted(number));
            let (anew, range) = (of.anew, of.range);
            async move {
                let piece = if anew { this.anew(&wanted).await? } else { this.bring(&wanted).await? };
                let at = wanted.piece.range(wanted.size);
                let part = range.intersect(&at);
                let bytes =
                    piece.bytes.slice((part.start - at.start) as usize..(part.end - at.start) as usize);
                Ok(Part { bytes, number, origin: piece.origin })
            }
        });
        let mut pieces = pieces.buffered(AHEAD).boxed();
        let first: Option<Part> = pieces.next().await.transpose()?;
        let rest = futures::stream::iter(first.map(Ok)).chain(pieces).boxed();
        let whole = request.range == ByteRange::new(0, request.size) && touched(request.range).end > 1;
        if !whole {
            let bytes = rest.map(|part| part.map(|part| part.bytes)).boxed();
            return Ok(Self { bytes, fetcher: fetcher.clone() });
        }
        let hashing = Hashing {
            fetcher: fetcher.clone(),
            request,
            rest,
            hasher: Hasher::new(),
            passed: 0,
            mark: RandomState::new(),
            from_peers: Vec::new(),
        };
        let hashed = futures::stream::unfold(Some(hashing), |hashing| async move {
            let mut hashing = hashing?;
            match hashing.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(hashing))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Self { bytes: hashed.boxed(), fetcher: fetcher.clone() })
    }
}

/// What of a piece is in the range.
struct Part {
    bytes: Bytes,
    number: u64,
    origin: Origin,
}

/// A whole blob that is hashed as it passes.
struct Hashing {
    fetcher: Arc<Fetcher>,
    request: Request,
    rest: BoxStream<'static, Result<Part, Error>>,
    hasher: Hasher,
    passed: u64,
    /// Makes the marks of pieces: with a secret of this passage, so that nobody can give wrong bytes with the same mark.
    mark: RandomState,
    from_peers: Vec<Suspect>,
}

/// A piece that passed, which a peer gave. It is remembered here, for the cache may have let go of it.
struct Suspect {
    number: u64,
    peer: Arc<str>,
    mark: u64,
}

impl Hashing {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(part) = self.rest.next().await.transpose()? else { return Ok(None) };
        let bytes = part.bytes;
        self.passed += bytes.len() as u64;
        let (mut hasher, hashed, mark) = (std::mem::take(&mut self.hasher), bytes.clone(), self.mark.clone());
        let suspect = matches!(part.origin, Origin::Peer(_));
        let work = tokio::task::spawn_blocking(move || {
            hasher.update(&hashed);
            (hasher, suspect.then(|| mark.hash_one(&hashed)))
        });
        let (hasher, mark) = work.await.map_err(|_| Error::BrokenOff)?;
        self.hasher = hasher;
        if let (Origin::Peer(peer), Some(mark)) = (part.origin, mark) {
            self.from_peers.push(Suspect { number: part.number, peer, mark });
        }
        if self.passed == self.request.size {
            let found = std::mem::take(&mut self.hasher).finish();
            if found != self.request.blob {
                let suspects = std::mem::take(&mut self.from_peers);
                find_liars(self.fetcher.clone(), self.request.clone(), suspects, self.mark.clone()).await;
                return Err(Error::Corrupt(self.request.blob));
            }
        }
        Ok(Some(bytes))
    }
}

/// Fetches anew every piece of a blob that a peer gave, compares and replaces it.
async fn find_liars(fetcher: Arc<Fetcher>, request: Request, suspects: Vec<Suspect>, mark: RandomState) {
    tracing::warn!(blob = %request.blob, "a blob passed that does not match its digest");
    let compared = futures::stream::iter(suspects).map(|suspect| {
        let (fetcher, wanted, mark) = (fetcher.clone(), request.wanted(suspect.number), mark.clone());
        async move {
            match fetcher.anew(&wanted).await {
                Ok(fresh) if mark.hash_one(&fresh.bytes) != suspect.mark => fetcher.caught(&suspect.peer),
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, piece = suspect.number, "a piece cannot be compared");
                }
            }
        }
    });
    compared.buffer_unordered(AHEAD).collect::<Vec<()>>().await;
}
