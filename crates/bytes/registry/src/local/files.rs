//! Named files in a directory or in a tar that is left as it is: its entries are found once and read in place.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tar::EntryType;

use super::source::FileSource;
use crate::Error;

/// Entries of an archive that are looked at.
const MAX_ENTRIES: usize = 100_000;
/// Links that are followed from one name.
const MAX_LINKS: usize = 8;

/// Named files.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    /// Only archives have it.
    archive: Option<Archive>,
}

#[derive(Debug)]
struct Archive {
    file: Arc<OnceLock<File>>,
    entries: HashMap<String, Entry>,
}

#[derive(Debug)]
enum Entry {
    Data { offset: u64, size: u64 },
    Link(String),
}

impl Files {
    pub(crate) fn directory(path: PathBuf) -> Self {
        Self { path, archive: None }
    }

    /// Looks through a tar. Only headers are read.
    pub(crate) fn archive(path: PathBuf) -> Result<Self, Error> {
        let io = |source| Error::File { path: path.clone(), source };
        let file = File::open(&path).map_err(io)?;
        let mut magic = [0; 4];
        let read = std::os::unix::fs::FileExt::read_at(&file, &mut magic, 0).map_err(io)?;
        if read >= 2 && (magic[..2] == [0x1f, 0x8b] || magic == [0x28, 0xb5, 0x2f, 0xfd]) {
            let what = "the archive is compressed; decompress it first, so that it can be read in place";
            return Err(Error::Local { path, what: what.to_owned() });
        }
        let size = file.metadata().map_err(io)?.len();
        let entries = index(&path, &file, size)?;
        let archive = Archive { file: Arc::new(OnceLock::from(file)), entries };
        Ok(Self { path, archive: Some(archive) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn local_error(&self, what: impl Into<String>) -> Error {
        Error::Local { path: self.path.clone(), what: what.into() }
    }

    /// Where to write; archives are read only.
    pub(crate) fn writable(&self) -> Result<&Path, Error> {
        match self.archive {
            None => Ok(&self.path),
            Some(_) => Err(Error::ReadOnly(self.path.display().to_string())),
        }
    }

    /// The file `name`, whose size is `size` where that is known from elsewhere.
    pub(crate) fn source(&self, name: &str, label: String, size: u64) -> FileSource {
        match &self.archive {
            None => FileSource::new(label, self.path.join(name), 0, size),
            Some(archive) => match archive.find(name) {
                Some((offset, found)) if found >= size => {
                    FileSource::of_open(label, self.path.clone(), archive.file.clone(), offset, size)
                }
                // Reading it gives the error, as for a directory.
                _ => FileSource::new(label, self.path.join(name), 0, size),
            },
        }
    }

    /// The size of the file `name`.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>, Error> {
        match &self.archive {
            Some(archive) => Ok(archive.find(name).map(|(_, size)| size)),
            None => match std::fs::metadata(self.path.join(name)) {
                Ok(metadata) => Ok(Some(metadata.len())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(Error::File { path: self.path.join(name), source }),
            },
        }
    }

    /// A reader of the file `name`, if there is one. Blocks.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Box<dyn std::io::Read>>, Error> {
        let io = |path: PathBuf| |source| Error::File { path, source };
        let Some(size) = self.size(name)? else { return Ok(None) };
        match &self.archive {
            None => {
                let path = self.path.join(name);
                let file = File::open(&path).map_err(io(path))?;
                Ok(Some(Box::new(file.take(size))))
            }
            Some(archive) => {
                let Some((offset, size)) = archive.find(name) else { return Ok(None) };
                let mut file = File::open(&self.path).map_err(io(self.path.clone()))?;
                std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset))
                    .map_err(io(self.path.clone()))?;
                Ok(Some(Box::new(file.take(size))))
            }
        }
    }

    /// A small file, if there is one. Blocks.
    pub(crate) fn small(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
        let label = || format!("{}/{name}", self.path.display());
        match self.size(name)? {
            Some(size) if size > limit as u64 => {
                return Err(Error::TooBig { name: label(), limit: limit as u64 });
            }
            _ => {}
        }
        let Some(reader) = self.open(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let failed = |source| Error::File { path: self.path.join(name), source };
        reader.take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }
}

impl Archive {
    /// Offset and size of a file's data.
    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        for _ in 0..MAX_LINKS {
            match self.entries.get(name)? {
                Entry::Data { offset, size } => return Some((*offset, *size)),
                Entry::Link(target) => name = target,
            }
        }
        None
    }
}

/// Names of a tar's files and where their data is. Later entries replace earlier ones.
fn index(path: &Path, file: &File, size: u64) -> Result<HashMap<String, Entry>, Error> {
    let local = |what: String| Error::Local { path: path.to_owned(), what };
    let malformed = |error: std::io::Error| local(format!("not a tar archive: {error}"));
    let mut archive = tar::Archive::new(BufReader::new(file));
    let mut found = HashMap::new();
    for (count, entry) in archive.entries_with_seek().map_err(malformed)?.enumerate() {
        let entry = entry.map_err(malformed)?;
        if count >= MAX_ENTRIES {
            return Err(local(format!("more than {MAX_ENTRIES} entries")));
        }
        let Some(name) = normal(Path::new(""), &entry.path().map_err(malformed)?) else { continue };
        let kind = entry.header().entry_type();
        let target = match kind {
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(malformed)?.unwrap_or_default();
                // A symbolic link begins where it lies, a hard link at the root.
                let from = if kind == EntryType::Symlink { Path::new(&name).parent() } else { None };
                let Some(target) = normal(from.unwrap_or(Path::new("")), &target) else { continue };
                Entry::Link(target)
            }
            EntryType::Regular | EntryType::Continuous => {
                let (offset, length) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(length).is_none_or(|end| end > size) {
                    return Err(local(format!("the archive ends inside {name:?}")));
                }
                Entry::Data { offset, size: length }
            }
            _ => continue,
        };
        found.insert(name, target);
    }
    Ok(found)
}

/// `path`, seen from `from`, as a plain relative path; nothing if it leads out.
fn normal(from: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in from.components().chain(path.components()) {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => _ = parts.pop()?,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Runs `work` on files where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let failed = |error| Error::File { path, source: std::io::Error::other(error) };
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}
