//! Decodes a blob of any supported compression as it arrives, and says where spans can be cut.

use glowplug_base::ByteRange;
use glowplug_gzindex::{Checkpoint, Indexer, Position, span_compressed_range};
use glowplug_layer::Recipe;
use glowplug_oci::Compression;
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation as _, OutBuffer};

/// Decoded bytes that travel together; large enough to amortise the queue, small enough to stay in the cache.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;
/// Least length of a span in decoded bytes. A fault costs at least one span: this is some 1 ms of a 1 Gbit/s link, and the
/// windows cost 12 % of the stream before compression. Why not more or less: docs/decisions/0011-length-of-a-span.md.
const SPAN_BYTES: u64 = 256 * 1024;
/// Where a span is cut though there is no way in: what a fault may have to decode, and hold in memory. Every span is
/// shorter than this and a chunk. The piece behind such a cut can only be had by streaming the whole layer.
pub(crate) const MAX_SPAN_BYTES: u64 = 32 * 1024 * 1024;

/// What the decoder passes on, in stream order.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes of the stream.
    Bytes(Vec<u8>),
    /// The span that ends here: the blob bytes it needs and how to decode them.
    Cut { blob: ByteRange, way: Way },
    /// The stream is complete, and the blob was what its digest says.
    End,
}

/// A recipe whose window is not stored yet.
#[derive(Debug)]
pub(crate) enum Way {
    Plain(Recipe),
    Deflate { bits: u8, window: Vec<u8> },
}

/// Passes pieces on; `false` when nobody wants more.
pub(crate) type Sink<'a> = dyn FnMut(Piece) -> bool + 'a;

/// A streaming decoder.
pub(crate) struct Decoder {
    codec: Codec,
    cuts: bool,
    /// Blob bytes taken.
    taken: u64,
    /// Stream bytes given.
    given: u64,
    /// Stream offset where the open span begins.
    opened: u64,
}

enum Codec {
    Gzip {
        indexer: Box<Indexer>,
        begin: Begin,
    },
    Zstd {
        decoder: ZstdDecoder<'static>,
        frame_open: bool,
        span_blob: u64,
        /// Whether the open span begins in the middle of a frame.
        no_way_in: bool,
    },
    Plain {
        span_blob: u64,
    },
}

/// Where the open span of a gzip layer begins.
enum Begin {
    /// Before the first header.
    Nowhere,
    /// Between two deflate blocks.
    At(Checkpoint),
    /// In the middle of a block, at this offset in the blob.
    Inside(u64),
}

impl Begin {
    /// The span from here to `end`, or to the end of the `taken` bytes of the blob.
    fn cut(self, end: Option<Position>, taken: u64) -> Option<Piece> {
        match self {
            Self::Nowhere => None,
            Self::At(begun) => Some(Piece::Cut {
                blob: span_compressed_range(begun.position(), end, taken),
                way: Way::Deflate { bits: begun.bits, window: begun.window },
            }),
            Self::Inside(begun) => {
                // The decoder takes some bytes before it uses them, so a block may end before they began.
                let end = end.map_or(taken, |end| end.compressed.max(begun));
                Some(Piece::Cut { blob: ByteRange::new(begun, end), way: Way::Plain(Recipe::Whole) })
            }
        }
    }
}

impl Decoder {
    /// A decoder at the start of a blob. Without `cuts` only bytes come out.
    pub(crate) fn new(compression: Compression, cuts: bool) -> Result<Self, String> {
        let codec = match compression {
            Compression::Gzip => {
                let spacing = if cuts { SPAN_BYTES } else { u64::MAX };
                Codec::Gzip { indexer: Box::new(Indexer::new(spacing)), begin: Begin::Nowhere }
            }
            Compression::Zstd => {
                let decoder =
                    ZstdDecoder::new().map_err(|e| format!("no memory for the zstd decoder: {e}"))?;
                Codec::Zstd { decoder, frame_open: false, span_blob: 0, no_way_in: false }
            }
            Compression::None => Codec::Plain { span_blob: 0 },
        };
        Ok(Self { codec, cuts, taken: 0, given: 0, opened: 0 })
    }

    /// Takes the next bytes of the blob.
    pub(crate) fn push(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
        match &mut self.codec {
            Codec::Gzip { .. } => self.push_gzip(input, sink),
            Codec::Zstd { .. } => self.push_zstd(input, sink),
            Codec::Plain { .. } => self.push_plain(input, sink),
        }
    }

    /// The blob has ended: cuts the last span.
    pub(crate) fn finish(self, sink: &mut Sink<'_>) -> Result<(), String> {
        let (taken, open) = (self.taken, self.given > self.opened);
        let cut = match self.codec {
            Codec::Gzip { indexer, begin } => {
                indexer.finish().map_err(|e| e.to_string())?;
                begin.cut(None, taken)
            }
            Codec::Zstd { frame_open: true, .. } => return Err("zstd data ends too early".to_owned()),
            Codec::Zstd { span_blob, no_way_in, .. } => {
                let recipe = if no_way_in { Recipe::Whole } else { Recipe::ZstdFrame };
                Some(Piece::Cut { blob: ByteRange::new(span_blob, taken), way: Way::Plain(recipe) })
            }
            Codec::Plain { span_blob } => {
                Some(Piece::Cut { blob: ByteRange::new(span_blob, taken), way: Way::Plain(Recipe::Stored) })
            }
        };
        if let (true, Some(cut)) = (open, cut) {
            sink(cut);
        }
        Ok(())
    }

    fn push_gzip(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
        let Codec::Gzip { indexer, begin } = &mut self.codec else { return Ok(()) };
        let mut checkpoints = Vec::new();
        loop {
            let mut out = Vec::with_capacity(CHUNK_BYTES);
            let used =
                indexer.push(input, &mut out, CHUNK_BYTES, &mut checkpoints).map_err(|e| e.to_string())?;
            self.taken += used as u64;
            input = &input[used..];
            let full = out.len() >= CHUNK_BYTES;
            for checkpoint in checkpoints.drain(..) {
                let before = out.split_off_front((checkpoint.uncompressed - self.given) as usize);
                self.given += before.len() as u64;
                let next = checkpoint.position();
                let mut going = before.is_empty() || sink(Piece::Bytes(before));
                let begun = std::mem::replace(begin, Begin::At(checkpoint));
                if self.given > self.opened
                    && let Some(cut) = begun.cut(Some(next), u64::MAX)
                {
                    going &= sink(cut);
                    self.opened = self.given;
                }
                if !going {
                    return Ok(());
                }
            }
            self.given += out.len() as u64;
            if !out.is_empty() && !sink(Piece::Bytes(out)) {
                return Ok(());
            }
            if self.cuts && self.given - self.opened >= MAX_SPAN_BYTES {
                let begun = std::mem::replace(begin, Begin::Inside(self.taken));
                if begun.cut(None, self.taken).is_some_and(|cut| !sink(cut)) {
                    return Ok(());
                }
                self.opened = self.given;
            }
            if input.is_empty() && !full {
                return Ok(());
            }
        }
    }

    fn push_zstd(&mut self, input: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
        let Codec::Zstd { decoder, frame_open, span_blob, no_way_in } = &mut self.codec else {
            return Ok(());
        };
        let mut from = InBuffer::around(input);
        loop {
            let mut out = vec![0; CHUNK_BYTES];
            let mut to = OutBuffer::around(&mut out[..]);
            let before = from.pos();
            let hint = decoder.run(&mut from, &mut to).map_err(|e| format!("corrupt zstd data: {e}"))?;
            let produced = to.pos();
            out.truncate(produced);
            self.taken += (from.pos() - before) as u64;
            self.given += produced as u64;
            *frame_open = hint != 0;
            if produced > 0 && !sink(Piece::Bytes(out)) {
                return Ok(());
            }
            let length = self.given - self.opened;
            let frame_ends = hint == 0;
            if self.cuts && ((frame_ends && length >= SPAN_BYTES) || length >= MAX_SPAN_BYTES) {
                let whole = *no_way_in || !frame_ends;
                let blob = ByteRange::new(*span_blob, self.taken);
                let recipe = if whole { Recipe::Whole } else { Recipe::ZstdFrame };
                (*span_blob, self.opened, *no_way_in) = (self.taken, self.given, !frame_ends);
                if !sink(Piece::Cut { blob, way: Way::Plain(recipe) }) {
                    return Ok(());
                }
            }
            if from.pos() == input.len() && (produced < CHUNK_BYTES || frame_ends) {
                return Ok(());
            }
        }
    }

    fn push_plain(&mut self, mut input: &[u8], sink: &mut Sink<'_>) -> Result<(), String> {
        let Codec::Plain { span_blob } = &mut self.codec else { return Ok(()) };
        while !input.is_empty() {
            let room = (SPAN_BYTES - (self.given - self.opened)) as usize;
            let (now, rest) = input.split_at(room.min(input.len()));
            input = rest;
            self.taken += now.len() as u64;
            self.given += now.len() as u64;
            let mut going = sink(Piece::Bytes(now.to_vec()));
            if self.given - self.opened == SPAN_BYTES {
                let blob = ByteRange::new(*span_blob, self.taken);
                going &= !self.cuts || sink(Piece::Cut { blob, way: Way::Plain(Recipe::Stored) });
                (*span_blob, self.opened) = (self.taken, self.given);
            }
            if !going {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Cuts the first bytes off a vector.
trait SplitFront {
    fn split_off_front(&mut self, at: usize) -> Vec<u8>;
}

impl SplitFront for Vec<u8> {
    fn split_off_front(&mut self, at: usize) -> Vec<u8> {
        let rest = self.split_off(at);
        std::mem::replace(self, rest)
    }
}
