//! The ways to start that are measured, and whom each belongs to.

use serde::{Deserialize, Serialize};

use crate::peers;
use crate::rig::peers::{Nydus, Peer, Prefetch, Soci, Stargz};

/// From which state, and by whom.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Glowplug, nothing known.
    FirstEver,
    /// Glowplug, index known, order not.
    IndexKnown,
    /// Glowplug, index known and order learned.
    OrderLearned,
    /// containerd: full pull with overlayfs, then start.
    Containerd,
    /// Every byte unpacked and in the page cache.
    WarmLocal,
    /// stargz-snapshotter, a plain eStargz image.
    Stargz,
    /// stargz-snapshotter, an eStargz image with the files of a start first.
    StargzOptimised,
    /// SOCI snapshotter, a SOCI v2 image that names the files of a start.
    Soci,
    /// Nydus as shipped: the files of a start first, then everything.
    NydusPrefetch,
    /// Nydus with the files of a start first and nothing after them.
    NydusOpened,
    /// Nydus without its prefetch.
    NydusOnDemand,
}

/// Whom Glowplug is measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Versus {
    /// Full pull, unpack and start.
    Containerd,
    /// stargz-snapshotter, with a plain and an optimised image.
    Stargz,
    /// SOCI snapshotter.
    Soci,
    /// Nydus, with its prefetch as shipped, with that of the files of a start alone, and without.
    Nydus,
}

impl Versus {
    /// What has to be built for it.
    pub fn peer(self) -> Option<peers::Peer> {
        match self {
            Self::Containerd => None,
            Self::Stargz => Some(peers::Peer::Stargz),
            Self::Soci => Some(peers::Peer::Soci),
            Self::Nydus => Some(peers::Peer::Nydus),
        }
    }
}

impl Case {
    /// In the order in which one round runs them: each brings the node into the state that the next needs.
    const ALL: [Self; 11] = [
        Self::FirstEver,
        Self::IndexKnown,
        Self::OrderLearned,
        Self::Containerd,
        Self::WarmLocal,
        Self::Stargz,
        Self::StargzOptimised,
        Self::Soci,
        Self::NydusPrefetch,
        Self::NydusOpened,
        Self::NydusOnDemand,
    ];

    /// What one round runs: our own cases and those of `versus`, or just the `named` ones where there are any.
    pub fn round(versus: &[Versus], named: &[Self]) -> Vec<Self> {
        let runs = |case: &Self| {
            if named.is_empty() {
                case.versus().is_none_or(|whom| versus.contains(&whom))
            } else {
                named.contains(case)
            }
        };
        Self::ALL.into_iter().filter(runs).collect()
    }

    /// For file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::FirstEver => "first-ever",
            Self::IndexKnown => "index-known",
            Self::OrderLearned => "order-learned",
            Self::Containerd => "containerd",
            Self::WarmLocal => "warm-local",
            Self::Stargz => "stargz",
            Self::StargzOptimised => "stargz-optimised",
            Self::Soci => "soci",
            Self::NydusPrefetch => "nydus-prefetch",
            Self::NydusOpened => "nydus-opened",
            Self::NydusOnDemand => "nydus-on-demand",
        }
    }

    /// Whether it is Glowplug's.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::FirstEver | Self::IndexKnown | Self::OrderLearned)
    }

    /// Whose it is; ours and the local start are nobody's.
    pub fn versus(self) -> Option<Versus> {
        match self {
            Self::FirstEver | Self::IndexKnown | Self::OrderLearned | Self::WarmLocal => None,
            Self::Containerd => Some(Versus::Containerd),
            Self::Stargz | Self::StargzOptimised => Some(Versus::Stargz),
            Self::Soci => Some(Versus::Soci),
            Self::NydusPrefetch | Self::NydusOpened | Self::NydusOnDemand => Some(Versus::Nydus),
        }
    }

    /// The lazy peer with its settings, if it is one's.
    pub fn peer(self) -> Option<Box<dyn Peer>> {
        match self {
            Self::FirstEver | Self::IndexKnown | Self::OrderLearned | Self::Containerd | Self::WarmLocal => {
                None
            }
            Self::Stargz => Some(Box::new(Stargz { optimised: false })),
            Self::StargzOptimised => Some(Box::new(Stargz { optimised: true })),
            Self::Soci => Some(Box::new(Soci)),
            Self::NydusPrefetch => Some(Box::new(Nydus { prefetch: Prefetch::All })),
            Self::NydusOpened => Some(Box::new(Nydus { prefetch: Prefetch::Opened })),
            Self::NydusOnDemand => Some(Box::new(Nydus { prefetch: Prefetch::Nothing })),
        }
    }

    /// Whether it is a lazy peer's.
    pub fn is_lazy_peer(self) -> bool {
        self.versus().is_some_and(|whom| whom != Versus::Containerd)
    }

    /// The case that must have run before it.
    pub fn needs(self) -> Option<Self> {
        match self {
            Self::IndexKnown | Self::OrderLearned => Some(Self::FirstEver),
            Self::WarmLocal => Some(Self::Containerd),
            _ => None,
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::FirstEver => "glowplug, first ever",
            Self::IndexKnown => "glowplug, index known",
            Self::OrderLearned => "glowplug, order learned",
            Self::Containerd => "containerd, full pull",
            Self::WarmLocal => "warm-local",
            Self::Stargz => "stargz, plain",
            Self::StargzOptimised => "stargz, optimised",
            Self::Soci => "soci, prefetch files",
            Self::NydusPrefetch => "nydus, prefetch all",
            Self::NydusOpened => "nydus, prefetch opened",
            Self::NydusOnDemand => "nydus, on demand",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_runs_ours_and_those_that_are_asked_for() {
        use Case::{
            Containerd, FirstEver, IndexKnown, NydusOnDemand, NydusOpened, NydusPrefetch, OrderLearned, Soci,
            WarmLocal,
        };
        let ours = [FirstEver, IndexKnown, OrderLearned];
        assert_eq!(Case::round(&[Versus::Containerd], &[]), [&ours[..], &[Containerd, WarmLocal]].concat());
        assert_eq!(
            Case::round(&[Versus::Nydus], &[]),
            [&ours[..], &[WarmLocal, NydusPrefetch, NydusOpened, NydusOnDemand]].concat()
        );
        assert_eq!(Case::round(&[Versus::Containerd], &[Soci, OrderLearned]), [OrderLearned, Soci]);
    }

    #[test]
    fn lazy_peers_are_those_that_have_one() {
        for case in Case::ALL {
            assert_eq!(case.is_lazy_peer(), case.peer().is_some(), "{}", case.name());
            assert_eq!(case.is_lazy_peer(), case.versus().is_some_and(|whom| whom.peer().is_some()));
        }
    }
}
