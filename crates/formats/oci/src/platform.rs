//! Platforms: operating system, architecture, variant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::null_is_default;

/// What an image runs on, in Go's names (`linux/arm64/v8`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Architecture: `amd64`, `arm64`, …
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system: `linux`, …
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Level of the architecture: `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Version of the operating system; only Windows images carry it.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed platform {0:?}: expected OS/ARCH or OS/ARCH/VARIANT, as linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// A platform without variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { architecture: architecture.into(), os: os.into(), variant: None, os_version: None }
    }

    /// The machine this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", None),
            "powerpc64" => ("ppc64", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self { variant: variant.map(str::to_owned), ..Self::new(std::env::consts::OS, architecture) }
    }

    /// Whether an image for `self` runs on `host`.
    pub fn runs_on(&self, host: &Self) -> bool {
        self.fitness(host).is_some()
    }

    /// How well an image for `self` runs on `host`: higher is better, `None` is not at all.
    ///
    /// Variants are levels: a machine runs images of its own level and of those below.
    pub(crate) fn fitness(&self, host: &Self) -> Option<u32> {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        if !same(&self.os, &host.os) || !same(alias(&self.architecture), alias(&host.architecture)) {
            return None;
        }
        let (own, wanted) = (self.level(), host.level());
        match (own, wanted) {
            (Some(own), Some(wanted)) => (own <= wanted).then_some(own),
            // A level nobody knows runs only where exactly it is asked for.
            _ => (self.variant == host.variant).then_some(u32::MAX),
        }
    }

    /// `v8` is 800, `v8.2` is 802; an architecture's lowest common level where no variant is given.
    fn level(&self) -> Option<u32> {
        let Some(variant) = self.variant.as_deref().filter(|variant| !variant.is_empty()) else {
            return Some(match alias(&self.architecture) {
                "arm64" => 800,
                "arm" => 700,
                _ => 100,
            });
        };
        let digits = variant.strip_prefix('v').unwrap_or(variant);
        let (major, minor) = digits.split_once('.').unwrap_or((digits, "0"));
        let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
        (major < 1000 && minor < 100).then_some(major * 100 + minor)
    }
}

/// One name for each architecture; some tools write the kernel's names.
fn alias(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" | "armel" => "arm",
        other => other,
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError(text.chars().take(100).collect());
        let word = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        let parts: Vec<_> = text.split('/').collect();
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(|part| word(part)) {
            return Err(malformed());
        }
        let architecture = alias(parts[1]).to_ascii_lowercase();
        let variant = parts.get(2).map(|variant| variant.to_ascii_lowercase());
        Ok(Self { variant, ..Self::new(parts[0].to_ascii_lowercase(), architecture) })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))?;
        self.os_version.iter().try_for_each(|version| write!(f, " ({version})"))
    }
}
