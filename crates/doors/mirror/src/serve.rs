//! Sockets: connections are taken, shown to TLS where that is asked for, and given to the door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use crate::door::Door;
use crate::route::router;
use crate::tls::Tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once: whoever does not go on with his must not keep the others out.
const HANDSHAKES_AT_ONCE: usize = 256;

/// Serves `door` at `listener` until it is dropped.
///
/// # Errors
/// What the socket says.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, door: Door) -> std::io::Result<()> {
    let router = router(door);
    match tls {
        None => {
            // A piece's last segment must not wait for the answer to the one before.
            axum::serve(listener.tap_io(|stream| _ = stream.set_nodelay(true)), router).await
        }
        Some(tls) => axum::serve(TlsListener::new(listener, tls)?, router).await,
    }
}

/// Connections whose handshake is over.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    addr: SocketAddr,
    /// Ends with this listener.
    _accepting: JoinSet<()>,
}

impl TlsListener {
    fn new(listener: TcpListener, tls: Tls) -> std::io::Result<Self> {
        let addr = listener.local_addr()?;
        let (found, ready) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, found));
        Ok(Self { ready, addr, _accepting: accepting })
    }
}

async fn accept(
    mut listener: TcpListener,
    tls: Tls,
    found: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let turns = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
    let mut handshakes = JoinSet::new();
    while let Ok(turn) = turns.clone().acquire_owned().await {
        while handshakes.try_join_next().is_some() {}
        let (stream, addr) = axum::serve::Listener::accept(&mut listener).await;
        let _ = stream.set_nodelay(true);
        let (tls, found) = (tls.clone(), found.clone());
        handshakes.spawn(async move {
            let _turn = turn;
            match tokio::time::timeout(HANDSHAKE, tls.0.accept(stream)).await {
                Ok(Ok(stream)) => _ = found.send((stream, addr)).await,
                Ok(Err(error)) => tracing::debug!(%addr, %error, "no TLS with whoever came"),
                Err(_) => tracing::debug!(%addr, "no TLS with whoever came, he is silent"),
            }
        });
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            // The accepting task ends with this listener only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.addr)
    }
}
