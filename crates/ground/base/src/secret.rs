//! Secrets that parties share, and marks that only who knows one can make: HMAC-SHA256 (RFC 2104).

use crate::{Digest, Hasher};

/// Bytes that SHA-256 takes at a time.
const BLOCK_BYTES: usize = 64;

/// A secret, kept in the form in which marks are made of it.
#[derive(Clone)]
pub struct Secret {
    inner: Hasher,
    outer: Hasher,
}

impl std::fmt::Debug for Secret {
    /// Secrets are not for logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// The secret that is `key`.
    pub fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK_BYTES];
        if key.len() > BLOCK_BYTES {
            block[..32].copy_from_slice(Digest::of(key).as_bytes());
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let keyed = |pad: u8| {
            let mut hasher = Hasher::new();
            hasher.update(&block.map(|byte| byte ^ pad));
            hasher
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The mark of a message. One secret for several purposes wants messages that name theirs.
    pub fn mark(&self, message: &[u8]) -> Digest {
        let (mut inner, mut outer) = (self.inner.clone(), self.outer.clone());
        inner.update(message);
        outer.update(inner.finish().as_bytes());
        outer.finish()
    }

    /// Whether `given` is the mark of a message, as its 64 hex digits.
    pub fn made(&self, given: &str, message: &[u8]) -> bool {
        // Digests are compared, so that how long it takes tells nothing about the mark.
        Digest::of(given.as_bytes()) == Digest::of(self.mark(message).hex().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first, second, third and sixth test case of RFC 4231.
    #[test]
    fn marks_are_what_the_standard_says() {
        let cases: [(&[u8], &[u8], &str); 4] = [
            (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ];
        for (key, message, expected) in cases {
            let secret = Secret::new(key);
            assert_eq!(secret.mark(message).hex(), expected);
            assert!(secret.made(expected, message));
            assert!(!secret.made(expected, b"another message") && !secret.made("", message));
        }
    }
}
