//! The start profiles that this node has recorded, by image and by what the container ran.
//!
//! Documents are found by name only, so that the names of an image's profiles are kept beside them.

use glowplug_base::Digest;
use glowplug_image::Profile;
use glowplug_store::{Store, StoreError};

/// Kind of the documents that hold profiles.
const PROFILES: &str = "profiles";
/// Kind of the documents that hold, for each image, the names of its profiles.
const STARTS: &str = "starts";

/// A start is told apart by its image and by what it runs.
#[derive(Debug)]
pub struct StartKind {
    image: Digest,
    name: String,
}

impl StartKind {
    /// The starts of an image, known by its manifest, that run `args` with an entrypoint other than its own.
    pub fn of(image: Digest, entrypoint: Option<&str>, args: &[String]) -> Self {
        Self { image, name: format!("{image} {entrypoint:?} {args:?}") }
    }

    /// What they have taught so far.
    pub fn profile(&self, store: &Store) -> Option<Profile> {
        profile(store, &self.name)
    }

    /// Keeps what they have taught.
    ///
    /// # Errors
    /// What the disk says.
    pub fn keep(&self, store: &Store, profile: &Profile) -> Result<(), StoreError> {
        store.documents().put(PROFILES, &self.name, &profile.encode())?;
        let mut names = names(store, self.image);
        if names.contains(&self.name) {
            return Ok(());
        }
        names.push(self.name.clone());
        let names = serde_json::to_vec(&names).unwrap_or_default();
        store.documents().put(STARTS, &self.image.to_string(), &names)
    }
}

/// What all starts of an image have taught, whatever they ran.
pub fn profiles(store: &Store, image: Digest) -> Vec<Profile> {
    let mut names = names(store, image);
    // Kept before names were.
    names.push(StartKind::of(image, None, &[]).name);
    names.sort_unstable();
    names.dedup();
    names.iter().filter_map(|name| profile(store, name)).filter(|profile| !profile.is_empty()).collect()
}

fn profile(store: &Store, name: &str) -> Option<Profile> {
    store.documents().get(PROFILES, name).and_then(|bytes| Profile::parse(&bytes))
}

fn names(store: &Store, image: Digest) -> Vec<String> {
    let known = store.documents().get(STARTS, &image.to_string());
    known.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}
