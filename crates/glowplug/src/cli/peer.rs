//! Flags of `glowplug peer`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::{ReachArgs, bytes};

/// Flags of `peer serve`.
#[derive(Debug, Args)]
pub struct PeerServeArgs {
    /// Where peers find this node, as address:port. Other addresses than loopback want --token-file or the --tls files.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The same as a URL that every node can reach; by default what --listen says, if that is one address.
    #[arg(long = "self", value_name = "URL")]
    pub own: Option<String>,
    /// Another node, http[s]://host:port. May be given several times; this node may be among them.
    #[arg(long, value_name = "URL")]
    pub peer: Vec<String>,
    /// Learn the nodes from the EndpointSlices of this Kubernetes service, with the pod's service account.
    #[arg(long, value_name = "NAMESPACE/SERVICE", conflicts_with = "peer")]
    pub endpoint_slice: Option<String>,
    /// Holds the secret by which nodes know each other.
    #[arg(long, value_name = "FILE", conflicts_with = "tls_cert")]
    pub token_file: Option<PathBuf>,
    /// This node's certificate, as PEM; nodes then know each other by certificates and speak TLS.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    pub tls_cert: Option<PathBuf>,
    /// Its key, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The authority of all nodes' certificates, as PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_ca: Option<PathBuf>,
    /// Where this machine finds the mirror. It asks for no credentials, so it has to be a loopback address.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5377")]
    pub local: SocketAddr,
    /// Serve this registry, and no others that are not named so; the first is meant where a request names none. May be given several
    /// times; without it every registry that a request names is served.
    #[arg(long, value_name = "REGISTRY")]
    pub upstream: Vec<String>,
    /// Directory of what was fetched; by default `peer` in the store's.
    #[arg(long, value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// Bytes on disk that it may take; indexes and start profiles take an eighth of it more, at most.
    #[arg(long, value_parser = bytes, default_value = "10G", value_name = "SIZE")]
    pub cache_quota: u64,
    /// Nodes that keep each piece for the others. Has to be the same on all nodes.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub copies: u8,
    /// Take no indexes of layers that other nodes made. They are taken of nodes with the same token or of the same authority, and
    /// believed until the layer is complete and was held against them; until then a node that lies could show wrong files.
    #[arg(long)]
    pub no_peer_indexes: bool,
    /// Connections at each of both addresses at once.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// How long a connection may be silent before its request is there.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub header_timeout: u64,
    #[command(flatten)]
    pub reach: ReachArgs,
}
