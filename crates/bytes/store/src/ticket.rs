//! Claims: who must bring a span, and who waits for it.

use std::sync::Arc;

use crate::flight::{Begun, FlightError, Waiter};
use crate::{Layer, StoreError};

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

impl Layer {
    /// Claims a span: it is here, or the caller must fetch it, or somebody already does.
    ///
    /// Of a layer that is distrusted nothing comes: whoever waits for it fails at once.
    pub fn claim(self: &Arc<Self>, span: usize) -> Claim {
        if let Some(error) = self.distrusted() {
            return Claim::Theirs(Waiter::failed(FlightError {
                errno: error.errno(),
                message: error.to_string(),
            }));
        }
        match self.flights().begin(span, || self.is_present(span)) {
            Begun::Needless => Claim::Present,
            Begun::Now => Claim::Mine(Ticket { layer: self.clone(), span, landed: false }),
            Begun::Before(waiter) => Claim::Theirs(waiter),
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
        // The flight stays until the ticket lands, and landing consumes the ticket.
        self.layer.flights().waiter(self.span)
    }

    /// Whether somebody waits for this flight now.
    pub fn is_wanted(&self) -> bool {
        self.layer.flights().is_wanted(self.span)
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
