//! Weights beside an image: files that were taken out of it into a model artifact, shown at their old places.
//!
//! ```text
//! Models      annotation of the image's manifest -> which files, and which blobs hold them
//! ModelFile   one of them: its blob is the file itself, read by ranges; its chunk table says how to check each piece
//! open_with   a layer for each, above the image's own: in the store by the digest of the chunk table, at the file's path here
//! ```
//!
//! The chain of trust is: the image's manifest names the digest of each chunk table, the table those of the chunks, and no
//! chunk is readable before it matched. Since a layer of the store goes by the digest of the table, nobody can put other
//! bytes there: what one image brought another that has the same weights may use, wherever they lie there.
//!
//! Not done here: finding the repository, which is whoever opens the image's part; artifacts of others, that have no chunk
//! tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use glowplug_base::{ByteRange, Digest};
use glowplug_layer::{
    BLOCK_BYTES, Check, Chunk, Entry, Extent, Kind, LayerIndex, Limits, Origin, Recipe, Span,
};
use glowplug_source::{Kind as Trouble, RangeSource, SourceError, read_all};
use glowplug_store::{Layer, Store};
use glowplug_tarwalk::{Whiteout, normalise, whiteout};
use glowplug_timeline::Cause;
use glowplug_toc::ChunkTable;
use glowplug_toc::chunks::MAX_TABLE_BYTES;
use serde::{Deserialize, Serialize};

use crate::ImageError;
use crate::error::chain;

/// Annotation of an image's manifest: the [`Models`] that belong to it, as JSON.
pub const MODELS_ANNOTATION: &str = "io.glowplug.models";
/// The most files that are believed to lie beside an image: each is a layer to open.
const MAX_FILES: usize = 4096;
/// The path in the index that the store keeps: every image has its own.
const NAME_IN_STORE: &[u8] = b"model";

/// What was taken out of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Models {
    /// Digest of the model artifact's manifest.
    pub artifact: Digest,
    /// The repository that the artifact was published in, as `REGISTRY/NAME`. The image's own is asked first; where that is
    /// another one, because the image went elsewhere or was copied, this one is next. Nothing for a layout directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The files, by path.
    pub files: Vec<ModelFile>,
}

/// A file that was taken out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFile {
    /// Its place in the image, with a leading slash.
    pub path: String,
    /// The blob that is the file.
    pub digest: Digest,
    /// Length of the file in bytes.
    pub size: u64,
    /// The blob with the file's chunk table.
    pub chunks: Digest,
    /// Length of that in bytes.
    pub chunks_size: u64,
    /// Low 12 bits of `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since the Unix epoch.
    pub mtime: i64,
    /// Modification time, nanoseconds of the second.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mtime_nanoseconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Models {
    /// What the annotations of an image's manifest say was taken out of it; nothing where they say nothing.
    ///
    /// # Errors
    /// What in the annotation makes no sense, in words.
    pub fn of(annotations: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        let Some(text) = annotations.get(MODELS_ANNOTATION) else { return Ok(None) };
        let models: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if models.files.len() > MAX_FILES {
            return Err(format!("{} files, more than {MAX_FILES}", models.files.len()));
        }
        for file in &models.files {
            file.check().map_err(|reason| format!("{:?}: {reason}", file.path))?;
        }
        Ok(Some(models))
    }

    /// As the annotation has it.
    ///
    /// # Errors
    /// None in practice: there is nothing in it that JSON cannot say.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl ModelFile {
    fn check(&self) -> Result<(), String> {
        let path = normalise(self.path.as_bytes()).map_err(|error| error.to_string())?;
        if path.is_empty() || whiteout(&path) != Whiteout::None {
            return Err("no path of a file".to_owned());
        }
        if self.size == 0 || self.size > Limits::default().data_bytes {
            return Err(format!("a file of {} bytes", self.size));
        }
        if self.chunks_size > MAX_TABLE_BYTES {
            return Err(format!("a chunk table of {} bytes, more than {MAX_TABLE_BYTES}", self.chunks_size));
        }
        Ok(())
    }

    /// The file as an entry of a layer that it is all of.
    fn entry(&self, path: Vec<u8>) -> Entry {
        Entry {
            path,
            kind: Kind::File,
            link: Vec::new(),
            mode: self.mode & 0o7777,
            uid: self.uid,
            gid: self.gid,
            mtime_s: self.mtime,
            mtime_ns: self.mtime_nanoseconds.min(999_999_999),
            device: (0, 0),
            size: self.size,
            xattrs: Vec::new(),
            extents: vec![Extent { file: 0, stream: 0, data: 0, len: self.size }],
        }
    }

    /// The file where this image has it.
    pub(crate) fn placed(&self) -> Entry {
        self.entry(normalise(self.path.as_bytes()).unwrap_or_default())
    }

    /// The file as the store keeps it: without what images may differ in.
    fn plain(&self) -> Entry {
        let name = NAME_IN_STORE.to_vec();
        Entry { mode: 0o644, uid: 0, gid: 0, mtime_s: 0, mtime_ns: 0, ..self.entry(name) }
    }

    /// The index of the layer that is this file, made of its chunk table.
    fn index(&self, table: &ChunkTable) -> LayerIndex {
        let data_size = self.size.next_multiple_of(BLOCK_BYTES);
        let span = |range: ByteRange| Span {
            stream: range,
            blob: range,
            data: ByteRange::new(range.start, if range.end == self.size { data_size } else { range.end }),
            recipe: Recipe::Stored,
            check: Check::Chunks,
        };
        LayerIndex {
            blob: self.chunks,
            blob_size: self.size,
            stream_size: self.size,
            data_size,
            origin: Origin::Chunks,
            entries: vec![self.plain()],
            spans: table.chunks().map(|(range, _)| span(range)).collect(),
            chunks: table.chunks().map(|(stream, digest)| Chunk { stream, digest }).collect(),
            prefetch: Vec::new(),
        }
    }
}

/// A file to show in an image, and where its bytes come from.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The file.
    pub file: ModelFile,
    /// The blob that is the file.
    pub source: Arc<dyn RangeSource>,
    /// The blob with its chunk table.
    pub table: Arc<dyn RangeSource>,
}

/// The layer of a file that lies beside an image: the one in the store, or a new one that has no bytes yet.
pub(crate) async fn layer(store: &Arc<Store>, spec: &ModelSpec) -> Result<Arc<Layer>, ImageError> {
    let (name, size) = (spec.file.chunks, spec.file.size);
    let wrong = |reason: String| ImageError::layer(name, reason);
    if let Some(known) = store.layer(&name) {
        let index = known.index();
        // A layer's blob goes by whatever digest its image claims until its bytes show that it does not.
        let fits = index.origin == Origin::Chunks && index.stream_size == size;
        return if fits {
            Ok(known)
        } else {
            Err(wrong("the store has something else by this name".to_owned()))
        };
    }
    let whole = ByteRange::new(0, spec.table.size());
    let bytes = read_all(&*spec.table, whole, Cause::Metadata).await;
    let bytes = bytes.map_err(|source| ImageError::Source { layer: name, source })?;
    if Digest::of(&bytes) != name {
        let source = SourceError::new(spec.table.name(), Trouble::Corrupt);
        return Err(ImageError::Source { layer: name, source });
    }
    let table = ChunkTable::parse(&bytes).map_err(|error| wrong(chain(&error)))?;
    if table.size != size {
        return Err(wrong(format!("the chunk table is of a file of {} bytes, not of {size}", table.size)));
    }
    let (store, file) = (store.clone(), spec.file.clone());
    let adopting = tokio::task::spawn_blocking(move || {
        let builder = store.build(name)?;
        store.adopt(builder, &file.index(&table))
    });
    Ok(adopting.await.map_err(|panic| wrong(panic.to_string()))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ModelFile {
        ModelFile {
            path: path.to_owned(),
            digest: Digest::of(b"file"),
            size: 5000,
            chunks: Digest::of(b"table"),
            chunks_size: 56,
            mode: 0o640,
            uid: 1,
            gid: 2,
            mtime: 3,
            mtime_nanoseconds: 0,
        }
    }

    fn models(files: Vec<ModelFile>) -> BTreeMap<String, String> {
        let models = Models { artifact: Digest::of(b"artifact"), repository: None, files };
        BTreeMap::from([(MODELS_ANNOTATION.to_owned(), models.encode().unwrap())])
    }

    #[test]
    fn an_annotation_is_read_as_it_was_written() {
        let read = Models::of(&models(vec![file("/srv/a"), file("/srv/b")])).unwrap().unwrap();
        assert_eq!(read.files, [file("/srv/a"), file("/srv/b")]);
        assert_eq!(read.files[0].placed().path, b"srv/a");
        assert_eq!(Models::of(&BTreeMap::new()), Ok(None));
    }

    #[test]
    fn what_no_file_can_be_is_refused() {
        let empty = ModelFile { size: 0, ..file("/a") };
        let long = ModelFile { size: u64::MAX, ..file("/a") };
        let table = ModelFile { chunks_size: u64::MAX, ..file("/a") };
        for wrong in [empty, long, table, file("/"), file("/a/../../b"), file("/srv/.wh.a"), file("/a\0b")] {
            Models::of(&models(vec![wrong])).unwrap_err();
        }
        let nonsense = BTreeMap::from([(MODELS_ANNOTATION.to_owned(), "[]".to_owned())]);
        Models::of(&nonsense).unwrap_err();
    }
}
