//! Connections to a container, from the network it is in.
//!
//! A socket belongs to the network namespace of the thread that made it. For a container with its own network one thread lives in
//! there, does nothing but make sockets, and hands them out; everything else about them happens on the caller's side. A container that
//! has ended has no network any more: nothing connects to it.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};

use glowplug_linux::namespaces::enter_network;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// Makes TCP connections in one network. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer(Way);

#[derive(Debug, Clone)]
enum Way {
    /// The host's network.
    Host,
    /// The thread in a container's network.
    Inside(mpsc::Sender<Request>),
    /// There is no network, for this reason.
    Nowhere(Arc<str>),
}

#[derive(Debug)]
struct Request {
    family: AddressFamily,
    answer: oneshot::Sender<io::Result<OwnedFd>>,
}

impl Dialer {
    /// Connects through the host's network.
    pub fn host() -> Self {
        Self(Way::Host)
    }

    /// Connects to nothing, and says why.
    pub(crate) fn nowhere(why: &dyn std::error::Error) -> Self {
        Self(Way::Nowhere(why.to_string().into()))
    }

    /// Connects inside the network of a process.
    pub(crate) fn of_process(pid: i32) -> io::Result<Self> {
        let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
        let (maker, requests) = mpsc::channel::<Request>();
        let (entered, outcome) = mpsc::channel();
        std::thread::Builder::new().name("netns".into()).spawn(move || {
            let result = enter_network(&namespace);
            let inside = result.is_ok();
            let _ = entered.send(result);
            if inside {
                // Ends when the last dialer is gone.
                for request in requests {
                    let _ = request.answer.send(socket(request.family));
                }
            }
        })?;
        outcome.recv().map_err(io::Error::other)??;
        Ok(Self(Way::Inside(maker)))
    }

    /// Connects to an address and port of this network.
    pub async fn connect(&self, address: IpAddr, port: u16) -> io::Result<TcpStream> {
        let to = SocketAddr::new(address, port);
        let maker = match &self.0 {
            Way::Host => return TcpStream::connect(to).await,
            Way::Inside(maker) => maker,
            Way::Nowhere(why) => return Err(io::Error::other(&**why)),
        };
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (answer, made) = oneshot::channel();
        maker.send(Request { family, answer }).map_err(io::Error::other)?;
        let socket = made.await.map_err(io::Error::other)??;
        TcpSocket::from_std_stream(socket.into()).connect(to).await
    }
}

fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, flags, None)?)
}
