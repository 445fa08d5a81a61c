//! Image references as people write them, with Docker's defaults.
//!
//! `[REGISTRY[:PORT]/]REPOSITORY[:TAG][@DIGEST]`. The first part is a registry if it has a dot, a colon or a capital
//! letter or is `localhost`; otherwise the image is on docker.io, where a name without a slash lies under `library/`.

use std::fmt;
use std::str::FromStr;

use glowplug_base::{Digest, DigestError, Hint, Hinted};

/// Longest repository name, as the distribution project has it.
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;
const DOCKER: &str = "docker.io";

/// A complete reference: registry, repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("empty image reference")]
    Empty,
    /// A URL.
    #[error("image reference {0:?} is a URL")]
    Url(String),
    /// Repository names are lower case.
    #[error("repository name {0:?} has upper-case letters")]
    Uppercase(String),
    /// The repository name has more than 255 characters.
    #[error("repository name has {0} characters, more than the allowed 255")]
    TooLong(usize),
    /// The registry is not a host name with an optional port.
    #[error("malformed registry {0:?}")]
    Registry(String),
    /// The repository does not follow the grammar.
    #[error("malformed repository name {0:?}")]
    Repository(String),
    /// The tag does not follow the grammar.
    #[error("malformed tag {0:?}: letters, digits, '_', '.' and '-', at most 128")]
    Tag(String),
    /// The digest does not follow the grammar.
    #[error("malformed image reference")]
    Digest(#[from] DigestError),
}

impl Hinted for ReferenceError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Url(_) => Some(Hint::new("leave out the scheme; --plain-http chooses HTTP without TLS")),
            Self::Uppercase(_) => Some(Hint::new("write the repository in lower case")),
            _ => None,
        }
    }
}

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// See [`ReferenceError`].
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.contains("://") {
            return Err(ReferenceError::Url(shorten(text)));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DOCKER, name),
        };
        // A colon after the last slash begins a tag; colons before it belong to a port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        let registry = check_registry(registry)?;
        check_repository(repository)?;
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(shorten(tag)));
        }
        let library = registry == DOCKER && !repository.contains('/');
        let repository = if library { format!("library/{repository}") } else { repository.to_owned() };
        let tag = tag.or(if digest.is_none() { Some("latest") } else { None }).map(str::to_owned);
        Ok(Self { registry, repository, tag, digest })
    }

    /// The registry as in the reference: `docker.io`, `localhost:5000`. In lower case, unless its capitals are all that
    /// tells it from the first part of a repository.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The host that answers the registry's API; Docker Hub's differs from its name.
    pub fn api_host(&self) -> &str {
        if self.registry == DOCKER { "registry-1.docker.io" } else { &self.registry }
    }

    /// The repository inside the registry: `library/busybox`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag: as written, or `latest` where there is no digest either.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, which decides where there is also a tag.
    pub const fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository with another tag or digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

/// Cuts what may be long and hostile before it goes into a message.
fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Whether the part before the first slash is a registry. A repository has no capitals, so they speak for one.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|c| c.is_ascii_uppercase())
}

fn check_registry(text: &str) -> Result<String, ReferenceError> {
    let malformed = || ReferenceError::Registry(shorten(text));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(malformed)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| malformed())?;
            (None, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(malformed)?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if let Some(port) = port {
        let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
        if !digits || !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err(malformed());
        }
    }
    let label = |label: &str| {
        let inner = label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    if host.is_some_and(|host| host.len() > 253 || !host.split('.').all(label)) {
        return Err(malformed());
    }
    let lower = text.to_ascii_lowercase();
    Ok(match lower.as_str() {
        "index.docker.io" | "registry-1.docker.io" => DOCKER.to_owned(),
        // A host by its capitals alone, which Docker keeps: `Host/a` in lower case is a repository on docker.io.
        _ if !is_registry(&lower) => text.to_owned(),
        _ => lower,
    })
}

fn check_repository(name: &str) -> Result<(), ReferenceError> {
    if name.len() > MAX_NAME {
        return Err(ReferenceError::TooLong(name.len()));
    }
    if name.bytes().any(|c| c.is_ascii_uppercase()) {
        return Err(ReferenceError::Uppercase(shorten(name)));
    }
    // A name of 64 hex digits would be mistaken for an image's identity.
    let identity = name.len() == 64 && name.bytes().all(|c| c.is_ascii_hexdigit());
    if identity || !name.split('/').all(is_component) {
        return Err(ReferenceError::Repository(shorten(name)));
    }
    Ok(())
}

/// Runs of letters and digits, joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && part
            .split(alphanumeric)
            .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|c| c == b'-'))
}

/// Whether `text` follows the grammar of tags.
pub fn is_tag(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|c| word(c) || c == b'.' || c == b'-')
}

/// The tag under which the referrers of `subject` are listed where a registry lacks the referrers API (OCI
/// distribution specification 1.1, "Referrers tag schema").
pub fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// The canonical form, which parses to the same reference.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}
