//! A cluster: a registry and some nodes, each in a network namespace of its own, joined by a bridge.
//!
//! The registry's link is slow and the nodes' are quick, as in a data centre whose registry is far away. All of them are
//! on one machine all the same: the nodes share its processors, its disk and its memory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use serde::Deserialize;
use serde_json::Value;

use super::link::{REGISTRY_ADDRESS, Rate, ip, received, shape};
use super::namespace::Namespace;
use super::registry::{self, Registry};
use super::{empty_page_cache, enclosure, push, warm};
use crate::images::layout::Layout;

/// This side's address: only waiting for servers needs one.
const OWN_ADDRESS: &str = "10.77.0.2";
const BRIDGE: &str = "glowplug-br";
/// Where nodes listen for their peers.
const PEER_PORT: u16 = 7000;
/// Where each node's mirror is, as seen from the node.
const MIRROR: &str = "127.0.0.1:5377";
/// What nodes know each other by.
const TOKEN: &str = "a-secret-for-one-benchmark";
/// How long a daemon may take to say what it counted.
const PATIENCE: Duration = Duration::from_secs(10);

/// The cluster. Dropping it ends everything in it.
pub struct Cluster {
    registry: Registry,
    // After what runs in it: fields go in this order.
    _registry_namespace: Namespace,
    program: PathBuf,
    nodes: Vec<Namespace>,
}

/// Which way a node reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the registry.
    Direct,
    /// Through the peer tier.
    Peers,
}

impl Cluster {
    /// Lays the network and starts the registry. Only inside the enclosure.
    pub fn new(nodes: usize, registry_link: Rate, node_link: Rate, program: &Path) -> anyhow::Result<Self> {
        ip(None, &["link", "set", "lo", "up"])?;
        ip(None, &["link", "add", "name", BRIDGE, "type", "bridge"])?;
        ip(None, &["address", "add", &format!("{OWN_ADDRESS}/24"), "dev", BRIDGE])?;
        ip(None, &["link", "set", BRIDGE, "up"])?;
        let registry_namespace = join(REGISTRY_ADDRESS, &port(None), registry_link)?;
        let registry = Registry::start(registry_namespace.holder())?;
        let nodes = (0..nodes).map(|at| join(&address(at), &port(Some(at)), node_link));
        let nodes = nodes.collect::<anyhow::Result<_>>()?;
        Ok(Self { registry, _registry_namespace: registry_namespace, program: program.to_owned(), nodes })
    }

    /// Puts an image into the registry under `NAME:TAG`; gives its reference.
    pub fn push(&self, layout: &Layout, name: &str) -> anyhow::Result<String> {
        push::push(layout, self.registry.storage(), name)?;
        Ok(format!("{REGISTRY_ADDRESS}:{}/{name}", registry::PORT))
    }

    /// Bytes that the registry sent so far, frames and all.
    pub fn registry_bytes(&self) -> anyhow::Result<u64> {
        let table = std::fs::read_to_string("/proc/self/net/dev")?;
        received(&table, &port(None)).context("the registry's link is gone")
    }

    /// Forgets what nodes hold, and what the page cache does but for the registry's files.
    pub fn make_cold(&self) -> anyhow::Result<()> {
        for at in 0..self.nodes.len() {
            let _ = std::fs::remove_dir_all(store(at));
        }
        empty_page_cache()?;
        warm(self.registry.storage())
    }

    /// Starts the peer tier's daemons on the first `count` nodes and waits until they listen.
    pub fn serve(&self, count: usize) -> anyhow::Result<Daemons> {
        let token = super::nodes().join("token");
        std::fs::write(&token, TOKEN)?;
        let mut daemons = Daemons(Vec::new());
        for at in 0..count {
            let log = File::create(super::nodes().join(format!("peer-{at}.log")))?;
            let mut command = self.nodes[at].command(&self.program);
            command.arg("--store").arg(store(at)).args(["peer", "serve", "--plain-http", "--local", MIRROR]);
            command
                .args(["--listen", &format!("{}:{PEER_PORT}", address(at))])
                .arg("--token-file")
                .arg(&token);
            (0..count).for_each(|other| {
                command.args(["--peer", &format!("http://{}:{PEER_PORT}", address(other))]);
            });
            let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
            daemons.0.push(child.context("cannot start a peer daemon")?);
        }
        for (at, child) in daemons.0.iter_mut().enumerate() {
            wait_for(child, format!("{}:{PEER_PORT}", address(at)).parse()?)?;
        }
        Ok(daemons)
    }

    /// Starts a container on node `at`, which is ready when `ready_path` answers.
    pub fn run(&self, at: usize, way: Way, reference: &str, ready_path: &str) -> anyhow::Result<Start> {
        let (timeline, output) = (store(at).with_extension("jsonl"), store(at).with_extension("log"));
        let _ = std::fs::remove_file(&timeline);
        let log = File::create(&output)?;
        let mut command = self.nodes[at].command(&self.program);
        command.env("NO_COLOR", "1").arg("--store").arg(store(at)).args([
            "run",
            "--plain-http",
            "-p",
            "8080",
        ]);
        if way == Way::Peers {
            command.args(["--mirror", &format!("{REGISTRY_ADDRESS}:{}=http://{MIRROR}", registry::PORT)]);
        }
        command.args(["--name", &format!("{}-{at}", enclosure::group()?)]);
        command.args(["--ready", &format!("http://:8080{ready_path}"), "--timeline"]).arg(&timeline);
        let child = command.arg(reference).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Start { child: child.context("cannot start glowplug")?, timeline, output })
    }
}

/// A new namespace at the bridge.
fn join(address: &str, port: &str, rate: Rate) -> anyhow::Result<Namespace> {
    let namespace = Namespace::make()?;
    let holder = namespace.holder().to_string();
    ip(None, &["link", "add", "name", port, "type", "veth", "peer", "name", "eth0", "netns", &holder])?;
    ip(None, &["link", "set", port, "master", BRIDGE])?;
    ip(None, &["link", "set", port, "up"])?;
    let inside = Some(holder.as_str());
    ip(inside, &["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(inside, &["link", "set", "eth0", "up"])?;
    ip(inside, &["link", "set", "lo", "up"])?;
    shape(None, port, rate)?;
    shape(inside, "eth0", rate)?;
    Ok(namespace)
}

/// The bridge's port of a node, or of the registry.
fn port(node: Option<usize>) -> String {
    node.map_or_else(|| "glowplug-pr".to_owned(), |at| format!("glowplug-p{at}"))
}

fn address(node: usize) -> String {
    format!("10.77.0.{}", 10 + node)
}

fn store(node: usize) -> PathBuf {
    super::nodes().join(format!("cluster-{node}"))
}

fn wait_for(child: &mut Child, addr: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..500 {
        if TcpStream::connect_timeout(&addr, Duration::from_millis(100)).is_ok() {
            return Ok(());
        }
        if let Some(status) = child.try_wait()? {
            bail!("a peer daemon ended at once: {status}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("{addr} does not answer")
}

/// The peer tier's daemons, those of the first nodes; they end when dropped.
pub struct Daemons(Vec<Child>);

impl Daemons {
    /// What each of them counted so far.
    pub fn stats(&self) -> anyhow::Result<Vec<Value>> {
        (0..self.0.len())
            .map(|at| stats(&address(at)).with_context(|| format!("the counters of node {at}")))
            .collect()
    }
}

/// What the daemon at this address counted so far.
fn stats(address: &str) -> anyhow::Result<Value> {
    let mut connection = TcpStream::connect((address, PEER_PORT))?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let request = "GET /glowplug/peer/1/stats HTTP/1.0";
    write!(connection, "{request}\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n\r\n")?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if !head.contains(" 200 ") {
        bail!("it says {head}");
    }
    Ok(serde_json::from_str(body)?)
}

impl Drop for Daemons {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A `glowplug run` on a node.
pub struct Start {
    child: Child,
    timeline: PathBuf,
    output: PathBuf,
}

/// A line of a timeline, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    at_ns: u64,
}

impl Start {
    /// Seconds from the start to the mark of this name, once it is there.
    pub fn mark(&mut self, name: &str) -> anyhow::Result<Option<f64>> {
        if let Some(status) = self.child.try_wait()? {
            let printed = std::fs::read_to_string(&self.output).unwrap_or_default();
            bail!("glowplug ended early ({status}):\n{}", printed.trim_end());
        }
        let text = std::fs::read_to_string(&self.timeline).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let found = lines.find(|line| line.event == "mark" && line.name == name);
        Ok(found.map(|line| line.at_ns as f64 / 1e9))
    }

    /// Asks it to end, as Ctrl-C would. It is waited for when dropped.
    pub fn ask_to_end(&self) {
        // Through nsenter it is the same process: nsenter becomes the program that it runs.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        self.ask_to_end();
        let _ = self.child.wait();
    }
}
