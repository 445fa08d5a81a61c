//! Who we are to a registry: challenges answered, tokens kept until they are about to expire.
//!
//! One token per host and scope, however many requests wait for it. A secret is sent to the registry's own host or to
//! the realm that this host names, and never over a connection less protected than the registry's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use glowplug_base::Clock;
use glowplug_source::{Kind, SourceError};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use crate::Error;
use crate::challenge::{self, Challenge};
use crate::credentials::{Credential, Credentials};
use crate::endpoint::is_loopback;
use crate::http::{self, Call, Http};

/// How long a token lives that does not say, in seconds (distribution project, token authentication).
const DEFAULT_LIFE_S: u64 = 60;
/// A token is renewed so long before its end, or in the last quarter of a short life.
const RENEW_BEFORE_S: u64 = 30;
/// How long to go on with a token that could not be renewed before that is tried again.
const RENEW_AGAIN_S: u64 = 5;
/// Largest answer of a token endpoint.
const MAX_TOKEN_BYTES: usize = 256 * 1024;
const NS: u64 = 1_000_000_000;

/// What a request is allowed to do, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    /// `HOST[:PORT]`.
    pub(crate) host: String,
    /// The repository; empty for none.
    pub(crate) repository: String,
    /// Whether it writes.
    pub(crate) push: bool,
}

impl Access {
    fn scope(&self) -> String {
        let actions = if self.push { "pull,push" } else { "pull" };
        format!("repository:{}:{actions}", self.repository)
    }
}

/// Header values by access.
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Credentials,
    clock: Clock,
    slots: Mutex<HashMap<Access, Arc<tokio::sync::Mutex<Slot>>>>,
}

#[derive(Debug, Default)]
struct Slot {
    challenge: Option<Challenge>,
    header: Option<HeaderValue>,
    /// When a token wants renewing; passwords never do.
    renew_at_ns: Option<u64>,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials, clock: Clock) -> Self {
        Self { credentials, clock, slots: Mutex::default() }
    }

    fn slot(&self, access: &Access) -> Arc<tokio::sync::Mutex<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).entry(access.clone()).or_default().clone()
    }

    /// What to send along, as far as it is known; a token that is about to expire is renewed first.
    pub(crate) async fn header(
        &self,
        http: &Http,
        access: &Access,
        url: &Url,
    ) -> Result<Option<HeaderValue>, SourceError> {
        let slot = self.slot(access);
        let mut slot = slot.lock().await;
        let now_ns = self.clock.now_ns();
        if slot.renew_at_ns.is_some_and(|at| at <= now_ns) {
            match self.obtain(http, access, url, &mut slot).await {
                // The old one has some life left; if it has not, the registry will say so.
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, host = access.host, "token could not be renewed yet");
                    slot.renew_at_ns = Some(now_ns.saturating_add(RENEW_AGAIN_S * NS));
                }
                result => result?,
            }
        }
        Ok(slot.header.clone())
    }

    /// What to send after a 401 for a request that carried `rejected`.
    pub(crate) async fn answer(
        &self,
        http: &Http,
        access: &Access,
        url: &Url,
        rejected: Option<&HeaderValue>,
        headers: &HeaderMap,
    ) -> Result<HeaderValue, SourceError> {
        let slot = self.slot(access);
        let mut slot = slot.lock().await;
        if let Some(newer) = slot.header.as_ref().filter(|header| Some(*header) != rejected) {
            return Ok(newer.clone());
        }
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut offered: Vec<Challenge> = values.flat_map(challenge::parse).collect();
        // A token is safer to send around than a password.
        offered.sort_by_key(|challenge| *challenge == Challenge::Basic);
        let denied = |what: &str| SourceError::new(name(access), Kind::Denied(what.to_owned()));
        let first = offered.into_iter().next();
        slot.challenge = Some(first.ok_or_else(|| denied("the registry does not say how to authenticate"))?);
        self.obtain(http, access, url, &mut slot).await?;
        match &slot.header {
            Some(header) if Some(header) == rejected => Err(denied("user name or password was refused")),
            Some(header) => Ok(header.clone()),
            None => Err(denied("authentication required")),
        }
    }

    /// Something else to send than `rejected`, if there is.
    pub(crate) async fn renew(
        &self,
        http: &Http,
        access: &Access,
        url: &Url,
        rejected: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, SourceError> {
        let slot = self.slot(access);
        let mut slot = slot.lock().await;
        if slot.header.as_ref() == rejected {
            self.obtain(http, access, url, &mut slot).await?;
        }
        Ok(slot.header.clone().filter(|header| Some(header) != rejected))
    }

    /// Answers the slot's challenge.
    async fn obtain(
        &self,
        http: &Http,
        access: &Access,
        url: &Url,
        slot: &mut Slot,
    ) -> Result<(), SourceError> {
        let denied = |what: String| SourceError::new(name(access), Kind::Denied(what));
        let found = self.credentials.lookup(&access.host, &access.repository).await;
        match (&slot.challenge, &found.credential) {
            (None, _) => {}
            (Some(Challenge::Basic), Some(Credential::Basic(user, password))) => {
                slot.header =
                    Some(secret(&basic(user, password)).ok_or_else(|| denied("malformed password".into()))?);
            }
            (Some(Challenge::Basic), _) => {
                let trouble = found.trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
                return Err(denied(format!("no user name and password for {}{trouble}", access.host)));
            }
            (Some(Challenge::Bearer { realm, service, scope }), credential) => {
                let scope = scope.clone().unwrap_or_else(|| access.scope());
                let call = token_call(access, url, realm, service.as_deref(), &scope, credential.as_ref())?;
                let begun_ns = self.clock.now_ns();
                let token = fetch_token(http, access, &call).await.map_err(|mut error| {
                    if let (Kind::Denied(what), Some(trouble)) = (&mut error.kind, &found.trouble) {
                        what.push_str(&format!("; {trouble}"));
                    }
                    error
                })?;
                let life = token.expires_in.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_LIFE_S);
                let usable = life - RENEW_BEFORE_S.min(life.div_ceil(4));
                slot.renew_at_ns = Some(begun_ns.saturating_add(usable.saturating_mul(NS)));
                let value = [token.token, token.access_token].into_iter().find(|token| !token.is_empty());
                let header = value.and_then(|token| secret(&format!("Bearer {token}")));
                slot.header = Some(header.ok_or_else(|| {
                    SourceError::new(
                        name(access),
                        Kind::Protocol("the token endpoint gave no token".to_owned()),
                    )
                })?);
            }
        }
        Ok(())
    }
}

fn name(access: &Access) -> String {
    if access.repository.is_empty() {
        access.host.clone()
    } else {
        format!("{}/{}", access.host, access.repository)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A header value that never shows in debug output.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The answer of a token endpoint; `token` and `access_token` mean the same.
#[derive(Default, Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// The request for a token: GET with a password or nothing, POST with an identity token.
fn token_call(
    access: &Access,
    registry: &Url,
    realm: &str,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> Result<Call, SourceError> {
    let wrong = |what: &str| SourceError::new(name(access), Kind::Protocol(what.to_owned()));
    let mut url = Url::parse(realm).map_err(|_| wrong("malformed address of the token endpoint"))?;
    let protected = url.scheme() == "https"
        || (url.scheme() == "http" && (registry.scheme() == "http" || is_loopback(&url)));
    if !protected {
        return Err(wrong("the token endpoint is less protected than the registry"));
    }
    let scopes = scope.split(' ').filter(|scope| !scope.is_empty() && !access.repository.is_empty());
    let service = service.map(|service| ("service", service));
    let mut call;
    if let Some(Credential::Identity(token)) = credential {
        // Url's query serializer writes the form encoding.
        let mut form = url.clone();
        form.set_query(None);
        form.query_pairs_mut()
            .extend_pairs([
                ("grant_type", "refresh_token"),
                ("client_id", "glowplug"),
                ("refresh_token", token),
            ])
            .extend_pairs(service)
            .append_pair("scope", &scopes.collect::<Vec<_>>().join(" "));
        call = Call::get(url);
        call.method = Method::POST;
        call.body = form.query().map(|form| form.to_owned().into());
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        call.headers.insert(header::CONTENT_TYPE, form_type);
    } else {
        url.query_pairs_mut().extend_pairs(service).extend_pairs(scopes.map(|scope| ("scope", scope)));
        call = Call::get(url);
        if let Some(Credential::Basic(user, password)) = credential {
            let value = secret(&basic(user, password)).ok_or_else(|| wrong("malformed password"))?;
            call.headers.insert(header::AUTHORIZATION, value);
        }
    }
    Ok(call)
}

async fn fetch_token(http: &Http, access: &Access, call: &Call) -> Result<Token, SourceError> {
    let name = name(access);
    // As the request's own authorization, so that no redirect takes it to another host.
    let mut call = call.clone();
    let authorization = call.headers.remove(header::AUTHORIZATION);
    let answer = http.exchange(&name, &call, authorization.as_ref()).await?;
    if !answer.response.status().is_success() {
        return Err(http::refused(&name, answer.response).await);
    }
    let body = http::read(&name, answer.response, MAX_TOKEN_BYTES).await.map_err(|error| match error {
        Error::Source(error) => error,
        other => SourceError::new(&name, Kind::Protocol(other.to_string())),
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        SourceError::new(&name, Kind::Protocol("the token endpoint gave a malformed answer".to_owned()))
            .caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(registry: &str, realm: &str, credential: Option<&Credential>) -> Result<Call, SourceError> {
        let access = Access { host: "r.example".to_owned(), repository: "a/b".to_owned(), push: true };
        let registry = Url::parse(registry).unwrap();
        token_call(&access, &registry, realm, Some("s&t"), &access.scope(), credential)
    }

    #[test]
    fn a_token_is_asked_for_over_a_connection_as_protected_as_the_registry_s() {
        for (registry, realm, good) in [
            ("https://r.example", "https://auth.example/token", true),
            ("http://r.example", "http://auth.example/token", true),
            ("https://r.example", "http://127.0.0.1:1/token", true),
            ("https://r.example", "http://auth.example/token", false),
            ("https://r.example", "file:///token", false),
            ("https://r.example", "token", false),
        ] {
            assert_eq!(call(registry, realm, None).is_ok(), good, "{realm}");
        }
    }

    #[test]
    fn secrets_travel_in_the_header_or_in_the_body() {
        let realm = "https://auth.example/token?account=x";
        let password = Credential::Basic("u".to_owned(), "p".to_owned());
        let with_password = call("https://r.example", realm, Some(&password)).unwrap();
        assert_eq!(
            with_password.url.query(),
            Some("account=x&service=s%26t&scope=repository%3Aa%2Fb%3Apull%2Cpush")
        );
        assert!(with_password.headers[header::AUTHORIZATION].is_sensitive());
        let identity = Credential::Identity("i d".to_owned());
        let with_identity = call("https://r.example", realm, Some(&identity)).unwrap();
        assert_eq!(with_identity.url.query(), Some("account=x"));
        let form = String::from_utf8(with_identity.body.unwrap().to_vec()).unwrap();
        assert!(form.starts_with(
            "grant_type=refresh_token&client_id=glowplug&refresh_token=i+d&service=s%26t&scope="
        ));
    }
}
