//! `glowplug peer serve`: a node of the peer tier, until it is ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_mirror::{Door, Limits, Tls, serve as open_door};
use glowplug_peer::{ApiServer, EndpointSlices, Node, Patience, Security, Settings, made_up_name};
use glowplug_registry::Via;
use tokio::net::TcpListener;

use crate::cli::{Global, PeerServeArgs};
use crate::commands::runtime;
use crate::commands::signals::Stop;
use crate::node;
use crate::output::Output;

/// Where Kubernetes puts what a pod knows the API server by.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Runs the command.
pub fn serve(global: &Global, args: &PeerServeArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let entry = Entry::read(args)?;
    if !args.local.ip().is_loopback() {
        bail!("--local {} is no loopback address, and whoever reads there needs no credentials", args.local);
    }
    if args.peer.is_empty() && args.endpoint_slice.is_none() {
        output.note("no --peer and no --endpoint-slice: this node is on its own");
    }
    let settings = Settings {
        own: own(args, entry.tls.is_some())?,
        peers: args.peer.clone(),
        cache_dir: args.cache.clone().unwrap_or_else(|| global.store.join(node::SERVICE_DIR)),
        cache_quota_bytes: args.cache_quota,
        copies: usize::from(args.copies),
        patience: Patience::default(),
        security: entry.security.clone(),
        trust_indexes: !args.no_peer_indexes,
    };
    let slices = args.endpoint_slice.as_deref().map(|name| slices(name, entry.tls.is_some())).transpose()?;
    let client = node::service_client(&args.reach, Via::new(made_up_name()))?;
    let node = Node::open(&settings, client, clock)?;
    runtime()?.block_on(run(args, &settings, node, entry, slices, output))
}

async fn run(
    args: &PeerServeArgs,
    settings: &Settings,
    node: Node,
    entry: Entry,
    slices: Option<EndpointSlices>,
    output: &Output,
) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let bind = async |addr: SocketAddr| {
        TcpListener::bind(addr).await.with_context(|| format!("cannot listen at {addr}"))
    };
    let (cluster, local) = (bind(args.listen).await?, bind(args.local).await?);
    output.note(format!(
        "{} for peers, http://{} for this machine, {} in {}",
        settings.own,
        local.local_addr()?,
        human(settings.cache_quota_bytes),
        settings.cache_dir.display()
    ));
    let cluster_door = Door::cluster(node.clone(), args.upstream.clone(), entry.token.as_deref());
    let local_door = Door::local(node.clone(), args.upstream.clone());
    let limits =
        Limits { connections: args.connections as usize, header: Duration::from_secs(args.header_timeout) };
    let following = async {
        match &slices {
            Some(slices) => slices.follow(&node).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = open_door(cluster, entry.tls, cluster_door, &limits) => ended.context("serving peers")?,
        ended = open_door(local, None, local_door, &limits) => ended.context("serving this machine")?,
        () = following => {}
        () = stop.asked() => {}
    }
    let stats = node.stats();
    output.result(format!(
        "{} from registries, {} from peers, {} from the cache, {} to peers",
        human(stats.registry_bytes),
        human(stats.peer_bytes),
        human(stats.cache_bytes),
        human(stats.served_to_peers_bytes)
    ));
    output.document(&serde_json::to_value(stats)?);
    Ok(())
}

/// How nodes know each other, for both sides of a connection.
struct Entry {
    security: Security,
    token: Option<String>,
    tls: Option<Tls>,
}

impl Entry {
    fn read(args: &PeerServeArgs) -> anyhow::Result<Self> {
        let read =
            |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        if let (Some(certificate), Some(key), Some(authority)) = (&args.tls_cert, &args.tls_key, &args.tls_ca)
        {
            let (certificate, key, authority) = (read(certificate)?, read(key)?, read(authority)?);
            let tls = Tls::mutual(&certificate, &key, &authority)?;
            // A line of its own for each, whatever the files end with.
            let identity_pem = [&certificate[..], b"\n", &key].concat();
            let security = Security::Tls { identity_pem, authority_pem: authority };
            return Ok(Self { security, token: None, tls: Some(tls) });
        }
        if let Some(path) = &args.token_file {
            let text = String::from_utf8(read(path)?).unwrap_or_default();
            let token = text.trim().to_owned();
            if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("{} holds no token: one line of letters and digits", path.display());
            }
            return Ok(Self { security: Security::Token(token.clone()), token: Some(token), tls: None });
        }
        if !args.listen.ip().is_loopback() {
            bail!(
                "--listen {} can be reached by others: give --token-file, or --tls-cert, --tls-key and --tls-ca",
                args.listen
            );
        }
        Ok(Self { security: Security::None, token: None, tls: None })
    }
}

/// The address by which peers know this node.
fn own(args: &PeerServeArgs, tls: bool) -> anyhow::Result<String> {
    let scheme = if tls { "https" } else { "http" };
    match &args.own {
        Some(own) if own.starts_with(&format!("{scheme}://")) => Ok(own.clone()),
        Some(own) => bail!("--self {own:?} does not begin with {scheme}://, which is what this node speaks"),
        None if args.listen.ip().is_unspecified() || args.listen.port() == 0 => {
            bail!("--listen {} is no address that peers can reach: give --self", args.listen)
        }
        None => Ok(format!("{scheme}://{}", args.listen)),
    }
}

/// The slices of `NAMESPACE/SERVICE`, from the API server of the pod that this is.
fn slices(name: &str, tls: bool) -> anyhow::Result<EndpointSlices> {
    let (namespace, service) = name
        .split_once('/')
        .filter(|(namespace, service)| !namespace.is_empty() && !service.is_empty())
        .with_context(|| format!("--endpoint-slice {name:?} is not NAMESPACE/SERVICE"))?;
    let variable =
        |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: is this a pod?"));
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let account = PathBuf::from(SERVICE_ACCOUNT);
    let server = ApiServer {
        url: format!("https://{host}:{port}"),
        ca_file: Some(account.join("ca.crt")),
        token_file: Some(account.join("token")),
    };
    Ok(EndpointSlices::new(&server, namespace, service, tls)?)
}
