//! Pushing, and finding again what was pushed.

use bytes::Bytes;
use glowplug_base::Digest;
use glowplug_oci::{Descriptor, media};
use glowplug_registry::{BlobFile, Client, Error, Options, Repository, Target};
use glowplug_testkit::{Auth, Fault, ImageBuilder, Layer, Rule, TestRegistry};

use crate::{amd64, client, noise, open, options, resolved, source};

/// An artifact about the image `subject`.
fn artifact(subject: &Descriptor, note: &str) -> Bytes {
    let empty = Descriptor::of(media::OCI_EMPTY, b"{}");
    let json = serde_json::json!({
        "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": "a/index", "config": empty, "layers": [],
        "subject": subject, "annotations": {"note": note},
    });
    json.to_string().into()
}

async fn push_artifact(repository: &dyn Repository, bytes: Bytes) -> Digest {
    repository.push_blob(Bytes::from_static(b"{}")).await.unwrap();
    let target = Target::Digest(Digest::of(&bytes));
    repository.push_manifest(&target, bytes, media::OCI_MANIFEST).await.unwrap()
}

#[tokio::test]
async fn an_image_that_was_pushed_can_be_pulled() {
    let registry = TestRegistry::start();
    registry.set_auth(Auth::anonymous_bearer());
    let image =
        ImageBuilder::new().platform(&amd64()).layer(Layer::gzip(|tree| _ = tree.file("a", "b"))).build();
    let client = client(options());
    let repository = open(&client, &registry, "team/app:v1").await;
    for blob in image.blobs() {
        repository.push_blob(blob.clone()).await.unwrap();
    }
    let target = Target::Tag("v1".to_owned());
    let digest = repository.push_manifest(&target, image.manifest.clone(), &image.media_type).await.unwrap();
    assert_eq!(digest, image.digest());
    let found = resolved(&client, &source(&registry, "team/app:v1")).await.unwrap();
    assert_eq!(found.manifest_digest, digest);

    registry.clear_log();
    repository.push_blob(image.config.clone()).await.unwrap();
    assert!(registry.log().iter().all(|logged| logged.method == "HEAD"), "what is there is not sent again");
    let wrong = Target::Digest(Digest::of(b"other"));
    assert!(repository.push_manifest(&wrong, image.manifest.clone(), &image.media_type).await.is_err());
}

#[tokio::test]
async fn pushing_is_patient_and_needs_no_head() {
    let registry = TestRegistry::start();
    let client = client(options());
    let repository = open(&client, &registry, "app").await;
    registry.inject(Rule::any(Fault::Status(405)).method("HEAD"));
    registry.inject(Rule::any(Fault::Status(503)).method("POST").times(2));
    registry.inject(Rule::any(Fault::Throttle(Some("0".into()))).method("PUT").times(1));
    let digest = repository.push_blob(Bytes::from_static(b"content")).await.unwrap();
    assert_eq!(registry.blob(&digest).unwrap(), "content");
}

#[tokio::test]
async fn a_refusal_is_heard_before_the_work_and_nothing_else_counts_as_one() {
    let registry = TestRegistry::start();
    registry.set_auth(Auth::anonymous_bearer());
    let client = client(options());
    let repository = open(&client, &registry, "app").await;
    repository.check_push().await.unwrap();
    assert_eq!(registry.open_uploads(), 0, "the place is given back");
    let asked =
        |registry: &TestRegistry| registry.log().iter().filter(|logged| logged.method == "POST").count();
    for (status, refused) in
        [(401, true), (403, true), (404, true), (400, false), (405, false), (429, false), (500, false)]
    {
        registry.inject(Rule::any(Fault::Status(status)).method("POST").on("/blobs/uploads/"));
        registry.clear_log();
        assert_eq!(repository.check_push().await.is_err(), refused, "{status}");
        // A refused token is renewed once.
        assert_eq!(asked(&registry), 1 + usize::from(status == 403), "{status}: not asked again and again");
        registry.clear_faults();
    }
    // A registry that takes nothing back is as good.
    registry.inject(Rule::any(Fault::Status(405)).method("DELETE"));
    repository.check_push().await.unwrap();
    repository.push_blob(Bytes::from_static(b"content")).await.unwrap();

    registry.set_auth(Auth::bearer("user", "password"));
    registry.expire_tokens();
    let error = repository.check_push().await.unwrap_err();
    assert!(error.is_denied(), "{error}");
}

/// A file with `bytes`, which lasts as long as the directory.
fn file_of(bytes: &[u8]) -> (tempfile::TempDir, BlobFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blob");
    std::fs::write(&path, bytes).unwrap();
    (dir, BlobFile { path, digest: Digest::of(bytes), size: bytes.len() as u64 })
}

/// A client that pushes in pieces of 1000 bytes.
fn in_pieces() -> Client {
    client(Options { upload_piece_bytes: 1000, ..options() })
}

/// The pieces that were sent so far.
fn pieces(registry: &TestRegistry) -> Vec<String> {
    registry.log().into_iter().filter_map(|logged| logged.content_range).collect()
}

#[tokio::test]
async fn a_file_is_pushed_in_pieces_and_only_if_it_is_not_there() {
    for length in [0, 1, 999, 1000, 1001, 4500] {
        let bytes = noise(length);
        let (_dir, blob) = file_of(&bytes);
        let registry = TestRegistry::start();
        registry.set_auth(Auth::anonymous_bearer());
        let repository = open(&in_pieces(), &registry, "app").await;
        repository.push_file(&blob).await.unwrap();
        assert_eq!(registry.blob(&blob.digest).unwrap(), bytes);
        assert_eq!(pieces(&registry).len(), length.div_ceil(1000));
        registry.clear_log();
        repository.push_file(&blob).await.unwrap();
        assert!(registry.log().iter().all(|logged| logged.method == "HEAD"));
    }
}

#[tokio::test]
async fn a_push_that_was_cut_off_goes_on_where_the_registry_says() {
    let bytes = noise(3000);
    let (_dir, blob) = file_of(&bytes);
    let registry = TestRegistry::start();
    let repository = open(&in_pieces(), &registry, "app").await;
    // More often than there are attempts: what counts is progress.
    registry.inject(Rule::any(Fault::TakeOnly(300)).method("PATCH").times(6));
    repository.push_file(&blob).await.unwrap();
    assert_eq!(registry.blob(&blob.digest).unwrap(), bytes);
    let sent = pieces(&registry);
    let starts: Vec<&str> = sent.iter().map(|range| range.split_once('-').unwrap().0).collect();
    assert_eq!(starts, ["0", "300", "600", "900", "1200", "1500", "1800", "2800"]);
}

#[tokio::test]
async fn a_push_whose_place_is_lost_begins_anew() {
    let bytes = noise(3000);
    let (_dir, blob) = file_of(&bytes);
    let registry = TestRegistry::start();
    let repository = open(&in_pieces(), &registry, "app").await;
    registry.inject(Rule::any(Fault::Status(404)).method("PATCH").skip(1).times(1));
    registry.inject(Rule::any(Fault::Status(404)).on("/blobs/uploads/").method("GET").times(1));
    repository.push_file(&blob).await.unwrap();
    assert_eq!(registry.blob(&blob.digest).unwrap(), bytes);
    assert_eq!(pieces(&registry).len(), 1 + 1 + 3);

    // One that never takes anything is given up.
    let registry = TestRegistry::start();
    let repository = open(&in_pieces(), &registry, "app").await;
    registry.inject(Rule::any(Fault::Status(500)).method("PATCH"));
    assert!(repository.push_file(&blob).await.is_err());
    registry.clear_faults();
    registry.inject(Rule::any(Fault::Status(403)).method("PATCH"));
    registry.clear_log();
    assert!(repository.push_file(&blob).await.is_err());
    assert_eq!(pieces(&registry).len(), 1, "what is refused is not tried again");
    assert!(registry.blob(&blob.digest).is_none());

    let missing = BlobFile { path: "/nonexistent/blob".into(), ..blob };
    registry.clear_faults();
    assert!(repository.push_file(&missing).await.is_err());
}

#[tokio::test]
async fn a_layout_is_made_and_takes_files() {
    let dir = tempfile::tempdir().unwrap();
    let to = format!("oci:{}", dir.path().join("new/layout").display()).parse().unwrap();
    let repository = client(options()).create(&to).await.unwrap();
    repository.check_push().await.unwrap();
    let bytes = noise(2000);
    let (_dir, blob) = file_of(&bytes);
    repository.push_file(&blob).await.unwrap();
    let descriptor = Descriptor::new("a/b", blob.digest, blob.size);
    assert_eq!(repository.small_blob(&descriptor, 5000).await.unwrap(), bytes);
    let image = ImageBuilder::new().platform(&amd64()).build();
    repository.push_blob(image.config.clone()).await.unwrap();
    repository
        .push_manifest(&Target::Tag("v1".into()), image.manifest.clone(), &image.media_type)
        .await
        .unwrap();
    // One that is there stays as it is.
    let again = client(options()).create(&to).await.unwrap();
    assert_eq!(again.document(&Target::Tag("v1".into())).await.unwrap().digest, image.digest());
    assert_eq!(again.spool_dir(), Some(&*dir.path().join("new/layout")));

    let archive = format!("oci-archive:{}", dir.path().join("x.tar").display()).parse().unwrap();
    assert!(matches!(client(options()).create(&archive).await.unwrap_err(), Error::ReadOnly(_)));
}

#[tokio::test]
async fn referrers_are_listed_with_and_without_the_api() {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new().push(&registry, "app:v1");
    let client = client(options());
    let repository = open(&client, &registry, "app").await;
    let subject = Descriptor::of(media::OCI_MANIFEST, &image.manifest);
    let first = push_artifact(&*repository, artifact(&subject, "1")).await;
    let tag = format!("sha256-{}", subject.digest.hex());
    assert!(registry.manifest("app", &tag).is_none(), "the API makes the tag needless");
    registry.set_referrers_api(false);
    let second = push_artifact(&*repository, artifact(&subject, "2")).await;
    let third = push_artifact(&*repository, artifact(&subject, "3")).await;
    push_artifact(&*repository, artifact(&subject, "3")).await;
    let digests = async || {
        let found = repository.referrers(&subject.digest, Some("a/index")).await.unwrap();
        found.into_iter().map(|entry| (entry.digest, entry.annotations["note"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(digests().await, [(second, "2".to_owned()), (third, "3".to_owned())]);
    registry.set_referrers_api(true);
    assert!(digests().await.iter().any(|(digest, _)| *digest == first));
}

#[tokio::test]
async fn a_layout_directory_can_be_pushed_to() {
    let dir = tempfile::tempdir().unwrap();
    let image =
        ImageBuilder::new().platform(&amd64()).layer(Layer::plain(|tree| _ = tree.file("a", "b"))).build();
    image.write_layout(dir.path(), Some("v1"));
    let client = client(options());
    let from = format!("oci:{}:v1", dir.path().display()).parse().unwrap();
    let repository = client.open(&from).await.unwrap();
    let subject = Descriptor::of(media::OCI_MANIFEST, &image.manifest);
    let digest = push_artifact(&*repository, artifact(&subject, "1")).await;
    let found = repository.referrers(&subject.digest, Some("a/index")).await.unwrap();
    assert_eq!(found.iter().map(|entry| entry.digest).collect::<Vec<_>>(), [digest]);
    assert!(repository.referrers(&subject.digest, Some("other")).await.unwrap().is_empty());

    // A tag moves.
    let new = ImageBuilder::new().platform(&amd64()).cmd(["new"]).build();
    repository.push_blob(new.config.clone()).await.unwrap();
    repository.push_manifest(&Target::Tag("v1".into()), new.manifest.clone(), &new.media_type).await.unwrap();
    assert_eq!(resolved(&client, &from).await.unwrap().manifest_digest, new.digest());
}

#[tokio::test]
async fn archives_are_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let (oci, docker) = (dir.path().join("oci.tar"), dir.path().join("docker.tar"));
    let image = ImageBuilder::new().build();
    image.write_oci_archive(&oci, None);
    image.write_docker_archive(&docker, "app:v1");
    for from in [format!("oci-archive:{}", oci.display()), format!("docker-archive:{}", docker.display())] {
        let repository = client(options()).open(&from.parse().unwrap()).await.unwrap();
        assert!(matches!(repository.check_push().await.unwrap_err(), Error::ReadOnly(_)));
        let error = repository.push_blob(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(error, Error::ReadOnly(_)));
        let pushed = repository.push_manifest(&Target::Only, image.manifest.clone(), &image.media_type).await;
        assert!(matches!(pushed.unwrap_err(), Error::ReadOnly(_)));
    }
}
