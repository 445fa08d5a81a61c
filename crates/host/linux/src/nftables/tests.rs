//! A transaction against bytes laid out by hand from the kernel's headers, and tables of a real kernel where we are root.

use std::net::Ipv4Addr;

use super::*;
use crate::namespaces::{Namespace, unshare};

#[cfg(target_endian = "little")]
#[test]
fn a_transaction_is_what_the_headers_say() {
    let rules = vec![vec![Term::From(Ipv4Addr::new(10, 1, 2, 3)), Term::Masquerade]];
    let chain = Chain { name: "c", hook: Hook::Leaving, rules };
    let expected = [
        // NFNL_MSG_BATCH_BEGIN = 16, REQUEST; nfgenmsg: no family, version 0, subsystem 10.
        &[20, 0, 0, 0, 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 10],
        // NFT_MSG_NEWTABLE = 0 of subsystem 10, REQUEST | EXCL | CREATE; IPv4; name, flags: owner.
        &[36, 0, 0, 0, 0, 10, 0x01, 0x06, 2, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0],
        &[6, 0, 1, 0, b't', 0, 0, 0],
        &[8, 0, 2, 0, 0, 0, 0, 2],
        // NFT_MSG_NEWCHAIN = 3; table, name, hook { postrouting, 100 }, type.
        &[64, 0, 0, 0, 3, 10, 0x01, 0x0c, 3, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0],
        &[6, 0, 1, 0, b't', 0, 0, 0],
        &[6, 0, 3, 0, b'c', 0, 0, 0],
        &[20, 0, 4, 0x80],
        &[8, 0, 1, 0, 0, 0, 0, 4],
        &[8, 0, 2, 0, 0, 0, 0, 100],
        &[8, 0, 7, 0, b'n', b'a', b't', 0],
        // NFT_MSG_NEWRULE = 6, REQUEST | ACK | CREATE | APPEND; table, chain, list of { name, data }.
        &[156, 0, 0, 0, 6, 10, 0x05, 0x0c, 4, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0, 0, 0],
        &[6, 0, 1, 0, b't', 0, 0, 0],
        &[6, 0, 2, 0, b'c', 0, 0, 0],
        &[120, 0, 4, 0x80],
        // payload: register 1, network header, offset 12, 4 bytes.
        &[52, 0, 1, 0x80],
        &[12, 0, 1, 0, b'p', b'a', b'y', b'l', b'o', b'a', b'd', 0],
        &[36, 0, 2, 0x80],
        &[8, 0, 1, 0, 0, 0, 0, 1],
        &[8, 0, 2, 0, 0, 0, 0, 1],
        &[8, 0, 3, 0, 0, 0, 0, 12],
        &[8, 0, 4, 0, 0, 0, 0, 4],
        // cmp: register 1, equal, the address.
        &[44, 0, 1, 0x80],
        &[8, 0, 1, 0, b'c', b'm', b'p', 0],
        &[32, 0, 2, 0x80],
        &[8, 0, 1, 0, 0, 0, 0, 1],
        &[8, 0, 2, 0, 0, 0, 0, 0],
        &[12, 0, 3, 0x80],
        &[8, 0, 1, 0, 10, 1, 2, 3],
        // masq, without data.
        &[20, 0, 1, 0x80],
        &[9, 0, 1, 0, b'm', b'a', b's', b'q', 0, 0, 0, 0],
        &[4, 0, 2, 0x80],
        // NFNL_MSG_BATCH_END = 17.
        &[20, 0, 0, 0, 17, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 10],
    ]
    .concat();
    assert_eq!(transaction("t", &[chain]), expected);
}

fn every_term() -> Vec<Chain> {
    let address = Ipv4Addr::new(10, 1, 2, 3);
    vec![
        Chain {
            name: "a",
            hook: Hook::Arriving,
            rules: vec![vec![Term::FromLink(1), Term::NotFrom(address), Term::Drop]],
        },
        Chain {
            name: "p",
            hook: Hook::PassingOn,
            rules: vec![vec![Term::ToLink(1), Term::OfKnownConnection, Term::Accept]],
        },
        Chain { name: "l", hook: Hook::Leaving, rules: vec![vec![Term::From(address), Term::Masquerade]] },
    ]
}

/// Names of the tables that the calling thread's namespace has.
fn tables() -> Vec<String> {
    let socket = Socket::open(Some(netlink::NETFILTER)).unwrap();
    let list = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let message = Message::new(kind(libc::NFT_MSG_GETTABLE), list, &nfgenmsg(libc::NFPROTO_UNSPEC, 0));
    let mut names = Vec::new();
    let name = |body: &[u8]| attribute(&body[NFGENMSG_BYTES..], NFTA_TABLE_NAME).map(text);
    socket.ask(|| "list tables".to_owned(), message, |body| names.extend(name(body))).unwrap();
    names
}

#[test]
fn a_table_is_in_force_as_long_as_its_owner() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let inside = || {
        unshare(&[Namespace::Network]).unwrap();
        let first = Table::put_in_force("first", &every_term()).unwrap();
        let second = Table::put_in_force("second", &every_term()).unwrap();
        let again = Table::put_in_force("first", &every_term()).unwrap_err();
        assert_eq!((again.errno, is_missing(&again)), (Errno::PERM, false), "it is another socket's");
        assert_eq!(tables(), ["first", "second"]);
        assert_eq!(chains_that_drop_forwarded().unwrap(), Vec::<String>::new());
        drop(first);
        assert_eq!(tables(), ["second"]);
        drop(second);
        assert_eq!(tables(), Vec::<String>::new());
    };
    std::thread::spawn(inside).join().unwrap();
}

#[test]
fn a_chain_that_drops_what_is_forwarded_is_seen() {
    let chain = |family, hook, policy| {
        let message = Message::new(0, 0, &nfgenmsg(family, 0)).text(NFTA_CHAIN_TABLE, "filter");
        let place = |m: Message| m.network_number(NFTA_HOOK_HOOKNUM, hook);
        let message = message.text(NFTA_CHAIN_NAME, "FORWARD").nested(NFTA_CHAIN_HOOK, place);
        let bytes = message.network_number(NFTA_CHAIN_POLICY, policy).finish(1);
        read_dropping(&bytes[16..])
    };
    assert_eq!(chain(libc::NFPROTO_IPV4, 2, 0).as_deref(), Some("filter FORWARD"));
    assert_eq!(chain(libc::NFPROTO_INET, 2, 0).as_deref(), Some("filter FORWARD"));
    assert_eq!(chain(libc::NFPROTO_IPV4, 2, 1), None, "it lets things through");
    assert_eq!(chain(libc::NFPROTO_IPV4, 3, 0), None, "it is about what this machine sends");
    assert_eq!(chain(libc::NFPROTO_IPV6, 2, 0), None);
}
