//! What stands around the deflate data of a gzip member: its header and its trailer (RFC 1952 section 2.3), read as they arrive.

/// The two bytes that every member begins with, and the only method there is.
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Bytes of a header that are always there.
const FIXED_BYTES: usize = 10;
/// Flags of a header: what follows the fixed bytes.
const HAS_CRC: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// A header that is being read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Header {
    part: Part,
    /// Bytes of the part that were read.
    done: usize,
    flags: u8,
    extra: [u8; 2],
    crc: crc32fast::Hasher,
    crc_given: [u8; 2],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Crc,
    Over,
}

impl Part {
    /// The part that follows, and the flag that must be set for it to be there.
    const fn next(self) -> (Self, u8) {
        match self {
            Self::Fixed => (Self::ExtraLength, HAS_EXTRA),
            Self::ExtraLength => (Self::Extra, HAS_EXTRA),
            Self::Extra => (Self::Name, HAS_NAME),
            Self::Name => (Self::Comment, HAS_COMMENT),
            Self::Comment => (Self::Crc, HAS_CRC),
            Self::Crc | Self::Over => (Self::Over, 0),
        }
    }
}

/// It is no gzip header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoHeader;

impl Header {
    /// Takes bytes: how many, and whether the header ends with them.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<(usize, bool), NoHeader> {
        for (taken, &byte) in input.iter().enumerate() {
            if self.take(byte)? {
                return Ok((taken + 1, true));
            }
        }
        Ok((input.len(), false))
    }

    fn take(&mut self, byte: u8) -> Result<bool, NoHeader> {
        let at = self.done;
        self.done += 1;
        if self.part != Part::Crc {
            self.crc.update(&[byte]);
        }
        let over = match self.part {
            Part::Fixed => {
                if MAGIC.get(at).is_some_and(|magic| *magic != byte) || (at == 3 && byte & RESERVED != 0) {
                    return Err(NoHeader);
                }
                if at == 3 {
                    self.flags = byte;
                }
                self.done == FIXED_BYTES
            }
            Part::ExtraLength => {
                self.extra[at] = byte;
                self.done == 2
            }
            Part::Extra => self.done == usize::from(u16::from_le_bytes(self.extra)),
            Part::Name | Part::Comment => byte == 0,
            Part::Crc => {
                self.crc_given[at] = byte;
                self.done == 2
            }
            Part::Over => true,
        };
        if over {
            self.go_on()?;
        }
        Ok(self.part == Part::Over)
    }

    /// Goes on to the next part that is there.
    fn go_on(&mut self) -> Result<(), NoHeader> {
        if self.part == Part::Crc && self.crc.clone().finalize() as u16 != u16::from_le_bytes(self.crc_given)
        {
            return Err(NoHeader);
        }
        self.done = 0;
        while self.part != Part::Over {
            let (next, flag) = self.part.next();
            self.part = next;
            let empty = next == Part::Extra && self.extra == [0, 0];
            if self.flags & flag != 0 && !empty {
                break;
            }
        }
        Ok(())
    }
}

/// A trailer that is being read, and what it is held against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trailer {
    given: [u8; Trailer::BYTES],
    done: usize,
    crc: crc32fast::Hasher,
    /// Modulo 2^32, as the trailer has it.
    length: u32,
}

impl Trailer {
    /// CRC-32 and length.
    pub(crate) const BYTES: usize = 8;

    /// Counts decoded bytes in.
    pub(crate) fn count(&mut self, decoded: &[u8]) {
        self.crc.update(decoded);
        self.length = self.length.wrapping_add(decoded.len() as u32);
    }

    /// Takes bytes: how many, and whether the trailer ends with them.
    ///
    /// # Errors
    /// What does not agree.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<(usize, bool), &'static str> {
        let taken = input.len().min(Self::BYTES - self.done);
        self.given[self.done..self.done + taken].copy_from_slice(&input[..taken]);
        self.done += taken;
        if self.done < Self::BYTES {
            return Ok((taken, false));
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3] = self.given;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.clone().finalize() {
            return Err("incorrect data check");
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != self.length {
            return Err("incorrect length check");
        }
        Ok((taken, true))
    }
}
