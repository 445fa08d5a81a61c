//! Configuration files and helpers as they are found on people's machines.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        Self { dir }
    }

    fn helper(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn lookup(&self, host: &str, repository: &str, timeout: Duration) -> Found {
        let credentials = Credentials {
            config: Some(self.dir.path().join("config.json")),
            helper_path: Some(self.dir.path().as_os_str().to_owned()),
            helper_timeout: timeout,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(credentials.lookup(host, repository))
    }

    fn get(&self, host: &str, repository: &str) -> Option<Credential> {
        self.lookup(host, repository, Duration::from_secs(20)).credential
    }
}

fn basic(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::Basic(user.to_owned(), password.to_owned()))
}

#[test]
fn the_file_is_searched_by_host_and_by_repository() {
    // "dTpw" is u:p, "aHViOnB3OjE=" is hub:pw:1.
    let home = Home::new(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnB3OjE="},
            "https://plain.example/v2/": {"auth": "dTpw"},
            "named.example:5000": {"username": "n", "password": "q"},
            "quay.example/team": {"auth": "dTpw"},
            "quay.example": {"identitytoken": "id"},
            "empty.example": {}
        }}"#,
    );
    for (host, repository, expected) in [
        ("docker.io", "library/x", basic("hub", "pw:1")),
        ("registry-1.docker.io", "library/x", basic("hub", "pw:1")),
        ("plain.example", "x", basic("u", "p")),
        ("named.example:5000", "x", basic("n", "q")),
        ("named.example", "x", None),
        ("quay.example", "team/app/x", basic("u", "p")),
        ("quay.example", "teams/app", Some(Credential::Identity("id".to_owned()))),
        ("empty.example", "x", None),
    ] {
        assert_eq!(home.get(host, repository), expected, "{host}/{repository}");
    }
}

#[test]
fn helpers_are_asked_by_name() {
    let home = Home::new(
        r#"{"credsStore": "all", "credHelpers": {"special.example": "one", "gone.example": "gone", "evil.example": "../x"},
            "auths": {"gone.example": {"auth": "dTpw"}, "file.example": {"auth": "dTpw"}}}"#,
    )
    .helper("one", r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"one\",\"Secret\":\"$server\"}""#)
    .helper(
        "all",
        r#"read server
        case "$server" in
            https://index.docker.io/v1/) echo '{"ServerURL":"","Username":"<token>","Secret":"idt"}';;
            broken.example) echo 'no display' ; exit 2;;
            *) echo 'credentials not found in native keychain'; exit 1;;
        esac"#,
    );
    let found = |host| home.lookup(host, "x", Duration::from_secs(20));
    assert_eq!(found("special.example").credential, basic("one", "special.example"));
    assert_eq!(found("docker.io").credential, Some(Credential::Identity("idt".to_owned())));
    let broken = found("broken.example");
    assert_eq!(broken.credential, None);
    assert_eq!(broken.trouble.unwrap(), r#"credential helper "all" failed: no display"#);
    // A helper that has nothing, or is not there, leaves the file.
    assert_eq!(found("file.example").credential, basic("u", "p"));
    let gone = found("gone.example");
    assert_eq!(gone.credential, basic("u", "p"));
    assert!(gone.trouble.unwrap().contains("is not installed"));
    assert!(found("evil.example").trouble.unwrap().contains("slash"));
}

#[test]
fn a_helper_that_waits_for_ever_is_ended() {
    let home = Home::new(r#"{"credsStore": "slow"}"#).helper("slow", "exec sleep 1000");
    let found = home.lookup("x.example", "x", Duration::from_millis(50));
    assert_eq!(found.credential, None);
    assert!(found.trouble.unwrap().contains("did not answer within 50ms"));
}

#[test]
fn broken_files_are_reported_and_missing_ones_are_not() {
    assert!(Home::new("{").lookup("x", "y", Duration::ZERO).trouble.unwrap().contains("config.json"));
    let home = Home::new("{}");
    std::fs::remove_file(home.dir.path().join("config.json")).unwrap();
    assert!(home.lookup("x", "y", Duration::ZERO).trouble.is_none());
}
