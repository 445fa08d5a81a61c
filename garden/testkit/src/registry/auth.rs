//! Who may come in.

use std::collections::HashMap;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// How the registry protects itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User and password with every request.
    Basic(String, String),
    /// Tokens from `/token`.
    Bearer {
        /// User and password that the token endpoint wants; anonymous without.
        login: Option<(String, String)>,
        /// An identity token that it takes instead.
        identity: Option<String>,
        /// How long it says that a token lives, in seconds. Tokens really live until
        /// [`TestRegistry::expire_tokens`](super::TestRegistry::expire_tokens).
        expires_in: Option<u64>,
    },
}

impl Auth {
    /// Tokens for everyone.
    pub fn anonymous_bearer() -> Self {
        Self::Bearer { login: None, identity: None, expires_in: None }
    }

    /// Tokens for one user.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer { login: Some((user.to_owned(), password.to_owned())), identity: None, expires_in: None }
    }

    /// User and password with every request.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic(user.to_owned(), password.to_owned())
    }
}

/// The header value that basic authentication wants.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

fn authorization(headers: &HeaderMap) -> &str {
    headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The door and who may come through.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) auth: Auth,
    /// Tokens that are good, with the scope they were given for.
    pub(super) tokens: HashMap<String, String>,
    given: u64,
}

impl Gate {
    /// `Err` is the challenge to answer with.
    pub(super) fn admit(
        &self,
        origin: &str,
        headers: &HeaderMap,
        repository: &str,
        write: bool,
    ) -> Result<(), String> {
        let given = authorization(headers);
        match &self.auth {
            Auth::None => Ok(()),
            Auth::Basic(user, password) if given == basic(user, password) => Ok(()),
            Auth::Basic(..) => Err("Basic realm=\"test, \\\"quoted\\\"\"".to_owned()),
            Auth::Bearer { .. } => {
                let scope = given.strip_prefix("Bearer ").and_then(|token| self.tokens.get(token));
                let wanted = format!("repository:{repository}:{}", if write { "pull,push" } else { "pull" });
                match scope {
                    Some(scope)
                        if repository.is_empty() || scope.split(' ').any(|s| s.starts_with(&wanted)) =>
                    {
                        Ok(())
                    }
                    _ => Err(format!("Bearer realm=\"{origin}/token\",service=\"test\",scope=\"{wanted}\"")),
                }
            }
        }
    }

    /// The token endpoint: status and body.
    pub(super) fn token(&mut self, headers: &HeaderMap, query: &str, form: &str) -> (u16, String) {
        let Auth::Bearer { login, identity, expires_in } = self.auth.clone() else {
            return (404, String::new());
        };
        let parameters = if form.is_empty() { query } else { form };
        let value = |key: &str| {
            let found = parameters
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .filter(|(name, _)| *name == key);
            found.map(|(_, value)| decode(value)).collect::<Vec<_>>().join(" ")
        };
        let admitted = match (&login, &identity) {
            (None, None) => true,
            (_, Some(identity)) if !form.is_empty() => {
                value("grant_type") == "refresh_token" && value("refresh_token") == *identity
            }
            (Some((user, password)), _) => authorization(headers) == basic(user, password),
            (None, Some(_)) => false,
        };
        if !admitted || value("service") != "test" {
            return (
                401,
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#
                    .to_owned(),
            );
        }
        self.given += 1;
        let token = format!("token-{}", self.given);
        self.tokens.insert(token.clone(), value("scope"));
        let key = if form.is_empty() { "token" } else { "access_token" };
        let mut body = serde_json::json!({ key: token });
        if let Some(seconds) = expires_in {
            body["expires_in"] = seconds.into();
        }
        (200, body.to_string())
    }
}

/// Undoes percent-encoding.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok())
                    .unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}
