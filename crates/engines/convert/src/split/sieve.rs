//! Takes files out of a tar as it streams by: each goes into a file of its own, and everything else stays as it is, byte for byte.
//!
//! An entry begins with its first header, those included that only prepare it, and ends with the padding of its contents.
//! Which entry a header prepares is known when that came: so bytes are passed on only as far as the walker has settled them.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use glowplug_base::ByteRange;
use glowplug_registry::BlobFile;
use glowplug_tarwalk::{Entry, Extent, Kind, Limits, TarError, Walker, normalise};
use glowplug_toc::{ChunkTable, Chunker};

use crate::spool::{Spool, SpoolPath};

/// Bytes of a block of a tar.
const BLOCK_BYTES: u64 = 512;

/// A file that was taken out of a layer.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Its entry.
    pub(crate) entry: Entry,
    /// Its contents, in a file that lasts as long as this.
    pub(crate) blob: BlobFile,
    /// Digests of its chunks.
    pub(crate) table: ChunkTable,
    _path: SpoolPath,
}

/// Why sieving stopped.
#[derive(Debug)]
pub(super) enum Halt {
    /// It is no tar.
    Tar(TarError),
    /// An entry cannot be taken out.
    Entry {
        /// Its path.
        path: Vec<u8>,
        /// What it is.
        what: &'static str,
    },
    /// A file cannot be written.
    Spool(PathBuf, std::io::Error),
}

/// What is left out of the tar.
struct Region {
    /// All of it.
    all: ByteRange,
    /// The contents to keep elsewhere, and their entry.
    contents: Option<(ByteRange, Entry)>,
}

/// Contents on their way.
struct Open {
    entry: Entry,
    spool: Spool,
    chunker: Chunker,
}

/// Takes files out.
pub(super) struct Sieve {
    /// Normalised paths of the files to take, and how often each was met.
    wanted: HashMap<Vec<u8>, usize>,
    /// Normalised paths of files that go for good: what eStargz put in would, without its table, be files like others.
    dropped: &'static [&'static str],
    /// Where the files are made that are taken out.
    dir: Option<PathBuf>,
    walker: Walker,
    /// What is not settled yet, and its offset in the tar.
    held: Vec<u8>,
    at: u64,
    regions: VecDeque<Region>,
    open: Option<Open>,
    taken: Vec<Taken>,
}

impl Sieve {
    /// Takes the files of the normalised paths `wanted`, and drops those of `dropped`.
    pub(super) fn new(wanted: &[Vec<u8>], dropped: &'static [&'static str], dir: Option<&Path>) -> Self {
        Self {
            wanted: wanted.iter().map(|path| (path.clone(), 0)).collect(),
            dropped,
            dir: dir.map(Path::to_owned),
            walker: Walker::new(Limits::default()),
            held: Vec::new(),
            at: 0,
            regions: VecDeque::new(),
            open: None,
            taken: Vec::new(),
        }
    }

    /// Takes the next bytes, and gives to `keep` what stays. Blocks.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        keep: &mut impl FnMut(&[u8]) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut found = Vec::new();
        self.walker.push(bytes, &mut |entry| found.push(entry)).map_err(Halt::Tar)?;
        for entry in found {
            self.meet(entry)?;
        }
        self.held.extend_from_slice(bytes);
        // Behind the end marker there are no entries, and anything else of any length.
        let settled = if self.walker.is_over() { self.walker.offset() } else { self.walker.settled() };
        self.pass(settled, keep)
    }

    /// Passes on what is left, and gives the files that were taken. Blocks.
    pub(super) fn finish(
        mut self,
        keep: &mut impl FnMut(&[u8]) -> Result<(), Halt>,
    ) -> Result<Vec<Taken>, Halt> {
        let walker = std::mem::replace(&mut self.walker, Walker::new(Limits::default()));
        let end = walker.finish().map_err(Halt::Tar)?;
        self.pass(end, keep)?;
        self.close()?;
        match self.wanted.iter().find(|(_, met)| **met != 1) {
            None => Ok(self.taken),
            Some((path, 0)) => Err(refused(path, "a file that the layer does not have")),
            Some((path, _)) => Err(refused(path, "a file that the layer has several times")),
        }
    }

    fn meet(&mut self, entry: Entry) -> Result<(), Halt> {
        let Ok(path) = normalise(&entry.path) else { return Ok(()) };
        let all = |size: u64| {
            let end = entry.payload_offset.saturating_add(size.next_multiple_of(BLOCK_BYTES));
            ByteRange::new(entry.header_offset, end)
        };
        if let Some(met) = self.wanted.get_mut(&path) {
            *met += 1;
            let Some(Extent { stream_offset, len, .. }) = in_one_piece(&entry) else {
                return Err(refused(&path, "what is no plain file"));
            };
            let contents = ByteRange::at(stream_offset, len);
            self.regions.push_back(Region { all: all(len), contents: Some((contents, entry)) });
        } else if self.dropped.iter().any(|name| name.as_bytes() == path) {
            self.regions.push_back(Region { all: all(entry.size), contents: None });
        }
        Ok(())
    }

    /// Passes on, or takes, what stands before `settled`.
    fn pass(&mut self, settled: u64, keep: &mut impl FnMut(&[u8]) -> Result<(), Halt>) -> Result<(), Halt> {
        let held = std::mem::take(&mut self.held);
        let begin = self.at;
        let piece = |range: ByteRange| &held[(range.start - begin) as usize..(range.end - begin) as usize];
        while self.at < settled {
            let Some(region) = self.regions.front_mut() else {
                keep(piece(ByteRange::new(self.at, settled)))?;
                self.at = settled;
                break;
            };
            if self.at < region.all.start {
                let before = ByteRange::new(self.at, settled.min(region.all.start));
                keep(piece(before))?;
                self.at = before.end;
                continue;
            }
            let here = ByteRange::new(self.at, settled.min(region.all.end));
            if let Some((contents, entry)) = &region.contents {
                let part = contents.intersect(&here);
                if !part.is_empty() {
                    let open = match &mut self.open {
                        Some(open) => open,
                        None => {
                            let spool = Spool::create(self.dir.as_deref())
                                .map_err(|(path, error)| Halt::Spool(path, error))?;
                            let chunker = Chunker::new(contents.len());
                            self.open.insert(Open { entry: entry.clone(), spool, chunker })
                        }
                    };
                    open.chunker.push(piece(part));
                    let failed = open.spool.append(piece(part));
                    failed.map_err(|error| Halt::Spool(open.spool.path().to_owned(), error))?;
                }
            }
            self.at = here.end;
            if here.end == region.all.end {
                self.regions.pop_front();
                self.close()?;
            }
        }
        self.held = held[(self.at - begin) as usize..].to_vec();
        Ok(())
    }

    /// Ends the file at hand, if there is one.
    fn close(&mut self) -> Result<(), Halt> {
        let Some(Open { entry, spool, chunker }) = self.open.take() else { return Ok(()) };
        let Some(table) = chunker.finish() else {
            return Err(refused(&entry.path, "a file that is longer than a chunk table can tell"));
        };
        let (blob, path) = spool.finish();
        self.taken.push(Taken { entry, blob, table, _path: path });
        Ok(())
    }
}

fn refused(path: &[u8], what: &'static str) -> Halt {
    Halt::Entry { path: path.to_vec(), what }
}

/// Where the contents of a file stand whose entry says nothing that an annotation could not say as well.
fn in_one_piece(entry: &Entry) -> Option<Extent> {
    let [only] = entry.extents[..] else { return None };
    let whole = only.file_offset == 0 && only.len == entry.size;
    let small = u32::try_from(entry.uid).is_ok() && u32::try_from(entry.gid).is_ok();
    (entry.kind == Kind::File && whole && small && entry.xattrs.is_empty()).then_some(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar of two entries that stay and two that go, with a name that needs a header of its own.
    fn tar(with: bool) -> Vec<u8> {
        let long = "m/".to_owned() + &"n".repeat(150);
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(7);
            builder.append_data(&mut header, name, bytes).unwrap();
        };
        add("a", &[1; 700]);
        if with {
            add(&long, &[2; 1000]);
        }
        add("b", &[3; 512]);
        if with {
            add("c", &[4; 1024]);
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn what_stays_is_the_tar_without_what_goes_however_it_comes() {
        let (whole, slim) = (tar(true), tar(false));
        let wanted = [b"c".to_vec(), ("m/".to_owned() + &"n".repeat(150)).into_bytes()];
        for piece in [1, 511, 512, 1000, whole.len()] {
            let dir = tempfile::tempdir().unwrap();
            let mut sieve = Sieve::new(&wanted, &[], Some(dir.path()));
            let mut kept = Vec::new();
            let mut keep = |bytes: &[u8]| {
                kept.extend_from_slice(bytes);
                Ok(())
            };
            for bytes in whole.chunks(piece) {
                sieve.push(bytes, &mut keep).unwrap();
            }
            let taken = sieve.finish(&mut keep).unwrap();
            assert!(kept == slim, "pieces of {piece}");
            let contents = taken.iter().map(|taken| std::fs::read(&taken.blob.path).unwrap());
            assert!(contents.eq([vec![2; 1000], vec![4; 1024]]));
            assert_eq!(taken[1].entry.mtime_s, 7);
            drop(taken);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files go with what they are for");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told() {
        let mut sieve = Sieve::new(&[b"d".to_vec()], &[], None);
        let mut keep = |_: &[u8]| Ok(());
        sieve.push(&tar(true), &mut keep).unwrap();
        let Err(Halt::Entry { path, .. }) = sieve.finish(&mut keep) else { panic!("found") };
        assert_eq!(path, b"d");
    }
}
