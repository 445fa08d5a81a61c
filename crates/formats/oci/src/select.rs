//! Choosing from an index.

use glowplug_base::{Hint, Hinted};

use crate::{Descriptor, Index, Platform, media};

/// No manifest of an index runs here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no image for {wanted}; there is {}", listed(.available))]
pub struct SelectError {
    /// What was wanted.
    pub wanted: String,
    /// What there is, in the order of the index.
    pub available: Vec<String>,
}

impl Hinted for SelectError {
    fn hint(&self) -> Option<Hint> {
        (!self.available.is_empty())
            .then(|| Hint::new("choose one that this machine can run with --platform"))
    }
}

fn listed(available: &[String]) -> String {
    match available {
        [] => "none at all".to_owned(),
        some => some.join(", "),
    }
}

impl Descriptor {
    /// Whether an index that lists it means an image, or a further index of images: no attestation and no other
    /// artifact.
    pub fn is_image(&self) -> bool {
        let media_type = media::bare(&self.media_type);
        let unknown =
            self.platform.as_ref().is_some_and(|p| p.os == "unknown" || p.architecture == "unknown");
        let attestation = self.annotations.contains_key("vnd.docker.reference.type");
        let document = media::is_index(&media_type) || media::is_manifest(&media_type);
        document && !unknown && !attestation && self.artifact_type.is_none()
    }
}

impl Index {
    /// The image that runs best on `host`.
    ///
    /// Attestations and other artifacts are passed over. An entry that does not name a platform is taken only where it
    /// is the only image: then its configuration will tell.
    ///
    /// # Errors
    /// [`SelectError`] lists what there is.
    pub fn select(&self, host: &Platform) -> Result<&Descriptor, SelectError> {
        let images: Vec<&Descriptor> = self.manifests.iter().filter(|entry| entry.is_image()).collect();
        let mut best: Option<(u32, &Descriptor)> = None;
        for entry in &images {
            let Some(fitness) = entry.platform.as_ref().and_then(|platform| platform.fitness(host)) else {
                continue;
            };
            if best.is_none_or(|(most, _)| fitness > most) {
                best = Some((fitness, entry));
            }
        }
        match (best, images.as_slice()) {
            (Some((_, entry)), _) => Ok(entry),
            (None, [only]) if only.platform.is_none() => Ok(only),
            (None, _) => Err(SelectError {
                wanted: host.to_string(),
                available: images.iter().map(|entry| name(entry)).take(64).collect(),
            }),
        }
    }
}

fn name(entry: &Descriptor) -> String {
    match &entry.platform {
        Some(platform) => platform.to_string(),
        None => format!("{:?} without platform", entry.digest),
    }
}
