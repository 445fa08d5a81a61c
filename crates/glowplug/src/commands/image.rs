//! `glowplug image`: what is done to images where they lie, for everybody who pulls them.

mod browse;
mod cat;
mod convert;
mod describe;
mod diet;
mod diff;
mod index;
mod inspect;
mod ls;
mod optimize;
mod split;

pub use cat::cat;
pub use convert::convert;
pub use diet::diet;
pub use diff::diff;
pub use index::index;
pub use inspect::inspect;
pub use ls::ls;
pub use optimize::optimize;
