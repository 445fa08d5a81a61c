//! Images as other programs meet them: read back, mangled, and mounted by the kernel.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod contents;
mod hostile;
mod kernel;
mod model;
mod refusals;
mod round_trip;
mod trees;
