//! What other nodes know: lore that nobody on this node has offered.
//!
//! All members that are well are asked at once whether they have it, up to [`MOST_ASKED`] of them, and the first that has
//! gives it. Nobody keeps a list of who has what: a cluster's nodes come and go, and a question costs less than a piece. In
//! larger clusters a node asks the first in its order for this lore, which are others for other lore.
//!
//! An index is asked of nobody where nodes do not know each other by a token or by certificates. A peer that does not
//! answer is waited for as long as for a piece, and no longer.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use glowplug_base::Digest;

use crate::PieceId;
use crate::fetch::Fetcher;
use crate::lore::{Lore, LoreHead, LoreId};
use crate::members::Member;
use crate::peer::Peer;
use crate::wire::WireError;

/// Peers that are asked at once. So many small questions for each layer are no burden to anybody.
const MOST_ASKED: usize = 32;

impl Fetcher {
    /// Who of the peers has something, and how much of it.
    pub(crate) async fn ask_who_has(&self, id: &LoreId) -> Option<(Arc<Peer>, LoreHead)> {
        if id.wants_trust() && !self.wire.knows_peers() {
            return None;
        }
        let place = PieceId { blob: Digest::of(id.path().as_bytes()), number: 0 };
        let order = self.members.order(&place, self.now_ns()).into_iter();
        let peers = order.filter_map(|member| match member {
            Member::Peer(peer) => Some(peer),
            Member::Own => None,
        });
        let mut answers: FuturesUnordered<_> = peers
            .take(MOST_ASKED)
            .map(|peer| async move {
                let asked = self.wire.lore_head(&peer.name, id);
                let answer = tokio::time::timeout(self.patience.first, asked).await;
                (peer, answer)
            })
            .collect();
        while let Some((peer, answer)) = answers.next().await {
            match answer {
                Ok(Ok(Some(head))) => return Some((peer, head)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => self.failed(&peer, &error),
                Err(_) => self.overtaken(&peer),
            }
        }
        None
    }

    /// Something, from the peer that has it.
    pub(crate) async fn ask_for_lore(&self, id: &LoreId) -> Option<Lore> {
        let (peer, _) = self.ask_who_has(id).await?;
        let asked = tokio::time::timeout(self.patience.most, self.wire.lore(&peer.name, id)).await;
        match asked.unwrap_or_else(|_| Err(WireError::Silent("too slow".to_owned()))) {
            Ok((head, bytes)) => {
                self.counters.lore_from_peers.add(1);
                Some(Lore { head, from: Some(peer.name.clone()), bytes })
            }
            Err(error) => {
                self.failed(&peer, &error);
                None
            }
        }
    }
}
