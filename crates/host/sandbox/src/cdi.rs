//! Container Device Interface: a vendor's description of what a container needs to use a device, read and applied.
//!
//! Descriptions are `*.json` files of the CDI specification (kinds `vendor.com/class`, versions up to 0.8). Descriptions in YAML are seen
//! and not read; an error about a missing device says so. Of `containerEdits`, environment, device nodes, mounts, additional groups and
//! `createContainer` hooks are applied. A hook of another kind is an error rather than a device that half works.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use glowplug_base::{Hint, Hinted};
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where descriptions are looked for; a later directory wins over an earlier one.
pub const DEFAULT_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// The largest description read: a node with eight GPUs cut into slices takes some hundred KiB.
const FILE_BYTES: u64 = 8 << 20;

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
        /// A description in YAML, which may have it.
        yaml: Option<PathBuf>,
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
            Self::Unknown { yaml: Some(path), .. } => Some(Hint::new(format!(
                "{} is YAML, which is not read; write JSON beside it, for NVIDIA with: nvidia-ctk cdi generate --format json --output /etc/cdi/nvidia.json",
                path.display()
            ))),
            Self::Unknown { .. } => {
                Some(Hint::new("see which devices there are with: ls /etc/cdi /var/run/cdi"))
            }
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Description {
    kind: String,
    #[serde(default)]
    devices: Vec<Device>,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Debug, Deserialize)]
struct Device {
    name: String,
    #[serde(default, rename = "containerEdits")]
    edits: Edits,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    additional_gids: Vec<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: String,
    host_path: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: String,
    container_path: String,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    hook_name: String,
    path: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

/// Gives a container the devices of these qualified names.
pub fn apply(names: &[String], dirs: &[PathBuf], spec: &mut Spec) -> Result<(), CdiError> {
    if names.is_empty() {
        return Ok(());
    }
    let found = read_all(dirs)?;
    let mut value = serde_json::to_value(&*spec).map_err(CdiError::Shape)?;
    let mut kinds = Vec::new();
    for name in names {
        let (kind, device) = split(name).ok_or_else(|| CdiError::Name(name.clone()))?;
        let unknown =
            || CdiError::Unknown { name: name.clone(), dirs: dirs.to_vec(), yaml: found.yaml.clone() };
        let (common, edits) = found.devices.get(&(kind.to_owned(), device.to_owned())).ok_or_else(unknown)?;
        edit(&mut value, edits, name)?;
        // What all devices of a description share is wanted once.
        if !kinds.contains(&kind) {
            kinds.push(kind);
            edit(&mut value, common, name)?;
        }
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

#[derive(Default)]
struct Found {
    /// By kind and name: what the description's devices share, and the device's own.
    devices: BTreeMap<(String, String), (Edits, Edits)>,
    yaml: Option<PathBuf>,
}

fn read_all(dirs: &[PathBuf]) -> Result<Found, CdiError> {
    let mut found = Found::default();
    for dir in dirs {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => {
                    let description = read(&path)?;
                    for device in description.devices {
                        let key = (description.kind.clone(), device.name);
                        found.devices.insert(key, (description.edits.clone(), device.edits));
                    }
                }
                Some("yaml" | "yml") => found.yaml = Some(path),
                _ => {}
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Description, CdiError> {
    let unread = |source| CdiError::Read { path: path.to_owned(), source };
    let mut text = Vec::new();
    fs::File::open(path).map_err(unread)?.take(FILE_BYTES).read_to_end(&mut text).map_err(unread)?;
    serde_json::from_slice(&text).map_err(|source| CdiError::Parse { path: path.to_owned(), source })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn given(files: &[(&str, Value)], names: &[&str]) -> Result<Spec, CdiError> {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in files {
            fs::write(dir.path().join(name), value.to_string()).unwrap();
        }
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut spec: Spec =
            serde_json::from_value(json!({ "ociVersion": "1.0.2", "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "env": ["A=1"] }, "linux": {} }))
                .unwrap();
        apply(&names, &[dir.path().to_owned()], &mut spec).map(|()| spec)
    }

    fn gpus() -> Value {
        json!({
            "cdiVersion": "0.6.0", "kind": "vendor.com/gpu",
            "devices": [
                { "name": "0", "containerEdits": { "deviceNodes": [{ "path": "/dev/gpu0", "hostPath": "/dev/null" }] } },
                { "name": "1", "containerEdits": { "deviceNodes": [{ "path": "/dev/full" }] } },
            ],
            "containerEdits": {
                "env": ["GPU=yes"],
                "mounts": [{ "hostPath": "/lib", "containerPath": "/usr/lib/gpu", "options": ["ro", "nosuid"] }],
                "hooks": [{ "hookName": "createContainer", "path": "/bin/true", "args": ["true", "x"] }],
                "additionalGids": [44],
            },
        })
    }

    #[test]
    fn edits_are_applied_and_the_shared_ones_once() {
        let spec = given(&[("gpu.json", gpus())], &["vendor.com/gpu=0", "vendor.com/gpu=1"]).unwrap();
        let process = spec.process().clone().unwrap();
        assert_eq!(process.env().clone().unwrap(), ["A=1", "GPU=yes"]);
        assert_eq!(process.user().additional_gids().clone().unwrap(), [44]);
        let mounts = spec.mounts().clone().unwrap();
        let at: Vec<_> = mounts.iter().map(|m| m.destination().display().to_string()).collect();
        assert_eq!(at, ["/dev/gpu0", "/usr/lib/gpu", "/dev/full"]);
        assert_eq!(mounts[0].source().as_deref(), Some(Path::new("/dev/null")));
        assert_eq!(spec.hooks().clone().unwrap().create_container().clone().unwrap().len(), 1);
        let devices = spec.linux().clone().unwrap().resources().clone().unwrap().devices().clone().unwrap();
        assert_eq!((devices[0].major(), devices[0].minor()), (Some(1), Some(3)));
    }

    #[test]
    fn what_cannot_be_given_says_why() {
        let yaml = given(&[("gpu.yaml", json!("x"))], &["vendor.com/gpu=0"]).unwrap_err();
        assert!(yaml.hint().unwrap().to_string().contains("YAML"));
        assert!(matches!(
            given(&[("gpu.json", gpus())], &["vendor.com/gpu=7"]),
            Err(CdiError::Unknown { .. })
        ));
        for wrong in ["gpu=0", "vendor.com/gpu", "vendor.com/gpu=", "/gpu=0", "all"] {
            assert!(matches!(given(&[], &[wrong]), Err(CdiError::Name(_))), "{wrong}");
        }
        assert!(matches!(
            given(&[("bad.json", json!([]))], &["vendor.com/gpu=0"]),
            Err(CdiError::Parse { .. })
        ));
        let mut other = gpus();
        other["containerEdits"]["hooks"][0]["hookName"] = json!("prestart");
        assert!(matches!(given(&[("gpu.json", other)], &["vendor.com/gpu=0"]), Err(CdiError::Hook { .. })));
    }
}
