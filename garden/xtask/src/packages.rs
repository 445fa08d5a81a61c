//! Packages of Debian and PyPI, kept private under `target/glowplug-rig/`: nothing is installed on the machine.
//!
//! [`debian`] resolves with apt itself against an empty package database, so that the answer does not depend on what the
//! machine has; [`python`] is a Python of our own, made from Debian's packages, whose pip speaks to PyPI. What was
//! fetched once is used again; both say what they fetch.

pub mod debian;
pub mod python;
