//! Images made over, read back as others read them: by decoders that know nothing of tables, and piece by piece with the tables.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod fixture;
mod formats;
mod images;
mod looked;
mod ordered;
mod random;
mod refusals;
mod repacked;
mod split;
mod tables;
