//! One 512-byte header block. Layout: POSIX ustar, with GNU's and star's own uses of the tail.

use crate::number;
use crate::{Kind, TarError};

/// Size of a block; headers and payloads are padded to it.
pub(crate) const BLOCK_BYTES: usize = 512;

/// A block of the stream.
pub(crate) type Block = [u8; BLOCK_BYTES];

/// Dialect of a header, told by its magic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// What a header block is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Describes an entry.
    Entry(Kind),
    /// As `Entry(File)` or, with a slash at the end of the final path, a directory: the type before ustar.
    OldFile,
    /// A file in GNU's old sparse form.
    OldSparse,
    /// Pax records for the next entry.
    PaxLocal,
    /// Pax records for all entries from here on.
    PaxGlobal,
    /// GNU: the path of the next entry.
    LongPath,
    /// GNU: the link of the next entry.
    LongLink,
    /// A vendor's; to be skipped with its payload.
    Foreign,
}

impl Role {
    fn of(flag: u8) -> Self {
        match flag {
            0 => Self::OldFile,
            b'1' => Self::Entry(Kind::Hardlink),
            b'2' => Self::Entry(Kind::Symlink),
            b'3' => Self::Entry(Kind::Char),
            b'4' => Self::Entry(Kind::Block),
            b'5' => Self::Entry(Kind::Directory),
            b'6' => Self::Entry(Kind::Fifo),
            b'x' => Self::PaxLocal,
            b'g' => Self::PaxGlobal,
            b'L' => Self::LongPath,
            b'K' => Self::LongLink,
            b'S' => Self::OldSparse,
            b'A'..=b'Z' => Self::Foreign,
            // '0', contiguous files ('7') and, by POSIX, whatever is not known.
            _ => Self::Entry(Kind::File),
        }
    }
}

/// The fields of a header block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub dialect: Dialect,
    pub role: Role,
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub uname: Vec<u8>,
    pub gname: Vec<u8>,
    pub mtime_s: i64,
    pub dev_major: u32,
    pub dev_minor: u32,
    /// Bytes of payload the header announces.
    pub size: u64,
}

impl Header {
    /// Reads a block that stands at the stream offset `at`.
    pub(crate) fn read(block: &Block, at: u64) -> Result<Self, TarError> {
        if !checksum_holds(block) {
            return Err(TarError::Checksum { at });
        }
        let number = |range: std::ops::Range<usize>, field| {
            number::field(&block[range]).ok_or(TarError::Field { at, field })
        };
        let dialect = dialect(block);
        let mut header = Self {
            dialect,
            role: Role::of(block[156]),
            path: text(&block[..100]).to_vec(),
            link: text(&block[157..257]).to_vec(),
            mode: number(100..108, "mode")? as u32 & 0o7777,
            uid: owner(number(108..116, "uid")?),
            gid: owner(number(116..124, "gid")?),
            uname: Vec::new(),
            gname: Vec::new(),
            mtime_s: number(136..148, "mtime")?,
            dev_major: 0,
            dev_minor: 0,
            size: u64::try_from(number(124..136, "size")?)
                .map_err(|_| TarError::Field { at, field: "size" })?,
        };
        if dialect == Dialect::V7 {
            return Ok(header);
        }
        header.uname = text(&block[265..297]).to_vec();
        header.gname = text(&block[297..329]).to_vec();
        header.dev_major = number(329..337, "devmajor")? as u32;
        header.dev_minor = number(337..345, "devminor")? as u32;
        let prefix = match dialect {
            Dialect::V7 => &[],
            Dialect::Ustar => text(&block[345..500]),
            Dialect::Star => text(&block[345..476]),
            Dialect::Gnu => misplaced_prefix(block),
        };
        if !prefix.is_empty() {
            header.path = [prefix, b"/", &header.path].concat();
        }
        Ok(header)
    }

    /// The length of the whole file, holes included, of GNU's old sparse form. Star has the same type with
    /// another layout, so that the dialect must be GNU's.
    pub(crate) fn old_sparse_size(&self, block: &Block, at: u64) -> Result<u64, TarError> {
        let size = number::field(&block[483..495]).and_then(|size| u64::try_from(size).ok());
        size.filter(|_| self.dialect == Dialect::Gnu).ok_or(TarError::Field { at, field: "sparse size" })
    }
}

/// Owners are 32-bit numbers to the kernel; a negative one (-2, "nobody") is meant as its complement.
pub(crate) fn owner(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_else(|_| u64::from(id as u32))
}

/// The bytes before the first NUL.
pub(crate) fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn dialect(block: &Block) -> Dialect {
    match &block[257..265] {
        [b'u', b's', b't', b'a', b'r', 0, ..] if &block[508..] == b"tar\0" => Dialect::Star,
        [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
        b"ustar  \0" => Dialect::Gnu,
        _ => Dialect::V7,
    }
}

/// GNU headers have times where ustar has its prefix, but Go before 1.8 wrote a prefix there all the same
/// (golang.org/issue/12594). It is one if the times are no numbers and it is ASCII.
fn misplaced_prefix(block: &Block) -> &[u8] {
    let is_time = |bytes: &[u8]| bytes[0] == 0 || number::field(bytes).is_some();
    let prefix = text(&block[345..500]);
    if is_time(&block[345..357]) && is_time(&block[357..369]) || !prefix.is_ascii() { &[] } else { prefix }
}

/// The checksum is the sum of all bytes, its own field taken as spaces; some old writers summed signed bytes.
fn checksum_holds(block: &Block) -> bool {
    let Some(stored) = number::octal(&block[148..156]) else { return false };
    let others = || block[..148].iter().chain(&block[156..]);
    let spaces = 8 * i64::from(b' ');
    let unsigned = spaces + others().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed = || spaces + others().map(|&byte| i64::from(byte as i8)).sum::<i64>();
    stored == unsigned || stored == signed()
}
