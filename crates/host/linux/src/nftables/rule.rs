//! The terms of a rule, and what the kernel's small machine for packets makes of them: load something into a register, compare, decide.

use std::net::Ipv4Addr;

use crate::netlink::Message;

/// `NFTA_LIST_ELEM`, `NFTA_EXPR_*`.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
/// `NFTA_DATA_*`, `NFTA_VERDICT_CODE`.
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
/// `NFTA_META_*`; `NFTA_CT_*` are the same.
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
/// `NFTA_PAYLOAD_*`.
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
/// `NFTA_CMP_*`.
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
/// `NFTA_BITWISE_*`.
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
/// `NFTA_IMMEDIATE_*`.
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;

/// The register that every term uses, and the one that decides.
const REGISTER: u32 = libc::NFT_REG_1 as u32;
const VERDICT: u32 = libc::NFT_REG_VERDICT as u32;
/// Where the source address is in an IPv4 header, and how long an address is, in bytes.
const SOURCE_OFFSET_BYTES: u32 = 12;
const ADDRESS_BYTES: u32 = 4;
/// `NF_CT_STATE_BIT` of an established and a related connection, as `nf_conntrack_common.h` has them.
const ESTABLISHED_OR_RELATED: u32 = 0b110;

/// A condition, or what is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Term {
    /// If it came in through the link of this number.
    FromLink(u32),
    /// If it goes out through the link of this number.
    ToLink(u32),
    /// If this is its source address.
    From(Ipv4Addr),
    /// If another is its source address.
    NotFrom(Ipv4Addr),
    /// If it belongs to a connection that was answered, or tells about one.
    OfKnownConnection,
    /// It gets the address of the link it leaves through, and answers find back.
    Masquerade,
    /// It goes on.
    Accept,
    /// It goes nowhere.
    Drop,
}

impl Term {
    /// Appends the term's instructions to a rule.
    pub(super) fn write(self, rule: Message) -> Message {
        match self {
            Self::FromLink(index) => meta_is(rule, libc::NFT_META_IIF, index),
            Self::ToLink(index) => meta_is(rule, libc::NFT_META_OIF, index),
            Self::From(address) => source(rule, libc::NFT_CMP_EQ, address),
            Self::NotFrom(address) => source(rule, libc::NFT_CMP_NEQ, address),
            Self::OfKnownConnection => known_connection(rule),
            Self::Masquerade => instruction(rule, "masq", |nothing| nothing),
            Self::Accept => verdict(rule, libc::NF_ACCEPT),
            Self::Drop => verdict(rule, libc::NF_DROP),
        }
    }
}

fn instruction(rule: Message, name: &str, operands: impl FnOnce(Message) -> Message) -> Message {
    rule.nested(NFTA_LIST_ELEM, |element| element.text(NFTA_EXPR_NAME, name).nested(NFTA_EXPR_DATA, operands))
}

/// Loads something the kernel knows of the packet (`meta`) or of its connection (`ct`).
fn load(rule: Message, from: &str, key: libc::c_int) -> Message {
    instruction(rule, from, |operands| {
        operands.network_number(NFTA_META_DREG, REGISTER).network_number(NFTA_META_KEY, key.cast_unsigned())
    })
}

fn compare(rule: Message, how: libc::c_int, with: [u8; 4]) -> Message {
    instruction(rule, "cmp", |operands| {
        operands
            .network_number(NFTA_CMP_SREG, REGISTER)
            .network_number(NFTA_CMP_OP, how.cast_unsigned())
            .nested(NFTA_CMP_DATA, |data| data.bytes(NFTA_DATA_VALUE, &with))
    })
}

fn meta_is(rule: Message, key: libc::c_int, value: u32) -> Message {
    compare(load(rule, "meta", key), libc::NFT_CMP_EQ, value.to_ne_bytes())
}

fn source(rule: Message, how: libc::c_int, address: Ipv4Addr) -> Message {
    let loaded = instruction(rule, "payload", |operands| {
        operands
            .network_number(NFTA_PAYLOAD_DREG, REGISTER)
            .network_number(NFTA_PAYLOAD_BASE, libc::NFT_PAYLOAD_NETWORK_HEADER.cast_unsigned())
            .network_number(NFTA_PAYLOAD_OFFSET, SOURCE_OFFSET_BYTES)
            .network_number(NFTA_PAYLOAD_LEN, ADDRESS_BYTES)
    });
    compare(loaded, how, address.octets())
}

fn known_connection(rule: Message) -> Message {
    let masked = instruction(load(rule, "ct", libc::NFT_CT_STATE), "bitwise", |operands| {
        operands
            .network_number(NFTA_BITWISE_SREG, REGISTER)
            .network_number(NFTA_BITWISE_DREG, REGISTER)
            .network_number(NFTA_BITWISE_LEN, size_of::<u32>() as u32)
            .nested(NFTA_BITWISE_MASK, |data| {
                data.bytes(NFTA_DATA_VALUE, &ESTABLISHED_OR_RELATED.to_ne_bytes())
            })
            .nested(NFTA_BITWISE_XOR, |data| data.bytes(NFTA_DATA_VALUE, &[0; 4]))
    });
    compare(masked, libc::NFT_CMP_NEQ, [0; 4])
}

fn verdict(rule: Message, code: libc::c_int) -> Message {
    instruction(rule, "immediate", |operands| {
        operands.network_number(NFTA_IMMEDIATE_DREG, VERDICT).nested(NFTA_IMMEDIATE_DATA, |data| {
            data.nested(NFTA_DATA_VERDICT, |verdict| {
                verdict.network_number(NFTA_VERDICT_CODE, code.cast_unsigned())
            })
        })
    })
}
