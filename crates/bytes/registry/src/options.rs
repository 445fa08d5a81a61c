//! How the client behaves.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use glowplug_base::Clock;
use glowplug_source::RetryPolicy;

use crate::Via;

/// How the client behaves; the default is right for public registries.
#[derive(Debug, Clone)]
pub struct Options {
    /// Use HTTP without TLS for every registry. Loopback hosts need no asking.
    pub plain_http: bool,
    /// `HOST[:PORT]` whose certificates are not checked.
    pub insecure: Vec<String>,
    /// Mirrors by registry name (`docker.io`), tried in order before the registry itself. Each is `HOST[:PORT]` or
    /// `http[s]://HOST[:PORT][/PATH]`, where the API lies at `PATH/v2/`.
    pub mirrors: HashMap<String, Vec<String>>,
    /// PEM files with more certificate authorities.
    pub ca_files: Vec<PathBuf>,
    /// Docker's `config.json`; without it `$DOCKER_CONFIG`, then Docker's and Podman's places in the home directory.
    pub docker_config: Option<PathBuf>,
    /// Where credential helpers are looked for; without it `$PATH`.
    pub helper_path: Option<OsString>,
    /// How long a credential helper may take. Helpers that ask a cloud take a second or two; one that waits for a
    /// person at a screen would wait for ever.
    pub helper_timeout: Duration,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a connection may be silent before it counts as broken.
    pub idle_timeout: Duration,
    /// How patient documents and small blobs are fetched; large blobs are the caller's choice.
    pub retry: RetryPolicy,
    /// Bytes of a piece of a blob that is pushed from a file: what an interruption may cost.
    pub upload_piece_bytes: u64,
    /// The User-Agent header.
    pub user_agent: String,
    /// Which node asks, and who asks through it; nothing for whoever asks for himself.
    pub via: Option<Via>,
    /// Time, for tokens that expire.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            plain_http: false,
            insecure: Vec::new(),
            mirrors: HashMap::new(),
            ca_files: Vec::new(),
            docker_config: None,
            helper_path: None,
            helper_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(15),
            retry: RetryPolicy::default(),
            // 0.1 s of a 10 Gbit/s link, which a round trip for each hardly lengthens.
            upload_piece_bytes: 128 << 20,
            user_agent: concat!("glowplug/", env!("CARGO_PKG_VERSION")).to_owned(),
            via: None,
            clock: Clock::system(),
        }
    }
}
