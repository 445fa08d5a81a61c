//! The doors to an opened image: FUSE while bytes are still coming, EROFS straight from the kernel when all are here,
//! and an overlay with a writable directory on top of either.
//!
//! A mount ends with its [`Rootfs`]; nothing stays mounted behind.
#![forbid(unsafe_code)]

mod bytes;
mod fuse;
mod rootfs;

pub use rootfs::{Door, MountError, Rootfs, Wish};
