//! What a person can do about an error, kept apart from what went wrong.

use std::fmt;

/// One way out of an error, addressed to the person who meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(String);

impl Hint {
    /// A hint; one sentence in lower case without a full stop.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error that may know the way out.
pub trait Hinted {
    /// What to do about it, if that is known.
    fn hint(&self) -> Option<Hint>;
}
