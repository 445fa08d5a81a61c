//! The symbols of a block: literals and matches, until its end.
//!
//! [`run`] is where gigabytes go through. It goes fast while input and output have room for a whole round, and then symbol by symbol to the
//! last bit and byte of them.

use super::bits::{Bits, REFILLED_BITS};
use super::block::Codes;
use super::copy::{ROOM_BYTES, copy_exact, copy_with_room};
use super::{Fault, Malformed};

/// Longest match in bytes.
const MAX_MATCH_BYTES: usize = 258;
/// Most literals of one round of [`fast`].
const ROUND_LITERALS: usize = 3;
/// Most refills of one round.
const ROUND_REFILLS: usize = 3;

/// Output, and what came before it.
#[derive(Debug)]
pub(super) struct Output<'a> {
    pub(super) bytes: &'a mut [u8],
    /// How many of them are decoded.
    pub(super) filled: usize,
    /// What matches may refer to before the first byte.
    pub(super) history: &'a [u8],
}

/// A match that did not fit into the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) distance: usize,
    pub(super) left: usize,
}

/// Why symbols came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The block is over.
    End,
    /// The output is full; this is left of a match, perhaps nothing.
    Full(Match),
}

/// Decodes symbols.
pub(super) fn run(codes: &Codes, bits: &mut Bits<'_>, output: &mut Output<'_>) -> Result<Until, Fault> {
    if fast(codes, bits, output)? {
        return Ok(Until::End);
    }
    loop {
        let before = *bits;
        match one(codes, bits, output) {
            Ok(None) => {}
            Ok(Some(until @ Until::Full(Match { left: 0, .. }))) => {
                *bits = before;
                return Ok(until);
            }
            Ok(Some(until)) => return Ok(until),
            Err(fault) => {
                *bits = before;
                return Err(fault);
            }
        }
    }
}

/// Decodes while there is room: whether the block's end was met.
fn fast(codes: &Codes, state: &mut Bits<'_>, output: &mut Output<'_>) -> Result<bool, Malformed> {
    let most = ROUND_LITERALS + MAX_MATCH_BYTES + ROOM_BYTES;
    let Some(last) = output.bytes.len().checked_sub(most) else { return Ok(false) };
    let (mut bits, mut at) = (*state, output.filled);
    let out = &mut *output.bytes;
    let mut ended = false;
    if !bits.has_refills(ROUND_REFILLS + 1) {
        return Ok(false);
    }
    bits.refill();
    let mut entry = codes.litlen.first(bits.peek());
    // Here and at the begin of each round: refilled, and `entry` is that of the bits at hand.
    while at <= last && bits.has_refills(ROUND_REFILLS) {
        // The bits of three literals from the first table and those of a length fit into what one refill gives.
        if entry.is_literal() {
            out[at] = entry.byte();
            at += 1;
            bits.drop(entry.bits());
            entry = codes.litlen.first(bits.peek());
            if entry.is_literal() {
                out[at] = entry.byte();
                at += 1;
                bits.drop(entry.bits());
                entry = codes.litlen.first(bits.peek());
            }
        }
        if entry.is_second() {
            bits.drop(entry.bits());
            entry = codes.litlen.second(entry, bits.peek());
        }
        // The third of a row, or one with a long code.
        if entry.is_literal() {
            out[at] = entry.byte();
            at += 1;
            bits.drop(entry.bits());
            bits.refill();
            entry = codes.litlen.first(bits.peek());
            continue;
        }
        if !entry.is_value() {
            if entry.is_end() {
                bits.drop(entry.bits());
                ended = true;
                break;
            }
            if !entry.is_value() {
                return Err(Malformed::LitlenSymbol);
            }
        }
        let length = entry.length_or_distance(bits.peek());
        bits.drop(entry.bits());
        bits.refill();
        let mut far = codes.distance.first(bits.peek());
        if far.is_second() {
            bits.drop(far.bits());
            far = codes.distance.second(far, bits.peek());
        }
        if !far.is_value() {
            return Err(Malformed::DistanceSymbol);
        }
        let distance = far.length_or_distance(bits.peek());
        bits.drop(far.bits());
        // Looked up before the copy, so that the processor can wait for both at once.
        bits.refill();
        entry = codes.litlen.first(bits.peek());
        if distance <= at {
            copy_with_room(out, at, distance, length);
        } else if distance - at <= output.history.len() {
            copy_exact(out, at, distance, length, output.history);
        } else {
            return Err(Malformed::TooFarBack);
        }
        at += length;
    }
    *state = bits;
    output.filled = at;
    Ok(ended)
}

/// Decodes one symbol, whatever is left of input and output. On a fault, or when a literal does not fit, the bits are to be put back.
fn one(codes: &Codes, bits: &mut Bits<'_>, output: &mut Output<'_>) -> Result<Option<Until>, Fault> {
    bits.refill_from_end();
    const { assert!(REFILLED_BITS >= 48, "a length and a distance are at most 48 bits") };
    let mut entry = codes.litlen.first(bits.peek());
    if entry.is_second() {
        drop(bits, entry.bits())?;
        entry = codes.litlen.second(entry, bits.peek());
    }
    let input = bits.peek();
    drop(bits, entry.bits())?;
    if entry.is_end() {
        return Ok(Some(Until::End));
    }
    if !entry.is_value() {
        return Err(Malformed::LitlenSymbol.into());
    }
    if entry.is_literal() {
        let Some(place) = output.bytes.get_mut(output.filled) else {
            return Ok(Some(Until::Full(Match { distance: 0, left: 0 })));
        };
        *place = entry.byte();
        output.filled += 1;
        return Ok(None);
    }
    let length = entry.length_or_distance(input);
    let mut far = codes.distance.first(bits.peek());
    if far.is_second() {
        drop(bits, far.bits())?;
        far = codes.distance.second(far, bits.peek());
    }
    let input = bits.peek();
    drop(bits, far.bits())?;
    if !far.is_value() {
        return Err(Malformed::DistanceSymbol.into());
    }
    let distance = far.length_or_distance(input);
    if distance > output.filled + output.history.len() {
        return Err(Malformed::TooFarBack.into());
    }
    let left = repeat(output, Match { distance, left: length });
    Ok((left.left > 0).then_some(Until::Full(left)))
}

/// Writes what fits of a match; gives what does not.
pub(super) fn repeat(output: &mut Output<'_>, this: Match) -> Match {
    let now = this.left.min(output.bytes.len() - output.filled);
    copy_exact(output.bytes, output.filled, this.distance, now, output.history);
    output.filled += now;
    Match { left: this.left - now, ..this }
}

fn drop(bits: &mut Bits<'_>, count: u32) -> Result<(), Fault> {
    if count > bits.count() {
        return Err(Fault::Starved);
    }
    bits.drop(count);
    Ok(())
}
