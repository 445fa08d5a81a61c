//! Decodes a gzip stream as it arrives and notes the checkpoints on the way.

use crate::buffer::Buffer;
use crate::inflate::{Inflate, Stop};
use crate::member::{Header, Trailer};
use crate::{Checkpoint, GzError};

/// Input that is put behind what a call left over, in bytes: more than any one step of the decoder takes, the longest of which is the
/// head of a block with its code lengths (RFC 1951 section 3.2.7: at most 569 bytes).
const JOIN_BYTES: usize = 1024;

/// Decodes a gzip stream that arrives in pieces, and notes checkpoints at least `spacing` decoded bytes apart.
///
/// With a spacing of `u64::MAX` it is a plain streaming decoder.
#[derive(Debug)]
pub struct Indexer {
    spacing: u64,
    inflate: Inflate,
    buffer: Buffer,
    /// Input that was taken from the caller but not by the decoder, which needs more to go on.
    carried: Vec<u8>,
    state: State,
    /// Compressed bytes up to the state, without those carried.
    compressed: u64,
    uncompressed: u64,
    /// Decoded offset of the last checkpoint; none before the first.
    last: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// Before the first byte of the stream.
    Start,
    /// In a member's header, which begins at the compressed offset `at`.
    Header { at: u64, header: Header },
    /// In a member's deflate data.
    Data { trailer: Trailer },
    /// In a member's trailer.
    Trailer { trailer: Trailer },
    /// Behind a member.
    Between,
    /// In zeros behind the last member.
    Padding,
}

/// What a whole stream amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Compressed bytes, trailing padding included.
    pub compressed: u64,
    /// Decoded bytes.
    pub uncompressed: u64,
}

impl Indexer {
    /// An indexer at the start of a stream; `spacing` is in decoded bytes, and 0 counts as 1.
    pub fn new(spacing: u64) -> Self {
        Self {
            spacing: spacing.max(1),
            inflate: Inflate::new(),
            buffer: Buffer::new(),
            carried: Vec::new(),
            state: State::Start,
            compressed: 0,
            uncompressed: 0,
            last: None,
        }
    }

    /// Takes the next bytes of the stream, appends what they decode to to `out` until that is `cap` bytes
    /// long, and appends the checkpoints passed to `new`. Gives how many bytes of `input` were taken.
    ///
    /// All that can be decoded so far is out once the input was taken whole *and* `out` is shorter than
    /// `cap`. Until then drain `out` and call again with the rest of the input, which may be empty. Nothing
    /// beyond `cap` bytes of `out`, the windows of the checkpoints and some 200 KiB of its own is allocated.
    ///
    /// # Errors
    /// Any [`GzError`] but `BadStart`. What was decoded before the fault is in `out`, and the indexer is of
    /// no further use.
    pub fn push(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cap: usize,
        new: &mut Vec<Checkpoint>,
    ) -> Result<usize, GzError> {
        let mut taken = 0;
        loop {
            if let State::Data { .. } = self.state {
                let (used, going) = self.data(&input[taken..], out, cap, new)?;
                taken += used;
                if going { continue } else { break }
            }
            // What stands around deflate data takes every byte it is given, so nothing is carried on to there but by the data.
            let mut carried = std::mem::take(&mut self.carried);
            if !carried.is_empty() {
                let used = self.around(&carried, new)?;
                carried.drain(..used);
                self.carried = carried;
                continue;
            }
            let rest = &input[taken..];
            if rest.is_empty() {
                break;
            }
            taken += self.around(rest, new)?;
        }
        Ok(taken)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`GzError::Truncated`] when no member was begun or the last one is not complete, which it may also be
    /// because the caller did not take all output.
    pub fn finish(self) -> Result<Totals, GzError> {
        let compressed = self.compressed + self.carried.len() as u64;
        match self.state {
            State::Between | State::Padding => Ok(Totals { compressed, uncompressed: self.uncompressed }),
            State::Start | State::Header { .. } | State::Data { .. } | State::Trailer { .. } => {
                Err(GzError::Truncated { at: compressed })
            }
        }
    }

    /// Takes some of what is not deflate data: how much of `input`, which is not empty.
    fn around(&mut self, input: &[u8], new: &mut Vec<Checkpoint>) -> Result<usize, GzError> {
        let mut taken = 0;
        match &mut self.state {
            State::Start | State::Between => {
                let padding = input[0] == 0 && matches!(self.state, State::Between);
                self.state = if padding {
                    State::Padding
                } else {
                    State::Header { at: self.compressed, header: Header::default() }
                };
            }
            State::Padding => {
                taken = input.iter().position(|&byte| byte != 0).unwrap_or(input.len());
                if taken < input.len() {
                    return Err(GzError::TrailingGarbage { at: self.compressed + taken as u64 });
                }
            }
            State::Header { at, header } => {
                let (used, over) = header.push(input).map_err(|_| match *at {
                    0 => GzError::NotGzip,
                    at => GzError::TrailingGarbage { at },
                })?;
                taken = used;
                if over {
                    self.inflate.reset(0, 0);
                    self.buffer.forget();
                    self.state = State::Data { trailer: Trailer::default() };
                }
            }
            State::Trailer { trailer } => {
                let (used, over) = trailer.push(input).map_err(|reason| GzError::Corrupt {
                    at: self.compressed + input.len().min(Trailer::BYTES) as u64,
                    reason: reason.to_owned(),
                })?;
                taken = used;
                if over {
                    self.state = State::Between;
                }
            }
            State::Data { .. } => {}
        }
        self.compressed += taken as u64;
        if let State::Data { .. } = self.state {
            self.note(new);
        }
        Ok(taken)
    }

    /// Decodes: how much of `input` was taken, and whether there may be more to do.
    fn data(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        cap: usize,
        new: &mut Vec<Checkpoint>,
    ) -> Result<(usize, bool), GzError> {
        // The decoder sees what was carried and what comes next as one.
        let carried = self.carried.len();
        let joined = carried > 0;
        let (stop, consumed) = if joined {
            self.carried.extend_from_slice(&input[..input.len().min(JOIN_BYTES)]);
            let whole = std::mem::take(&mut self.carried);
            let outcome = self.step(&whole, out, cap)?;
            self.carried = whole;
            outcome
        } else {
            self.step(input, out, cap)?
        };
        let mut taken = consumed;
        if joined {
            // What the decoder did not take goes back to the caller as far as it came from there just now.
            taken = consumed.saturating_sub(carried);
            self.carried.truncate(carried.max(consumed));
            self.carried.drain(..consumed);
        }
        let mut going = true;
        match stop {
            Stop::Border => self.note(new),
            Stop::Full => going = out.len() < cap,
            Stop::Starved => {
                // Carried is what the decoder has seen and cannot use yet. After a join with more than it was shown it is past what was
                // carried, and goes on with the rest.
                if !joined || input.len() <= JOIN_BYTES {
                    self.carried.extend_from_slice(&input[taken..]);
                    taken = input.len();
                    going = false;
                }
            }
            Stop::Ended => {
                if let State::Data { trailer } = &mut self.state {
                    self.state = State::Trailer { trailer: std::mem::take(trailer) };
                }
            }
        }
        Ok((taken, going))
    }

    /// One call of the decoder.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>, cap: usize) -> Result<(Stop, usize), GzError> {
        let room = cap.saturating_sub(out.len());
        let step =
            self.buffer.decode(&mut self.inflate, input, room).map_err(|corrupt| GzError::Corrupt {
                at: self.compressed + corrupt.consumed as u64,
                reason: corrupt.what.to_string(),
            })?;
        let decoded = self.buffer.last(step.filled);
        grow(out, decoded.len(), cap);
        out.extend_from_slice(decoded);
        if let State::Data { trailer } = &mut self.state {
            trailer.count(decoded);
        }
        self.compressed += step.consumed as u64;
        self.uncompressed += decoded.len() as u64;
        Ok((step.stop, step.consumed))
    }

    /// Adds the checkpoint before the block that comes next, if one is due.
    fn note(&mut self, new: &mut Vec<Checkpoint>) {
        if self.last.is_some_and(|last| self.uncompressed - last < self.spacing) {
            return;
        }
        self.last = Some(self.uncompressed);
        new.push(Checkpoint {
            compressed: self.compressed,
            uncompressed: self.uncompressed,
            bits: self.inflate.unused_bits(),
            window: self.buffer.window().to_vec(),
            member_start: false,
        });
    }
}

/// Makes room for `more` bytes in `out`, growing in steps that double but never beyond `cap`.
fn grow(out: &mut Vec<u8>, more: usize, cap: usize) {
    if out.capacity() - out.len() < more {
        let target = out.capacity().saturating_mul(2).min(cap).max(out.len() + more);
        out.reserve_exact(target - out.len());
    }
}
