//! Messages against bytes laid out by hand from the kernel's headers, and a real kernel's answers where we are root.

use super::*;
use crate::namespaces::{Namespace, unshare};

/// Little-endian machines only: the bytes are written down as they have them.
#[cfg(target_endian = "little")]
#[test]
fn messages_are_what_the_headers_say() {
    let bytes = pair("g0", "eth0", 5, 1460).finish(1);
    let expected = [
        // nlmsghdr: length, RTM_NEWLINK, REQUEST | ACK | EXCL | CREATE, sequence, port.
        &[116, 0, 0, 0, 16, 0, 0x05, 0x06, 1, 0, 0, 0, 0, 0, 0, 0][..],
        // ifinfomsg.
        &[0; 16],
        // IFLA_IFNAME = 3, IFLA_MTU = 4.
        &[7, 0, 3, 0, b'g', b'0', 0, 0],
        &[8, 0, 4, 0, 0xb4, 5, 0, 0],
        // IFLA_LINKINFO = 18 { IFLA_INFO_KIND = 1, IFLA_INFO_DATA = 2 { VETH_INFO_PEER = 1 { ifinfomsg,
        &[68, 0, 18, 0x80],
        &[9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0],
        &[52, 0, 2, 0x80],
        &[48, 0, 1, 0x80],
        &[0; 16],
        // IFLA_IFNAME, IFLA_MTU, IFLA_NET_NS_FD = 28 } } }.
        &[9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0],
        &[8, 0, 4, 0, 0xb4, 5, 0, 0],
        &[8, 0, 28, 0, 5, 0, 0, 0],
    ]
    .concat();
    assert_eq!(bytes, expected);

    let bytes = new_address(3, Ipv4Addr::new(10, 1, 2, 3), 31).finish(1);
    let expected = [
        // RTM_NEWADDR = 20; ifaddrmsg: AF_INET, 31 bits, no flags, universe, link 3; IFA_LOCAL = 2, IFA_ADDRESS = 1.
        &[40, 0, 0, 0, 20, 0, 0x05, 0x06, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[2, 31, 0, 0, 3, 0, 0, 0],
        &[8, 0, 2, 0, 10, 1, 2, 3],
        &[8, 0, 1, 0, 10, 1, 2, 3],
    ]
    .concat();
    assert_eq!(bytes, expected);

    let bytes = default_route(Ipv4Addr::new(10, 1, 2, 2)).finish(1);
    let expected = [
        // RTM_NEWROUTE = 24; rtmsg: AF_INET, to all, main table, boot, universe, unicast; RTA_GATEWAY = 5.
        &[36, 0, 0, 0, 24, 0, 0x05, 0x06, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
        &[8, 0, 5, 0, 10, 1, 2, 2],
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_route_with_several_ways_tells_all_its_links() {
    let hop = |link: u32| [&[8, 0, 0, 0][..], &link.to_ne_bytes()].concat();
    let ways = [hop(4), hop(7)].concat();
    let message = Message::new(libc::RTM_NEWROUTE, 0, &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
    let bytes = message.bytes(libc::RTA_MULTIPATH, &ways).finish(1);
    let route = read_route(&bytes[16..]).unwrap();
    assert_eq!(route, Route { destination: Ipv4Addr::UNSPECIFIED, prefix_bits: 0, links: vec![4, 7] });
    assert_eq!(read_route(&bytes[16..20]), None);
}

/// A namespace of its own, held open.
fn namespace() -> (std::fs::File, Network) {
    std::thread::spawn(|| {
        unshare(&[Namespace::Network]).unwrap();
        (std::fs::File::open("/proc/thread-self/ns/net").unwrap(), Network::here().unwrap())
    })
    .join()
    .unwrap()
}

#[test]
fn a_pair_links_two_namespaces_and_goes_as_a_whole() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let ((_, near), (far_file, far)) = (namespace(), namespace());
    near.add_pair("near0", "far0", &far_file, 1400).unwrap();
    let again = near.add_pair("near0", "far1", &far_file, 1400).unwrap_err();
    assert_eq!(
        (again.errno, again.to_string().as_str()),
        (rustix::io::Errno::EXIST, "cannot add link near0")
    );
    let (here, there) = (near.link("near0").unwrap(), far.link("far0").unwrap());
    assert_eq!((here.mtu_bytes, there.mtu_bytes), (1400, 1400));
    assert_eq!(near.link_at(here.index).unwrap(), here);
    for (network, link, last) in [(&near, &here, 0), (&far, &there, 1)] {
        network.add_address(link.index, Ipv4Addr::new(10, 9, 8, last), 31).unwrap();
        network.set_up(link.index).unwrap();
    }
    far.add_default_route(Ipv4Addr::new(10, 9, 8, 0)).unwrap();
    let routes = far.routes().unwrap();
    let to = |prefix_bits| routes.iter().find(|route| route.prefix_bits == prefix_bits);
    assert_eq!(to(0).unwrap().links, [there.index]);
    assert_eq!(to(31).unwrap().destination, Ipv4Addr::new(10, 9, 8, 0));
    near.remove(here.index).unwrap();
    assert_eq!(far.link("far0").unwrap_err().errno, rustix::io::Errno::NODEV);
}
