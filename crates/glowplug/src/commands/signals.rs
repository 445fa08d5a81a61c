//! Being asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens for the signals by which people and supervisors end a command.
#[derive(Debug)]
pub struct Stop([Signal; 3]);

impl Stop {
    /// From here on the signals no longer kill this process.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Returns at the next signal.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
