//! The `WWW-Authenticate` header (RFC 9110, section 11.6.1): how a registry wants to be asked.

/// One way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// Whom the token is for.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// The challenges of one header value; schemes that are not understood are left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut parser = Parser { rest: header };
    let mut found = Vec::new();
    while let Some(scheme) = parser.scheme() {
        let parameters = parser.parameters();
        let get = |key: &str| {
            let value = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            value.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = get("realm")
        {
            found.push(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
        }
    }
    found
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn skip(&mut self, what: &[char]) {
        self.rest = self.rest.trim_start_matches(what);
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let end = self.rest.find(|c| !is_token(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    fn scheme(&mut self) -> Option<&'a str> {
        self.skip(&[' ', '\t', ',']);
        self.token()
    }

    /// `name=value` pairs up to the next scheme.
    fn parameters(&mut self) -> Vec<(&'a str, String)> {
        let mut found = Vec::new();
        loop {
            self.skip(&[' ', '\t', ',']);
            let before = self.rest;
            let Some(name) = self.token() else {
                // What is neither a pair nor a scheme (a token68 of another scheme) is stepped over.
                let next = self.rest.find([',', ' ']).unwrap_or(self.rest.len());
                self.rest = &self.rest[next..];
                if self.rest.is_empty() {
                    return found;
                }
                continue;
            };
            self.skip(&[' ', '\t']);
            let Some(value) = self.rest.strip_prefix('=') else {
                self.rest = before;
                return found;
            };
            self.rest = value;
            self.skip(&[' ', '\t']);
            found.push((name, self.value()));
        }
    }

    fn value(&mut self) -> String {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', ' ', '\t']).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return value.to_owned();
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.rest = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let text = |value: Option<&str>| value.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: text(service), scope: text(scope) }
    }

    #[test]
    fn what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let hub_expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        let x = || bearer("https://x/t", None, None);
        for (header, expected) in [
            (hub, vec![hub_expected]),
            (r#"Basic realm="say \"hi\", ok""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            ("BEARER REALM = https://x/t", vec![x()]),
            (r#"Bearer realm="https://x/t", Basic realm="y""#, vec![x(), Challenge::Basic]),
            (r#"Negotiate, Bearer realm="https://x/t""#, vec![x()]),
            (r#"Negotiate abc/==, Bearer realm="https://x/t""#, vec![x()]),
            (r#"Bearer service="x""#, vec![]),
            (r#"Bearer realm="https://x/t"#, vec![x()]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_ends(header in "\\PC{0,100}") {
            let _ = parse(&header);
        }

        #[test]
        fn near_headers_end(header in "[Bb]?[a-z]{0,6}[ =,\"\\\\a-z/]{0,60}") {
            let _ = parse(&header);
        }
    }
}
