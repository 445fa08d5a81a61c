//! Packet filter and address translation: one table of IPv4 rules that lives as long as the value that made it.
//!
//! The table is owned by its socket (Linux 5.12): nobody else changes it, not even who flushes all rules, and the kernel removes it when the
//! socket closes, however that comes about. It is made in one transaction, so that it is there as a whole or not at all.
//!
//! The numbers below are those of `linux/netfilter/nf_tables.h`, as far as `libc` does not have them.

mod rule;

use rustix::io::Errno;
use rustix::net::netlink;

use crate::netlink::{Message, NetlinkError, Socket, attribute, network_u32_at, text};
pub use rule::Term;

/// The one version of netfilter's messages.
const NFNETLINK_V0: u8 = libc::NFNETLINK_V0 as u8;
/// Bytes of `struct nfgenmsg`: family, version, resource.
const NFGENMSG_BYTES: usize = 4;
/// `NFT_TABLE_F_OWNER`.
const NFT_TABLE_F_OWNER: u32 = 2;
/// `NFTA_TABLE_*`.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
/// `NFTA_CHAIN_*`.
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
/// `NFTA_HOOK_*`.
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
/// `NFTA_RULE_*`.
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

/// A place on a packet's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Everything that arrives, before connections are looked up.
    Arriving,
    /// What is passed on to another link.
    PassingOn,
    /// What leaves, where source addresses are translated.
    Leaving,
}

impl Hook {
    /// Kind of chain, number of the hook, and place among others on the same hook, lowest first.
    fn place(self) -> (&'static str, libc::c_int, libc::c_int) {
        match self {
            Self::Arriving => ("filter", libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_RAW),
            Self::PassingOn => ("filter", libc::NF_INET_FORWARD, libc::NF_IP_PRI_FILTER),
            Self::Leaving => ("nat", libc::NF_INET_POST_ROUTING, libc::NF_IP_PRI_NAT_SRC),
        }
    }
}

/// A chain of rules at a hook. A packet that no rule decides about goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name in its table.
    pub name: &'static str,
    /// Where it is.
    pub hook: Hook,
    /// Rules in order, each a row of terms: conditions first, then what is done where all hold.
    pub rules: Vec<Vec<Term>>,
}

/// A table that is in force until this is dropped.
#[derive(Debug)]
pub struct Table {
    _owner: Socket,
}

impl Table {
    /// Puts a table in force in the calling thread's network namespace.
    ///
    /// `EOPNOTSUPP` or `EPROTONOSUPPORT` mean a kernel without nf_tables, `ENOENT` one without a kind of chain or rule.
    pub fn put_in_force(name: &str, chains: &[Chain]) -> Result<Self, NetlinkError> {
        let owner = Socket::open(Some(netlink::NETFILTER))?;
        owner.send_all(|| format!("add table {name} of packet rules"), &transaction(name, chains))?;
        Ok(Self { _owner: owner })
    }
}

/// The chains of everybody in the calling thread's network namespace that drop forwarded IPv4 packets unless a rule of theirs accepts them, as
/// `table chain`. A chain of ours that accepts is no help against them. Old `iptables` tables are not seen.
pub fn chains_that_drop_forwarded() -> Result<Vec<String>, NetlinkError> {
    let socket = Socket::open(Some(netlink::NETFILTER))?;
    let list = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let message = Message::new(kind(libc::NFT_MSG_GETCHAIN), list, &nfgenmsg(libc::NFPROTO_UNSPEC, 0));
    let mut found = Vec::new();
    socket.ask(|| "list packet rules".to_owned(), message, |body| found.extend(read_dropping(body)))?;
    Ok(found)
}

/// Whether an error means that the kernel has no nf_tables, or not the parts that are needed.
pub fn is_missing(error: &NetlinkError) -> bool {
    [Errno::OPNOTSUPP, Errno::PROTONOSUPPORT, Errno::NOENT].contains(&error.errno)
}

/// The type of a message to nf_tables.
fn kind(message: libc::c_int) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES << 8 | message) as u16
}

fn nfgenmsg(family: libc::c_int, resource: u16) -> [u8; NFGENMSG_BYTES] {
    let [high, low] = resource.to_be_bytes();
    [family as u8, NFNETLINK_V0, high, low]
}

/// Everything in one datagram: begin, the table, its chains, their rules, end.
fn transaction(name: &str, chains: &[Chain]) -> Vec<u8> {
    let request = libc::NLM_F_REQUEST as u16;
    let new = request | libc::NLM_F_CREATE as u16;
    // Without the last flag a rule would go before the others.
    let add = |message| {
        let last = new | libc::NLM_F_APPEND as u16;
        Message::new(kind(message), last, &nfgenmsg(libc::NFPROTO_IPV4, 0))
    };
    let mut table = Message::new(
        kind(libc::NFT_MSG_NEWTABLE),
        new | libc::NLM_F_EXCL as u16,
        &nfgenmsg(libc::NFPROTO_IPV4, 0),
    );
    table = table.text(NFTA_TABLE_NAME, name).network_number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
    let mut messages = vec![table];
    for chain in chains {
        let (of_kind, hook, priority) = chain.hook.place();
        messages.push(
            add(libc::NFT_MSG_NEWCHAIN)
                .text(NFTA_CHAIN_TABLE, name)
                .text(NFTA_CHAIN_NAME, chain.name)
                .nested(NFTA_CHAIN_HOOK, |place| {
                    place
                        .network_number(NFTA_HOOK_HOOKNUM, hook.cast_unsigned())
                        .network_number(NFTA_HOOK_PRIORITY, priority.cast_unsigned())
                })
                .text(NFTA_CHAIN_TYPE, of_kind),
        );
        messages.extend(chain.rules.iter().map(|terms| {
            add(libc::NFT_MSG_NEWRULE)
                .text(NFTA_RULE_TABLE, name)
                .text(NFTA_RULE_CHAIN, chain.name)
                .nested(NFTA_RULE_EXPRESSIONS, |list| terms.iter().fold(list, |list, term| term.write(list)))
        }));
    }
    // Refusals come for every message, in order; a yes only for one that asks. Kernels before 6.10 give none for the end.
    if let Some(last) = messages.last_mut() {
        last.add_flags(libc::NLM_F_ACK as u16);
    }
    let edge = |message: libc::c_int| {
        let resource = libc::NFNL_SUBSYS_NFTABLES as u16;
        Message::new(message as u16, request, &nfgenmsg(libc::NFPROTO_UNSPEC, resource))
    };
    let (begin, end) = (edge(libc::NFNL_MSG_BATCH_BEGIN), edge(libc::NFNL_MSG_BATCH_END));
    let all = std::iter::once(begin).chain(messages).chain([end]);
    (1..).zip(all).flat_map(|(sequence, message)| message.finish(sequence)).collect()
}

fn read_dropping(body: &[u8]) -> Option<String> {
    let described = body.get(NFGENMSG_BYTES..)?;
    let of_ipv4 = [libc::NFPROTO_IPV4, libc::NFPROTO_INET].contains(&libc::c_int::from(*body.first()?));
    let number = |value: &[u8]| network_u32_at(value, 0);
    let hook = attribute(attribute(described, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM).and_then(number)?;
    let policy = attribute(described, NFTA_CHAIN_POLICY).and_then(number)?;
    let drops = hook == libc::NF_INET_FORWARD.cast_unsigned() && policy == libc::NF_DROP.cast_unsigned();
    let name = |kind| attribute(described, kind).map(text);
    (of_ipv4 && drops).then_some(format!("{} {}", name(NFTA_CHAIN_TABLE)?, name(NFTA_CHAIN_NAME)?))
}

#[cfg(test)]
mod tests;
