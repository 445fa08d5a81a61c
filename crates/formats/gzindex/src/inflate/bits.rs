//! The input as bits, least significant first, as deflate packs them (RFC 1951 section 3.1.1).

/// Bytes that [`Bits::refill`] looks at.
pub(super) const REFILL_BYTES: usize = 8;
/// Bits that are at hand after a [`Bits::refill`], at least.
pub(super) const REFILLED_BITS: u32 = 56;

/// A place in a slice of input, to the bit.
///
/// Invariant: the low `count` bits of `held` are the next bits of the stream and were taken from before `at`. Above them there may
/// be bits of the byte at `at` already: taking that byte again changes nothing, since it is the same byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    held: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Before the first byte of `input`, with up to 7 bits left over from the byte before.
    pub(super) fn new(input: &'a [u8], rest: Rest) -> Self {
        Self { input, at: 0, held: rest.held, count: rest.count }
    }

    /// How many bytes are touched, and the bits of the last of them that are not used yet.
    pub(super) fn stop(mut self) -> (usize, Rest) {
        self.at -= (self.count / 8) as usize;
        self.count %= 8;
        (self.at, Rest { held: self.held & low(self.count), count: self.count })
    }

    /// Whether [`Self::refill`] can be called `times` more without looking behind the input.
    #[inline]
    pub(super) fn has_refills(&self, times: usize) -> bool {
        self.at + times * REFILL_BYTES <= self.input.len()
    }

    /// Takes bytes until at least [`REFILLED_BITS`] are at hand. There must be [`REFILL_BYTES`] bytes left.
    #[inline]
    pub(super) fn refill(&mut self) {
        let mut word = [0; REFILL_BYTES];
        word.copy_from_slice(&self.input[self.at..self.at + REFILL_BYTES]);
        self.held |= u64::from_le_bytes(word) << self.count;
        self.at += ((63 - self.count) / 8) as usize;
        self.count |= REFILLED_BITS;
    }

    /// Takes what there is, up to as many bits as can be held.
    pub(super) fn refill_from_end(&mut self) {
        self.held &= low(self.count);
        while self.count < REFILLED_BITS
            && let Some(&byte) = self.input.get(self.at)
        {
            self.held |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// The bits at hand; above `count` of them anything.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        self.held
    }

    /// How many bits are at hand.
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Drops `count` bits, which must be at hand.
    #[inline]
    pub(super) fn drop(&mut self, count: u32) {
        debug_assert!(count <= self.count, "{count} bits of {}", self.count);
        self.held >>= count;
        self.count = self.count.wrapping_sub(count);
    }

    /// The next `count` bits, at most 16, as a number; `None` where the input ends before.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        if self.count < count {
            self.refill_from_end();
        }
        if self.count < count {
            return None;
        }
        let value = (self.held & low(count)) as u32;
        self.drop(count);
        Some(value)
    }

    /// Copies whole bytes to `to`, as many as there are: how many. Only behind [`Self::align`].
    pub(super) fn copy_to(&mut self, to: &mut [u8]) -> usize {
        debug_assert!(self.count.is_multiple_of(8), "not between two bytes");
        // Bytes that are held were taken from the input; they are put back.
        self.at -= (self.count / 8) as usize;
        (self.held, self.count) = (0, 0);
        let from = &self.input[self.at..];
        let copied = from.len().min(to.len());
        to[..copied].copy_from_slice(&from[..copied]);
        self.at += copied;
        copied
    }

    /// Drops what is left of the byte that is begun.
    pub(super) fn align(&mut self) {
        self.drop(self.count % 8);
    }
}

/// Up to 7 bits of a byte that is otherwise used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rest {
    held: u64,
    count: u32,
}

impl Rest {
    /// The `count` high bits of `byte`; at most 7.
    pub(super) fn of(byte: u8, count: u8) -> Self {
        debug_assert!(count < 8);
        Self { held: u64::from(byte) >> (8 - count), count: count.into() }
    }

    /// How many bits.
    pub(super) fn count(self) -> u8 {
        self.count as u8
    }
}

/// A mask of the `count` low bits; `count` below 64.
#[inline]
pub(super) fn low(count: u32) -> u64 {
    (1 << count) - 1
}
