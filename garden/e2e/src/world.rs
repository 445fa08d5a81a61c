//! A machine's network and what is behind it, both in namespaces of their own: nothing of the real machine is touched.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use glowplug_linux::link::Network;
use glowplug_linux::namespaces::{Namespace, enter_network, unshare};
use glowplug_linux::netns::loopback_up;

/// The machine's address towards the world.
const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// The world's, where a server answers.
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
/// Bits that both share.
const PREFIX_BITS: u8 = 31;
/// The machine's link to the world, and the size of its packets: not the usual one, so that it can be seen to be taken over.
const UPLINK: &str = "uplink";
const MTU_BYTES: u32 = 1400;
/// How long a packet that must not arrive is waited for; one that may is there in less than a millisecond.
const SILENCE: Duration = Duration::from_millis(500);

/// The world, as seen from the machine that the calling thread is on then.
#[derive(Debug)]
pub struct World {
    namespace: File,
}

impl World {
    /// Puts the calling thread, and what it starts from now on, onto a machine with loopback, a link to the world and a default route;
    /// there, a server answers every HTTP request with the address it came from.
    ///
    /// # Panics
    /// This process may not make networks.
    pub fn make() -> Self {
        enter_new_network();
        let machine = Network::here().expect("a namespace has netlink");
        let (tell, made) = mpsc::channel();
        std::thread::spawn(move || {
            enter_new_network();
            let namespace = File::open("/proc/thread-self/ns/net").expect("a thread has a namespace");
            let network = Network::here().expect("a namespace has netlink");
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).expect("nobody else is here");
            let _ = tell.send((namespace, network));
            for request in listener.incoming().flatten() {
                let _ = answer(request);
            }
        });
        let (namespace, network) = made.recv().expect("the world comes into being");
        machine.add_pair(UPLINK, "world", &namespace, MTU_BYTES).expect("names are free");
        for (network, name, address) in [(&machine, UPLINK, MACHINE), (&network, "world", SERVER)] {
            let link = network.link(name).expect("it was just added");
            network.add_address(link.index, address, PREFIX_BITS).expect("the address is free");
            network.set_up(link.index).expect("a link can be set up");
        }
        machine.add_default_route(SERVER).expect("the server is a neighbour");
        // The world could reach into the machine's networks if it were let.
        network.add_default_route(MACHINE).expect("the machine is a neighbour");
        Self { namespace }
    }

    /// The server's URL.
    pub fn url(&self) -> String {
        format!("http://{SERVER}/")
    }

    /// The machine's address, as the world knows it.
    pub fn machine(&self) -> IpAddr {
        MACHINE.into()
    }

    /// Whether a server on the machine's side can be connected to from the world.
    ///
    /// # Panics
    /// The world is gone.
    pub fn reaches(&self, address: IpAddr, port: u16) -> bool {
        let namespace = self.namespace.try_clone().expect("a descriptor can be copied");
        let connect = move || {
            enter_network(&namespace).expect("the world is there");
            TcpStream::connect_timeout(&SocketAddr::new(address, port), SILENCE).is_ok()
        };
        std::thread::spawn(connect).join().expect("connecting does not panic")
    }
}

fn enter_new_network() {
    unshare(&[Namespace::Network]).expect("networks need root");
    loopback_up().expect("a namespace has loopback");
}

fn answer(mut request: TcpStream) -> std::io::Result<()> {
    let from = request.peer_addr()?.ip().to_string();
    let _ = request.read(&mut [0; 1024])?;
    write!(request, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{from}", from.len())
}
