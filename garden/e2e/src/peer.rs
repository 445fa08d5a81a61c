//! Nodes of the peer tier: `glowplug peer serve`, as the binary under test has it.

use crate::{Glowplug, Running, free_port, get};

/// Where a node listens, on loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerPorts {
    /// For the cluster.
    pub cluster: u16,
    /// For this machine.
    pub local: u16,
}

impl PeerPorts {
    /// Two that nobody listens on now.
    ///
    /// # Panics
    /// Loopback does not work.
    pub fn free() -> Self {
        Self { cluster: free_port(), local: free_port() }
    }
}

/// A node that serves. Dropped, it is killed.
#[derive(Debug)]
pub struct PeerNode {
    running: Running,
    ports: PeerPorts,
    _store: Glowplug,
}

impl PeerNode {
    /// Starts a node with an empty cache at `ports`, which knows the nodes of the ports `peers`; `more` are further arguments.
    ///
    /// # Panics
    /// It ended at once.
    pub fn start(ports: PeerPorts, peers: &[PeerPorts], more: &[&str]) -> Self {
        let scheme = if more.contains(&"--tls-cert") { "https" } else { "http" };
        let addresses = [ports.cluster, ports.local].map(|port| format!("127.0.0.1:{port}"));
        let peers: Vec<String> =
            peers.iter().map(|peer| format!("{scheme}://127.0.0.1:{}", peer.cluster)).collect();
        let mut args = vec!["peer", "serve", "--listen", &addresses[0], "--local", &addresses[1]];
        peers.iter().for_each(|peer| args.extend(["--peer", peer]));
        args.extend(more);
        let store = Glowplug::new();
        let running = store.start(&args, "for this machine");
        Self { running, ports, _store: store }
    }

    /// Where it listens.
    pub fn ports(&self) -> PeerPorts {
        self.ports
    }

    /// What `hosts.toml` says of `registry`, which speaks plain HTTP, where this node is its mirror.
    pub fn hosts_toml(&self, registry: &str) -> String {
        format!(
            "server = \"http://{registry}\"\n\
             [host.\"http://127.0.0.1:{}\"]\ncapabilities = [\"pull\", \"resolve\"]\n",
            self.ports.local
        )
    }

    /// What it counted so far under this name.
    ///
    /// # Panics
    /// It does not answer, or counts no such thing.
    pub fn counted(&self, name: &str) -> u64 {
        let (status, body) = get(self.ports.local, "/glowplug/peer/1/stats").expect("the node answers");
        assert_eq!(status, 200);
        let counters: serde_json::Value = serde_json::from_slice(&body).expect("counters are JSON");
        counters[name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {counters}"))
    }

    /// Asks it to end and waits for that.
    ///
    /// # Panics
    /// It cannot be asked.
    pub fn stop(self) {
        self.running.stop();
    }
}
