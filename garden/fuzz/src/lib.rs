//! Fuzz targets: one plain function for each format, which takes any bytes and must not panic.
//!
//! Each target also holds what it parsed against a second way to the same answer (other piece sizes, written and
//! read again, decoded from the middle), so a wrong answer is found and not only a crash. Each returns whether it understood
//! its input to the end: a corpus of which nothing is understood tests nothing, and the replay refuses it.
//!
//! libFuzzer reaches the functions through `fuzz_targets/`, with the feature `libfuzzer`; `cargo test` replays the seeds
//! in `corpus/` and mutations of them without it.
#![forbid(unsafe_code)]

mod chunks;
mod erofs;
mod erofscontents;
mod estargz;
mod gzindex;
mod layer;
mod manifest;
mod reference;
mod soci;
mod tables;
mod tarwalk;
mod zstdchunked;
mod ztoc;

pub use chunks::chunks;
pub use erofs::erofs;
pub use erofscontents::erofscontents;
pub use estargz::estargz;
pub use gzindex::gzindex;
pub use layer::layer;
pub use manifest::manifest;
pub use reference::reference;
pub use soci::soci;
pub use tarwalk::tarwalk;
pub use zstdchunked::zstdchunked;
pub use ztoc::ztoc;

/// A target: takes any bytes, returns whether it understood them.
pub type Target = fn(&[u8]) -> bool;

/// Every target by its name, which is also the name of its corpus.
pub const TARGETS: [(&str, Target); 12] = [
    ("chunks", chunks),
    ("erofs", erofs),
    ("erofscontents", erofscontents),
    ("estargz", estargz),
    ("gzindex", gzindex),
    ("layer", layer),
    ("manifest", manifest),
    ("reference", reference),
    ("soci", soci),
    ("tarwalk", tarwalk),
    ("zstdchunked", zstdchunked),
    ("ztoc", ztoc),
];
