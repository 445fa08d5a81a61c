//! Netlink messages as bytes: a header, a family's own fixed part, and attributes that nest.
//!
//! Bytes in, bytes out: nothing here talks to the kernel. What is written is aligned to four bytes as the kernel wants it; what is read is
//! cut off where its lengths lie, and never panics.

/// Where everything in a message begins, in bytes.
const ALIGNMENT: usize = 4;
/// Bytes of `struct nlmsghdr`: length, type, flags, sequence number, port.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of `struct nlattr`: length and type.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// The type of an attribute without its two flags, nested and network byte order.
const TYPE_MASK: u16 = 0x3fff;

/// A request that is being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request of this type with these flags, and with the family's fixed part.
    pub fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self(bytes).raw(fixed)
    }

    /// Appends bytes that are no attribute, as the fixed part of a message inside a message.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
        self
    }

    /// Appends an attribute.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend_from_slice(&size(ATTRIBUTE_HEADER_BYTES + value.len()).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// Appends a text, with the zero byte at its end that the kernel wants.
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// Appends a number in this machine's byte order, as links, addresses and routes have it.
    pub fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends a number in network byte order, as netfilter has it.
    pub fn network_number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends an attribute that holds what `inside` appends.
    pub fn nested(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let at = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | libc::NLA_F_NESTED as u16).to_ne_bytes());
        let mut whole = inside(self);
        let length = size(whole.0.len() - at);
        whole.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        whole
    }

    /// Sets further flags of the header.
    pub fn add_flags(&mut self, flags: u16) {
        let flags = flags | u16_at(&self.0, 6).unwrap_or_default();
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
    }

    /// The bytes to send.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// An attribute's length field. What is written here is short; a value that does not fit is refused by the kernel as malformed.
fn size(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// A message that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    /// The header's type.
    pub kind: u16,
    /// The header's flags.
    pub flags: u16,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages of one datagram.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let body = datagram.get(HEADER_BYTES..length)?;
        let message = Received { kind: u16_at(datagram, 4)?, flags: u16_at(datagram, 6)?, body };
        datagram = datagram.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in these bytes: type without flags, and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this type.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text attribute's value, up to its zero byte.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// Two bytes at an offset, in this machine's order.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Four bytes at an offset, in this machine's order.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Four bytes at an offset, in network order.
pub(crate) fn network_u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_count_padding_only_inside() {
        let message = Message::new(7, 5, &[9; 2]).nested(3, |m| m.text(1, "ab").number(2, 4)).finish(6);
        #[cfg(target_endian = "little")]
        let expected = [
            &[40, 0, 0, 0, 7, 0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0][..],
            // The fixed part, padded.
            &[9, 9, 0, 0],
            &[20, 0, 3, 0x80],
            &[7, 0, 1, 0, b'a', b'b', 0, 0],
            &[8, 0, 2, 0, 4, 0, 0, 0],
        ]
        .concat();
        #[cfg(target_endian = "little")]
        assert_eq!(message, expected);
        let read: Vec<_> = messages(&message).collect();
        assert_eq!((read.len(), read[0].kind, read[0].flags), (1, 7, 5));
        let inside = attribute(&read[0].body[4..], 3).unwrap();
        assert_eq!(text(attribute(inside, 1).unwrap()), "ab");
        assert_eq!(u32_at(attribute(inside, 2).unwrap(), 0), Some(4));
    }

    proptest! {
        #[test]
        fn whatever_is_received_is_read_without_panic_and_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                prop_assert!(attributes(message.body).all(|(kind, value)| kind <= TYPE_MASK && value.len() < bytes.len()));
            }
        }
    }
}
