//! Anonymous, basic and bearer authentication; tokens that end.

use std::path::PathBuf;
use std::time::Duration;

use glowplug_base::{Clock, Hinted as _};
use glowplug_oci::Descriptor;
use glowplug_registry::{Error, Options};
use glowplug_source::Kind;
use glowplug_testkit::{Auth, Fault, ImageBuilder, Layer, Rule, TestRegistry};

use crate::{amd64, client, open, options, read, resolved, source};

struct Setup {
    registry: TestRegistry,
    _dir: tempfile::TempDir,
    config: PathBuf,
}

impl Setup {
    /// A registry with an image and a configuration file with `entry` for it.
    fn new(auth: Auth, entry: serde_json::Value) -> Self {
        let registry = TestRegistry::start();
        ImageBuilder::new()
            .platform(&amd64())
            .layer(Layer::gzip(|tree| _ = tree.dir("a")))
            .push(&registry, "team/app:v1");
        registry.set_auth(auth);
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.json");
        let setup = Self { registry, _dir: dir, config };
        setup.login(entry);
        setup
    }

    fn login(&self, entry: serde_json::Value) {
        let config = serde_json::json!({"auths": {self.registry.host(): entry}});
        std::fs::write(&self.config, config.to_string()).unwrap();
    }

    fn options(&self) -> Options {
        Options { docker_config: Some(self.config.clone()), ..options() }
    }

    async fn pull(&self) -> Result<(), Error> {
        resolved(&client(self.options()), &source(&self.registry, "team/app:v1")).await.map(drop)
    }

    fn tokens_asked(&self) -> usize {
        self.registry.log().iter().filter(|logged| logged.path == "/token").count()
    }
}

fn user(name: &str, password: &str) -> serde_json::Value {
    serde_json::json!({"username": name, "password": password})
}

fn denied(error: &Error) -> &str {
    match error {
        Error::Source(error) => match &error.kind {
            Kind::Denied(what) => what,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn passwords_are_sent_when_they_are_asked_for() {
    let setup = Setup::new(Auth::basic("u", "p"), user("u", "p"));
    setup.pull().await.unwrap();
    let log = setup.registry.log();
    assert_eq!(log[0].authorization, None, "nothing is sent unasked");
    assert_eq!(log.iter().filter(|logged| logged.status == 401).count(), 1, "asked once: {log:?}");

    setup.login(user("u", "wrong"));
    let error = setup.pull().await.unwrap_err();
    denied(&error);
    assert!(error.hint().unwrap().to_string().contains("docker login"));
    setup.login(serde_json::json!({}));
    assert!(denied(&setup.pull().await.unwrap_err()).contains("no user name and password for"));
}

#[tokio::test]
async fn a_password_that_changed_is_read_again() {
    let setup = Setup::new(Auth::basic("u", "p"), user("u", "p"));
    let client = client(setup.options());
    resolved(&client, &source(&setup.registry, "team/app:v1")).await.unwrap();
    setup.registry.set_auth(Auth::basic("u", "new"));
    setup.login(user("u", "new"));
    resolved(&client, &source(&setup.registry, "team/app:v1")).await.unwrap();
}

#[tokio::test]
async fn tokens_for_everyone_and_for_one() {
    let setup = Setup::new(Auth::anonymous_bearer(), serde_json::json!({}));
    setup.pull().await.unwrap();
    assert_eq!(setup.tokens_asked(), 1, "one token for manifest and configuration");
    let token = setup.registry.log().into_iter().find(|logged| logged.path == "/token").unwrap();
    assert!(
        token.query.contains("service=test") && token.query.contains("scope=repository%3Ateam%2Fapp%3Apull"),
        "{token:?}"
    );
    assert_eq!(token.authorization, None);

    setup.registry.set_auth(Auth::bearer("u", "p"));
    setup.registry.expire_tokens();
    denied(&setup.pull().await.unwrap_err());
    setup.login(user("u", "p"));
    setup.pull().await.unwrap();
    let log = setup.registry.log();
    let outside = log.iter().filter(|logged| logged.path != "/token");
    let leaked =
        outside.filter_map(|logged| logged.authorization.as_ref()).any(|value| value.starts_with("Basic"));
    assert!(!leaked, "the password goes to the token endpoint only");
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let auth = Auth::Bearer { login: None, identity: Some("id+token/&=".into()), expires_in: None };
    let setup = Setup::new(auth, serde_json::json!({"identitytoken": "id+token/&="}));
    setup.pull().await.unwrap();
    let token = setup.registry.log().into_iter().find(|logged| logged.path == "/token").unwrap();
    assert_eq!((token.method.as_str(), token.query.as_str()), ("POST", ""));
}

#[tokio::test]
async fn a_token_that_is_no_longer_good_is_replaced() {
    let setup = Setup::new(Auth::anonymous_bearer(), serde_json::json!({}));
    let client = client(setup.options());
    let repository = open(&client, &setup.registry, "team/app:v1").await;
    let bytes = crate::noise(10_000);
    setup.registry.put_blob(bytes.clone());
    // Raw, so that it is not the retry that helps.
    let blob = repository.blob(&Descriptor::of("x/y", &bytes));
    for _ in 0..3 {
        assert_eq!(read(&*blob, 10, 100).await.unwrap(), bytes[10..100]);
        setup.registry.expire_tokens();
    }
    assert_eq!(setup.tokens_asked(), 3);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let auth = Auth::Bearer { login: None, identity: None, expires_in: Some(300) };
    let setup = Setup::new(auth, serde_json::json!({}));
    let clock = Clock::manual();
    let client = client(Options { clock: clock.clone(), ..setup.options() });
    let source = source(&setup.registry, "team/app:v1");
    let mut asked = Vec::new();
    for seconds in [0, 200, 69, 2, 0] {
        clock.advance(Duration::from_secs(seconds));
        resolved(&client, &source).await.unwrap();
        asked.push(setup.tokens_asked());
    }
    assert_eq!(asked, [1, 1, 1, 2, 2], "renewed at 270 s of 300");
    let refusals = setup.registry.log().iter().filter(|logged| logged.status == 401).count();
    assert_eq!(refusals, 1, "no request went out with a token that had ended");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_used_to_its_end() {
    let auth = Auth::Bearer { login: None, identity: None, expires_in: Some(300) };
    let setup = Setup::new(auth, serde_json::json!({}));
    let clock = Clock::manual();
    let client = client(Options { clock: clock.clone(), ..setup.options() });
    let source = source(&setup.registry, "team/app:v1");
    resolved(&client, &source).await.unwrap();
    clock.advance(Duration::from_secs(280));
    setup.registry.inject(Rule::any(Fault::Status(503)).on("/token"));
    resolved(&client, &source).await.unwrap();
    assert_eq!(setup.tokens_asked(), 2, "one attempt, not one for every request");
    setup.registry.clear_faults();
    clock.advance(Duration::from_secs(5));
    resolved(&client, &source).await.unwrap();
    assert_eq!(setup.tokens_asked(), 3);
}

#[tokio::test]
async fn many_requests_share_one_token() {
    let setup = Setup::new(Auth::anonymous_bearer(), serde_json::json!({}));
    let client = client(setup.options());
    let repository = open(&client, &setup.registry, "team/app:v1").await;
    let bytes = crate::noise(10_000);
    setup.registry.put_blob(bytes.clone());
    let descriptor = Descriptor::of("x/y", &bytes);
    let reads = (0..16_u64).map(|at| {
        let blob = repository.blob(&descriptor);
        async move { read(&*blob, at, at + 5).await.unwrap() }
    });
    futures::future::join_all(reads).await;
    assert_eq!(setup.tokens_asked(), 1);
}

#[tokio::test]
async fn a_broken_token_endpoint_is_told() {
    let setup = Setup::new(Auth::anonymous_bearer(), serde_json::json!({}));
    setup.registry.inject(Rule::any(Fault::Status(500)).on("/token").times(2));
    setup.pull().await.unwrap();
    setup.registry.inject(Rule::any(Fault::Status(404)).on("/token"));
    assert!(setup.pull().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn secrets_do_not_show_in_debug_output() {
    let setup = Setup::new(Auth::basic("u", "hunter2"), user("u", "hunter2"));
    let client = client(setup.options());
    let repository = open(&client, &setup.registry, "team/app:v1").await;
    resolved(&client, &source(&setup.registry, "team/app:v1")).await.unwrap();
    let sent = setup.registry.log().iter().find_map(|logged| logged.authorization.clone()).unwrap();
    let shown = format!("{client:?} {repository:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(sent.trim_start_matches("Basic ")));
}
