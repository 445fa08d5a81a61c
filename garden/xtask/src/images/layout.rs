//! An image as an OCI layout folder: the blobs, the configuration, the manifest, the index.
//! Format: <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::blob::{Blob, Variant, sha256_hex};

/// When everything was made, as far as the image says.
const CREATED: &str = "2024-01-01T00:00:00Z";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What a container of the image runs.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Arguments, the program first.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Folder to start in.
    pub folder: String,
}

/// One layer, compressed.
#[derive(Debug, Clone)]
pub struct Layer {
    /// What the image's history says about it.
    pub made_by: String,
    /// SHA-256 of the tar.
    pub diff_id: String,
    /// The compressed blob.
    pub blob: Blob,
}

/// An image's layout folder.
#[derive(Debug, Clone)]
pub struct Layout {
    folder: PathBuf,
}

impl Layout {
    /// The layout in `folder`.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The blob of the largest layer of its only image.
    pub fn largest_layer(&self) -> anyhow::Result<PathBuf> {
        let (_, manifest) = self.manifest()?;
        let largest = manifest.layers.iter().max_by_key(|layer| layer.size);
        Ok(self.blobs().join(largest.context("an image without layers")?.hex()?))
    }

    /// The folder of the blobs named by SHA-256.
    pub fn blobs(&self) -> PathBuf {
        self.folder.join("blobs/sha256")
    }

    /// Writes configuration, manifest and index for layers whose blobs are already here. `annotations` go into the
    /// manifest.
    pub fn seal(
        &self,
        tag: &str,
        variant: Variant,
        process: &Process,
        layers: &[Layer],
        annotations: BTreeMap<String, String>,
    ) -> anyhow::Result<()> {
        let config = self.put(&serde_json::to_vec(&Config {
            architecture: "amd64",
            config: ConfigProcess {
                cmd: &process.command,
                env: &process.env,
                exposed_ports: BTreeMap::from([("8080/tcp", Empty {})]),
                working_dir: &process.folder,
            },
            created: CREATED,
            history: layers.iter().map(|l| History { created: CREATED, created_by: &l.made_by }).collect(),
            os: "linux",
            rootfs: Rootfs {
                diff_ids: layers.iter().map(|l| format!("sha256:{}", l.diff_id)).collect(),
                kind: "layers",
            },
        })?)?;
        let manifest = self.put(&serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Descriptor::new(CONFIG, &config),
            layers: layers.iter().map(|l| Descriptor::new(variant.media_type(), &l.blob)).collect(),
            annotations,
        })?)?;
        let mut named = Descriptor::new(MANIFEST, &manifest);
        named.annotations.insert("org.opencontainers.image.ref.name".to_owned(), tag.to_owned());
        named.platform = Some(Platform { architecture: "amd64".to_owned(), os: "linux".to_owned() });
        let index = Index { schema_version: 2, media_type: INDEX.to_owned(), manifests: vec![named] };
        std::fs::write(self.folder.join("index.json"), serde_json::to_vec(&index)?)?;
        std::fs::write(self.folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(())
    }

    fn put(&self, bytes: &[u8]) -> anyhow::Result<Blob> {
        let blob = Blob { sha256: sha256_hex(bytes), size: bytes.len() as u64 };
        std::fs::write(self.blobs().join(&blob.sha256), bytes)?;
        Ok(blob)
    }

    /// The digest of what the layout holds, in hexadecimal: a manifest, or an index of several.
    pub fn root(&self) -> anyhow::Result<String> {
        let place = self.folder.join("index.json");
        let index = std::fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?;
        serde_json::from_slice::<Index>(&index)?.first()
    }

    /// The digest of the image's manifest, in hexadecimal, and the manifest: of an index the first.
    pub fn manifest(&self) -> anyhow::Result<(String, Manifest)> {
        let mut digest = self.root()?;
        loop {
            let text = std::fs::read(self.blobs().join(&digest))?;
            match serde_json::from_slice::<Index>(&text) {
                Ok(index) => digest = index.first()?,
                Err(_) => return Ok((digest, serde_json::from_slice(&text)?)),
            }
        }
    }
}

/// An image manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Bytes of all layers as they lie in the registry.
    pub fn layer_bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.size).sum()
    }
}

/// What a blob is, how it is named and how large it is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    media_type: String,
    digest: String,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
}

impl Descriptor {
    fn new(media_type: &str, blob: &Blob) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{}", blob.sha256),
            size: blob.size,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }

    /// The SHA-256 in hexadecimal.
    pub fn hex(&self) -> anyhow::Result<&str> {
        self.digest.strip_prefix("sha256:").context("a digest that is not sha256")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Descriptor>,
}

impl Index {
    fn first(&self) -> anyhow::Result<String> {
        Ok(self.manifests.first().context("an index without a manifest")?.hex()?.to_owned())
    }
}

#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    config: ConfigProcess<'a>,
    created: &'a str,
    history: Vec<History<'a>>,
    os: &'a str,
    rootfs: Rootfs<'a>,
}

#[derive(Serialize)]
struct ConfigProcess<'a> {
    #[serde(rename = "Cmd")]
    cmd: &'a [String],
    #[serde(rename = "Env")]
    env: &'a [String],
    #[serde(rename = "ExposedPorts")]
    exposed_ports: BTreeMap<&'a str, Empty>,
    #[serde(rename = "WorkingDir")]
    working_dir: &'a str,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
struct Rootfs<'a> {
    diff_ids: Vec<String>,
    #[serde(rename = "type")]
    kind: &'a str,
}
