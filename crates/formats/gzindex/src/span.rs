//! Decodes what lies between two checkpoints.

use crate::raw::{Inflate, Wrapper};
use crate::{GzError, SpanStart, WINDOW_BYTES};

/// Length of a gzip trailer, CRC-32 and length, in bytes (RFC 1952 section 2.3).
const TRAILER_BYTES: usize = 8;

/// Decodes one span: fills `out` from `compressed`, the bytes that
/// [`span_compressed_range`](crate::span_compressed_range) names.
///
/// Members that begin within the span are held against their checksums; the one that is resumed cannot be.
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
    let mut wrapper = if start.member_start { Wrapper::Gzip } else { Wrapper::Raw };
    let mut inflate = Inflate::new(wrapper)?;
    let mut taken = 0;
    if start.bits != 0 {
        let Some(&byte) = compressed.first() else { return Err(GzError::Truncated { at: 0 }) };
        inflate.prime(start.bits, byte >> (8 - start.bits))?;
        taken = 1;
    }
    if wrapper == Wrapper::Raw && !start.window.is_empty() {
        inflate.set_window(start.window)?;
    }

    let mut filled = 0;
    loop {
        let step =
            inflate.step_into(&compressed[taken..], &mut out[filled..]).map_err(|error| match error {
                GzError::Corrupt { at, reason } => GzError::Corrupt { at: taken as u64 + at, reason },
                other => other,
            })?;
        taken += step.consumed;
        filled += step.produced;
        if filled == out.len() {
            return Ok(());
        }
        if step.ended {
            if wrapper == Wrapper::Raw {
                // Whole bytes the decoder holds but has not used are the trailer's already.
                taken = taken.saturating_add(TRAILER_BYTES) - usize::from(step.unused_bits / 8);
            }
            wrapper = Wrapper::Gzip;
            inflate.reset(wrapper);
            if taken >= compressed.len() {
                return Err(GzError::Truncated { at: compressed.len() as u64 });
            }
        } else if step.consumed == 0 && step.produced == 0 {
            return Err(GzError::Truncated { at: compressed.len() as u64 });
        }
    }
}
