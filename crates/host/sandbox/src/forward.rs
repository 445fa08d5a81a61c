//! Published ports of a container with its own network: accept on the host, connect inside, copy both ways.
//!
//! As with Docker's proxy, a connection made before the program listens is accepted and then closed. Nothing here lets the container out.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::net::Dialer;
use crate::spec::Port;

/// One open port. Dropped, it closes, and so do the connections through it.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Opens `port` on the host and forwards connections through `dialer` to the container's loopback address.
    pub async fn open(port: Port, dialer: Dialer) -> io::Result<Self> {
        let listener = TcpListener::bind((port.address, port.host)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, dialer, port.container));
        Ok(Self { address, task })
    }

    /// Where it listens; tells the port if the host was to choose one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, dialer: Dialer, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((outside, _)) => drop(connections.spawn(forward(outside, dialer.clone(), port))),
                Err(e) => {
                    // Most often too many open files: let some connections end first.
                    tracing::warn!(error = %e, "cannot accept a connection for a container");
                    connections.join_next().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn forward(mut outside: TcpStream, dialer: Dialer, port: u16) {
    match dialer.connect(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await {
        Ok(mut inside) => {
            let _ = (outside.set_nodelay(true), inside.set_nodelay(true));
            // Either side may break off whenever it likes.
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        }
        Err(e) => tracing::debug!(port, error = %e, "the container does not listen"),
    }
}
