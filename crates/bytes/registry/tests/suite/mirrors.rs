//! Mirrors, TLS, certificates, proxies of tags.

use glowplug_base::{ByteRange, Hinted as _};
use glowplug_oci::{Descriptor, Source};
use glowplug_registry::{Error, Options};
use glowplug_source::Kind;
use glowplug_testkit::{Auth, Fault, ImageBuilder, Layer, Rule, TestRegistry};

use crate::{amd64, client, noise, open, options, read, resolved, source};

fn push(registry: &TestRegistry) {
    ImageBuilder::new()
        .platform(&amd64())
        .layer(Layer::gzip(|tree| _ = tree.dir("a")))
        .push(registry, "app:v1");
}

fn with_mirror(of: &str, mirrors: &[String]) -> Options {
    let mut options = options();
    options.mirrors.insert(of.to_owned(), mirrors.to_vec());
    options
}

#[tokio::test]
async fn a_mirror_answers_first_and_its_troubles_pass_to_the_registry() {
    let (mirror, origin) = (TestRegistry::start(), TestRegistry::start());
    push(&mirror);
    push(&origin);
    let options = with_mirror(&origin.host(), &[format!("http://{}/cache", mirror.host())]);
    let image = source(&origin, "app:v1");
    resolved(&client(options.clone()), &image).await.unwrap();
    assert!(origin.log().is_empty());
    let log = mirror.log();
    assert_eq!(log[0].path, "/cache/v2/app/manifests/v1");
    assert_eq!(log[0].query, format!("ns={}", origin.host().replace(':', "%3A")));

    for fault in
        [Fault::Status(404), Fault::Status(500), Fault::Status(403), Fault::WrongBytes, Fault::ResetAfter(0)]
    {
        mirror.clear_faults();
        mirror.inject(Rule::any(fault.clone()));
        origin.clear_log();
        let image = resolved(&client(options.clone()), &image).await;
        image.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(!origin.log().is_empty(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_mirror_out_of_reach_is_left_alone_for_a_while() {
    let (mut mirror, origin) = (TestRegistry::start(), TestRegistry::start());
    let bytes = noise(1000);
    origin.put_blob(bytes.clone());
    mirror.put_blob(bytes.clone());
    let clock = glowplug_base::Clock::manual();
    let options = Options { clock: clock.clone(), ..with_mirror(&origin.host(), &[mirror.host()]) };
    let client = client(options);
    let blob = open(&client, &origin, "app").await.blob(&Descriptor::of("x/y", &bytes));
    mirror.stop();
    assert_eq!(read(&*blob, 0, 10).await.unwrap(), bytes[..10]);
    mirror.restart();
    assert_eq!(read(&*blob, 0, 10).await.unwrap(), bytes[..10]);
    assert!(mirror.log().is_empty());
    clock.advance(std::time::Duration::from_secs(31));
    assert_eq!(read(&*blob, 0, 10).await.unwrap(), bytes[..10]);
    assert_eq!((mirror.log().len(), origin.log().len()), (1, 2));
}

#[tokio::test]
async fn a_mirror_serves_a_registry_that_is_gone() {
    let mirror = TestRegistry::start();
    push(&mirror);
    let options = with_mirror("gone.invalid", &[mirror.host()]);
    let image: Source = "gone.invalid/app:v1".parse().unwrap();
    resolved(&client(options), &image).await.unwrap();
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let (mirror, origin) = (TestRegistry::start(), TestRegistry::start());
    push(&origin);
    mirror.set_auth(Auth::basic("other", "secret"));
    origin.set_auth(Auth::basic("u", "p"));
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.json");
    let auths = serde_json::json!({"auths": {origin.host(): {"username": "u", "password": "p"}}});
    std::fs::write(&config, auths.to_string()).unwrap();
    let options = Options { docker_config: Some(config), ..with_mirror(&origin.host(), &[mirror.host()]) };
    resolved(&client(options), &source(&origin, "app:v1")).await.unwrap();
    assert!(!mirror.log().is_empty());
    assert!(mirror.log().iter().all(|logged| logged.authorization.is_none()));
}

#[tokio::test]
async fn authorities_are_trusted_when_they_are_named() {
    let registry = TestRegistry::start_tls();
    push(&registry);
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, registry.ca_pem()).unwrap();
    let image = source(&registry, "app:v1");

    // Loopback is asked without TLS first, and with it when that makes no sense.
    let trusting = Options { ca_files: vec![ca], ..options() };
    resolved(&client(trusting), &image).await.unwrap();
    let unchecked = Options { insecure: vec![registry.host()], ..options() };
    resolved(&client(unchecked), &image).await.unwrap();

    let error = resolved(&client(options()), &image).await.unwrap_err();
    assert!(
        matches!(&error, Error::Source(e) if matches!(&e.kind, Kind::Protocol(what) if what.contains("certificate")))
    );
    assert!(error.hint().unwrap().to_string().contains("--ca-file"));

    std::fs::write(dir.path().join("bad.pem"), "nothing").unwrap();
    for bad in ["bad.pem", "missing.pem"] {
        let options = Options { ca_files: vec![dir.path().join(bad)], ..options() };
        assert!(glowplug_registry::Client::new(options).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn plain_http_is_not_guessed_for_other_hosts() {
    let registry = TestRegistry::start();
    push(&registry);
    // Its port speaks plain HTTP, and the mirror's address insists on TLS.
    let options = with_mirror("reg.invalid", &[format!("https://{}", registry.host())]);
    let image: Source = "reg.invalid/app:v1".parse().unwrap();
    resolved(&client(options), &image).await.unwrap_err();
    assert!(registry.log().is_empty());
}

#[tokio::test]
async fn a_mirror_with_wrong_bytes_is_distrusted() {
    let (mirror, origin) = (TestRegistry::start(), TestRegistry::start());
    let bytes = noise(1000);
    let descriptor = Descriptor::of("x/y", &bytes);
    mirror.put_wrong_blob(descriptor.digest, vec![0; 1000]);
    origin.put_blob(bytes.clone());
    let client = client(with_mirror(&origin.host(), &[mirror.host()]));
    let repository = open(&client, &origin, "app").await;
    assert_eq!(repository.small_blob(&descriptor, 1000).await.unwrap(), bytes);
    assert_eq!(mirror.log().len(), 1);
    assert!(!repository.distrust(), "there is nobody left to distrust");
}

#[tokio::test]
async fn wrong_bytes_are_asked_for_anew_and_then_elsewhere() {
    let (mirror, origin) = (TestRegistry::start(), TestRegistry::start());
    let bytes = noise(1000);
    let descriptor = Descriptor::of("x/y", &bytes);
    mirror.put_wrong_blob(descriptor.digest, vec![0; 1000]);
    origin.put_blob(bytes.clone());
    let client = client(with_mirror(&origin.host(), &[mirror.host()]));
    let blob = open(&client, &origin, "app").await.resilient_blob(&descriptor);
    assert_ne!(read(&*blob, 10, 20).await.unwrap(), bytes[10..20]);
    blob.distrust(ByteRange::new(10, 20));
    // What it is asked for beside that may come from what it keeps.
    assert_ne!(read(&*blob, 20, 30).await.unwrap(), bytes[20..30]);
    assert_ne!(read(&*blob, 10, 20).await.unwrap(), bytes[10..20]);
    blob.distrust(ByteRange::new(10, 20));
    assert_eq!(read(&*blob, 10, 20).await.unwrap(), bytes[10..20]);
    let anew: Vec<_> = mirror.log().into_iter().map(|asked| asked.cache_control).collect();
    assert_eq!(anew, [None, None, Some("no-cache".to_owned())]);
    assert_eq!(origin.log().len(), 1);
}

#[tokio::test]
async fn a_blobs_length_is_what_the_answer_for_its_first_byte_tells() {
    let registry = TestRegistry::start();
    let digest = registry.put_blob(noise(1000));
    let empty = registry.put_blob(Vec::new());
    let missing = glowplug_base::Digest::of(b"missing");
    let reference = registry.reference("app:v1").parse().unwrap();
    let client = client(options());
    for redirect in [false, true] {
        registry.redirect_blobs(redirect);
        assert_eq!(client.blob_size(&reference, &digest).await.unwrap(), 1000);
        assert_eq!(client.blob_size(&reference, &empty).await.unwrap(), 0);
        assert!(client.blob_size(&reference, &missing).await.unwrap_err().is_not_found());
    }
    registry.inject(Rule::blobs(Fault::IgnoreRange));
    assert_eq!(client.blob_size(&reference, &digest).await.unwrap(), 1000);
    registry.clear_faults();
    registry.inject(Rule::blobs(Fault::Status(503)).times(2));
    assert_eq!(client.blob_size(&reference, &digest).await.unwrap(), 1000);
}
