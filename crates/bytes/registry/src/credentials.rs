//! Docker's `config.json` and its credential helpers.
//!
//! The file is read whenever a registry asks, so that a login that was renewed is seen. A helper that fails or takes
//! too long is reported and the registry is asked without credentials: most images are public, and broken helpers are
//! common.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

/// Under this key Docker keeps what belongs to Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Largest answer of a helper and largest configuration file.
const MAX_BYTES: u64 = 1 << 20;

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// User and password.
    Basic(String, String),
    /// A token that is exchanged for others.
    Identity(String),
}

/// Never shows a secret.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic(user, _) => write!(f, "Basic({user})"),
            Self::Identity(_) => f.write_str("Identity"),
        }
    }
}

/// What was found, and what got in the way.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) credential: Option<Credential>,
    pub(crate) trouble: Option<String>,
}

/// Where credentials come from.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) config: Option<PathBuf>,
    pub(crate) helper_path: Option<OsString>,
    pub(crate) helper_timeout: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, Auth>,
    #[serde(default)]
    creds_store: String,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

impl Credentials {
    /// What is known for `repository` at `host`.
    pub(crate) async fn lookup(&self, host: &str, repository: &str) -> Found {
        let mut found = Found::default();
        for path in self.places() {
            let file = match read_config(&path) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(trouble) => {
                    found.trouble = Some(trouble);
                    continue;
                }
            };
            let keys = keys(host, repository);
            let helper = keys.iter().find_map(|key| file.cred_helpers.get(key)).unwrap_or(&file.creds_store);
            if !helper.is_empty() {
                let server = if is_hub(host) { HUB_KEY } else { host };
                match self.ask(helper, server).await {
                    Ok(Some(credential)) => return Found { credential: Some(credential), trouble: None },
                    Ok(None) => {}
                    Err(trouble) => found.trouble = Some(format!("credential helper {helper:?} {trouble}")),
                }
            }
            let normal: HashMap<&str, &Auth> =
                file.auths.iter().map(|(key, auth)| (strip(key), auth)).collect();
            found.credential = keys.iter().find_map(|key| normal.get(key.as_str())?.credential());
            if found.credential.is_some() {
                break;
            }
        }
        if let Some(trouble) = &found.trouble {
            tracing::warn!(host, "{trouble}");
        }
        found
    }

    fn places(&self) -> Vec<PathBuf> {
        if let Some(config) = &self.config {
            return vec![config.clone()];
        }
        let home = std::env::home_dir();
        let docker = match std::env::var_os("DOCKER_CONFIG") {
            Some(dir) => Some(PathBuf::from(dir).join("config.json")),
            None => home.as_ref().map(|home| home.join(".docker/config.json")),
        };
        let runtime =
            std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("containers/auth.json"));
        let podman = home.map(|home| home.join(".config/containers/auth.json"));
        [docker, runtime, podman].into_iter().flatten().collect()
    }

    /// Runs `docker-credential-HELPER get`.
    async fn ask(&self, helper: &str, server: &str) -> Result<Option<Credential>, String> {
        if helper.contains('/') {
            return Err("has a slash in its name".to_owned());
        }
        let file = format!("docker-credential-{helper}");
        let path = self.helper_path.clone().or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        let program =
            std::env::split_paths(&path).map(|dir| dir.join(&file)).find(|program| program.is_file());
        let program = program.ok_or_else(|| "is not installed".to_owned())?;
        let run = run_helper(&program, server);
        let (good, output) = tokio::time::timeout(self.helper_timeout, run)
            .await
            .map_err(|_| format!("did not answer within {:?}", self.helper_timeout))?
            .map_err(|error| format!("cannot be run: {error}"))?;
        if !good {
            let text = String::from_utf8_lossy(&output);
            // What every helper of the docker-credential-helpers project says when it has nothing.
            if text.contains("credentials not found") {
                return Ok(None);
            }
            return Err(format!("failed: {}", text.trim().chars().take(200).collect::<String>()));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            username: String,
            secret: String,
        }
        let answer: Answer =
            serde_json::from_slice(&output).map_err(|_| "gave a malformed answer".to_owned())?;
        Ok(match (answer.username.as_str(), answer.secret) {
            (_, secret) if secret.is_empty() => None,
            ("<token>", secret) => Some(Credential::Identity(secret)),
            (user, secret) => Some(Credential::Basic(user.to_owned(), secret)),
        })
    }
}

/// Whether it went well, and what it printed.
async fn run_helper(program: &Path, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    use tokio::io::AsyncReadExt as _;
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input may still answer.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_BYTES).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

impl Auth {
    fn credential(&self) -> Option<Credential> {
        if !self.identity_token.is_empty() {
            return Some(Credential::Identity(self.identity_token.clone()));
        }
        let decoded =
            BASE64_STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) {
            // Old versions of Docker pad with zeros.
            return Some(Credential::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned()));
        }
        (!self.username.is_empty()).then(|| Credential::Basic(self.username.clone(), self.password.clone()))
    }
}

fn read_config(path: &Path) -> Result<Option<ConfigFile>, String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| format!("{}: {error}", path.display()))
}

fn is_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// Keys under which credentials may lie, most special first: Podman keeps some by repository.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let hosts: &[&str] =
        if is_hub(host) { &["index.docker.io", "docker.io", "registry-1.docker.io"] } else { &[host] };
    let mut keys = Vec::new();
    for host in hosts {
        let mut path = repository;
        while !path.is_empty() {
            keys.push(format!("{host}/{path}"));
            path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    keys.extend(hosts.iter().map(|host| (*host).to_owned()));
    keys
}

/// A key without scheme and API version.
fn strip(key: &str) -> &str {
    let key = key.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    key.trim_end_matches("/v1").trim_end_matches("/v2")
}

#[cfg(test)]
mod tests;
