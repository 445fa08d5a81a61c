//! An OCI image layout (OCI image specification, `image-layout.md`): `index.json` and blobs by digest.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Index, Limits, media, referrers_tag};
use glowplug_source::{Kind, RangeSource, SourceError};

use super::files::{Files, blocking};
use crate::repository::verify;
use crate::{BlobFile, Error, Fetched, Repository, Target};

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";
/// The file of that name in a layout that is made here.
const NEW_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Docker and containerd write the full name here.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An OCI layout, in a directory or a tar file.
#[derive(Debug)]
pub(crate) struct Layout {
    name: String,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    limits: Limits,
}

impl Layout {
    /// Blocks.
    pub(crate) fn open(files: Files) -> Result<Self, Error> {
        let limits = Limits::default();
        match files.small(LAYOUT, limits.document_bytes)? {
            Some(layout) => check_version(&files, &layout)?,
            None if files.size("manifest.json")?.is_some() => {
                return Err(files.local_error("this is a Docker archive; name it docker-archive:FILE"));
            }
            None => return Err(files.local_error("no OCI image layout: the file oci-layout is missing")),
        }
        Ok(Self { name: files.path().display().to_string(), inner: Arc::new(Inner { files, limits }) })
    }

    /// Makes an empty layout of `dir`, unless there is one. Blocks.
    pub(crate) fn create(dir: &Path) -> Result<(), Error> {
        let index = Index::new(Vec::new());
        let index = serde_json::to_vec(&index).map_err(std::io::Error::other);
        // The file that makes a directory a layout comes last.
        for (name, bytes) in [(INDEX, index), (LAYOUT, Ok(NEW_LAYOUT.to_vec()))] {
            let path = dir.join(name);
            if !path.exists() {
                bytes
                    .and_then(|bytes| write_atomically(&path, &bytes))
                    .map_err(|source| Error::File { path, source })?;
            }
        }
        Ok(())
    }
}

fn check_version(files: &Files, layout: &[u8]) -> Result<(), Error> {
    let version: Option<serde_json::Value> = serde_json::from_slice(layout).ok();
    let version = version.as_ref().and_then(|layout| layout["imageLayoutVersion"].as_str());
    match version {
        Some(version) if version.starts_with("1.") => Ok(()),
        Some(version) => Err(files.local_error(format!("unsupported image layout version {version:?}"))),
        None => Err(files.local_error("malformed oci-layout file")),
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Whether an entry of `index.json` goes by `tag`.
fn has_tag(entry: &Descriptor, tag: &str) -> bool {
    let name = entry.annotations.get(media::REF_NAME).map(String::as_str);
    let full = entry.annotations.get(IMAGE_NAME).map(String::as_str);
    // Some tools put the full name where the tag belongs.
    [name, full].into_iter().flatten().any(|name| {
        name == tag || name.rsplit_once(':').is_some_and(|(_, last)| last == tag && !last.contains('/'))
    })
}

impl Inner {
    fn index(&self) -> Result<(Bytes, Index), Error> {
        let bytes = self.files.small(INDEX, self.limits.document_bytes)?;
        let bytes = bytes.ok_or_else(|| self.files.local_error("the file index.json is missing"))?;
        let name = format!("{}/{INDEX}", self.files.path().display());
        match Document::parse(&bytes, Some(media::OCI_INDEX), &self.limits) {
            Ok(Document::Index(index)) => Ok((bytes.into(), index)),
            Ok(Document::Manifest(_)) => Err(self.files.local_error("index.json is no index")),
            Err(source) => Err(Error::Document { name, source }),
        }
    }

    fn document(&self, target: &Target) -> Result<Fetched, Error> {
        let (bytes, index) = self.index()?;
        let entry = match target {
            Target::Digest(digest) => {
                let known = index.manifests.iter().find(|entry| entry.digest == *digest);
                (*digest, known.map(|entry| entry.media_type.clone()))
            }
            Target::Tag(tag) => match index.manifests.iter().find(|entry| has_tag(entry, tag)) {
                Some(entry) => (entry.digest, Some(entry.media_type.clone())),
                None => return Err(SourceError::new(self.label(target), Kind::NotFound).into()),
            },
            Target::Only => match images(&index).as_slice() {
                [] => return Err(self.files.local_error("the layout holds no image")),
                [only] => (only.digest, Some(only.media_type.clone())),
                // One image for several platforms, spread out.
                several
                    if several
                        .iter()
                        .all(|e| e.platform.is_some() && !e.annotations.contains_key(media::REF_NAME)) =>
                {
                    let media_type = Some(media::OCI_INDEX.to_owned());
                    return Ok(Fetched { digest: Digest::of(&bytes), bytes, media_type });
                }
                several => return Err(self.several(several)),
            },
        };
        let (digest, media_type) = entry;
        let bytes = self.files.small(&blob_path(&digest), self.limits.document_bytes)?;
        let bytes = bytes.ok_or_else(|| SourceError::new(self.label(target), Kind::NotFound))?;
        verify(&self.label(target), &bytes, digest)?;
        Ok(Fetched { bytes: bytes.into(), digest, media_type })
    }

    fn label(&self, target: &Target) -> String {
        format!("{}:{target}", self.files.path().display())
    }

    fn several(&self, entries: &[&Descriptor]) -> Error {
        let name = |entry: &&Descriptor| match entry.annotations.get(media::REF_NAME) {
            Some(name) => name.chars().take(100).collect(),
            None => entry.digest.to_string(),
        };
        let names: Vec<String> = entries.iter().take(32).map(name).collect();
        Error::Several { path: self.files.path().to_owned(), names: names.join(", ") }
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        let (_, index) = self.index()?;
        let tag = referrers_tag(subject);
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in index.manifests {
            let small = entry.size <= self.limits.document_bytes as u64;
            let Some(bytes) =
                small.then(|| self.files.small(&blob_path(&entry.digest), self.limits.document_bytes))
            else {
                continue;
            };
            let Some(document) =
                bytes?.and_then(|bytes| Document::parse(&bytes, Some(&entry.media_type), &self.limits).ok())
            else {
                continue;
            };
            match document {
                Document::Index(listed) if has_tag(&entry, &tag) => found.extend(listed.manifests),
                document if document.subject() == Some(*subject) => found.push(referrer(entry, document)),
                _ => {}
            }
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|entry| seen.insert(entry.digest));
        Ok(found)
    }

    /// Whether a file can be made here.
    fn check_push(&self) -> Result<(), Error> {
        let path = self.files.writable()?.join("push");
        let made = beside(&path).and_then(|path| {
            std::fs::write(&path, [])?;
            std::fs::remove_file(&path)
        });
        made.map_err(|source| Error::File { path, source })
    }

    fn push_blob(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let path = self.files.writable()?.join(blob_path(&digest));
        if !path.exists() {
            write_atomically(&path, bytes).map_err(|source| Error::File { path, source })?;
        }
        Ok(digest)
    }

    fn push_file(&self, blob: &BlobFile) -> Result<(), Error> {
        let path = self.files.writable()?.join(blob_path(&blob.digest));
        if path.exists() {
            return Ok(());
        }
        move_to(&blob.path, &path).map_err(|source| Error::File { path, source })
    }

    fn push_manifest(&self, target: &Target, bytes: &[u8], media_type: &str) -> Result<Digest, Error> {
        let document = Document::parse(bytes, Some(media_type), &self.limits)
            .map_err(|source| Error::Document { name: self.label(target), source })?;
        let path = self.files.writable()?.join(INDEX);
        let digest = self.push_blob(bytes)?;
        if matches!(target, Target::Digest(_)) && document.subject().is_none() {
            // It is found by its digest, through the index that lists it; listed here it would be an image of its own.
            return Ok(digest);
        }
        let (_, mut index) = self.index()?;
        let mut entry = referrer(Descriptor::of(media_type, bytes), document);
        index.manifests.retain(|old| match target {
            Target::Tag(tag) => !has_tag(old, tag),
            _ => old.digest != digest,
        });
        if let Target::Tag(tag) = target {
            entry.annotations.insert(media::REF_NAME.to_owned(), tag.clone());
        }
        index.manifests.push(entry);
        let json = serde_json::to_vec(&index).map_err(std::io::Error::other);
        json.and_then(|json| write_atomically(&path, &json))
            .map_err(|source| Error::File { path, source })?;
        Ok(digest)
    }
}

/// What is listed, but for artifacts about something else.
fn images(index: &Index) -> Vec<&Descriptor> {
    index.manifests.iter().filter(|entry| entry.artifact_type.is_none()).collect()
}

/// `entry` with what its document says about itself, as the referrers API lists it.
fn referrer(mut entry: Descriptor, document: Document) -> Descriptor {
    if document.subject().is_some() {
        (entry.artifact_type, entry.annotations) = match document {
            Document::Manifest(m) => (m.artifact_type.or(Some(m.config.media_type)), m.annotations),
            Document::Index(index) => (index.artifact_type, index.annotations),
        };
    }
    entry
}

/// Readers see the old file or the new one, whole.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = beside(path)?;
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, path)
}

/// Makes the file `from` the file `to`, which readers see whole or not at all.
fn move_to(from: &Path, to: &Path) -> std::io::Result<()> {
    let temporary = beside(to)?;
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            let copied = std::fs::copy(from, &temporary).and_then(|_| std::fs::rename(&temporary, to));
            if copied.is_err() {
                let _ = std::fs::remove_file(&temporary);
            }
            copied
        }
        renamed => renamed,
    }
}

/// A name for what will be `path`, in its directory, which is made.
fn beside(path: &Path) -> std::io::Result<std::path::PathBuf> {
    let parent = path.parent().ok_or(std::io::ErrorKind::InvalidInput)?;
    std::fs::create_dir_all(parent)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(parent.join(format!(".{name}.{}", std::process::id())))
}

impl Repository for Layout {
    fn name(&self) -> &str {
        &self.name
    }

    fn document<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Fetched, Error>> {
        let (inner, target) = (self.inner.clone(), target.clone());
        Box::pin(blocking(self.name.clone().into(), move || inner.document(&target)))
    }

    fn blob(&self, descriptor: &Descriptor) -> Arc<dyn RangeSource> {
        let label = descriptor.digest.to_string();
        Arc::new(self.inner.files.source(&blob_path(&descriptor.digest), label, descriptor.size))
    }

    fn referrers<'a>(
        &'a self,
        subject: &'a Digest,
        artifact_type: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Descriptor>, Error>> {
        let (inner, subject) = (self.inner.clone(), *subject);
        Box::pin(async move {
            let mut found = blocking(self.name.clone().into(), move || inner.referrers(&subject)).await?;
            found.retain(|entry| artifact_type.is_none() || entry.artifact_type.as_deref() == artifact_type);
            Ok(found)
        })
    }

    fn check_push(&self) -> BoxFuture<'_, Result<(), Error>> {
        let inner = self.inner.clone();
        Box::pin(blocking(self.name.clone().into(), move || inner.check_push()))
    }

    fn push_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        let inner = self.inner.clone();
        Box::pin(blocking(self.name.clone().into(), move || inner.push_blob(&bytes)))
    }

    fn push_file<'a>(&'a self, blob: &'a BlobFile) -> BoxFuture<'a, Result<(), Error>> {
        let (inner, blob) = (self.inner.clone(), blob.clone());
        Box::pin(blocking(self.name.clone().into(), move || inner.push_file(&blob)))
    }

    /// The layout itself, if it is a directory.
    fn spool_dir(&self) -> Option<&Path> {
        self.inner.files.writable().ok()
    }

    fn push_manifest<'a>(
        &'a self,
        target: &'a Target,
        bytes: Bytes,
        media_type: &'a str,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        let (inner, target, media_type) = (self.inner.clone(), target.clone(), media_type.to_owned());
        Box::pin(blocking(self.name.clone().into(), move || {
            inner.push_manifest(&target, &bytes, &media_type)
        }))
    }
}
