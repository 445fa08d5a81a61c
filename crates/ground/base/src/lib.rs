//! The words every other crate speaks: byte ranges, digests, secrets, sizes, clocks and hints.
//!
//! No I/O and no async. Nothing here knows what an image is.
#![forbid(unsafe_code)]

mod clock;
mod digest;
mod hint;
pub mod name;
mod range;
mod range_set;
mod secret;
pub mod size;

pub use clock::Clock;
pub use digest::{Digest, DigestError, Hasher};
pub use hint::{Hint, Hinted};
pub use range::ByteRange;
pub use range_set::RangeSet;
pub use secret::Secret;
