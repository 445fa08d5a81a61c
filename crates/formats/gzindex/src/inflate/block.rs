//! Heads of deflate blocks (RFC 1951 sections 3.2.3 to 3.2.7), and the codes they bring.

use super::bits::Bits;
use super::entry::Entry;
use super::table::Table;
use super::{Fault, Malformed};

/// Symbols of literals and lengths; the last two never occur but take part in the fixed code.
const LITLEN_SYMBOLS: usize = 288;
/// Symbols of distances; the last two as above.
const DISTANCE_SYMBOLS: usize = 32;
/// Symbols of the code that code lengths are written in.
const PRECODE_SYMBOLS: usize = 19;
/// In which order the lengths of that code come.
const PRECODE_ORDER: [usize; PRECODE_SYMBOLS] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// What the symbols of literals and lengths mean.
static LITLEN: [Entry; LITLEN_SYMBOLS] = litlen_symbols();
/// What the symbols of distances mean.
static DISTANCE: [Entry; DISTANCE_SYMBOLS] = distance_symbols();
/// The symbols of the code lengths' code, as plain numbers.
static PRECODE: [Entry; PRECODE_SYMBOLS] = precode_symbols();

/// The codes of a block.
///
/// The sizes of the tables are the most that any complete code of so many symbols, first bits and at most 15 bits needs, as zlib's
/// `enough` computes them: 2342 and 402.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) litlen: Table<11, 2342>,
    pub(super) distance: Table<8, 402>,
    precode: Table<7, 128>,
    fixed: bool,
}

/// What follows a block's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes as they are, from the next byte on.
    Stored(u16),
    /// Symbols in [`Codes`].
    Coded,
}

impl Codes {
    pub(super) fn new() -> Self {
        Self { litlen: Table::new(), distance: Table::new(), precode: Table::new(), fixed: false }
    }

    /// Reads the head of a block, and its codes: whether it is the last one, and what follows.
    pub(super) fn read_head(&mut self, bits: &mut Bits<'_>) -> Result<(bool, Kind), Fault> {
        let last = take(bits, 1)? == 1;
        let kind = match take(bits, 2)? {
            0 => {
                bits.align();
                let (len, check) = (take(bits, 16)?, take(bits, 16)?);
                if len != !check & 0xffff {
                    return Err(Malformed::StoredLength.into());
                }
                Kind::Stored(len as u16)
            }
            1 => {
                self.set_fixed();
                Kind::Coded
            }
            2 => {
                self.read_codes(bits)?;
                Kind::Coded
            }
            _ => return Err(Malformed::BlockType.into()),
        };
        Ok((last, kind))
    }

    fn set_fixed(&mut self) {
        if self.fixed {
            return;
        }
        let mut lengths = [8; LITLEN_SYMBOLS];
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        let litlen = self.litlen.build(&lengths, &LITLEN, false);
        let distance = self.distance.build(&[5; DISTANCE_SYMBOLS], &DISTANCE, false);
        debug_assert!(litlen.is_ok() && distance.is_ok(), "the fixed codes are complete");
        self.fixed = true;
    }

    fn read_codes(&mut self, bits: &mut Bits<'_>) -> Result<(), Fault> {
        let litlens = take(bits, 5)? as usize + 257;
        let distances = take(bits, 5)? as usize + 1;
        let precodes = take(bits, 4)? as usize + 4;
        if litlens > 286 || distances > 30 {
            return Err(Malformed::TooManySymbols.into());
        }
        let mut lengths = [0; PRECODE_SYMBOLS];
        for &symbol in &PRECODE_ORDER[..precodes] {
            lengths[symbol] = take(bits, 3)? as u8;
        }
        self.precode.build(&lengths, &PRECODE, false).map_err(|_| Malformed::CodeLengths)?;
        let mut lengths = [0; 286 + 30];
        self.read_lengths(bits, &mut lengths[..litlens + distances])?;
        if lengths[256] == 0 {
            return Err(Malformed::NoEnd.into());
        }
        self.fixed = false;
        let (litlen, distance) = lengths[..litlens + distances].split_at(litlens);
        self.litlen.build(litlen, &LITLEN, true).map_err(|_| Malformed::LitlenCode)?;
        self.distance.build(distance, &DISTANCE, true).map_err(|_| Malformed::DistanceCode)?;
        Ok(())
    }

    fn read_lengths(&self, bits: &mut Bits<'_>, lengths: &mut [u8]) -> Result<(), Fault> {
        let mut done = 0;
        while done < lengths.len() {
            bits.refill_from_end();
            let entry = self.precode.first(bits.peek());
            if entry.bits() > bits.count() {
                return Err(Fault::Starved);
            }
            bits.drop(entry.bits());
            let (value, times) = match entry.byte() {
                16 => {
                    let Some(before) = done.checked_sub(1) else {
                        return Err(Malformed::CodeLengths.into());
                    };
                    (lengths[before], 3 + take(bits, 2)?)
                }
                17 => (0, 3 + take(bits, 3)?),
                18 => (0, 11 + take(bits, 7)?),
                length => (length, 1),
            };
            let run = lengths.get_mut(done..done + times as usize).ok_or(Malformed::CodeLengths)?;
            run.fill(value);
            done += times as usize;
        }
        Ok(())
    }
}

fn take(bits: &mut Bits<'_>, count: u32) -> Result<u32, Fault> {
    bits.take(count).ok_or(Fault::Starved)
}

/// RFC 1951 section 3.2.5: lengths go from 3, four symbols to each number of extra bits; 258 has a symbol of its own.
const fn litlen_symbols() -> [Entry; LITLEN_SYMBOLS] {
    let mut symbols = [Entry::none(); LITLEN_SYMBOLS];
    let mut symbol = 0;
    while symbol < 256 {
        symbols[symbol] = Entry::literal(symbol as u8);
        symbol += 1;
    }
    symbols[256] = Entry::end();
    let (mut symbol, mut least) = (257, 3);
    while symbol < 285 {
        let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        symbols[symbol] = Entry::value(least, extra as u8);
        least += 1 << extra;
        symbol += 1;
    }
    symbols[285] = Entry::value(258, 0);
    symbols
}

/// RFC 1951 section 3.2.5: distances go from 1, two symbols to each number of extra bits.
const fn distance_symbols() -> [Entry; DISTANCE_SYMBOLS] {
    let mut symbols = [Entry::none(); DISTANCE_SYMBOLS];
    let (mut symbol, mut least) = (0, 1);
    while symbol < 30 {
        let extra = if symbol < 4 { 0 } else { symbol / 2 - 1 };
        symbols[symbol] = Entry::value(least, extra as u8);
        least = least.wrapping_add(1 << extra);
        symbol += 1;
    }
    symbols
}

const fn precode_symbols() -> [Entry; PRECODE_SYMBOLS] {
    let mut symbols = [Entry::none(); PRECODE_SYMBOLS];
    let mut symbol = 0;
    while symbol < PRECODE_SYMBOLS {
        symbols[symbol] = Entry::literal(symbol as u8);
        symbol += 1;
    }
    symbols
}
