//! Nodes of a cluster through their doors, against a registry that misbehaves and peers that do.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod cache;
mod circles;
mod cluster;
mod distribution;
mod entry;
mod images;
mod limits;
mod lore;
mod trouble;
mod world;
