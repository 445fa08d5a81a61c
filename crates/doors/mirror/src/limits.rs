//! What one door bears.

use std::time::Duration;

/// How long and how many connections a door bears. Whoever opens connections and says nothing has them closed, and until
/// then others wait at the door instead of using up this process' file descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; at least 1.
    pub connections: usize,
    /// How long a connection may take until a request is there, its TLS handshake or the pause since the request before included.
    pub header: Duration,
}

impl Default for Limits {
    /// A reader has some dozen connections, and a peer as many: room for some eighty of them, within what a process may open.
    /// A request is one packet, which the worst network brings in half a minute.
    fn default() -> Self {
        Self { connections: 1000, header: Duration::from_secs(30) }
    }
}
