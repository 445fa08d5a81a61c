//! Profiles that nodes share: published beside an image as an artifact that refers to it, and found there.
//!
//! The artifact is an OCI manifest of type [`ARTIFACT_TYPE`] whose only layer is the profile and whose subject is the image's
//! manifest, which stays as it is, and so does whatever signed it. Annotations tell which command the profile is of and how many
//! runs it is made of; of several the one of most runs counts.

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, Document, Limits, Manifest, media};
use glowplug_registry::{Error, Repository, ResolvedImage, Target};

use crate::error::chain;
use crate::profile::{ARTIFACT_TYPE, MAX_PROFILE_BYTES, Profile};

/// Annotation: the command that was started, see [`command`].
pub const COMMAND_ANNOTATION: &str = "io.glowplug.start-profile.command";
/// Annotation: how many runs the profile is made of.
pub const RUNS_ANNOTATION: &str = "io.glowplug.start-profile.runs";
/// Most artifacts looked at: one for each command, and each time it was published again.
const MAX_REFERRERS: usize = 32;

/// A start is told apart by what it runs: the entrypoint if the image's is replaced, and the arguments.
pub fn command(entrypoint: Option<&str>, args: &[String]) -> String {
    serde_json::json!({ "entrypoint": entrypoint, "args": args }).to_string()
}

/// The profile of a command that was published beside the image with this manifest. Nothing here fails: an image without a usable
/// profile is started without.
pub async fn find(repository: &dyn Repository, image: &Digest, command: &str) -> Option<Profile> {
    let referrers = match repository.referrers(image, Some(ARTIFACT_TYPE)).await {
        Ok(referrers) => referrers,
        Err(error) => {
            tracing::debug!(%image, reason = %chain(&error), "cannot ask for start profiles");
            return None;
        }
    };
    // A filter is a wish: registries may ignore it.
    let ours =
        |listed: &&Descriptor| listed.artifact_type.as_deref().is_none_or(|kind| kind == ARTIFACT_TYPE);
    let mut found: Vec<(u32, Descriptor)> = Vec::new();
    for listed in referrers.iter().filter(ours).take(MAX_REFERRERS) {
        match read(repository, listed.digest, image).await {
            Ok((of, runs, profile)) if of == command => found.push((runs, profile)),
            Ok(_) => {}
            Err(reason) => {
                tracing::debug!(%image, profile = %listed.digest, %reason, "the start profile cannot be used");
            }
        }
    }
    let (_, descriptor) = found.into_iter().max_by_key(|(runs, _)| *runs)?;
    let bytes = repository.small_blob(&descriptor, MAX_PROFILE_BYTES).await.ok()?;
    tokio::task::spawn_blocking(move || Profile::parse(&bytes)).await.ok()?
}

/// Command, runs and profile of an artifact.
async fn read(
    repository: &dyn Repository,
    artifact: Digest,
    image: &Digest,
) -> Result<(String, u32, Descriptor), String> {
    let target = Target::Digest(artifact);
    let fetched = repository.document(&target).await.map_err(|error| chain(&error))?;
    let document = Document::parse(&fetched.bytes, fetched.media_type.as_deref(), &Limits::default());
    let Document::Manifest(manifest) = document.map_err(|error| chain(&error))? else {
        return Err("it is an index".to_owned());
    };
    if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE)
        || manifest.subject.as_ref().is_none_or(|subject| subject.digest != *image)
    {
        return Err("it is something else, or about something else".to_owned());
    }
    let [profile] = &manifest.layers[..] else { return Err("it has not one layer".to_owned()) };
    let text = |key: &str| manifest.annotations.get(key).map(String::as_str).unwrap_or_default();
    Ok((text(COMMAND_ANNOTATION).to_owned(), text(RUNS_ANNOTATION).parse().unwrap_or(0), profile.clone()))
}

/// Publishes a profile beside its image, in the image's own repository, and gives the artifact's digest. What was published for
/// the command before is taken in.
///
/// # Errors
/// The repository does not take it.
pub async fn publish(
    repository: &dyn Repository,
    image: &ResolvedImage,
    command: &str,
    profile: &Profile,
) -> Result<Digest, Error> {
    let merged = match find(repository, &image.manifest_digest, command).await {
        Some(known) => known.merge(profile),
        None => profile.clone(),
    };
    let bytes = Bytes::from(merged.encode());
    let layer = Descriptor::of(ARTIFACT_TYPE, &bytes);
    let empty = Bytes::from_static(b"{}");
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        artifact_type: Some(ARTIFACT_TYPE.to_owned()),
        config: Descriptor::of(media::OCI_EMPTY, &empty),
        layers: vec![layer],
        subject: Some(Descriptor::of(
            image.manifest.media_type.as_deref().unwrap_or(media::OCI_MANIFEST),
            &image.manifest_bytes,
        )),
        annotations: [
            (COMMAND_ANNOTATION.to_owned(), command.to_owned()),
            (RUNS_ANNOTATION.to_owned(), merged.runs.to_string()),
        ]
        .into(),
    };
    repository.push_blob(empty).await?;
    repository.push_blob(bytes).await?;
    let manifest = Bytes::from(serde_json::to_vec(&manifest).unwrap_or_default());
    let target = Target::Digest(Digest::of(&manifest));
    repository.push_manifest(&target, manifest, media::OCI_MANIFEST).await
}
