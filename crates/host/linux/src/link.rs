//! Links, addresses and routes of one network namespace, IPv4 only: what `ip link`, `ip address` and `ip route` do.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use crate::netlink::{Message, NetlinkError, Socket, attribute, attributes, text, u16_at, u32_at};

/// `VETH_INFO_PEER` of `linux/veth.h`: the other end, as a message inside the message.
const VETH_INFO_PEER: u16 = 1;
/// Bytes of `struct rtmsg`, `struct ifinfomsg` and `struct rtnexthop`.
const RTMSG_BYTES: usize = 12;
const IFINFOMSG_BYTES: usize = 16;
const RTNEXTHOP_BYTES: usize = 8;

/// A request that is acknowledged.
const REQUEST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
/// A request for something that must not be there yet.
const NEW: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
/// A request for a list.
const LIST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;

/// One network namespace, through a socket that was opened in it.
#[derive(Debug)]
pub struct Network(Socket);

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Bytes of the largest packet that goes through.
    pub mtu_bytes: u32,
}

/// A route that the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The lowest address it is for.
    pub destination: Ipv4Addr,
    /// How many leading bits of the destination count; none makes it the default route.
    pub prefix_bits: u8,
    /// The numbers of the links it goes through; none where it is a refusal.
    pub links: Vec<u32>,
}

impl Network {
    /// The calling thread's network namespace, whichever the thread enters later.
    pub fn here() -> Result<Self, NetlinkError> {
        // Protocol 0 of netlink, which is what no protocol means.
        Socket::open(None).map(Self)
    }

    /// Adds a pair of links that are each other's far end, one here, the other in another namespace: a descriptor of `/proc/PID/ns/net`.
    ///
    /// Both go when either does, or its namespace. A name that is taken is `EEXIST`.
    pub fn add_pair(
        &self,
        near: &str,
        far: &str,
        namespace: impl AsFd,
        mtu_bytes: u32,
    ) -> Result<(), NetlinkError> {
        let message = pair(near, far, namespace.as_fd().as_raw_fd().cast_unsigned(), mtu_bytes);
        self.0.request(|| format!("add link {near}"), message)
    }

    /// The link of this name.
    pub fn link(&self, name: &str) -> Result<Link, NetlinkError> {
        let message =
            Message::new(libc::RTM_GETLINK, REQUEST, &ifinfomsg(0, 0)).text(libc::IFLA_IFNAME, name);
        self.ask_link(|| format!("find link {name}"), message)
    }

    /// The link of this number.
    pub fn link_at(&self, index: u32) -> Result<Link, NetlinkError> {
        let message = Message::new(libc::RTM_GETLINK, REQUEST, &ifinfomsg(index, 0));
        self.ask_link(|| format!("find link number {index}"), message)
    }

    fn ask_link(&self, action: impl Fn() -> String, message: Message) -> Result<Link, NetlinkError> {
        let mut found = None;
        self.0.ask(&action, message, |body| found = found.take().or_else(|| read_link(body)))?;
        found.ok_or_else(|| NetlinkError { action: action(), errno: rustix::io::Errno::NODEV, words: None })
    }

    /// Lets a link carry packets.
    pub fn set_up(&self, index: u32) -> Result<(), NetlinkError> {
        let message = Message::new(libc::RTM_NEWLINK, REQUEST, &ifinfomsg(index, libc::IFF_UP as u32));
        self.0.request(|| format!("set link number {index} up"), message)
    }

    /// Removes a link, and the far end of a pair with it.
    pub fn remove(&self, index: u32) -> Result<(), NetlinkError> {
        let message = Message::new(libc::RTM_DELLINK, REQUEST, &ifinfomsg(index, 0));
        self.0.request(|| format!("remove link number {index}"), message)
    }

    /// Gives a link an address; the kernel makes the route to the others of its prefix itself.
    pub fn add_address(&self, index: u32, address: Ipv4Addr, prefix_bits: u8) -> Result<(), NetlinkError> {
        self.0.request(
            || format!("add address {address}/{prefix_bits}"),
            new_address(index, address, prefix_bits),
        )
    }

    /// Sends everything without a route of its own to a neighbour.
    pub fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), NetlinkError> {
        self.0.request(|| format!("add a route through {gateway}"), default_route(gateway))
    }

    /// All routes of all tables, the kernel's own for addresses of this machine included.
    pub fn routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let mut routes = Vec::new();
        let message =
            Message::new(libc::RTM_GETROUTE, LIST, &[libc::AF_INET as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.0.ask(|| "list routes".to_owned(), message, |body| routes.extend(read_route(body)))?;
        Ok(routes)
    }
}

/// `struct ifinfomsg`: the link of this index; these flags set.
fn ifinfomsg(index: u32, flags: u32) -> [u8; IFINFOMSG_BYTES] {
    let mut bytes = [0; IFINFOMSG_BYTES];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    // Which flags are meant.
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

fn pair(near: &str, far: &str, namespace: u32, mtu_bytes: u32) -> Message {
    Message::new(libc::RTM_NEWLINK, NEW, &ifinfomsg(0, 0))
        .text(libc::IFLA_IFNAME, near)
        .number(libc::IFLA_MTU, mtu_bytes)
        .nested(libc::IFLA_LINKINFO, |info| {
            info.text(libc::IFLA_INFO_KIND, "veth").nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(VETH_INFO_PEER, |peer| {
                    peer.raw(&ifinfomsg(0, 0))
                        .text(libc::IFLA_IFNAME, far)
                        .number(libc::IFLA_MTU, mtu_bytes)
                        .number(libc::IFLA_NET_NS_FD, namespace)
                })
            })
        })
}

fn new_address(index: u32, address: Ipv4Addr, prefix_bits: u8) -> Message {
    // `struct ifaddrmsg`: family, prefix, flags, scope, link.
    let mut fixed = [libc::AF_INET as u8, prefix_bits, 0, libc::RT_SCOPE_UNIVERSE, 0, 0, 0, 0];
    fixed[4..].copy_from_slice(&index.to_ne_bytes());
    Message::new(libc::RTM_NEWADDR, NEW, &fixed)
        .bytes(libc::IFA_LOCAL, &address.octets())
        .bytes(libc::IFA_ADDRESS, &address.octets())
}

fn default_route(gateway: Ipv4Addr) -> Message {
    // `struct rtmsg`: family, lengths of destination and source, service, table, who made it, scope, type, flags.
    let (table, made_by) = (libc::RT_TABLE_MAIN, libc::RTPROT_BOOT);
    let (scope, kind) = (libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST);
    let fixed = [libc::AF_INET as u8, 0, 0, 0, table, made_by, scope, kind, 0, 0, 0, 0];
    Message::new(libc::RTM_NEWROUTE, NEW, &fixed).bytes(libc::RTA_GATEWAY, &gateway.octets())
}

fn read_link(body: &[u8]) -> Option<Link> {
    let described = body.get(IFINFOMSG_BYTES..)?;
    Some(Link {
        index: u32_at(body, 4)?,
        name: text(attribute(described, libc::IFLA_IFNAME)?),
        mtu_bytes: u32_at(attribute(described, libc::IFLA_MTU)?, 0)?,
    })
}

fn read_route(body: &[u8]) -> Option<Route> {
    let (prefix_bits, described) = (*body.get(1)?, body.get(RTMSG_BYTES..)?);
    let destination = attribute(described, libc::RTA_DST).and_then(|value| value.first_chunk::<4>());
    let mut links = Vec::new();
    for (kind, value) in attributes(described) {
        match kind {
            libc::RTA_OIF => links.extend(u32_at(value, 0)),
            libc::RTA_MULTIPATH => links.extend(next_hops(value)),
            _ => {}
        }
    }
    let destination = destination.map_or(Ipv4Addr::UNSPECIFIED, |octets| Ipv4Addr::from(*octets));
    Some(Route { destination, prefix_bits, links })
}

/// The links of a route with several ways: a row of `struct rtnexthop`, each with its length and attributes behind it.
fn next_hops(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?).max(RTNEXTHOP_BYTES);
        let link = u32_at(bytes, 4)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(link)
    })
}

#[cfg(test)]
mod tests;
