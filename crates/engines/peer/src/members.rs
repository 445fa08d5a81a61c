//! Who is in the cluster, and whom to ask for a piece.
//!
//! A member's name is its address. A peer that leaves and comes back is the same peer: what it did is remembered as long
//! as it counts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reqwest::Url;

use crate::peer::Peer;
use crate::rendezvous;
use crate::{OpenError, PieceId};

/// The members of the cluster.
#[derive(Debug)]
pub(crate) struct Members {
    own: Arc<str>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// This node among them, sorted.
    names: Arc<Vec<Arc<str>>>,
    /// Everybody but this node; also who left and lied.
    peers: HashMap<Arc<str>, Arc<Peer>>,
    /// Other addresses of this node, as it turned out.
    own_too: HashSet<Arc<str>>,
}

/// One member, as seen from this node.
#[derive(Debug, Clone)]
pub(crate) enum Member {
    /// This node.
    Own,
    /// Another.
    Peer(Arc<Peer>),
}

impl Members {
    /// This node alone.
    pub(crate) fn new(own: &str) -> Result<Self, OpenError> {
        let own: Arc<str> = canonical(own)?.into();
        let names = Arc::new(vec![own.clone()]);
        Ok(Self { own, state: Mutex::new(State { names, ..State::default() }) })
    }

    /// From now on these, and this node, are the members. Whether that is anything new.
    pub(crate) fn set(&self, names: &[String], now_ns: u64) -> Result<bool, OpenError> {
        let others = names.iter().map(|name| canonical(name).map(Arc::from));
        let mut all: Vec<Arc<str>> = others.collect::<Result<_, _>>()?;
        all.push(self.own.clone());
        all.sort_unstable();
        all.dedup();
        let mut state = self.lock();
        all.retain(|name| !state.own_too.contains(name));
        if *state.names == all {
            return Ok(false);
        }
        state.peers.retain(|name, peer| peer.is_quarantined(now_ns) || all.binary_search(name).is_ok());
        for name in all.iter().filter(|name| **name != self.own) {
            state.peers.entry(name.clone()).or_insert_with(|| Arc::new(Peer::new(name)));
        }
        state.names = Arc::new(all);
        Ok(true)
    }

    /// This address is this node's, too. Whether that is anything new.
    pub(crate) fn leave_out(&self, name: &Arc<str>) -> bool {
        let mut state = self.lock();
        let new = state.own_too.insert(name.clone());
        state.peers.remove(name);
        state.names = Arc::new(state.names.iter().filter(|known| *known != name).cloned().collect());
        new
    }

    /// The members that are well, in the order in which they own `piece`.
    pub(crate) fn order(&self, piece: &PieceId, now_ns: u64) -> Vec<Member> {
        let well = self.well(now_ns);
        let names: Vec<&str> = well.iter().map(|(name, _)| &**name).collect();
        rendezvous::order(&names, piece).into_iter().map(|at| well[at].1.clone()).collect()
    }

    /// How many there are, and how many of them are well.
    pub(crate) fn count(&self, now_ns: u64) -> (usize, usize) {
        let all = self.lock().names.len();
        (all, self.well(now_ns).len())
    }

    /// The peer of this name, if it is known.
    pub(crate) fn peer(&self, name: &str) -> Option<Arc<Peer>> {
        self.lock().peers.get(name).cloned()
    }

    fn well(&self, now_ns: u64) -> Vec<(Arc<str>, Member)> {
        let state = self.lock();
        let member = |name: &Arc<str>| match state.peers.get(name) {
            Some(peer) => peer.is_well(now_ns).then(|| (name.clone(), Member::Peer(peer.clone()))),
            None => Some((name.clone(), Member::Own)),
        };
        state.names.iter().filter_map(member).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One spelling for one address, since all nodes must give a member the same name.
fn canonical(address: &str) -> Result<String, OpenError> {
    let malformed = || OpenError::Member(address.to_owned());
    let url = Url::parse(address).map_err(|_| malformed())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !bare {
        return Err(malformed());
    }
    let (host, port) = url.host_str().zip(url.port_or_known_default()).ok_or_else(malformed)?;
    Ok(format!("{}://{host}:{port}", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_one_name() {
        for (spelt, name) in [
            ("http://Node-1.example:80/", "http://node-1.example:80"),
            ("http://node-1.example", "http://node-1.example:80"),
            ("https://[2001:DB8::1]:5377", "https://[2001:db8::1]:5377"),
        ] {
            assert_eq!(canonical(spelt).unwrap(), name);
        }
        for bad in ["", "10.0.0.1:5377", "ftp://a:1", "http://a:1/path", "http://user@a:1", "http://a:1/?b"] {
            assert!(canonical(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn another_address_of_this_node_is_no_member_however_often_it_is_listed() {
        let members = Members::new("http://a:1").unwrap();
        let names = ["http://b:1".to_owned(), "http://also-a:1".to_owned()];
        members.set(&names, 0).unwrap();
        assert_eq!(members.count(0), (3, 3));
        let also: Arc<str> = "http://also-a:1".into();
        assert!(members.leave_out(&also) && !members.leave_out(&also));
        assert_eq!(members.count(0), (2, 2));
        assert!(!members.set(&names, 0).unwrap());
        assert_eq!(members.count(0), (2, 2));
    }

    #[test]
    fn who_lied_is_remembered_while_it_is_away() {
        let members = Members::new("http://a:1").unwrap();
        let names = ["http://b:1".to_owned(), "http://c:1".to_owned()];
        assert!(members.set(&names, 0).unwrap());
        assert!(!members.set(&["http://c:1/".to_owned(), "http://b:1".to_owned()], 0).unwrap());
        members.peer("http://b:1").unwrap().lied(0);
        members.peer("http://c:1").unwrap().failed(0);
        assert_eq!(members.count(0), (3, 1));
        members.set(&[], 0).unwrap();
        assert_eq!(members.count(0), (1, 1));
        members.set(&names, 0).unwrap();
        assert_eq!(members.count(0), (3, 2), "whoever only failed begins anew");
    }
}
