//! Makes images by hand, byte by byte from the format's description, with the layouts that this crate's writer does not write.
//!
//! Inodes lie one behind the other from block 1 on, file contents behind them; so tests name inodes by their order. Blocks are of
//! 2 KiB or more.

use std::collections::BTreeMap;

/// Where inodes begin, in blocks.
pub const META_BLOCK: u64 = 1;
/// Blocks for inodes, and behind them for shared attributes.
const META_BLOCKS: u64 = 4;
const XATTR_BLOCK: u64 = META_BLOCK + META_BLOCKS;
const DATA_BLOCK: u64 = XATTR_BLOCK + 1;
/// An address that is none.
pub const NULL: u32 = u32::MAX;

pub const DIRECTORY: u16 = 0o040_755;
pub const FILE: u16 = 0o100_644;
pub const SYMLINK: u16 = 0o120_777;
pub const CHARACTER: u16 = 0o020_000;
pub const FIFO: u16 = 0o010_600;

/// How an inode's bytes are kept.
#[derive(Debug, Clone)]
pub enum Layout {
    /// Blocks in a row.
    Plain,
    /// The last bytes beside the inode.
    Inline,
    /// Chunks of as many blocks as two to this power, at these blocks counted from the first of file contents; with indexes or
    /// bare addresses.
    Chunks { bits: u16, indexes: bool, blocks: Vec<Option<u32>> },
    /// A number that says which, and what else would be the address.
    Raw { layout: u16, location: u32 },
}

/// An inode in the making.
#[derive(Debug, Clone)]
pub struct Inode {
    pub mode: u16,
    pub extended: bool,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds; compact inodes count seconds from the image's.
    pub time: (u64, u32),
    pub size: u64,
    pub bytes: Vec<u8>,
    pub layout: Layout,
    /// Prefix, rest of the name, value.
    pub xattrs: Vec<(u8, &'static str, &'static str)>,
    /// Numbers of shared attributes.
    pub shared: Vec<usize>,
}

impl Inode {
    pub fn new(mode: u16, bytes: impl Into<Vec<u8>>, layout: Layout) -> Self {
        let bytes = bytes.into();
        Self {
            mode,
            extended: false,
            owner: (1, 2),
            time: (7, 9),
            size: bytes.len() as u64,
            bytes,
            layout,
            xattrs: Vec::new(),
            shared: Vec::new(),
        }
    }

    pub fn extended(self) -> Self {
        Self { extended: true, owner: (70_000, 80_000), ..self }
    }

    fn head_bytes(&self) -> usize {
        if self.extended { 64 } else { 32 }
    }

    fn xattr_body(&self, shared: &[(u8, &str, &str)]) -> Vec<u8> {
        if self.xattrs.is_empty() && self.shared.is_empty() {
            return Vec::new();
        }
        let mut body = vec![0; 12];
        body[4] = self.shared.len() as u8;
        for number in &self.shared {
            let before: usize = shared[..*number].iter().map(|it| attribute(it).len()).sum();
            body.extend(((before / 4) as u32).to_le_bytes());
        }
        self.xattrs.iter().for_each(|it| body.extend(attribute(it)));
        body
    }
}

fn attribute((prefix, name, value): &(u8, &str, &str)) -> Vec<u8> {
    let mut raw = vec![name.len() as u8, *prefix, value.len() as u8, 0];
    raw.extend(name.bytes().chain(value.bytes()));
    raw.resize(raw.len().next_multiple_of(4), 0);
    raw
}

/// An image in the making. The first inode is the root.
#[derive(Debug, Clone)]
pub struct Builder {
    pub block_bits: u32,
    pub inodes: Vec<Inode>,
    /// For each directory what is in it.
    pub names: BTreeMap<usize, Vec<(&'static str, usize)>>,
    pub shared: Vec<(u8, &'static str, &'static str)>,
    /// File contents that chunks are in.
    pub data: Vec<u8>,
    pub incompat: u32,
    pub devices: u16,
}

impl Builder {
    pub fn new(block_bits: u32) -> Self {
        assert!(block_bits >= 11, "the superblock needs a block");
        let root = Inode::new(DIRECTORY, [], Layout::Plain);
        Self {
            block_bits,
            inodes: vec![root],
            names: BTreeMap::from([(0, Vec::new())]),
            shared: Vec::new(),
            data: Vec::new(),
            incompat: 4,
            devices: 0,
        }
    }

    /// Adds an inode to a directory.
    pub fn add(&mut self, parent: usize, name: &'static str, inode: Inode) -> usize {
        let number = self.inodes.len();
        if inode.mode & 0o170_000 == 0o040_000 {
            self.names.insert(number, Vec::new());
        }
        self.inodes.push(inode);
        self.link(parent, name, number);
        number
    }

    /// Adds a name of an inode.
    pub fn link(&mut self, parent: usize, name: &'static str, number: usize) {
        self.names.get_mut(&parent).unwrap().push((name, number));
    }

    fn block(&self) -> usize {
        1 << self.block_bits
    }

    /// The image. Directories get their bytes here.
    pub fn build(&self) -> Vec<u8> {
        let block = self.block();
        let mut inodes = self.inodes.clone();
        // Directories know how long they are before they know where inodes are.
        for (directory, names) in &self.names {
            inodes[*directory].bytes = listing(block, *directory, names, &vec![0; inodes.len()]);
            inodes[*directory].size = inodes[*directory].bytes.len() as u64;
        }
        let places = self.places(&inodes);
        let slots: Vec<u64> = places.iter().map(|place| *place as u64 / 32).collect();
        for (directory, names) in &self.names {
            inodes[*directory].bytes = listing(block, *directory, names, &slots);
        }
        let mut image = vec![0; DATA_BLOCK as usize * block];
        let first = image.len() / block;
        image.extend(&self.data);
        for (inode, place) in inodes.iter().zip(&places) {
            image.resize(image.len().next_multiple_of(block), 0);
            self.inode(&mut image, inode, META_BLOCK as usize * block + place, first as u32);
        }
        let mut at = XATTR_BLOCK as usize * block;
        for shared in &self.shared {
            let raw = attribute(shared);
            image[at..at + raw.len()].copy_from_slice(&raw);
            at += raw.len();
        }
        image.resize(image.len().next_multiple_of(block), 0);
        self.superblock(&mut image, slots[0] as u16);
        image
    }

    /// Where inodes lie behind the begin of inodes: what is inline may not cross a block.
    fn places(&self, inodes: &[Inode]) -> Vec<usize> {
        let block = self.block();
        let mut at = 32;
        let place = |inode: &Inode| {
            let fixed = inode.head_bytes() + inode.xattr_body(&self.shared).len();
            let body = match &inode.layout {
                Layout::Inline if inode.size > 0 => (inode.size as usize - 1) % block + 1,
                Layout::Chunks { blocks, .. } => 8 + 8 * blocks.len(),
                _ => 0,
            };
            if at / block != (at + fixed + body - 1) / block {
                at = at.next_multiple_of(block);
            }
            let place = at;
            at = (at + fixed + body).next_multiple_of(32);
            place
        };
        let places = inodes.iter().map(place).collect();
        assert!(at <= META_BLOCKS as usize * block, "too many inodes for this builder");
        places
    }

    fn inode(&self, image: &mut Vec<u8>, inode: &Inode, at: usize, first: u32) {
        let block = self.block();
        let xattrs = inode.xattr_body(&self.shared);
        let body = at + inode.head_bytes() + xattrs.len();
        let end = (image.len() / block) as u32;
        let (layout, location) = match &inode.layout {
            Layout::Plain => {
                image.extend(&inode.bytes);
                (0, if inode.size == 0 { NULL } else { end })
            }
            Layout::Inline => {
                let whole = (inode.bytes.len().max(1) - 1) / block * block;
                image.extend(&inode.bytes[..whole]);
                image[body..body + inode.bytes.len() - whole].copy_from_slice(&inode.bytes[whole..]);
                (2, end)
            }
            Layout::Chunks { bits, indexes, blocks } => {
                let mut table = body.next_multiple_of(if *indexes { 8 } else { 4 });
                for address in blocks {
                    let address = address.map_or(NULL, |block| first + block).to_le_bytes();
                    table += if *indexes { 4 } else { 0 };
                    image[table..table + 4].copy_from_slice(&address);
                    table += 4;
                }
                (4, u32::from(*bits | if *indexes { 0x20 } else { 0 }))
            }
            Layout::Raw { layout, location } => (*layout, *location),
        };
        let count = if xattrs.is_empty() { 0 } else { (xattrs.len() - 12) / 4 + 1 };
        let mut head = Vec::new();
        head.extend((layout << 1 | u16::from(inode.extended)).to_le_bytes());
        head.extend((count as u16).to_le_bytes());
        head.extend(inode.mode.to_le_bytes());
        if inode.extended {
            head.extend([0; 2]);
            head.extend(inode.size.to_le_bytes());
            head.extend(location.to_le_bytes());
            head.extend([0; 4]);
            head.extend(inode.owner.0.to_le_bytes());
            head.extend(inode.owner.1.to_le_bytes());
            head.extend(inode.time.0.to_le_bytes());
            head.extend(inode.time.1.to_le_bytes());
            head.extend([1, 0, 0, 0]);
            head.extend([0; 16]);
        } else {
            head.extend([1, 0]);
            head.extend((inode.size as u32).to_le_bytes());
            head.extend((inode.time.0 as u32).to_le_bytes());
            head.extend(location.to_le_bytes());
            head.extend([0; 4]);
            head.extend((inode.owner.0 as u16).to_le_bytes());
            head.extend((inode.owner.1 as u16).to_le_bytes());
            head.extend([0; 4]);
        }
        image[at..at + head.len()].copy_from_slice(&head);
        image[at + head.len()..body].copy_from_slice(&xattrs);
    }

    fn superblock(&self, image: &mut [u8], root: u16) {
        let blocks = (image.len() >> self.block_bits) as u32;
        let raw = &mut image[1024..1152];
        raw[..4].copy_from_slice(&0xe0f5_e1e2_u32.to_le_bytes());
        raw[12] = self.block_bits as u8;
        raw[14..16].copy_from_slice(&root.to_le_bytes());
        // Compact inodes have times from 1000.000000500 on.
        raw[24..32].copy_from_slice(&1000_u64.to_le_bytes());
        raw[32..36].copy_from_slice(&500_u32.to_le_bytes());
        raw[36..40].copy_from_slice(&blocks.to_le_bytes());
        raw[40..44].copy_from_slice(&(META_BLOCK as u32).to_le_bytes());
        raw[44..48].copy_from_slice(&(XATTR_BLOCK as u32).to_le_bytes());
        raw[80..84].copy_from_slice(&self.incompat.to_le_bytes());
        raw[86..88].copy_from_slice(&self.devices.to_le_bytes());
    }
}

/// A directory's bytes: `.` and `..`, which stand for itself here, and its names in order, in as many blocks as they need.
fn listing(block: usize, own: usize, names: &[(&str, usize)], slots: &[u64]) -> Vec<u8> {
    let mut all: Vec<(&str, usize)> = vec![(".", own), ("..", own)];
    all.extend(names);
    all.sort_unstable();
    let mut bytes = Vec::new();
    let mut rest = &all[..];
    while !rest.is_empty() {
        let mut used = 0;
        let fits = |(name, _): &&(&str, usize)| {
            used += 12 + name.len();
            used <= block
        };
        let (here, later) = rest.split_at(rest.iter().take_while(fits).count());
        rest = later;
        bytes.resize(bytes.len().next_multiple_of(block), 0);
        let mut name_at = here.len() * 12;
        for (name, inode) in here {
            bytes.extend(slots[*inode].to_le_bytes());
            bytes.extend((name_at as u16).to_le_bytes());
            bytes.extend([0, 0]);
            name_at += name.len();
        }
        here.iter().for_each(|(name, _)| bytes.extend(name.bytes()));
    }
    bytes
}
