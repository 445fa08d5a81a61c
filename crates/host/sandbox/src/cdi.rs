//! Container Device Interface: a vendor's description of what a container needs to use a device, read and applied.
//!
//! Descriptions are `*.json`, `*.yaml` and `*.yml` files of the CDI specification (kinds `vendor.com/class`, versions up to 0.8). Of
//! `containerEdits`, environment, device nodes, mounts, additional groups and `createContainer` hooks are applied. A hook of another kind
//! is an error rather than a device that half works.
//!
//! Several files may describe devices of one kind. A later directory wins over an earlier one; two descriptions of a device in the
//! directory that wins are an error when that device is asked for. A file that cannot be read is an error only if a device is not found
//! without it: another vendor's slip takes nobody's device away.

use std::path::{Path, PathBuf};

use glowplug_base::{Hint, Hinted};
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

mod description;
mod search;
#[cfg(test)]
mod tests;
mod yaml;

use description::Edits;
pub use yaml::YamlError;

/// Where descriptions are looked for; a later directory wins over an earlier one.
pub const DEFAULT_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Why a device could not be given.
#[derive(Debug, thiserror::Error)]
pub enum CdiError {
    /// Not a qualified name.
    #[error("{0:?} is not a device name of the form vendor.com/class=name")]
    Name(String),
    /// No description has it.
    #[error("no device {name:?} is described in {}", dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(" or "))]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        dirs: Vec<PathBuf>,
    },
    /// Two descriptions of equal weight have it.
    #[error("device {name:?} is described in {} and in {}", first.display(), second.display())]
    Conflict {
        /// The name.
        name: String,
        /// One file.
        first: PathBuf,
        /// The other; the same one if it has the device twice.
        second: PathBuf,
    },
    /// A description cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A description is larger than any device needs.
    #[error("{} is larger than {} MiB", path.display(), description::FILE_BYTES >> 20)]
    Large {
        /// The file.
        path: PathBuf,
    },
    /// A description is not YAML, or more of it than is read here.
    #[error("{} is not YAML of a device description", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: YamlError,
    },
    /// A description is not what the specification says.
    #[error("{} is not a device description", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A device needs something that is not done here.
    #[error("device {name:?} needs a {hook} hook, which is not supported")]
    Hook {
        /// The device.
        name: String,
        /// The kind of hook.
        hook: String,
    },
    /// The edited specification is not well-formed.
    #[error("a device description makes the specification ill-formed")]
    Shape(#[source] serde_json::Error),
}

impl Hinted for CdiError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unknown { name, .. } if name.starts_with("nvidia.com/") => Some(Hint::new(
                "describe the GPUs with: nvidia-ctk cdi generate --output /etc/cdi/nvidia.yaml",
            )),
            Self::Unknown { .. } => {
                Some(Hint::new("see which devices there are with: ls /etc/cdi /var/run/cdi"))
            }
            Self::Conflict { .. } => Some(Hint::new("remove one of the two descriptions")),
            _ => None,
        }
    }
}

/// Gives a container the devices of these qualified names.
///
/// # Errors
/// A device that is not described, or described twice, or needs what is not done here.
pub fn apply(names: &[String], dirs: &[PathBuf], spec: &mut Spec) -> Result<(), CdiError> {
    if names.is_empty() {
        return Ok(());
    }
    let found = search::search(dirs);
    let mut value = serde_json::to_value(&*spec).map_err(CdiError::Shape)?;
    let mut begun = Vec::new();
    for name in names {
        let (kind, device) = split(name).ok_or_else(|| CdiError::Name(name.clone()))?;
        let Some(device) = found.get(kind, device) else {
            let unknown = CdiError::Unknown { name: name.clone(), dirs: dirs.to_vec() };
            return Err(found.broken.into_iter().next().unwrap_or(unknown));
        };
        if let Some(second) = device.also_in.clone() {
            let first = found.files[device.file].path.clone();
            return Err(CdiError::Conflict { name: name.clone(), first, second });
        }
        // What all devices of a file share comes before the first of them, and once.
        if !begun.contains(&device.file) {
            begun.push(device.file);
            edit(&mut value, &found.files[device.file].edits, name)?;
        }
        edit(&mut value, &device.edits, name)?;
    }
    for error in &found.broken {
        tracing::warn!(error = error as &dyn std::error::Error, "a device description was left out");
    }
    *spec = serde_json::from_value(value).map_err(CdiError::Shape)?;
    Ok(())
}

/// Kind and device of a qualified name.
fn split(name: &str) -> Option<(&str, &str)> {
    let (kind, device) = name.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    (!vendor.is_empty() && !class.is_empty() && !device.is_empty()).then_some((kind, device))
}

fn edit(spec: &mut Value, edits: &Edits, name: &str) -> Result<(), CdiError> {
    let mut push = |path: &[&str], item: Value| {
        let mut at = &mut *spec;
        for key in path {
            at = &mut at[*key];
        }
        match at {
            Value::Array(list) => list.push(item),
            other => *other = json!([item]),
        }
    };
    for pair in &edits.env {
        push(&["process", "env"], json!(pair));
    }
    for gid in &edits.additional_gids {
        push(&["process", "user", "additionalGids"], json!(gid));
    }
    for node in &edits.device_nodes {
        let host = node.host_path.as_deref().filter(|p| !p.is_empty()).unwrap_or(&node.path);
        // Bound from the host's node, which carries its numbers and mode.
        let options = ["bind", "nosuid", "noexec"];
        push(
            &["mounts"],
            json!({ "type": "bind", "source": host, "destination": node.path, "options": options }),
        );
        if let Some((kind, major, minor)) = numbers(Path::new(host)) {
            let rule =
                json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm" });
            push(&["linux", "resources", "devices"], rule);
        }
    }
    for mount in &edits.mounts {
        let mut options = mount.options.clone();
        if !options.iter().any(|o| o == "bind" || o == "rbind") {
            options.push("rbind".to_owned());
        }
        let (from, to) = (&mount.host_path, &mount.container_path);
        push(&["mounts"], json!({ "type": "bind", "source": from, "destination": to, "options": options }));
    }
    for hook in &edits.hooks {
        if hook.hook_name != "createContainer" {
            return Err(CdiError::Hook { name: name.to_owned(), hook: hook.hook_name.clone() });
        }
        let item = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
        push(&["hooks", "createContainer"], item);
    }
    Ok(())
}

/// Type, major and minor of a device file.
fn numbers(path: &Path) -> Option<(&'static str, u32, u32)> {
    let stat = rustix::fs::stat(path).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let letter = match () {
        () if kind.is_char_device() => "c",
        () if kind.is_block_device() => "b",
        () => return None,
    };
    Some((letter, rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}
