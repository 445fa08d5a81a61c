//! Decodes a gzip stream as it arrives and notes the checkpoints on the way.

use crate::raw::{Inflate, Step, StopAt, Wrapper};
use crate::{Checkpoint, GzError};

/// Largest output of one call of the decoder, in bytes. The decoder goes over its output a second time for the
/// checksum, so it should still be in the second-level cache then.
const STEP_BYTES: usize = 256 * 1024;

/// Decodes a gzip stream that arrives in pieces, and notes checkpoints at least `spacing` decoded bytes apart.
///
/// With a spacing of `u64::MAX` it is a plain streaming decoder.
#[derive(Debug)]
pub struct Indexer {
    spacing: u64,
    inflate: Option<Inflate>,
    state: State,
    compressed: u64,
    uncompressed: u64,
    /// Decoded offset of the last checkpoint; none before the first.
    last: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte of the stream.
    Start,
    /// In a member's header, which begins at the compressed offset `at`.
    Header { at: u64 },
    /// In a member's deflate data or trailer.
    Data,
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
            inflate: None,
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
    /// beyond `cap` bytes of `out` and the windows of the checkpoints is allocated.
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
            let rest = &input[taken..];
            match self.state {
                State::Start | State::Between => {
                    let Some(&byte) = rest.first() else { break };
                    let padding = byte == 0 && self.state == State::Between;
                    self.state = if padding { State::Padding } else { State::Header { at: self.compressed } };
                    if let Some(inflate) = &mut self.inflate {
                        inflate.reset(Wrapper::Gzip);
                    }
                }
                State::Padding => {
                    let zeros = rest.iter().position(|&byte| byte != 0).unwrap_or(rest.len());
                    self.compressed += zeros as u64;
                    if zeros < rest.len() {
                        return Err(GzError::TrailingGarbage { at: self.compressed });
                    }
                    taken += zeros;
                    break;
                }
                State::Header { .. } | State::Data => {
                    let step = self.decode(rest, out, cap)?;
                    taken += step.consumed;
                    if step.between_blocks && !step.after_last {
                        self.note(&step, new);
                    }
                    let moved = step.consumed > 0 || step.produced > 0 || step.between_blocks;
                    if step.ended {
                        self.state = State::Between;
                    } else if !moved || out.len() >= cap {
                        break;
                    }
                }
            }
        }
        Ok(taken)
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// [`GzError::Truncated`] when no member was begun or the last one is not complete, which it may also be
    /// because the caller did not take all output.
    pub fn finish(self) -> Result<Totals, GzError> {
        match self.state {
            State::Between | State::Padding => {
                Ok(Totals { compressed: self.compressed, uncompressed: self.uncompressed })
            }
            State::Start | State::Header { .. } | State::Data => {
                Err(GzError::Truncated { at: self.compressed })
            }
        }
    }

    /// One call of the decoder, short enough that it cannot run past a place where a checkpoint is due.
    fn decode(&mut self, input: &[u8], out: &mut Vec<u8>, cap: usize) -> Result<Step, GzError> {
        let due = self.last.map_or(0, |last| last.saturating_add(self.spacing));
        let until_due = due.saturating_sub(self.uncompressed);
        let stop = match self.state {
            State::Data if until_due > 0 => StopAt::End,
            _ => StopAt::Block,
        };
        let mut max = STEP_BYTES.min(cap.saturating_sub(out.len()));
        if stop == StopAt::End {
            max = max.min(usize::try_from(until_due).unwrap_or(usize::MAX));
        }
        grow(out, max, cap);
        let inflate = match &mut self.inflate {
            Some(inflate) => inflate,
            none => none.insert(Inflate::new(Wrapper::Gzip)?),
        };
        let step = inflate.step_append(input, out, max, stop).map_err(|error| self.place(error))?;
        self.compressed += step.consumed as u64;
        self.uncompressed += step.produced as u64;
        Ok(step)
    }

    /// Adds the checkpoint before the block that `step` stopped at, if one is due.
    fn note(&mut self, step: &Step, new: &mut Vec<Checkpoint>) {
        let at_member = matches!(self.state, State::Header { .. });
        self.state = State::Data;
        if self.last.is_some_and(|last| self.uncompressed - last < self.spacing) {
            return;
        }
        self.last = Some(self.uncompressed);
        let window = match &self.inflate {
            Some(inflate) if !at_member => inflate.window(),
            _ => Vec::new(),
        };
        new.push(Checkpoint {
            // Whole bytes the decoder holds but has not used belong to what follows.
            compressed: self.compressed - u64::from(step.unused_bits / 8),
            uncompressed: self.uncompressed,
            bits: step.unused_bits % 8,
            window,
            member_start: false,
        });
    }

    /// Says where in the whole stream, and in what part of it, the decoder failed.
    fn place(&self, error: GzError) -> GzError {
        match (error, self.state) {
            (GzError::Corrupt { .. }, State::Header { at: 0 }) => GzError::NotGzip,
            (GzError::Corrupt { .. }, State::Header { at }) => GzError::TrailingGarbage { at },
            (GzError::Corrupt { at, reason }, _) => GzError::Corrupt { at: self.compressed + at, reason },
            (other, _) => other,
        }
    }
}

/// Makes room for `max` more bytes in `out`, growing in steps that double but never beyond `cap`.
fn grow(out: &mut Vec<u8>, max: usize, cap: usize) {
    if out.capacity() - out.len() < max {
        let target = out.capacity().saturating_mul(2).min(cap).max(out.len() + max);
        out.reserve_exact(target - out.len());
    }
}
