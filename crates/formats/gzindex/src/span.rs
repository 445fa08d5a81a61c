//! Decodes what lies between two checkpoints.

use crate::inflate::{Inflate, Stop};
use crate::member::{Header, Trailer};
use crate::{GzError, SpanStart, WINDOW_BYTES};

/// Decodes one span: fills `out` from `compressed`, the bytes that
/// [`span_compressed_range`](crate::span_compressed_range) names.
///
/// Members that begin and end within the span are held against their checksums; the one that is resumed cannot be.
/// Compressed bytes left over once `out` is full are not looked at.
///
/// # Errors
/// [`GzError::BadStart`] for a start that cannot be, [`GzError::Truncated`] when `compressed` ends before `out` is
/// full, [`GzError::Corrupt`] when it does not decode. What is in `out` then is not specified.
pub fn decode_span(start: SpanStart<'_>, compressed: &[u8], out: &mut [u8]) -> Result<(), GzError> {
    let bad = GzError::BadStart { bits: start.bits, window: start.window.len() };
    if start.bits > 7 || start.window.len() > WINDOW_BYTES || (start.member_start && start.bits != 0) {
        return Err(bad);
    }
    if out.is_empty() {
        return Ok(());
    }
    let mut inflate = Inflate::new();
    let mut input = Input { all: compressed, taken: 0 };
    // Decoded bytes of members before the present one, which it cannot refer to.
    let mut before = 0;
    if start.member_start {
        input.header()?;
    } else if start.bits != 0 {
        let Some(&byte) = compressed.first() else { return Err(input.truncated()) };
        inflate.reset(byte, start.bits);
        input.taken = 1;
    }
    let mut history = if start.member_start { &[] } else { start.window };
    let mut whole = start.member_start;
    loop {
        let filled = member(&mut inflate, &mut input, &mut out[before..], history)?;
        if before + filled == out.len() {
            return Ok(());
        }
        let decoded = &out[before..before + filled];
        input.trailer(whole.then_some(decoded))?;
        input.header()?;
        before += filled;
        inflate.reset(0, 0);
        (history, whole) = (&[], true);
    }
}

/// Decodes to the end of the member or of `out`: how much.
fn member(
    inflate: &mut Inflate,
    input: &mut Input<'_>,
    out: &mut [u8],
    history: &[u8],
) -> Result<usize, GzError> {
    let mut filled = 0;
    while filled < out.len() {
        let step = inflate.run(input.rest(), out, filled, history).map_err(|corrupt| GzError::Corrupt {
            at: (input.taken + corrupt.consumed) as u64,
            reason: corrupt.what.to_string(),
        })?;
        input.taken += step.consumed;
        filled = step.filled;
        match step.stop {
            Stop::Border | Stop::Full => {}
            Stop::Ended => break,
            Stop::Starved if filled == out.len() => break,
            Stop::Starved => return Err(input.truncated()),
        }
    }
    Ok(filled)
}

/// The compressed bytes of a span.
struct Input<'a> {
    all: &'a [u8],
    taken: usize,
}

impl<'a> Input<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.all[self.taken..]
    }

    fn truncated(&self) -> GzError {
        GzError::Truncated { at: self.all.len() as u64 }
    }

    fn corrupt(&self, reason: &str) -> GzError {
        GzError::Corrupt { at: self.taken as u64, reason: reason.to_owned() }
    }

    fn header(&mut self) -> Result<(), GzError> {
        match Header::default().push(self.rest()) {
            Ok((taken, true)) => self.taken += taken,
            Ok((_, false)) => return Err(self.truncated()),
            Err(_) => return Err(self.corrupt("no gzip header")),
        }
        Ok(())
    }

    /// Goes past a trailer; with the member's bytes, if all are at hand, checks them.
    fn trailer(&mut self, decoded: Option<&[u8]>) -> Result<(), GzError> {
        let Some(decoded) = decoded else {
            if self.rest().len() < Trailer::BYTES {
                return Err(self.truncated());
            }
            self.taken += Trailer::BYTES;
            return Ok(());
        };
        let mut trailer = Trailer::default();
        trailer.count(decoded);
        match trailer.push(self.rest()) {
            Ok((taken, true)) => self.taken += taken,
            Ok((_, false)) => return Err(self.truncated()),
            Err(reason) => return Err(self.corrupt(reason)),
        }
        Ok(())
    }
}
