//! The byte store through its public face: against a model, under faults, under threads, and killed at any moment.
#![allow(clippy::unwrap_used)]
mod disk_full;
mod distrust;
mod documents;
mod fixture;
mod flights;
mod holders;
mod kill9;
mod model;
mod upkeep;
