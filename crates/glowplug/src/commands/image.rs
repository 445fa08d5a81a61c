//! `glowplug image`: what is done to images where they lie, for everybody who pulls them.

mod index;

pub use index::index;
