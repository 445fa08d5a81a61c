//! Addresses that answer for one registry: its mirrors, then itself.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Url;

use crate::{Error, Options};

/// How long a mirror that could not be reached is passed over, in nanoseconds.
const REST_NS: u64 = 30_000_000_000;

/// One address.
#[derive(Debug)]
pub(crate) struct Endpoint {
    base: Url,
    /// `HOST[:PORT]`: what credentials and tokens belong to.
    pub(crate) host: String,
    /// A mirror is told which registry it stands for.
    namespace: Option<String>,
    /// Loopback is spoken to without TLS first, and with it if that is what it wants.
    may_want_tls: AtomicBool,
    wants_tls: AtomicBool,
    down_until_ns: AtomicU64,
}

impl Endpoint {
    /// The addresses for `registry`, whose API answers at `api_host`, in the order in which to try them.
    pub(crate) fn all(registry: &str, api_host: &str, options: &Options) -> Result<Vec<Self>, Error> {
        let mirrors = options.mirrors.get(registry).into_iter().flatten();
        let mirrors = mirrors.map(|mirror| Self::parse(mirror, Some(registry), options));
        mirrors.chain([Self::parse(api_host, None, options)]).collect()
    }

    fn parse(text: &str, namespace: Option<&str>, options: &Options) -> Result<Self, Error> {
        let malformed = || Error::Address(text.to_owned());
        let explicit = text.contains("://");
        let url = if explicit { text.to_owned() } else { format!("http://{text}") };
        let mut base = Url::parse(&url).map_err(|_| malformed())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || base.query().is_some() {
            return Err(malformed());
        }
        if !explicit && !options.plain_http && !is_loopback(&base) {
            // The port's default depends on the scheme, so the address is read again.
            base = Url::parse(&format!("https://{text}")).map_err(|_| malformed())?;
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let may_want_tls = !explicit && !options.plain_http && base.scheme() == "http";
        let host = host_of(&base);
        let namespace = namespace.filter(|registry| *registry != host).map(str::to_owned);
        Ok(Self {
            base,
            host,
            namespace,
            may_want_tls: AtomicBool::new(may_want_tls),
            wants_tls: AtomicBool::new(false),
            down_until_ns: AtomicU64::new(0),
        })
    }

    /// The address of `path`, which begins after `/v2/`, with `query` pairs.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if self.wants_tls.load(Ordering::Relaxed) {
            // Cannot fail: both schemes are special ones.
            let _ = url.set_scheme("https");
        }
        url.set_path(&format!("{}v2/{path}", self.base.path()));
        let namespace = self.namespace.as_deref().map(|namespace| ("ns", namespace));
        let pairs = query.iter().copied().chain(namespace);
        if pairs.clone().next().is_some() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        url
    }

    /// Whether an answer that makes no sense may be a TLS server's.
    pub(crate) fn may_switch_to_tls(&self) -> bool {
        self.may_want_tls.load(Ordering::Relaxed) && !self.wants_tls.load(Ordering::Relaxed)
    }

    /// It made sense: the way it was spoken to is right.
    pub(crate) fn settle(&self) {
        self.may_want_tls.store(false, Ordering::Relaxed);
    }

    /// Speaks TLS from now on, or no longer.
    pub(crate) fn switch_to_tls(&self, on: bool) {
        self.wants_tls.store(on, Ordering::Relaxed);
    }

    /// Whether it was out of reach just now.
    pub(crate) fn is_down(&self, now_ns: u64) -> bool {
        now_ns < self.down_until_ns.load(Ordering::Relaxed)
    }

    /// Passes it over for a while.
    pub(crate) fn rest(&self, now_ns: u64) {
        self.down_until_ns.store(now_ns.saturating_add(REST_NS), Ordering::Relaxed);
    }

    /// Tries it again at once.
    pub(crate) fn wake(&self) {
        self.down_until_ns.store(0, Ordering::Relaxed);
    }
}

/// `HOST[:PORT]` of an address.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an address is on this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(registry: &str, options: &Options) -> Vec<String> {
        let api = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        let all = Endpoint::all(registry, api, options).unwrap();
        all.iter().map(|endpoint| endpoint.url("a/manifests/b", &[]).to_string()).collect()
    }

    #[test]
    fn tls_is_the_rule_and_loopback_the_exception() {
        let options = Options::default();
        for (registry, expected) in [
            ("docker.io", "https://registry-1.docker.io/v2/a/manifests/b"),
            ("ghcr.io:443", "https://ghcr.io/v2/a/manifests/b"),
            ("reg.example:80", "https://reg.example:80/v2/a/manifests/b"),
            ("localhost:5000", "http://localhost:5000/v2/a/manifests/b"),
            ("127.9.9.9", "http://127.9.9.9/v2/a/manifests/b"),
            ("[::1]:5000", "http://[::1]:5000/v2/a/manifests/b"),
            ("127.0.0.1.example", "https://127.0.0.1.example/v2/a/manifests/b"),
        ] {
            assert_eq!(urls(registry, &options), [expected]);
        }
        let options = Options { plain_http: true, ..options };
        assert_eq!(urls("reg.example", &options), ["http://reg.example/v2/a/manifests/b"]);
    }

    #[test]
    fn mirrors_come_first_and_learn_the_name() {
        let mut options = Options::default();
        let mirrors =
            vec!["m.example:5000".to_owned(), "http://n.example/cache".to_owned(), "docker.io".to_owned()];
        options.mirrors.insert("docker.io".to_owned(), mirrors);
        let expected = [
            "https://m.example:5000/v2/a/manifests/b?ns=docker.io",
            "http://n.example/cache/v2/a/manifests/b?ns=docker.io",
            "https://docker.io/v2/a/manifests/b",
            "https://registry-1.docker.io/v2/a/manifests/b",
        ];
        assert_eq!(urls("docker.io", &options), expected);
        for bad in ["", "ftp://x", "http://", "a b"] {
            options.mirrors.insert("docker.io".to_owned(), vec![bad.to_owned()]);
            assert!(matches!(Endpoint::all("docker.io", "x", &options), Err(Error::Address(_))), "{bad}");
        }
    }
}
