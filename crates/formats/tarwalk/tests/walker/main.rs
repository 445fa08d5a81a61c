//! The walker on archives built by hand, by another crate, and by nobody.
#![allow(clippy::unwrap_used)]

mod against_tar;
mod archive;
mod by_hand;
