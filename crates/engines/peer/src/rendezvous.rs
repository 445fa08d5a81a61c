//! Who owns a piece: the member with the highest random weight for it (Thaler and Ravishankar, 1998).
//!
//! Every node computes the same order from the same names, without talking about it. When a member goes, only its own
//! pieces move, each to the next in its order; when one comes, it takes its share from all and nothing else moves.

use glowplug_base::Digest;

use crate::PieceId;

/// The places in `members` in the order in which they own `piece`, the owner first. Equal names are equal members.
pub fn order<M: AsRef<str>>(members: &[M], piece: &PieceId) -> Vec<usize> {
    let point = point(piece);
    let mut order: Vec<(u64, usize)> =
        members.iter().enumerate().map(|(at, name)| (weight(seed(name.as_ref()), point), at)).collect();
    // By name where weights are equal, so that all nodes agree whatever the order of their lists.
    order.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| members[a.1].as_ref().cmp(members[b.1].as_ref())));
    order.into_iter().map(|(_, at)| at).collect()
}

/// A member's place among all numbers.
fn seed(name: &str) -> u64 {
    first_eight(&Digest::of(name.as_bytes()))
}

/// A piece's place among all numbers.
fn point(piece: &PieceId) -> u64 {
    mix(first_eight(&piece.blob) ^ mix(piece.number))
}

fn weight(seed: u64, point: u64) -> u64 {
    mix(seed ^ point)
}

fn first_eight(digest: &Digest) -> u64 {
    digest.as_bytes().first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight))
}

/// Spreads numbers that are close to each other over all numbers (the finalizer of SplitMix64).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order is part of the protocol: nodes of different releases in one cluster must agree.
    #[test]
    fn the_order_is_what_it_always_was() {
        let members = ["http://10.0.0.1:5377", "http://10.0.0.2:5377", "http://10.0.0.3:5377"];
        let piece = |number| PieceId { blob: Digest::of(b"blob"), number };
        let orders: Vec<_> = (0..4).map(|number| order(&members, &piece(number))).collect();
        assert_eq!(orders, [[1, 2, 0], [0, 2, 1], [0, 2, 1], [0, 1, 2]]);
    }
}
