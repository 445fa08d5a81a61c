//! Matches: bytes that came before, once more.

/// How many bytes behind a match [`copy_with_room`] may write.
pub(super) const ROOM_BYTES: usize = 16;

/// Copies `length` bytes from `distance` before `at` to `at`, in pieces that are copied whole: up to [`ROOM_BYTES`] bytes behind the match
/// are written, too, and must be there.
#[inline(always)]
pub(super) fn copy_with_room(out: &mut [u8], at: usize, distance: usize, length: usize) {
    if distance >= 16 {
        copy_pieces::<16>(out, at, distance, length, 16);
    } else if distance == 1 {
        let piece = [out[at - 1]; 16];
        for to in (at..at + length).step_by(16) {
            out[to..to + 16].copy_from_slice(&piece);
        }
    } else if distance >= 8 {
        copy_pieces::<8>(out, at, distance, length, 8);
    } else {
        // Each piece has as many bytes right as the distance is long; the next one mends the rest.
        copy_pieces::<8>(out, at, distance, length, distance);
    }
}

#[inline(always)]
fn copy_pieces<const N: usize>(out: &mut [u8], at: usize, distance: usize, length: usize, step: usize) {
    let (mut from, mut to) = (at - distance, at);
    while to < at + length {
        let mut piece = [0; N];
        piece.copy_from_slice(&out[from..from + N]);
        out[to..to + N].copy_from_slice(&piece);
        from += step;
        to += step;
    }
}

/// The same for a match that may begin in `history`, what came before the first byte of `out`, and with nothing written behind it.
pub(super) fn copy_exact(out: &mut [u8], mut at: usize, distance: usize, length: usize, history: &[u8]) {
    let end = at + length;
    if let Some(before) = distance.checked_sub(at).filter(|before| *before > 0) {
        let from = &history[history.len() - before..];
        let some = &from[..before.min(length)];
        out[at..at + some.len()].copy_from_slice(some);
        at += some.len();
    }
    for to in at..end {
        out[to] = out[to - distance];
    }
}
