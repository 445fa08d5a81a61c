//! A container's own network with a way out: what leaves it gets this machine's address, as with Docker's bridge.
//!
//! ```text
//! container's namespace                    the host's
//!   eth0 10.213.0.1/31 ═════ pair ═════ glowplug0 10.213.0.0/31 ── rules: glowplug0 ── default route's link
//!   default route through 10.213.0.0       forwards                masquerade           forwards
//! ```
//!
//! It is laid before there is a container, while the image is on its way, and the container is put into the namespace. So it costs a start
//! next to nothing, and an external runtime, which is given the namespace's path, needs no telling when.
//!
//! # Invariants
//! - Everything but the forwarding of the way out goes with this process, however it ends: the pair of links with the namespace, which only
//!   this process and the container hold; the rules with the socket that owns them.
//! - The name of the link is the claim on its addresses: they follow from its number, and the kernel gives a name once.
//! - Nothing comes in through the pair but answers. The host takes nothing from it for granted: other source addresses are dropped, and router
//!   advertisements and redirects are not listened to.
//!
//! IPv4 only. Packets that other rules of the host drop stay dropped; [`Outbound::notes`] tells where that may be so.

mod place;
mod setting;

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use glowplug_base::{Hint, Hinted};
use glowplug_linux::link::{Link, Network, Route};
use glowplug_linux::namespaces::{Namespace, unshare};
use glowplug_linux::netlink::NetlinkError;
use glowplug_linux::netns::loopback_up;
use glowplug_linux::nftables::{self, Chain, Hook, Table, Term};
use rustix::io::Errno;

use place::{PREFIX_BITS, Place};
pub use setting::{SettingError, forwarding_links};

/// The container's end, as containers know it.
const INSIDE_NAME: &str = "eth0";
/// Bytes of the largest packet where no way out tells one: Ethernet's.
const DEFAULT_MTU_BYTES: u32 = 1500;

/// Why there is no way out.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No network namespace could be made.
    #[error("cannot make a network for the container")]
    Namespace(#[source] io::Error),
    /// The links could not be laid.
    #[error("cannot link the container's network to the host's")]
    Link(#[source] NetlinkError),
    /// The rules could not be put in force.
    #[error("cannot translate the container's addresses")]
    Rules(#[source] NetlinkError),
    /// Every address is taken, or routed elsewhere.
    #[error("no addresses are left for the container's network in {}", place::RANGES)]
    Full,
    /// A setting of the host's network could not be changed.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

impl Hinted for OutboundError {
    fn hint(&self) -> Option<Hint> {
        Some(Hint::new(match self {
            Self::Namespace(e) if e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {
                "networks need root with CAP_SYS_ADMIN and CAP_NET_ADMIN"
            }
            Self::Link(e) | Self::Rules(e) if e.errno == Errno::PERM => {
                "networks need root with CAP_SYS_ADMIN and CAP_NET_ADMIN"
            }
            Self::Rules(e) if nftables::is_missing(e) => {
                "this kernel has no nf_tables with address translation: load it (modprobe nft_masq), or use --network host, or --network isolated without a way out"
            }
            Self::Link(e) if e.errno == Errno::OPNOTSUPP => {
                "this kernel has no veth links: load them (modprobe veth), or use --network host, or --network isolated without a way out"
            }
            _ => "use --network host, or --network isolated without a way out",
        }))
    }
}

/// A network with a way out, for one container. Dropped, it is closed; the container should have ended.
#[derive(Debug)]
pub struct Outbound {
    _pair: Pair,
    _rules: Table,
    namespace: File,
    notes: Vec<String>,
}

/// The host's end of the links; dropped, both are removed. Without that they would go some moments after the namespace.
#[derive(Debug)]
struct Pair {
    host: Network,
    link: Link,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // It may be gone with its namespace.
        let _ = self.host.remove(self.link.index);
    }
}

impl Outbound {
    /// Lays one out of the calling thread's network. Blocks for some milliseconds, as the kernel does its part.
    pub fn lay() -> Result<Self, OutboundError> {
        let (namespace, inside) = new_namespace()?;
        let host = Network::here().map_err(OutboundError::Link)?;
        let routes = host.routes().map_err(OutboundError::Link)?;
        let ways = ways_out(&host, &routes)?;
        let mtu_bytes = ways.iter().map(|way| way.mtu_bytes).min().unwrap_or(DEFAULT_MTU_BYTES);
        let (pair, place) = claim(host, &routes, &namespace, mtu_bytes)?;
        setting::guard(&pair.link.name)?;
        let rules = Table::put_in_force(&pair.link.name, &chains(pair.link.index, place));
        let rules = rules.map_err(OutboundError::Rules)?;
        connect(&pair, &inside, place).map_err(OutboundError::Link)?;
        setting::forward(&pair.link.name)?;
        let mut notes = Vec::new();
        for way in &ways {
            if setting::forward(&way.name)? {
                notes.push(format!(
                    "IPv4 forwarding is on for {} now, and stays so until this machine restarts",
                    way.name
                ));
            }
        }
        if ways.is_empty() {
            notes.push("there is no IPv4 default route: the container reaches this machine only".to_owned());
        }
        notes.extend(obstacle());
        Ok(Self { _pair: pair, _rules: rules, namespace, notes })
    }

    /// The network namespace, by a path that is good as long as this is.
    pub fn namespace(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.namespace.as_raw_fd()).into()
    }

    /// What a person should know: what was changed on this machine, and what may be in the way.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A namespace with its loopback up, and a socket in it.
fn new_namespace() -> Result<(File, Network), OutboundError> {
    let inside = || -> io::Result<(File, Result<Network, NetlinkError>)> {
        unshare(&[Namespace::Network])?;
        loopback_up()?;
        Ok((File::open("/proc/thread-self/ns/net")?, Network::here()))
    };
    // A thread of its own, because it does not come back.
    let made = std::thread::Builder::new().name("netns".into()).spawn(inside);
    let made = made.and_then(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?);
    let (namespace, socket) = made.map_err(OutboundError::Namespace)?;
    Ok((namespace, socket.map_err(OutboundError::Link)?))
}

/// The links of the host's default routes.
fn ways_out(host: &Network, routes: &[Route]) -> Result<Vec<Link>, OutboundError> {
    let mut ways: Vec<u32> =
        routes.iter().filter(|route| route.prefix_bits == 0).flat_map(|route| route.links.clone()).collect();
    ways.sort_unstable();
    ways.dedup();
    ways.into_iter().map(|index| host.link_at(index)).collect::<Result<_, _>>().map_err(OutboundError::Link)
}

/// Adds the pair at the first place that is free.
fn claim(
    host: Network,
    routes: &[Route],
    namespace: &File,
    mtu_bytes: u32,
) -> Result<(Pair, Place), OutboundError> {
    for place in place::all().filter(|place| place.is_free(routes)) {
        let name = place.link_name();
        match host.add_pair(&name, INSIDE_NAME, namespace, mtu_bytes) {
            Ok(()) => {
                let link = host.link(&name).map_err(OutboundError::Link)?;
                return Ok((Pair { host, link }, place));
            }
            // Another start came first.
            Err(e) if e.errno == Errno::EXIST => {}
            Err(e) => return Err(OutboundError::Link(e)),
        }
    }
    Err(OutboundError::Full)
}

/// Gives both ends their addresses and sets them up, the container's default route last.
fn connect(pair: &Pair, inside: &Network, place: Place) -> Result<(), NetlinkError> {
    let end = inside.link(INSIDE_NAME)?;
    for (network, link, address) in
        [(&pair.host, &pair.link, place.host()), (inside, &end, place.container())]
    {
        network.add_address(link.index, address, PREFIX_BITS)?;
        network.set_up(link.index)?;
    }
    inside.add_default_route(place.host())
}

/// The container's rules. Only it and its link are in them, so that they are no matter to anybody else's packets.
fn chains(link: u32, place: Place) -> Vec<Chain> {
    let container = place.container();
    vec![
        Chain {
            name: "arriving",
            hook: Hook::Arriving,
            rules: vec![vec![Term::FromLink(link), Term::NotFrom(container), Term::Drop]],
        },
        Chain {
            name: "passing-on",
            hook: Hook::PassingOn,
            rules: vec![
                vec![Term::ToLink(link), Term::OfKnownConnection, Term::Accept],
                vec![Term::ToLink(link), Term::Drop],
            ],
        },
        Chain {
            name: "leaving",
            hook: Hook::Leaving,
            rules: vec![vec![Term::From(container), Term::Masquerade]],
        },
    ]
}

/// Other people's rules that may keep the container in. Where they cannot be read there is nothing to say.
fn obstacle() -> Option<String> {
    let chains = nftables::chains_that_drop_forwarded().ok().filter(|chains| !chains.is_empty())?;
    Some(format!(
        "this machine's packet rules drop what is forwarded unless they accept it ({}): if the container reaches nothing, accept what comes from and goes to {}+ there, or use --network host",
        chains.join(", "),
        place::LINK_PREFIX,
    ))
}

#[cfg(test)]
mod tests;
