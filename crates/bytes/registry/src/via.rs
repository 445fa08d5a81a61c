//! Which nodes a request has come through, so that mirrors that are each other's mirrors are found out.
//!
//! ```text
//! glowplug-via: 5f0c7a…, 91be20…      whoever asks, then whoever asks through him
//! ```
//!
//! A node that is asked learns who lies behind whoever asks, and says so when it asks further. One that finds itself in
//! the list is being asked by itself. That is a property of the nodes' lists and not of one request, so it need not be
//! followed through caches and shared flights; and it does not matter how many nodes the circle has.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Nodes behind this one that are remembered; who was not heard of for longest is forgotten.
const REMEMBERED: usize = 64;
/// Longest name of a node, in bytes.
const LONGEST_NAME_BYTES: usize = 32;

/// A node's own name and those of the nodes that ask through it. Clones know the same.
#[derive(Debug, Clone)]
pub struct Via(Arc<State>);

#[derive(Debug)]
struct State {
    own: String,
    behind: Mutex<VecDeque<String>>,
}

/// A request came from the node that it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this request was sent by the node that it came to: it is its own mirror or peer, perhaps under another address or behind another"
)]
pub struct Circle;

impl Via {
    /// The header that carries the names.
    pub const HEADER: &'static str = "glowplug-via";

    /// For the node `own`, a name that no other has: letters and digits.
    pub fn new(own: impl Into<String>) -> Self {
        Self(Arc::new(State { own: own.into(), behind: Mutex::default() }))
    }

    /// The node's own name.
    pub fn own(&self) -> &str {
        &self.0.own
    }

    /// What the header says when this node asks for whoever asked it.
    pub fn list(&self) -> String {
        let behind = self.lock();
        let names = std::iter::once(&*self.0.own).chain(behind.iter().map(String::as_str));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Takes in what the header of a request says, and remembers who lies behind whoever asks.
    ///
    /// # Errors
    /// [`Circle`].
    pub fn enter(&self, header: &str) -> Result<(), Circle> {
        let usable = |name: &&str| {
            (1..=LONGEST_NAME_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        let names: Vec<&str> = header.split(',').map(str::trim).filter(usable).take(REMEMBERED).collect();
        if names.contains(&&*self.0.own) {
            return Err(Circle);
        }
        let mut behind = self.lock();
        for name in names {
            behind.retain(|known| known != name);
            behind.push_front(name.to_owned());
        }
        behind.truncate(REMEMBERED);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_of_any_length_are_found() {
        let [a, b, c] = ["a", "b", "c"].map(Via::new);
        assert_eq!(a.enter(&a.list()), Err(Circle));
        b.enter(&a.list()).unwrap();
        c.enter(&b.list()).unwrap();
        assert_eq!(a.enter(&c.list()), Err(Circle));
        assert_eq!(c.list(), "c, a, b");
        // A tree is no circle.
        let d = Via::new("d");
        b.enter(&d.list()).unwrap();
        c.enter(&b.list()).unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded_and_made_of_names() {
        let node = Via::new("node");
        node.enter("x y, , \u{7f}, a;b").unwrap();
        assert_eq!(node.list(), "node");
        (0..1000).for_each(|number| node.enter(&format!("n{number}")).unwrap());
        assert_eq!(node.list().split(',').count(), REMEMBERED + 1);
        assert!(node.list().contains("n999") && !node.list().contains("n1,"));
        node.enter(&"many, ".repeat(10_000)).unwrap();
    }
}
