//! A real containerd pulls through nodes of the peer tier, as the kubelet asks it to and as its own `hosts.toml` says.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod entry;
mod pull;
mod trouble;
mod world;
