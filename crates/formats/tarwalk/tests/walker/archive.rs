//! Builds archives block by block, so that tests can say things no tar writer would.

use glowplug_tarwalk::{Entry, Limits, TarError, Walker};

/// Bytes to put at a place in a header block.
#[derive(Debug, Clone)]
pub struct Field {
    pos: usize,
    bytes: Vec<u8>,
}

impl Field {
    pub fn text(pos: usize, bytes: &[u8]) -> Self {
        Self { pos, bytes: bytes.to_vec() }
    }

    pub fn octal(pos: usize, len: usize, value: u64) -> Self {
        Self { pos, bytes: format!("{value:0width$o}\0", width = len - 1).into_bytes() }
    }

    pub fn base_256(pos: usize, len: usize, value: i64) -> Self {
        let mut bytes = vec![if value < 0 { 0xff } else { 0 }; len];
        let kept = len.min(8);
        bytes[len - kept..].copy_from_slice(&value.to_be_bytes()[8 - kept..]);
        bytes[0] |= 0x80;
        Self { pos, bytes }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Archive {
    pub bytes: Vec<u8>,
}

impl Archive {
    /// A ustar header with mode 0644 and a size that fits the payload, then `fields` over it, then the payload.
    pub fn entry(self, flag: u8, path: &[u8], fields: &[Field], payload: &[u8]) -> Self {
        let mut all = vec![
            Field::text(0, path),
            Field::octal(100, 8, 0o644),
            Field::octal(108, 8, 0),
            Field::octal(116, 8, 0),
            Field::octal(124, 12, payload.len() as u64),
            Field::octal(136, 12, 1_000_000),
            Field::text(156, &[flag]),
            Field::text(257, b"ustar\x0000"),
        ];
        all.extend_from_slice(fields);
        self.header(&all).raw(payload).pad()
    }

    /// A header from before ustar, without payload.
    pub fn v7(self, path: &[u8], size: u64) -> Self {
        self.header(&[Field::text(0, path), Field::octal(100, 8, 0o644), Field::octal(124, 12, size)])
    }

    /// A pax header with its records.
    pub fn pax(self, flag: u8, pairs: &[(&str, &str)]) -> Self {
        self.entry(flag, b"pax", &[], &records(pairs))
    }

    fn header(self, fields: &[Field]) -> Self {
        let mut block = [0; 512];
        put(&mut block, fields);
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.raw(&block)
    }

    /// A block without a checksum.
    pub fn block(self, fields: &[Field]) -> Self {
        let mut block = [0; 512];
        put(&mut block, fields);
        self.raw(&block)
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub fn pad(mut self) -> Self {
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }
}

fn put(block: &mut [u8; 512], fields: &[Field]) {
    for field in fields {
        block[field.pos..field.pos + field.bytes.len()].copy_from_slice(&field.bytes);
    }
}

/// Pax records, each counting its own length.
pub fn records(pairs: &[(&str, &str)]) -> Vec<u8> {
    let record = |&(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        let mut len = rest.len() + 1;
        while len.to_string().len() + rest.len() != len {
            len = len.to_string().len() + rest.len();
        }
        format!("{len}{rest}").into_bytes()
    };
    pairs.iter().flat_map(record).collect()
}

/// Sends `bytes` through a walker in pieces of the given sizes, again and again.
pub fn walk(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Entry>, TarError> {
    walk_with(Limits::default(), bytes, pieces)
}

pub fn walk_with(limits: Limits, bytes: &[u8], pieces: &[usize]) -> Result<Vec<Entry>, TarError> {
    let mut walker = Walker::new(limits);
    let mut entries = Vec::new();
    let (mut rest, mut taken) = (bytes, 0);
    for size in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at((*size).min(rest.len()));
        walker.push(piece, &mut |entry| entries.push(entry))?;
        rest = later;
        taken += piece.len() as u64;
        assert_eq!(walker.offset(), taken);
    }
    assert_eq!(walker.finish()?, bytes.len() as u64);
    Ok(entries)
}
