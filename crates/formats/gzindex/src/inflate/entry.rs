//! What a decoding table says about the bits that come next, packed into 32 bits so that one load tells all.
//!
//! | bits | literal | length or distance | way to a second table | end of block |
//! |---|---|---|---|---|
//! | 0-7 | bits of the code | bits of the code and the extra bits | bits of the first table | bits of the code |
//! | 8-12 | | bits of the code | bits of the second table | |
//! | 13-15 | | | `SECOND` | `END` |
//! | 16-30 | the byte | the least value (16-31 for a distance) | where the second table begins | |
//! | 31 | set | | | |
//!
//! A distance can be larger than 15 bits say, so bit 31 means a literal in tables of literals and lengths only.

/// One entry. All zeros is a code that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry(u32);

const LITERAL: u32 = 1 << 31;
const SECOND: u32 = 1 << 15;
const END: u32 = 1 << 14;
/// Set in what is a value: neither a way to a second table, nor an end, nor nothing.
const VALUE: u32 = 1 << 13;

impl Entry {
    /// A code that means nothing.
    pub(super) const fn none() -> Self {
        Self(0)
    }

    /// A byte.
    pub(super) const fn literal(byte: u8) -> Self {
        Self(LITERAL | VALUE | (byte as u32) << 16)
    }

    /// The least value of a length or distance and how many more bits say how much is to be added.
    pub(super) const fn value(least: u16, extra: u8) -> Self {
        Self(VALUE | (least as u32) << 16 | extra as u32)
    }

    /// The end of a block.
    pub(super) const fn end() -> Self {
        Self(END)
    }

    /// A way to a second table of `bits` bits, which begins at `start`, out of a first one of `first` bits.
    pub(super) const fn second(start: u16, bits: u32, first: u32) -> Self {
        Self(SECOND | (start as u32) << 16 | bits << 8 | first)
    }

    /// The same for a code of `bits` bits in the table that the entry is for.
    pub(super) const fn with_code(self, bits: u32) -> Self {
        Self(self.0 + bits * 0x101)
    }

    /// Whether it is a literal; not to be asked of a distance.
    #[inline]
    pub(super) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    /// Whether it is a literal, a length or a distance.
    #[inline]
    pub(super) fn is_value(self) -> bool {
        self.0 & VALUE != 0
    }

    /// Whether it is the end of the block.
    #[inline]
    pub(super) fn is_end(self) -> bool {
        self.0 & END != 0
    }

    /// Whether the code goes on in a second table.
    #[inline]
    pub(super) fn is_second(self) -> bool {
        self.0 & SECOND != 0
    }

    /// The literal's byte.
    #[inline]
    pub(super) fn byte(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// How many bits of input it stands for.
    #[inline]
    pub(super) fn bits(self) -> u32 {
        self.0 & 0xff
    }

    /// The length or distance, given the input from the code on.
    #[inline]
    pub(super) fn length_or_distance(self, input: u64) -> usize {
        let extra = (input & super::bits::low(self.bits())) >> (self.0 >> 8 & 0x1f);
        (self.0 >> 16) as usize + extra as usize
    }

    /// Where the input leads to in the second table, given the input behind the first table's bits.
    #[inline]
    pub(super) fn second_index(self, input: u64) -> usize {
        (self.0 >> 16) as usize + (input & super::bits::low(self.0 >> 8 & 0x1f)) as usize
    }
}
