//! Blobs: bytes named by their SHA-256, and the three ways to compress a layer.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::interrupt::Partial;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Variant {
    /// gzip, one member, as every builder writes by default.
    Gzip,
    /// zstd, one frame, as builders write when asked for zstd.
    Zstd,
    /// The tar itself.
    Uncompressed,
}

impl Variant {
    /// Its name on the command line, in tags and in folder names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Uncompressed => "uncompressed",
        }
    }

    /// The media type of such a layer.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Uncompressed => "application/vnd.oci.image.layer.v1.tar",
        }
    }
}

/// Name and size of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

/// A writer that knows the digest and the size of what went through it.
pub struct Measured<W> {
    inner: W,
    hasher: Sha256,
    size: u64,
}

impl<W: Write> Measured<W> {
    /// Measures what is written to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Sha256::new(), size: 0 }
    }

    /// Flushes and says what was written.
    pub fn finish(mut self) -> std::io::Result<Blob> {
        self.inner.flush()?;
        Ok(Blob { sha256: hex(&self.hasher.finalize()), size: self.size })
    }
}

impl<W: Write> Write for Measured<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Compresses the file `tar` into the folder `blobs`, under the name of its digest.
pub fn compress(tar: &Path, variant: Variant, blobs: &Path) -> anyhow::Result<Blob> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(tar)?);
    let partial = Partial::of(&blobs.join("layer"))?;
    let out = Measured::new(BufWriter::with_capacity(1 << 20, File::create(partial.path())?));
    let blob = compress_stream(&mut reader, variant, out)?;
    std::fs::rename(partial.path(), blobs.join(&blob.sha256))?;
    Ok(blob)
}

fn compress_stream<W: Write>(
    reader: &mut impl Read,
    variant: Variant,
    mut out: Measured<W>,
) -> anyhow::Result<Blob> {
    let blob = match variant {
        Variant::Gzip => {
            // No name and no time in the header: the same bytes each time.
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
            std::io::copy(reader, &mut encoder)?;
            encoder.finish()?.finish()?
        }
        Variant::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(out, 3)?;
            std::io::copy(reader, &mut encoder)?;
            encoder.finish()?.finish()?
        }
        Variant::Uncompressed => {
            std::io::copy(reader, &mut out)?;
            out.finish()?
        }
    };
    Ok(blob)
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_by_what_it_holds_and_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("tar");
        let bytes: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        std::fs::write(&tar, &bytes).unwrap();
        for variant in [Variant::Gzip, Variant::Zstd, Variant::Uncompressed] {
            let blob = compress(&tar, variant, folder.path()).unwrap();
            assert_eq!(blob, compress(&tar, variant, folder.path()).unwrap());
            let stored = std::fs::read(folder.path().join(&blob.sha256)).unwrap();
            assert_eq!((sha256_hex(&stored), stored.len() as u64), (blob.sha256, blob.size));
            let mut back = Vec::new();
            match variant {
                Variant::Gzip => {
                    flate2::read::GzDecoder::new(&stored[..]).read_to_end(&mut back).unwrap();
                }
                Variant::Zstd => back = zstd::decode_all(&stored[..]).unwrap(),
                Variant::Uncompressed => back = stored,
            }
            assert!(back == bytes);
        }
    }
}
