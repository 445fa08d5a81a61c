//! Where an image comes from: a registry, a layout directory, or an archive file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use glowplug_base::{Hint, Hinted};

use crate::{Reference, ReferenceError, is_tag};

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A registry; written as a reference.
    Registry(Reference),
    /// An OCI image layout in a directory; written `oci:DIR[:TAG]`.
    Layout {
        /// The directory.
        dir: PathBuf,
        /// Which image of several.
        tag: Option<String>,
    },
    /// An OCI image layout in a tar file; written `oci-archive:FILE`.
    OciArchive {
        /// The file.
        file: PathBuf,
    },
    /// What `docker save` writes; written `docker-archive:FILE`.
    DockerArchive {
        /// The file.
        file: PathBuf,
    },
}

/// Why a text names no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceParseError {
    /// Neither scheme nor reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A scheme without a path.
    #[error("{0} wants a path after the colon")]
    NoPath(&'static str),
}

impl Hinted for SourceParseError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Reference(error) => error.hint(),
            Self::NoPath(scheme) => Some(Hint::new(format!("write {scheme}PATH"))),
        }
    }
}

const LAYOUT: &str = "oci:";
const OCI_ARCHIVE: &str = "oci-archive:";
const DOCKER_ARCHIVE: &str = "docker-archive:";

impl FromStr for Source {
    type Err = SourceParseError;

    fn from_str(text: &str) -> Result<Self, SourceParseError> {
        let path = |scheme: &'static str| match text.strip_prefix(scheme) {
            Some("") => Err(SourceParseError::NoPath(scheme)),
            rest => Ok(rest),
        };
        if let Some(rest) = path(LAYOUT)? {
            // `oci:5` could also be the image `oci` with the tag `5`; the scheme wins, as in other tools.
            return Ok(match rest.rsplit_once(':') {
                Some((dir, tag)) if !dir.is_empty() && is_tag(tag) => {
                    Self::Layout { dir: dir.into(), tag: Some(tag.to_owned()) }
                }
                _ => Self::Layout { dir: rest.into(), tag: None },
            });
        }
        if let Some(file) = path(OCI_ARCHIVE)? {
            return Ok(Self::OciArchive { file: file.into() });
        }
        if let Some(file) = path(DOCKER_ARCHIVE)? {
            return Ok(Self::DockerArchive { file: file.into() });
        }
        Ok(Self::Registry(text.parse()?))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { dir, tag: Some(tag) } => write!(f, "{LAYOUT}{}:{tag}", dir.display()),
            Self::Layout { dir, tag: None } => write!(f, "{LAYOUT}{}", dir.display()),
            Self::OciArchive { file } => write!(f, "{OCI_ARCHIVE}{}", file.display()),
            Self::DockerArchive { file } => write!(f, "{DOCKER_ARCHIVE}{}", file.display()),
        }
    }
}
