//! A decoder of raw deflate data (RFC 1951) that stops between blocks and begins at any bit.
//!
//! Why our own: checkpoints need stops at block borders, starts inside a byte and a window from elsewhere, and half of the time of a cold
//! start's processor goes into inflating. zlib offers all of that slowly; libdeflate is fast, but only on whole streams from their start. What makes this one
//! fast is what makes libdeflate fast: table entries that tell all in one load, 64 bits of input at a time, several literals between two
//! refills, matches in pieces of a register. `docs/decisions/0009` has the measurements.
//!
//! Nothing here is unsafe, and nothing is allocated but the tables. What is decoded is right or refused as zlib does it; that the bytes are those
//! that somebody compressed only a checksum can tell.

mod bits;
mod block;
mod copy;
mod entry;
mod symbols;
mod table;

use self::bits::{Bits, Rest};
use self::block::{Codes, Kind};
use self::symbols::{Match, Output, Until};

/// A decoder of one deflate stream at a time.
#[derive(Debug)]
pub(crate) struct Inflate {
    codes: Box<Codes>,
    state: State,
    /// Whether the block that was begun is the last.
    last: bool,
    /// What is left of the byte that was touched last.
    rest: Rest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a block.
    Head,
    /// So many bytes of a stored block are to come.
    Stored(u16),
    /// Among the symbols of a block; this is left of a match.
    Coded(Match),
    /// Behind the last block.
    Ended,
}

/// Between matches.
const NO_MATCH: Match = Match { distance: 0, left: 0 };

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of input taken; of the last of them [`Inflate::unused_bits`] are not used yet.
    pub(crate) consumed: usize,
    /// Bytes of output that are decoded now, from the first on.
    pub(crate) filled: usize,
    /// Why it ended.
    pub(crate) stop: Stop,
}

/// Why a call came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// More input is needed: all that there is beyond what was taken, and more.
    Starved,
    /// More output is needed.
    Full,
    /// A block ended, and it was not the last.
    Border,
    /// The last block ended. The bits that are not used belong to nobody.
    Ended,
}

/// What is wrong with deflate data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("invalid block type")]
    BlockType,
    #[error("invalid stored block lengths")]
    StoredLength,
    #[error("too many length or distance symbols")]
    TooManySymbols,
    #[error("invalid code lengths set")]
    CodeLengths,
    #[error("missing end-of-block")]
    NoEnd,
    #[error("invalid literal/lengths set")]
    LitlenCode,
    #[error("invalid distances set")]
    DistanceCode,
    #[error("invalid literal/length code")]
    LitlenSymbol,
    #[error("invalid distance code")]
    DistanceSymbol,
    #[error("invalid distance too far back")]
    TooFarBack,
}

/// Why something could not be read: it is not there yet, or it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Starved,
    Malformed(Malformed),
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Malformed data, and how many bytes of input were taken before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Corrupt {
    pub(crate) consumed: usize,
    pub(crate) what: Malformed,
}

impl Inflate {
    /// A decoder at the start of a stream.
    pub(crate) fn new() -> Self {
        Self { codes: Box::new(Codes::new()), state: State::Head, last: false, rest: Rest::default() }
    }

    /// Begins anew, at the start of a stream or between two blocks of one: with the `bits` high bits of `byte`, at most 7.
    pub(crate) fn reset(&mut self, byte: u8, bits: u8) {
        (self.state, self.last, self.rest) = (State::Head, false, Rest::of(byte, bits));
    }

    /// How many bits of the byte that was taken last are not used yet; at most 7.
    pub(crate) fn unused_bits(&self) -> u8 {
        self.rest.count()
    }

    /// Decodes from `input` into `out`, of which `filled` bytes are there. Matches may refer to these and, before them, to `history`.
    ///
    /// After [`Stop::Starved`] the input of the next call begins with what was not taken.
    pub(crate) fn run(
        &mut self,
        input: &[u8],
        out: &mut [u8],
        filled: usize,
        history: &[u8],
    ) -> Result<Step, Corrupt> {
        let mut bits = Bits::new(input, self.rest);
        let mut output = Output { bytes: out, filled, history };
        let outcome = self.blocks(&mut bits, &mut output);
        let (consumed, rest) = bits.stop();
        self.rest = rest;
        let stop = match outcome {
            Ok(stop) => stop,
            Err(Fault::Starved) => Stop::Starved,
            Err(Fault::Malformed(what)) => return Err(Corrupt { consumed, what }),
        };
        Ok(Step { consumed, filled: output.filled, stop })
    }

    fn blocks(&mut self, bits: &mut Bits<'_>, output: &mut Output<'_>) -> Result<Stop, Fault> {
        loop {
            match self.state {
                State::Head => self.head(bits)?,
                State::Stored(0) => return Ok(self.block_ended()),
                State::Stored(left) => {
                    let room = output.bytes.len() - output.filled;
                    if room == 0 {
                        return Ok(Stop::Full);
                    }
                    let to = &mut output.bytes[output.filled..][..room.min(left.into())];
                    let copied = bits.copy_to(to);
                    output.filled += copied;
                    // No more than what is left, which fits.
                    self.state = State::Stored(left - copied as u16);
                    if copied == 0 {
                        return Ok(Stop::Starved);
                    }
                }
                State::Coded(begun) => {
                    let left = symbols::repeat(output, begun);
                    self.state = State::Coded(left);
                    if left.left > 0 {
                        return Ok(Stop::Full);
                    }
                    match symbols::run(&self.codes, bits, output)? {
                        Until::End => return Ok(self.block_ended()),
                        Until::Full(left) => {
                            self.state = State::Coded(left);
                            return Ok(Stop::Full);
                        }
                    }
                }
                State::Ended => return Ok(Stop::Ended),
            }
        }
    }

    fn head(&mut self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        let before = *bits;
        let (last, kind) = self.codes.read_head(bits).inspect_err(|_| *bits = before)?;
        self.last = last;
        self.state = match kind {
            Kind::Stored(length) => State::Stored(length),
            Kind::Coded => State::Coded(NO_MATCH),
        };
        Ok(())
    }

    fn block_ended(&mut self) -> Stop {
        let (state, stop) = if self.last { (State::Ended, Stop::Ended) } else { (State::Head, Stop::Border) };
        self.state = state;
        stop
    }
}
