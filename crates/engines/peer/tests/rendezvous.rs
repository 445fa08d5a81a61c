//! Ownership: even, and with as little moving as there can be when members come and go.

use glowplug_base::Digest;
use glowplug_peer::{PieceId, order};
use proptest::prelude::*;

fn names(count: usize, seed: u16) -> Vec<String> {
    (0..count).map(|at| format!("http://10.{}.{}.{at}:5377", seed >> 8, seed & 0xff)).collect()
}

fn pieces(blob: &[u8], count: u64) -> impl Iterator<Item = PieceId> {
    let blob = Digest::of(blob);
    (0..count).map(move |number| PieceId { blob, number })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_member_owns_its_share(count in 2_usize..20, seed: u16, blob: [u8; 8]) {
        const EACH: usize = 200;
        let members = names(count, seed);
        let mut owned = vec![0_usize; count];
        pieces(&blob, (count * EACH) as u64).for_each(|piece| owned[order(&members, &piece)[0]] += 1);
        // Six standard deviations of a binomial distribution, of which there are at most twenty in a case.
        let allowed = (6.0 * (EACH as f64).sqrt()) as usize;
        for (at, count) in owned.iter().enumerate() {
            prop_assert!(count.abs_diff(EACH) <= allowed, "{at} owns {count} of {EACH}");
        }
    }

    #[test]
    fn a_member_that_goes_leaves_the_order_of_the_others(count in 2_usize..20, seed: u16, gone: prop::sample::Index) {
        let members = names(count, seed);
        let gone = gone.index(count);
        let mut left = members.clone();
        left.remove(gone);
        for piece in pieces(b"blob", 200) {
            let before: Vec<&String> =
                order(&members, &piece).into_iter().filter(|at| *at != gone).map(|at| &members[at]).collect();
            let after: Vec<&String> = order(&left, &piece).into_iter().map(|at| &left[at]).collect();
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(count in 1_usize..20, seed: u16, number: u64) {
        let members = names(count, seed);
        let mut turned = members.clone();
        turned.reverse();
        let piece = PieceId { blob: Digest::of(b"blob"), number };
        let by_name = |members: &[String]| {
            order(members, &piece).into_iter().map(|at| members[at].clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(by_name(&members), by_name(&turned));
    }
}

#[test]
fn neighbouring_pieces_go_to_different_members() {
    let members = names(4, 1);
    let owners: Vec<usize> =
        pieces(b"blob", 64).map(|piece| *order(&members, &piece).first().unwrap()).collect();
    let longest = owners.chunk_by(|a, b| a == b).map(<[usize]>::len).max().unwrap();
    assert!(longest <= 8, "a row of {longest}");
}
