//! One flight per span, whoever asks: the first claims the span and fetches it, the others wait for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

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

/// What became of the wish to begin a flight.
#[derive(Debug)]
pub(crate) enum Begun {
    /// The span is here.
    Needless,
    /// It began now: whoever wished it must land it.
    Now,
    /// Somebody has begun it before.
    Before(Waiter),
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

    /// Begins the flight of a span, unless it is here or somebody has begun it.
    pub(crate) fn begin(&self, span: usize, is_here: impl FnOnce() -> bool) -> Begun {
        let mut open = self.lock();
        // Under the lock: a flight that just landed has marked its span before it left the map.
        if is_here() {
            return Begun::Needless;
        }
        if let Some(sender) = open.get(&span) {
            return Begun::Before(Waiter(sender.subscribe()));
        }
        open.insert(span, watch::Sender::new(None));
        Begun::Now
    }

    /// Waits for the flight of a span; fails at once when there is none.
    pub(crate) fn waiter(&self, span: usize) -> Waiter {
        self.lock()
            .get(&span)
            .map_or_else(|| Waiter(watch::channel(None).1), |sender| Waiter(sender.subscribe()))
    }

    pub(crate) fn is_wanted(&self, span: usize) -> bool {
        self.lock().get(&span).is_some_and(|sender| sender.receiver_count() > 0)
    }

    pub(crate) fn in_flight(&self, span: usize) -> bool {
        self.lock().contains_key(&span)
    }

    /// Ends the flight of a span and tells everybody who waits.
    pub(crate) fn land(&self, span: usize, outcome: Result<(), FlightError>) {
        if let Some(sender) = self.lock().remove(&span) {
            sender.send_replace(Some(outcome));
        }
    }
}

/// Waits for somebody else's flight.
#[derive(Debug)]
pub struct Waiter(watch::Receiver<Outcome>);

impl Waiter {
    /// Waits for what is known not to come.
    pub(crate) fn failed(error: FlightError) -> Self {
        Self(watch::channel(Some(Err(error))).1)
    }

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
