//! One flight per span, whoever asks: the first claims the span and fetches it, the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::{Layer, StoreError};

/// Why a span did not come, for everybody who waited for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct FlightError {
    /// The whole chain of causes, in words.
    pub message: String,
    /// The `errno` for readers behind the kernel.
    pub errno: i32,
}

impl FlightError {
    /// An error of which only words are known: `EIO`.
    pub fn io(message: impl Into<String>) -> Self {
        Self { message: message.into(), errno: rustix::io::Errno::IO.raw_os_error() }
    }
}

type Outcome = Option<Result<(), FlightError>>;

/// What a claim found.
#[derive(Debug)]
pub enum Claim {
    /// The span is here.
    Present,
    /// Nobody fetches it: the claimant must.
    Mine(Ticket),
    /// Somebody does.
    Theirs(Waiter),
}

/// The flights of one layer.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<usize, watch::Sender<Outcome>>>,
}

impl Flights {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, watch::Sender<Outcome>>> {
        // Each critical section is one map operation, so a panic elsewhere cannot leave it half done.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claim(layer: &Arc<Layer>, span: usize) -> Claim {
        let mut open = layer.flights().lock();
        // Under the lock: a flight that just landed has marked its span before it left the map.
        if layer.is_present(span) {
            return Claim::Present;
        }
        if let Some(sender) = open.get(&span) {
            return Claim::Theirs(Waiter(sender.subscribe()));
        }
        open.insert(span, watch::Sender::new(None));
        Claim::Mine(Ticket { layer: layer.clone(), span, landed: false })
    }

    pub(crate) fn in_flight(&self, span: usize) -> bool {
        self.lock().contains_key(&span)
    }

    fn land(&self, span: usize, outcome: Result<(), FlightError>) {
        if let Some(sender) = self.lock().remove(&span) {
            sender.send_replace(Some(outcome));
        }
    }
}

/// The duty to bring a span. Dropping it unfulfilled fails everybody who waits.
#[derive(Debug)]
pub struct Ticket {
    layer: Arc<Layer>,
    span: usize,
    landed: bool,
}

impl Ticket {
    /// The span's number.
    pub const fn span(&self) -> usize {
        self.span
    }

    /// Waits for this flight as everybody else does.
    pub fn waiter(&self) -> Waiter {
        let open = self.layer.flights().lock();
        // The entry stays until the ticket lands, and landing consumes the ticket.
        open.get(&self.span)
            .map_or_else(|| Waiter(watch::channel(None).1), |sender| Waiter(sender.subscribe()))
    }

    /// Commits the span's piece of the stream and wakes everybody who waits.
    ///
    /// # Errors
    /// What [`Layer::commit`] says. When the bytes were wrong the ticket comes back for another try; any other trouble
    /// has been told to the waiters.
    pub fn commit(self, stream: &[u8]) -> Result<(), (Option<Self>, StoreError)> {
        match self.layer.commit(self.span, stream) {
            Ok(()) => {
                self.settle(Ok(()));
                Ok(())
            }
            Err(error @ StoreError::Mismatch { .. }) => Err((Some(self), error)),
            Err(error) => {
                self.settle(Err(FlightError { message: error.to_string(), errno: error.errno() }));
                Err((None, error))
            }
        }
    }

    /// Tells everybody who waits that the span does not come.
    pub fn fail(self, error: FlightError) {
        self.settle(Err(error));
    }

    fn settle(mut self, outcome: Result<(), FlightError>) {
        self.landed = true;
        self.layer.flights().land(self.span, outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.landed {
            self.layer.flights().land(self.span, Err(FlightError::io("the fetch was given up")));
        }
    }
}

/// Waits for somebody else's flight.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<Outcome>);

impl Waiter {
    /// Waits until the span has landed or failed.
    ///
    /// # Errors
    /// Whatever kept the span from coming.
    pub async fn wait(mut self) -> Result<(), FlightError> {
        match self.0.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(FlightError::io("the fetch was given up")),
        }
    }
}
