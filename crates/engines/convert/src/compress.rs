//! Compresses segments, each by itself: a gzip member or a zstd frame that decodes without anything before it.
//!
//! The whole segment is in memory, so compressors for whole buffers do, which are the fastest. Neither puts a time, a
//! name or anything else of this machine into its output.

use libdeflater::{CompressionLvl, Compressor as Libdeflate};
use zstd::bulk::Compressor as Zstd;

use crate::settings::{Encoding, Settings};

/// A compressor; it keeps its memory from segment to segment, and nothing else.
pub(crate) enum Compressor {
    Gzip(Libdeflate),
    Zstd(Zstd<'static>),
}

impl Compressor {
    /// The compressor for `encoding` at `level`.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let Settings { encoding, level, .. } = settings;
        match encoding {
            Encoding::Gzip | Encoding::Estargz => {
                let level = CompressionLvl::new(*level).map_err(|_| format!("gzip has no level {level}"))?;
                Ok(Self::Gzip(Libdeflate::new(level)))
            }
            Encoding::Zstd | Encoding::ZstdChunked(_) => {
                Zstd::new(*level).map(Self::Zstd).map_err(|error| format!("zstd level {level}: {error}"))
            }
        }
    }

    /// Appends `segment`, compressed, to `out`.
    pub(crate) fn append(&mut self, segment: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let begin = out.len();
        match self {
            Self::Gzip(compressor) => {
                out.resize(begin + compressor.gzip_compress_bound(segment.len()), 0);
                let written = compressor
                    .gzip_compress(segment, &mut out[begin..])
                    .map_err(|error| format!("gzip: {error}"))?;
                out.truncate(begin + written);
            }
            Self::Zstd(compressor) => {
                out.resize(begin + zstd::zstd_safe::compress_bound(segment.len()), 0);
                let written = compressor
                    .compress_to_buffer(segment, &mut out[begin..])
                    .map_err(|error| format!("zstd: {error}"))?;
                out.truncate(begin + written);
            }
        }
        Ok(())
    }
}
