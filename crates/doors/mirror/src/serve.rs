//! Sockets: connections are taken, as many as the door bears, shown to TLS where that is asked for, and given to the door.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::door::Door;
use crate::limits::Limits;
use crate::route::answer;
use crate::tls::Tls;

/// How long to wait when a connection cannot be taken: until others have ended.
const RETRY: Duration = Duration::from_millis(100);

/// Serves `door` at `listener` until it is dropped; then its connections end, too.
///
/// # Errors
/// None that it survives: a connection that cannot be taken is the business of who came.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    door: Door,
    limits: &Limits,
) -> std::io::Result<()> {
    let turns = Arc::new(Semaphore::new(limits.connections.max(1)));
    let mut connections = JoinSet::new();
    loop {
        // Who comes when the door is full waits in the kernel's queue.
        let turn = turns.clone().acquire_owned().await.map_err(std::io::Error::other)?;
        while connections.try_join_next().is_some() {}
        let (stream, addr) = accept(&listener).await;
        let (tls, door, limits) = (tls.clone(), door.clone(), *limits);
        connections.spawn(async move {
            let _turn = turn;
            // A piece's last segment must not wait for the answer to the one before.
            let _ = stream.set_nodelay(true);
            match tls {
                None => converse(stream, addr, door, &limits).await,
                Some(tls) => match tokio::time::timeout(limits.header, tls.0.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, addr, door, &limits).await,
                    Ok(Err(error)) => tracing::debug!(%addr, %error, "no TLS with whoever came"),
                    Err(_) => tracing::debug!(%addr, "no TLS with whoever came, he is silent"),
                },
            }
        });
    }
}

/// The next connection. What fails is the one that came, or there is nothing left to open it with: the next may be well.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn converse<S>(stream: S, addr: SocketAddr, door: Door, limits: &Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let door = door.clone();
        async move { Ok::<_, Infallible>(answer(&door, request.map(Body::new)).await) }
    });
    let mut connection = http1::Builder::new();
    connection.timer(TokioTimer::new()).header_read_timeout(limits.header);
    if let Err(error) = connection.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%addr, %error, "a connection ended");
    }
}
