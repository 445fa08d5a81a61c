//! One flight per piece, whoever asks.
//!
//! A flight is a task of its own: it goes on when everybody who waited has gone, and then its piece is in the cache.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use crate::Error;

/// How a flight ends.
pub(crate) type Outcome<V> = Result<V, Error>;
/// What everybody waits for.
pub(crate) type Flight<V> = Shared<BoxFuture<'static, Outcome<V>>>;

/// The flights that are under way, by what they bring.
#[derive(Debug)]
pub(crate) struct Flights<K, V: Clone>(Arc<Mutex<Listed<K, V>>>);

/// Each with its landing: when what it brought has been stored.
type Listed<K, V> = HashMap<K, (Flight<V>, Shared<BoxFuture<'static, ()>>)>;

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight for `key`, or begins it: `bring` fetches, everybody gets what it gives, and then `keep` stores.
    /// Until it has been stored, others join.
    pub(crate) fn join<Bring, Keep>(
        &self,
        key: &K,
        bring: Bring,
        keep: impl FnOnce(V) -> Keep + Send + 'static,
    ) -> Flight<V>
    where
        Bring: Future<Output = Outcome<V>> + Send + 'static,
        Keep: Future<Output = ()> + Send + 'static,
    {
        let mut flights = self.lock();
        if let Some((flight, _)) = flights.get(key) {
            return flight.clone();
        }
        let (tell, told) = oneshot::channel();
        let (stored, landed) = oneshot::channel();
        let flight = told.map(|outcome| outcome.unwrap_or(Err(Error::BrokenOff))).boxed().shared();
        flights.insert(key.clone(), (flight.clone(), landed.map(|_| ()).boxed().shared()));
        drop(flights);
        let landing = Landing { flights: self.0.clone(), key: key.clone(), _stored: stored };
        tokio::spawn(async move {
            let _landing = landing;
            let outcome = bring.await;
            let value = outcome.as_ref().ok().cloned();
            let _ = tell.send(outcome);
            if let Some(value) = value {
                keep(value).await;
            }
        });
        flight
    }

    /// Waits until what a flight for `key` brings has been stored, if there is one now.
    pub(crate) async fn landed(&self, key: &K) {
        let landed = self.lock().get(key).map(|(_, landed)| landed.clone());
        if let Some(landed) = landed {
            landed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listed<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list, however it ends.
struct Landing<K: Eq + Hash, V: Clone> {
    flights: Arc<Mutex<Listed<K, V>>>,
    key: K,
    /// Dropped last, which ends the waiting.
    _stored: oneshot::Sender<()>,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
