//! SOCI artifacts: as the reference tool makes them, made up, and mangled.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod hostile;
mod manifests;
mod reference;
mod round_trip;
mod ztocs;
