//! Who may come in at the cluster's door, where certificates have not decided it.

use axum::http::{HeaderMap, header};
use glowplug_base::Digest;

/// What is asked of whoever comes.
#[derive(Debug, Clone)]
pub(crate) enum Guard {
    /// Nothing: the door is on loopback, or TLS let nobody through who is not one of ours.
    Open,
    /// `Authorization: Bearer` with the secret of this digest.
    Token(Digest),
}

impl Guard {
    /// Asks for `token`.
    pub(crate) fn token(token: &str) -> Self {
        Self::Token(Digest::of(token.as_bytes()))
    }

    /// Whether whoever sent these headers may come in.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let Self::Token(expected) = self else { return true };
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        // Digests are compared, so that how long it takes tells nothing about the secret.
        token.is_some_and(|(_, token)| Digest::of(token.trim().as_bytes()) == *expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_opens() {
        let admits = |guard: &Guard, value: Option<&str>| {
            let headers = value.map(|value| (header::AUTHORIZATION, value.parse().unwrap()));
            guard.admits(&headers.into_iter().collect())
        };
        let guard = Guard::token("secret");
        assert!(admits(&guard, Some("Bearer secret")) && admits(&guard, Some("bearer secret")));
        for bad in [
            None,
            Some("secret"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer secrets"),
            Some("Basic secret"),
        ] {
            assert!(!admits(&guard, bad), "{bad:?}");
        }
        assert!(admits(&Guard::Open, None));
    }
}
