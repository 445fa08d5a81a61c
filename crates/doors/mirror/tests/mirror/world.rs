//! A registry, nodes with their doors on loopback, and peers that are none of ours.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Uri;
use axum::response::Response;
use glowplug_base::{Clock, Digest};
use glowplug_mirror::{Door, Limits, Tls, serve};
use glowplug_peer::{KEY_FILE, Node, OwnService, PIECE_BYTES, Patience, Security, Settings, read_key};
use glowplug_registry::{Client, Options};
use glowplug_testkit::TestRegistry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// After this a test that waits has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// For tests in which nobody is slow, however busy the machine is.
pub const PATIENT: Patience = Patience { first: DEADLINE, least: DEADLINE, most: DEADLINE };

/// For tests in which somebody is.
pub const IMPATIENT: Patience = Patience {
    first: Duration::from_millis(100),
    least: Duration::from_millis(100),
    most: Duration::from_millis(100),
};

/// What a test changes about a node.
pub struct Plan {
    pub peers: Vec<String>,
    pub quota_bytes: u64,
    pub copies: usize,
    pub patience: Patience,
    pub security: Security,
    /// Certificate and key of the door, and the authority.
    pub tls: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    pub cache_dir: Option<PathBuf>,
    pub clock: Clock,
    pub upstreams: Vec<String>,
    pub trust_indexes: bool,
    pub limits: Limits,
    /// How the node reaches registries.
    pub options: Options,
    /// Where this machine's door is, if that was bound before.
    pub local: Option<(TcpListener, SocketAddr)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            quota_bytes: 1 << 30,
            copies: 1,
            patience: PATIENT,
            security: Security::None,
            tls: None,
            cache_dir: None,
            clock: Clock::manual(),
            upstreams: Vec::new(),
            trust_indexes: true,
            limits: Limits::default(),
            options: Options::default(),
            local: None,
        }
    }
}

/// A node that serves.
pub struct Running {
    pub node: Node,
    pub own: String,
    /// Where this machine's door is.
    pub local: String,
    pub cache_dir: PathBuf,
    _dir: tempfile::TempDir,
    _doors: JoinSet<()>,
}

/// A socket on loopback, and its address.
pub async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A client for registries that sees nothing of the machine the tests run on.
pub fn client(options: Options) -> Client {
    Client::new(Options { docker_config: Some("/nonexistent/config.json".into()), ..options }).unwrap()
}

impl Running {
    pub async fn start(plan: Plan) -> Self {
        Self::start_at(bind().await, plan).await
    }

    /// Starts with the cluster's door at a socket that was bound before.
    pub async fn start_at((listener, addr): (TcpListener, SocketAddr), plan: Plan) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = format!("{}://{addr}", if plan.tls.is_some() { "https" } else { "http" });
        let cache_dir = plan.cache_dir.unwrap_or_else(|| dir.path().to_owned());
        let token = match &plan.security {
            Security::Token(token) => Some(token.clone()),
            _ => None,
        };
        let settings = Settings {
            own: own.clone(),
            peers: plan.peers,
            cache_dir: cache_dir.clone(),
            cache_quota_bytes: plan.quota_bytes,
            copies: plan.copies,
            patience: plan.patience,
            security: plan.security,
            trust_indexes: plan.trust_indexes,
        };
        let node = Node::open(&settings, client(plan.options), plan.clock).unwrap();
        let tls = plan
            .tls
            .map(|(certificate, key, authority)| Tls::mutual(&certificate, &key, &authority).unwrap());
        let (local, local_addr) = match plan.local {
            Some(bound) => bound,
            None => bind().await,
        };
        let limits = plan.limits;
        let mut doors = JoinSet::new();
        let cluster = Door::cluster(node.clone(), plan.upstreams.clone(), token.as_deref());
        doors.spawn(async move { serve(listener, tls, cluster, &limits).await.unwrap() });
        let door = Door::local(node.clone(), plan.upstreams);
        doors.spawn(async move { serve(local, None, door, &limits).await.unwrap() });
        Self { node, own, local: format!("http://{local_addr}"), cache_dir, _dir: dir, _doors: doors }
    }

    /// The node's service, as processes of this machine see it.
    pub fn service(&self) -> OwnService {
        OwnService::at(&self.local, read_key(&self.cache_dir.join(KEY_FILE))).unwrap()
    }

    /// The address of a blob at this machine's door.
    pub fn blob_url(&self, registry: &TestRegistry, blob: &Digest) -> String {
        format!("{}/v2/app/blobs/{blob}?ns={}", self.local, registry.host())
    }

    /// A whole blob, as this machine's door gives it.
    pub async fn read(&self, registry: &TestRegistry, blob: &Digest) -> Result<Vec<u8>, reqwest::Error> {
        let response = http().get(self.blob_url(registry, blob)).send().await?.error_for_status()?;
        response.bytes().await.map(|bytes| bytes.to_vec())
    }
}

/// Nodes that know each other.
pub async fn cluster(count: usize, plan: impl Fn() -> Plan) -> Vec<Running> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(bind().await);
    }
    let scheme = if plan().tls.is_some() { "https" } else { "http" };
    let peers: Vec<String> = sockets.iter().map(|(_, addr)| format!("{scheme}://{addr}")).collect();
    let mut nodes = Vec::new();
    for socket in sockets {
        nodes.push(Running::start_at(socket, Plan { peers: peers.clone(), ..plan() }).await);
    }
    nodes
}

/// A peer that answers as the test says, at the address that is returned.
pub async fn stranger<F, A>(answer: F) -> (String, JoinSet<()>)
where
    F: Fn(Uri) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send,
{
    let (listener, addr) = bind().await;
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |request: Request| {
        let answer = answer.clone();
        async move { answer(request.uri().clone()).await }
    });
    let mut running = JoinSet::new();
    running.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (format!("http://{addr}"), running)
}

/// A right answer with these bytes.
pub fn bytes(bytes: Vec<u8>) -> Response {
    Response::new(Body::from(bytes))
}

/// The number at the end of a piece's path, and the blob's length.
pub fn piece_asked(uri: &Uri) -> (usize, usize) {
    let number = uri.path().rsplit('/').next().unwrap().parse().unwrap();
    let size = uri.query().unwrap().rsplit("size=").next().unwrap().parse().unwrap();
    (number, size)
}

/// Bytes in piece `number` of a blob of `size` bytes.
pub fn piece_length(number: usize, size: usize) -> usize {
    let piece = PIECE_BYTES as usize;
    piece.min(size - number * piece)
}

/// An HTTP client that keeps to itself.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().tls_certs_only([]).timeout(DEADLINE).build().unwrap()
}

/// Bytes that differ wherever they are read from.
pub fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Bytes of blobs that the registry was asked for, the questions for their length among them.
pub fn egress(registry: &TestRegistry) -> u64 {
    let bytes = |range: &str| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some(last.parse::<u64>().ok()? + 1 - first.parse::<u64>().ok()?)
    };
    registry.blob_requests().iter().map(|asked| asked.range.as_deref().and_then(bytes).unwrap()).sum()
}
