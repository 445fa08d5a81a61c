//! Lore: what one node learned and the others need not learn again. Indexes of layers, and start profiles.
//!
//! A service does not look into it. It keeps what processes of its machine offer, gives that to peers that ask, and asks
//! them for what processes of its machine want and nobody here has offered.
//!
//! Invariants: peers get what was offered on this node and nothing that came from another peer, so that whoever gives
//! lore vouches for it, and a lie leads to the liar. What proved wrong here is given to nobody.

mod kept;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use glowplug_base::{Digest, Secret};

use crate::Error;

pub(crate) use kept::Kept;

/// Longest index, its windows included, in bytes. A window is 32 KiB of a quarter of a mebibyte of the archive before it is
/// compressed: some 6 GB of archive have such an index.
const MOST_INDEX_BYTES: u64 = 256 << 20;
/// Longest start profile in bytes, as its format has it.
const MOST_PROFILE_BYTES: u64 = 32 << 20;
/// Longest name of a dialect, in bytes.
const LONGEST_WORD_BYTES: usize = 64;

/// What lore is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoreId {
    kind: Kind,
    about: Digest,
    which: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Index,
    Profile,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Index => "indexes",
            Self::Profile => "profiles",
        }
    }
}

impl LoreId {
    /// The index of a layer's blob, as readers of `dialect` understand it: letters, digits, dots and hyphens. `None` for
    /// other dialects.
    pub fn index(layer: Digest, dialect: &str) -> Option<Self> {
        is_word(dialect).then(|| Self { kind: Kind::Index, about: layer, which: dialect.to_owned() })
    }

    /// The profile of the starts of an image, by its manifest, that run what is `command`.
    pub fn profile(image: Digest, command: &str) -> Self {
        Self { kind: Kind::Profile, about: image, which: Digest::of(command.as_bytes()).hex() }
    }

    /// Reads what [`Self::path`] writes.
    pub fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.split_once('/')?;
        let kind = [Kind::Index, Kind::Profile].into_iter().find(|known| known.name() == kind)?;
        let (about, which) = rest.split_once('/')?;
        // Some clients write the colon of a digest in this way.
        let about = about.replace("%3A", ":").replace("%3a", ":").parse().ok()?;
        is_word(which).then(|| Self { kind, about, which: which.to_owned() })
    }

    /// Where it lies behind `/glowplug/peer/1/`: `indexes/<layer>/<dialect>` or `profiles/<image>/<SHA-256 of the command>`.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.kind.name(), self.about, self.which)
    }

    /// Bytes that it may have.
    pub const fn most_bytes(&self) -> u64 {
        match self.kind {
            Kind::Index => MOST_INDEX_BYTES,
            Kind::Profile => MOST_PROFILE_BYTES,
        }
    }

    /// Whether a lie in it could show wrong files, so that it is believed only of who knows the secret. The others cost
    /// time at worst.
    pub const fn wants_trust(&self) -> bool {
        matches!(self.kind, Kind::Index)
    }

    /// What it is about: a layer's blob or an image's manifest.
    pub const fn about(&self) -> &Digest {
        &self.about
    }

    fn file_name(&self) -> String {
        format!("{}-{}-{}", self.kind.name(), self.about.hex(), self.which)
    }

    fn of_file(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('-')?;
        let (about, which) = rest.split_once('-')?;
        Self::parse(&format!("{kind}/sha256:{about}/{which}"))
    }
}

/// Whether something can stand in paths and names of files.
fn is_word(text: &str) -> bool {
    (1..=LONGEST_WORD_BYTES).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// How long lore is, and its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoreHead {
    /// Bytes.
    pub length: u64,
    /// Of these bytes.
    pub digest: Digest,
}

impl LoreHead {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, digest: Digest::of(bytes) }
    }
}

/// What is said with a mark: the purposes that one secret has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saying {
    /// A process of this machine offers it to the node's service.
    Offer,
    /// The service gives it to a process of its machine.
    Answer,
    /// A process of this machine says that it proved wrong.
    Refute,
    /// A node vouches for it towards a peer.
    Vouch,
}

impl Saying {
    /// The mark of lore, by who knows `secret`.
    pub fn mark(self, secret: &Secret, id: &LoreId, head: &LoreHead, from: &str) -> String {
        secret.mark(&self.message(id, head, from)).hex()
    }

    /// Whether `mark` is that.
    pub fn is_made(self, mark: &str, secret: &Secret, id: &LoreId, head: &LoreHead, from: &str) -> bool {
        secret.made(mark, &self.message(id, head, from))
    }

    /// No part of it holds a line's end, so that no two messages are the same.
    fn message(self, id: &LoreId, head: &LoreHead, from: &str) -> Vec<u8> {
        let (path, LoreHead { length, digest }) = (id.path(), head);
        let from = from.replace('\n', " ");
        format!("glowplug lore 1\n{self:?}\n{path}\n{length}\n{digest}\n{from}\n").into_bytes()
    }
}

/// Lore on its way.
pub struct Lore {
    /// How long it is, and its digest; whoever reads it checks both.
    pub head: LoreHead,
    /// The peer that gives it; nothing where it was offered on this node.
    pub from: Option<Arc<str>>,
    /// Its bytes.
    pub bytes: BoxStream<'static, Result<Bytes, Error>>,
}

impl std::fmt::Debug for Lore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lore").field("head", &self.head).field("from", &self.from).finish_non_exhaustive()
    }
}

/// Why something offered is not kept.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It is longer than such a thing may be, or than the disk's share for all of them.
    #[error("it is too long")]
    TooLong,
    /// Its bytes are not those that were announced.
    #[error("its bytes are not those that were announced")]
    Other,
    /// It broke off.
    #[error("it broke off: {0}")]
    BrokenOff(String),
    /// The disk says so.
    #[error("it cannot be written")]
    Disk(#[from] std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let layer = Digest::of(b"layer");
        let index = LoreId::index(layer, "2-0.1.0").unwrap();
        let profile = LoreId::profile(layer, "{}");
        for id in [&index, &profile] {
            assert_eq!(LoreId::parse(&id.path()).as_ref(), Some(id));
            assert_eq!(LoreId::of_file(&id.file_name()).as_ref(), Some(id));
        }
        assert!(index.wants_trust() && !profile.wants_trust());
        assert_eq!(LoreId::parse(&index.path().replace(':', "%3A")), Some(index.clone()));
        for bad in ["", "..", "a/b", "ä", "a b", &"x".repeat(65)] {
            assert_eq!(LoreId::index(layer, bad), None, "{bad}");
            assert_eq!(LoreId::parse(&format!("indexes/{layer}/{bad}")), None, "{bad}");
        }
        assert_eq!(LoreId::parse(&format!("other/{layer}/1")), None);
        assert_eq!(LoreId::parse("indexes/sha256:00/1"), None);
    }

    #[test]
    fn a_mark_is_for_one_purpose_and_one_thing() {
        let (secret, other) = (Secret::new(b"secret"), Secret::new(b"other"));
        let id = LoreId::index(Digest::of(b"layer"), "1").unwrap();
        let head = LoreHead::of(b"index");
        let mark = Saying::Offer.mark(&secret, &id, &head, "");
        assert!(Saying::Offer.is_made(&mark, &secret, &id, &head, ""));
        let longer = LoreHead { length: 6, ..head };
        let later = LoreId::index(Digest::of(b"layer"), "2").unwrap();
        assert!(!Saying::Answer.is_made(&mark, &secret, &id, &head, ""));
        assert!(!Saying::Offer.is_made(&mark, &other, &id, &head, ""));
        assert!(!Saying::Offer.is_made(&mark, &secret, &later, &head, ""));
        assert!(!Saying::Offer.is_made(&mark, &secret, &id, &longer, ""));
        assert!(!Saying::Offer.is_made(&mark, &secret, &id, &head, "http://a:1"));
    }
}
