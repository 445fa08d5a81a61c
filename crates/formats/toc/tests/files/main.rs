//! Tables of contents within layers: as the reference tools make them, made up, and mangled.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod blob;
mod hostile;
mod reference;
mod round_trip;
mod tables;
mod tar_split;
mod wrapping;
