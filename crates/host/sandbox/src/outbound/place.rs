//! Where a container's network is: a number gives the name of its link and a pair of addresses.
//!
//! Two addresses are all that a link between two needs (RFC 3021), so that whatever else on the host's networks may have addresses
//! in these ranges loses no more than two of them, and a whole range may be in use elsewhere without a container being refused.

use std::net::Ipv4Addr;

use glowplug_linux::link::Route;

/// What the names of the host's ends begin with.
pub(super) const LINK_PREFIX: &str = "glowplug";
/// The ranges in words, for messages.
pub(super) const RANGES: &str = "10.213.0.0/16 and 198.18.0.0/16";
/// Bits that the two addresses of a link share.
pub(super) const PREFIX_BITS: u8 = 31;

/// The first addresses of the ranges, tried in this order: one that is private, away from what Docker, Podman and the usual Kubernetes
/// networks take without being asked, and one for machines where all of 10.0.0.0/8 is routed, which is set aside for measurements and so is
/// neither on the Internet nor, as a rule, in an office.
const RANGE_STARTS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 213, 0, 0), Ipv4Addr::new(198, 18, 0, 0)];
/// Pairs of addresses in a range of 16 bits.
const PAIRS_PER_RANGE: u32 = 1 << 15;

/// A place for one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    number: u32,
    /// The lower address of the two.
    low: u32,
}

/// All places in the order they are tried.
pub(super) fn all() -> impl Iterator<Item = Place> {
    let starts =
        RANGE_STARTS.into_iter().flat_map(|start| (0..PAIRS_PER_RANGE).map(move |n| start.to_bits() + 2 * n));
    (0..).zip(starts).map(|(number, low)| Place { number, low })
}

impl Place {
    /// Name of the host's end, at most 13 of the 15 bytes that the kernel takes.
    pub fn link_name(self) -> String {
        format!("{LINK_PREFIX}{}", self.number)
    }

    /// Address of the host's end.
    pub fn host(self) -> Ipv4Addr {
        self.low.into()
    }

    /// Address of the container.
    pub fn container(self) -> Ipv4Addr {
        (self.low + 1).into()
    }

    /// Whether nothing but default routes leads to its addresses.
    pub fn is_free(self, routes: &[Route]) -> bool {
        routes.iter().filter(|route| route.prefix_bits > 0).all(|route| {
            let shared = u32::from(route.prefix_bits.min(PREFIX_BITS));
            (route.destination.to_bits() ^ self.low) >> (u32::BITS - shared) != 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: [u8; 4], prefix_bits: u8) -> Route {
        Route { destination: destination.into(), prefix_bits, links: vec![1] }
    }

    fn first_free(routes: &[Route]) -> Option<Place> {
        all().find(|place| place.is_free(routes))
    }

    #[test]
    fn numbers_give_names_and_addresses_that_fit() {
        let last = all().last().unwrap();
        assert_eq!(last.link_name(), "glowplug65535");
        assert_eq!((last.host(), last.container()), ([198, 18, 255, 254].into(), [198, 18, 255, 255].into()));
        let third = all().nth(2).unwrap();
        assert_eq!((third.host(), third.container()), ([10, 213, 0, 4].into(), [10, 213, 0, 5].into()));
    }

    #[test]
    fn what_is_routed_elsewhere_is_left_alone() {
        let default = route([0, 0, 0, 0], 0);
        assert_eq!(first_free(std::slice::from_ref(&default)).unwrap().number, 0);
        // Another container's pair, an address of this machine inside the next, and a network beside it all.
        let taken = [
            default.clone(),
            route([10, 213, 0, 0], 31),
            route([10, 213, 0, 3], 32),
            route([10, 212, 0, 0], 16),
        ];
        assert_eq!(first_free(&taken).unwrap().number, 2);
        let office = [default, route([10, 0, 0, 0], 8)];
        assert_eq!(first_free(&office).unwrap().host(), Ipv4Addr::new(198, 18, 0, 0));
        assert_eq!(first_free(&[route([0, 0, 0, 0], 1), route([128, 0, 0, 0], 1)]), None);
    }
}
