//! Image configurations: what to run, and the digests of the uncompressed layers.

use glowplug_base::{Digest, DigestError};
use oci_spec::image::ImageConfiguration;

use crate::{Descriptor, Limits, media};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The manifest is an artifact's, not an image's.
    #[error("configuration type {0:?} is not a container image's")]
    NotAnImage(String),
    /// It is larger than allowed.
    #[error("configuration of {bytes} bytes is larger than the allowed {limit}")]
    TooBig {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: usize,
    },
    /// It is not the JSON that it should be.
    #[error("malformed image configuration")]
    Json(#[from] serde_json::Error),
    /// A layer's digest is malformed.
    #[error("malformed layer digest in the image configuration")]
    DiffId(#[from] DigestError),
    /// It describes other layers than the manifest.
    #[error("image configuration lists {config} layers, the manifest {manifest}")]
    LayerCount {
        /// Layers of the configuration.
        config: usize,
        /// Layers of the manifest.
        manifest: usize,
    },
}

/// Refuses a configuration by its descriptor, before its bytes are fetched.
///
/// # Errors
/// [`ConfigError::NotAnImage`] and [`ConfigError::TooBig`].
pub fn check_config(descriptor: &Descriptor, limits: &Limits) -> Result<(), ConfigError> {
    match media::bare(&descriptor.media_type).as_str() {
        media::OCI_CONFIG | media::DOCKER_CONFIG => {}
        _ => return Err(ConfigError::NotAnImage(descriptor.media_type.chars().take(200).collect())),
    }
    if descriptor.size > limits.config_bytes as u64 {
        return Err(ConfigError::TooBig { bytes: descriptor.size, limit: limits.config_bytes });
    }
    Ok(())
}

/// Reads a configuration and the digests of its uncompressed layers, of which there must be `layers`.
///
/// # Errors
/// See [`ConfigError`].
pub fn parse_config(
    bytes: &[u8],
    layers: usize,
    limits: &Limits,
) -> Result<(ImageConfiguration, Vec<Digest>), ConfigError> {
    if bytes.len() > limits.config_bytes {
        return Err(ConfigError::TooBig { bytes: bytes.len() as u64, limit: limits.config_bytes });
    }
    let config: ImageConfiguration = serde_json::from_slice(bytes)?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != layers {
        return Err(ConfigError::LayerCount { config: diff_ids.len(), manifest: layers });
    }
    let diff_ids = diff_ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    Ok((config, diff_ids))
}
