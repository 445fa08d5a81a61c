//! From an image's configuration and a person's wishes to an OCI runtime specification, with Docker's defaults.
//!
//! The result is what both the embedded creator and an external runtime are given. [`build`] also writes the three files that are
//! bound over the container's `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.

use std::path::{Path, PathBuf};

use glowplug_base::{Hint, Hinted};
use glowplug_linux::caps::{self, Set};
use glowplug_linux::{seccomp, signal};
use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

use crate::user::{self, Accounts, UserError};

mod defaults;
mod etc;
mod filter;
mod options;
mod resolver;
#[cfg(test)]
mod tests;

pub(crate) use filter::profile as seccomp_profile;
pub(crate) use options::is_valid_id;
pub use options::{BindMount, Network, OptionError, Port, RunOptions, Seccomp, Ulimit};

/// Why there is no specification.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Neither the image nor the caller says what to run.
    #[error("the image has no entrypoint or command, and none was given")]
    NoCommand,
    /// The user cannot be resolved.
    #[error("cannot resolve the user")]
    User(#[from] UserError),
    /// A capability that does not exist.
    #[error("unknown capability {0:?}")]
    Capability(String),
    /// A resource limit that does not exist.
    #[error("unknown resource limit {0:?}")]
    Ulimit(String),
    /// A file for the container could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A device description could not be applied.
    #[error("cannot give the container a device")]
    Device(#[from] crate::cdi::CdiError),
    /// The specification does not have the shape its schema wants, which an image's strings cannot cause.
    #[error("the specification is not well-formed")]
    Shape(#[from] serde_json::Error),
}

impl Hinted for SpecError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoCommand => Some(Hint::new("say what to run after the image's name")),
            Self::User(UserError::Large(_)) => None,
            Self::User(_) => Some(Hint::new("use a number, or a name that the image's /etc/passwd lists")),
            Self::Device(e) => e.hint(),
            _ => None,
        }
    }
}

/// Builds the specification and writes the container's files into the state directory, which must exist.
///
/// Users are looked up in the image's accounts; nothing below the root file system is read here.
pub fn build(
    image: &ImageConfiguration,
    accounts: &Accounts,
    options: &RunOptions,
) -> Result<Spec, SpecError> {
    let empty = oci_spec::image::Config::default();
    let config = image.config().as_ref().unwrap_or(&empty);
    let args = command(config, options)?;
    let user = options.user.as_deref().or(config.user().as_deref()).unwrap_or_default();
    let identity = user::resolve(accounts, user)?;
    let hostname = options.hostname.clone().unwrap_or_else(|| match options.network {
        Network::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        Network::Private { .. } | Network::Isolated => options.id.chars().take(12).collect(),
    });
    let held = capabilities(options)?;
    let names = caps::names(held);
    let directory = options.workdir.as_deref().or(config.working_dir().as_deref()).filter(|d| !d.is_empty());
    let env = environment(config, options, &hostname, identity.home.as_deref());
    let rlimits = options.ulimits.iter().map(Ulimit::to_spec).collect::<Result<Vec<_>, _>>()?;
    let mut mounts = defaults::mounts(options.shm_bytes);
    mounts.extend(etc::write(&options.state_dir, &hostname, &options.network)?);
    mounts.extend(options.mounts.iter().map(BindMount::to_spec));
    let mut namespaces: Vec<Value> =
        ["pid", "mount", "uts", "ipc", "cgroup"].map(|kind| json!({ "type": kind })).into();
    let mut sysctl = json!({ "net.ipv4.ip_unprivileged_port_start": "0" });
    match &options.network {
        Network::Host => sysctl = json!({}),
        Network::Private { namespace } => {
            namespaces.push(json!({ "type": "network", "path": namespace }));
        }
        Network::Isolated => namespaces.push(json!({ "type": "network" })),
    }
    let seccomp = match options.seccomp {
        Seccomp::Docker => filter::to_spec(&seccomp::docker::profile(held)),
        Seccomp::Unconfined => Value::Null,
    };
    let spec = json!({
        "ociVersion": "1.0.2",
        "root": { "path": options.rootfs, "readonly": options.readonly },
        "hostname": hostname,
        "mounts": mounts,
        "process": {
            "terminal": false,
            "user": { "uid": identity.uid, "gid": identity.gid, "additionalGids": identity.groups },
            "args": args,
            "env": env,
            "cwd": Path::new("/").join(directory.unwrap_or("/")),
            "capabilities": {
                "bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": [],
            },
            "rlimits": rlimits,
            "noNewPrivileges": options.no_new_privileges,
        },
        "linux": {
            "cgroupsPath": cgroup_path(&options.id),
            "namespaces": namespaces,
            "resources": resources(options),
            "sysctl": sysctl,
            "seccomp": seccomp,
            "maskedPaths": defaults::MASKED,
            "readonlyPaths": defaults::READONLY,
        },
    });
    let mut spec: Spec = serde_json::from_value(spec)?;
    crate::cdi::apply(&options.devices, &options.cdi_dirs, &mut spec)?;
    Ok(spec)
}

/// The cgroup of the container of this name, in every hierarchy.
pub(crate) fn cgroup_path(id: &str) -> PathBuf {
    Path::new("/glowplug").join(id)
}

/// The signal that asks the image's program to stop: `StopSignal` of its configuration, else `SIGTERM`.
pub fn stop_signal(image: &ImageConfiguration) -> i32 {
    let named = image.config().as_ref().and_then(|c| c.stop_signal().as_deref());
    /// Everybody's default.
    const SIGTERM: i32 = 15;
    named.and_then(signal::parse).unwrap_or(SIGTERM)
}

/// Entrypoint and command: a given entrypoint makes the image's command meaningless; given arguments replace it.
fn command(config: &oci_spec::image::Config, options: &RunOptions) -> Result<Vec<String>, SpecError> {
    let image = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (mut args, from_image) = match &options.entrypoint {
        Some(given) => (given.clone(), Vec::new()),
        None => (image(config.entrypoint()), image(config.cmd())),
    };
    args.extend(if options.args.is_empty() { from_image } else { options.args.clone() });
    if args.first().is_none_or(String::is_empty) { Err(SpecError::NoCommand) } else { Ok(args) }
}

/// The image's variables, then the caller's over them; a name alone takes a variable away.
fn environment(
    config: &oci_spec::image::Config,
    options: &RunOptions,
    hostname: &str,
    home: Option<&str>,
) -> Vec<String> {
    let name_of = |pair: &str| pair.split_once('=').map_or(pair, |p| p.0).to_owned();
    let mut env = vec![format!("PATH={}", defaults::PATH), format!("HOSTNAME={hostname}")];
    let image = config.env().iter().flatten().filter(|pair| pair.contains('='));
    for pair in image.chain(&options.env) {
        let name = name_of(pair);
        let at = env.iter().position(|known| name_of(known) == name);
        match (at, pair.contains('=')) {
            (Some(at), true) => env[at].clone_from(pair),
            (None, true) => env.push(pair.clone()),
            (Some(at), false) => drop(env.remove(at)),
            (None, false) => {}
        }
    }
    if !env.iter().any(|pair| name_of(pair) == "HOME") {
        env.push(format!("HOME={}", home.unwrap_or("/")));
    }
    env
}

fn capabilities(options: &RunOptions) -> Result<Set, SpecError> {
    let named = |names: &[String]| -> Result<Set, SpecError> {
        names.iter().try_fold(Set::empty(), |all, name| match name.to_ascii_uppercase().as_str() {
            "ALL" => Ok(all | Set::from_bits_retain(Set::CHECKPOINT_RESTORE.bits() * 2 - 1)),
            _ => caps::parse(name).map(|one| all | one).ok_or_else(|| SpecError::Capability(name.clone())),
        })
    };
    let (add, drop) = (named(&options.cap_add)?, named(&options.cap_drop)?);
    // As Docker: "drop all" first, then what is added; otherwise a dropped one stays dropped.
    let drops_all = options.cap_drop.iter().any(|c| c.eq_ignore_ascii_case("all"));
    Ok(if drops_all { add } else { (caps::DOCKER_DEFAULT | add) - drop })
}

fn resources(options: &RunOptions) -> Value {
    // For external runtimes: all devices but the usual ones are denied. The embedded creator has nodev mounts instead.
    let mut resources = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    if let Some(limit) = options.memory_bytes {
        resources["memory"] = json!({ "limit": limit });
        if let Some(swap) = options.memory_swap_bytes {
            resources["memory"]["swap"] = json!(swap);
        }
    }
    let mut cpu = json!({});
    if let Some(millis) = options.cpu_millis {
        cpu["quota"] = json!(millis.saturating_mul(glowplug_linux::cgroup::CPU_PERIOD_US) / 1000);
        cpu["period"] = json!(glowplug_linux::cgroup::CPU_PERIOD_US);
    }
    if let Some(shares) = options.cpu_shares {
        cpu["shares"] = json!(shares);
    }
    resources["cpu"] = cpu;
    if let Some(pids) = options.pids {
        resources["pids"] = json!({ "limit": pids });
    }
    resources
}
