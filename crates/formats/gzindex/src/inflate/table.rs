//! Decoding tables of canonical Huffman codes (RFC 1951 section 3.2.2).
//!
//! The first `FIRST` bits of the input index the table. Longer codes lead on to second tables behind it, each as large as the
//! longest code in it asks for.

use super::entry::Entry;

/// Longest code in bits.
pub(super) const MAX_CODE_BITS: usize = 15;

/// A table of at most `SIZE` entries, looked up by `FIRST` bits.
#[derive(Debug, Clone)]
pub(super) struct Table<const FIRST: u32, const SIZE: usize> {
    entries: [Entry; SIZE],
}

/// The code lengths are no code: too many short ones, or too few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCode;

impl<const FIRST: u32, const SIZE: usize> Table<FIRST, SIZE> {
    /// A table of no codes.
    pub(super) const fn new() -> Self {
        const { assert!(SIZE >= 1 << FIRST, "the first table must fit") };
        Self { entries: [Entry::none(); SIZE] }
    }

    /// What the bits that come next are, as far as `FIRST` of them say.
    #[inline]
    pub(super) fn first(&self, input: u64) -> Entry {
        // No check: the mask keeps the index below the size, as `new` asserts.
        self.entries[(input & super::bits::low(FIRST)) as usize]
    }

    /// Where `entry`, a way to a second table, leads to; `input` is what comes behind the first `FIRST` bits.
    #[inline]
    pub(super) fn second(&self, entry: Entry, input: u64) -> Entry {
        self.entries[entry.second_index(input)]
    }

    /// Makes it the table of the codes with these lengths, each the code of the entry at the same place in `symbols`. Lengths of 0
    /// are symbols that do not occur.
    ///
    /// A single code may be incomplete, as compressors write it for a block with one distance, or none. As in zlib that is
    /// for the caller to allow.
    pub(super) fn build(
        &mut self,
        lengths: &[u8],
        symbols: &[Entry],
        may_be_incomplete: bool,
    ) -> Result<(), NoCode> {
        let mut counts = [0_u16; MAX_CODE_BITS + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        counts[0] = 0;
        let used: u16 = counts.iter().sum();
        // How many codes of the longest length would fit besides those there are.
        let mut free = 1_i32;
        for &count in &counts[1..] {
            free = free * 2 - i32::from(count);
            if free < 0 {
                return Err(NoCode);
            }
        }
        let single = used == 0 || (used == 1 && counts[1] == 1);
        if free > 0 && !(may_be_incomplete && single) {
            return Err(NoCode);
        }

        let mut codes = Codes::new(lengths, &counts);
        // The first table doubles with each length, what there was standing for both values of the bit that is new.
        let mut filled = 1;
        self.entries[0] = Entry::none();
        for bits in 1..=FIRST {
            self.entries.copy_within(..filled, filled);
            filled *= 2;
            for (symbol, code) in codes.of_length(bits) {
                self.entries[code] = symbols[symbol].with_code(bits);
            }
        }
        self.build_second(&mut codes, &counts, symbols);
        Ok(())
    }

    fn build_second(&mut self, codes: &mut Codes, counts: &[u16; MAX_CODE_BITS + 1], symbols: &[Entry]) {
        let first = 1 << FIRST;
        let (mut prefix, mut start, mut size, mut end) = (usize::MAX, 0, 0, first);
        for bits in FIRST + 1..=MAX_CODE_BITS as u32 {
            let mut left = usize::from(counts[bits as usize]);
            for (symbol, code) in codes.of_length(bits) {
                if code % first != prefix {
                    prefix = code % first;
                    start = end;
                    // As long as the codes from here on do not fill it, it must hold longer ones as well.
                    let (mut second_bits, mut filled) = (bits - FIRST, left);
                    while filled < 1 << second_bits && FIRST + second_bits < MAX_CODE_BITS as u32 {
                        second_bits += 1;
                        filled = filled * 2 + usize::from(counts[(FIRST + second_bits) as usize]);
                    }
                    size = 1 << second_bits;
                    end = start + size;
                    self.entries[prefix] = Entry::second(start as u16, second_bits, FIRST);
                }
                left -= 1;
                let entry = symbols[symbol].with_code(bits - FIRST);
                for at in (code >> FIRST..size).step_by(1 << (bits - FIRST)) {
                    self.entries[start + at] = entry;
                }
            }
        }
    }
}

/// Symbols in the order of their codes: by length, then by number.
struct Codes {
    sorted: [u16; Codes::MOST],
    /// Where the symbols of each length begin in `sorted`.
    starts: [u16; MAX_CODE_BITS + 2],
    /// The next code, its first bit the highest.
    next: u32,
}

impl Codes {
    /// Most symbols that a code of deflate has.
    const MOST: usize = 288;

    fn new(lengths: &[u8], counts: &[u16; MAX_CODE_BITS + 1]) -> Self {
        let mut starts = [0; MAX_CODE_BITS + 2];
        for length in 0..=MAX_CODE_BITS {
            starts[length + 1] = starts[length] + counts[length];
        }
        let (mut sorted, mut places) = ([0; Self::MOST], starts);
        for (symbol, &length) in lengths.iter().enumerate() {
            if length != 0 {
                let place = &mut places[usize::from(length)];
                sorted[usize::from(*place)] = symbol as u16;
                *place += 1;
            }
        }
        Self { sorted, starts, next: 0 }
    }

    /// The symbols of this length and their codes, first bit lowest, as they stand in the input. Lengths must be asked for in order.
    fn of_length(&mut self, bits: u32) -> impl Iterator<Item = (usize, usize)> {
        let first = self.next << 1;
        let range = usize::from(self.starts[bits as usize])..usize::from(self.starts[bits as usize + 1]);
        self.next = first + range.len() as u32;
        self.sorted[range].iter().zip(first..).map(move |(&symbol, code)| {
            (usize::from(symbol), (code.reverse_bits() >> (u32::BITS - bits)) as usize)
        })
    }
}
