//! One description: the part of its schema that is applied, and reading it from a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{CdiError, yaml};

/// The largest description read, in bytes: a node with eight GPUs cut into slices takes some hundred KiB.
pub(super) const FILE_BYTES: u64 = 8 << 20;

/// Devices of one kind.
#[derive(Debug, Deserialize)]
pub(super) struct Description {
    pub kind: String,
    #[serde(default)]
    pub devices: Vec<Device>,
    #[serde(default, rename = "containerEdits")]
    pub edits: Edits,
}

#[derive(Debug, Deserialize)]
pub(super) struct Device {
    #[serde(deserialize_with = "name")]
    pub name: String,
    #[serde(default, rename = "containerEdits")]
    pub edits: Edits,
}

/// What is changed in a container's specification.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub mounts: Vec<Mount>,
    pub hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    pub additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceNode {
    pub path: String,
    pub host_path: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mount {
    pub host_path: String,
    pub container_path: String,
    #[serde(default)]
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Hook {
    pub hook_name: String,
    pub path: String,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<String>,
}

/// Written by hand in YAML, the name of the first GPU is easily the number 0.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(serde::de::Error::custom("a device's name is neither a text nor a number")),
    }
}

/// Reads a file, YAML or JSON.
pub(super) fn read(path: &Path, is_yaml: bool) -> Result<Description, CdiError> {
    let unread = |source| CdiError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    File::open(path).map_err(unread)?.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(unread)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(CdiError::Large { path: path.to_owned() });
    }
    let misshapen = |source| CdiError::Parse { path: path.to_owned(), source };
    if !is_yaml {
        return serde_json::from_slice(&text).map_err(misshapen);
    }
    let value = yaml::parse(&text).map_err(|source| CdiError::Yaml { path: path.to_owned(), source })?;
    serde_json::from_value(value).map_err(misshapen)
}
