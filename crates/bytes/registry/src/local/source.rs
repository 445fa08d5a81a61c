//! A piece of a file as a source of ranges.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::ByteRange;
use glowplug_source::{ByteStream, Kind, RangeSource, SourceError};
use glowplug_timeline::Cause;

/// What is read at once, in bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// Bytes `offset..offset + size` of a file, which is opened when it is first read.
#[derive(Debug, Clone)]
pub(crate) struct FileSource {
    name: String,
    path: PathBuf,
    file: Arc<OnceLock<File>>,
    offset: u64,
    size: u64,
}

impl FileSource {
    pub(crate) fn new(name: String, path: PathBuf, offset: u64, size: u64) -> Self {
        Self { name, path, file: Arc::default(), offset, size }
    }

    /// The same piece of an open file.
    pub(crate) fn of_open(
        name: String,
        path: PathBuf,
        file: Arc<OnceLock<File>>,
        offset: u64,
        size: u64,
    ) -> Self {
        Self { name, path, file, offset, size }
    }

    fn open_file(&self) -> Result<&File, SourceError> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = File::open(&self.path).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Io(format!("{}: {error}", self.path.display())),
            };
            SourceError::new(&self.name, kind).caused_by(error)
        })?;
        Ok(self.file.get_or_init(|| file))
    }

    /// The next piece of `range`. Blocks.
    fn read(&self, range: ByteRange) -> Result<Bytes, SourceError> {
        let file = self.open_file()?;
        let length = range.len().min(PIECE_BYTES) as usize;
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, self.offset.saturating_add(range.start)).map_err(|error| {
            SourceError::new(&self.name, Kind::Io(format!("{}: {error}", self.path.display())))
                .caused_by(error)
        })?;
        Ok(piece.into())
    }
}

impl RangeSource for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self, range: ByteRange, _cause: Cause) -> BoxFuture<'_, Result<ByteStream, SourceError>> {
        let (source, name) = (self.clone(), self.name.clone());
        let inside = range.end <= self.size;
        Box::pin(async move {
            if !inside {
                return Err(SourceError::new(
                    name,
                    Kind::Protocol(format!("{} is behind the end", range.end)),
                ));
            }
            Ok(Box::pin(futures::stream::try_unfold((source, range), |(source, left)| async move {
                if left.is_empty() {
                    return Ok(None);
                }
                let name = source.name.clone();
                let read = tokio::task::spawn_blocking(move || (source.read(left), source)).await;
                let (piece, source) = read.map_err(|error| {
                    SourceError::new(name, Kind::Io("reading was cancelled".into())).caused_by(error)
                })?;
                let piece = piece?;
                let left = ByteRange::new(left.start + piece.len() as u64, left.end);
                Ok(Some((piece, (source, left))))
            })) as ByteStream)
        })
    }
}
