//! What a person may ask of a container.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::SpecError;

/// A container as asked for. [`RunOptions::new`] gives Docker's defaults; every field may then be changed.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Names the container: its cgroup, and its host name in a network of its own. Letters, digits, `-`, `_` and `.`.
    pub id: String,
    /// The root file system, already mounted.
    pub rootfs: PathBuf,
    /// An existing directory of this container's own, for files that are bound into it.
    pub state_dir: PathBuf,
    /// Replaces the image's command.
    pub args: Vec<String>,
    /// Replaces the image's entrypoint, and drops its command.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value` sets a variable, `NAME` removes one.
    pub env: Vec<String>,
    /// `user[:group]` by name or number.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Host name.
    pub hostname: Option<String>,
    /// Network.
    pub network: Network,
    /// Bind mounts, in order.
    pub mounts: Vec<BindMount>,
    /// Root file system read-only.
    pub readonly: bool,
    /// Memory limit in bytes.
    pub memory_bytes: Option<u64>,
    /// Limit of memory and swap together in bytes; only with a memory limit.
    pub memory_swap_bytes: Option<u64>,
    /// CPU limit in thousandths of a CPU.
    pub cpu_millis: Option<u64>,
    /// CPU weight under contention, 1024 being normal.
    pub cpu_shares: Option<u64>,
    /// Limit of processes and threads.
    pub pids: Option<u64>,
    /// Size of `/dev/shm` in bytes.
    pub shm_bytes: u64,
    /// Capabilities on top of Docker's fourteen; `ALL` for all.
    pub cap_add: Vec<String>,
    /// Capabilities to take away; `ALL` for all that are not added.
    pub cap_drop: Vec<String>,
    /// Never gain privileges by exec.
    pub no_new_privileges: bool,
    /// System-call filter.
    pub seccomp: Seccomp,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// CDI devices by qualified name, `vendor.com/class=name`.
    pub devices: Vec<String>,
    /// Where CDI descriptions are looked for.
    pub cdi_dirs: Vec<PathBuf>,
}

/// Docker's size of `/dev/shm`: 64 MiB.
const SHM_BYTES: u64 = 64 << 20;

impl RunOptions {
    /// Defaults for a container of this name over this root file system.
    pub fn new(id: impl Into<String>, rootfs: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            id: id.into(),
            rootfs: rootfs.into(),
            state_dir: state_dir.into(),
            args: Vec::new(),
            entrypoint: None,
            env: Vec::new(),
            user: None,
            workdir: None,
            hostname: None,
            network: Network::Host,
            mounts: Vec::new(),
            readonly: false,
            memory_bytes: None,
            memory_swap_bytes: None,
            cpu_millis: None,
            cpu_shares: None,
            pids: None,
            shm_bytes: SHM_BYTES,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privileges: false,
            seccomp: Seccomp::Docker,
            ulimits: Vec::new(),
            devices: Vec::new(),
            cdi_dirs: crate::cdi::DEFAULT_DIRS.iter().map(PathBuf::from).collect(),
        }
    }
}

/// Which network a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Network {
    /// The host's.
    #[default]
    Host,
    /// Its own with a way out, laid in advance; see [`crate::forward`] for ways in.
    Private {
        /// The namespace: [`crate::Outbound::namespace`].
        namespace: PathBuf,
    },
    /// Its own, with a loopback device only; see [`crate::forward`] for ways in. There is none out.
    Isolated,
}

/// Which system-call filter a container is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seccomp {
    /// Docker's default profile.
    #[default]
    Docker,
    /// None.
    Unconfined,
}

/// A text that is not what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    /// Not a mount.
    #[error("{0:?} is not host-path:container-path[:ro]")]
    Mount(String),
    /// Not a published port.
    #[error("{0:?} is not [address:][host-port:]container-port")]
    Port(String),
    /// Not a resource limit.
    #[error("{0:?} is not name=soft[:hard]")]
    Ulimit(String),
}

/// A file or directory of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// Absolute path on the host; must exist.
    pub host: PathBuf,
    /// Absolute path in the container; made if missing.
    pub container: PathBuf,
    /// Not to be written through.
    pub readonly: bool,
}

impl BindMount {
    /// Parses `host:container[:ro|rw]`. A relative host path is one of the current directory; a container path is absolute.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let wrong = || OptionError::Mount(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, readonly) = match parts.as_slice() {
            [host, container] | [host, container, "rw"] => (*host, *container, false),
            [host, container, "ro"] => (*host, *container, true),
            _ => return Err(wrong()),
        };
        if !container.starts_with('/') {
            return Err(wrong());
        }
        let host = std::path::absolute(host).map_err(|_| wrong())?;
        Ok(Self { host, container: container.into(), readonly })
    }

    pub(super) fn to_spec(&self) -> Value {
        let mut options = vec!["rbind", "rprivate"];
        options.extend(self.readonly.then_some("ro"));
        json!({ "type": "bind", "source": self.host, "destination": self.container, "options": options })
    }
}

/// A port of the container on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Address of the host it is open on.
    pub address: std::net::IpAddr,
    /// Port of the host; 0 lets the host choose.
    pub host: u16,
    /// Port of the container.
    pub container: u16,
}

impl Port {
    /// Parses `[address:][host:]container`; without a host port it is the container's, without an address it is every one.
    ///
    /// An IPv6 address is in brackets.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let wrong = || OptionError::Port(text.to_owned());
        let (rest, container) = text.rsplit_once(':').map_or((None, text), |(rest, last)| (Some(rest), last));
        let container: u16 = container.parse().ok().filter(|p| *p != 0).ok_or_else(wrong)?;
        let Some(rest) = rest else {
            return Ok(Self { address: std::net::Ipv4Addr::UNSPECIFIED.into(), host: container, container });
        };
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => {
                let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
                (bare.parse().map_err(|_| wrong())?, host)
            }
            None => (std::net::Ipv4Addr::UNSPECIFIED.into(), rest),
        };
        Ok(Self { address, host: host.parse().map_err(|_| wrong())?, container })
    }
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// As in `setrlimit`, without `RLIMIT_`: `nofile`, `memlock`, …
    pub name: String,
    /// What holds; `None` is no limit.
    pub soft: Option<u64>,
    /// How far the program may raise it.
    pub hard: Option<u64>,
}

impl Ulimit {
    /// Parses `name=soft[:hard]`; `-1` is no limit.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let wrong = || OptionError::Ulimit(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(wrong)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        let number = |n: &str| if n == "-1" { Ok(None) } else { n.parse().map(Some).map_err(|_| wrong()) };
        let (soft, hard) = (number(soft)?, number(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }

    pub(super) fn to_spec(&self) -> Result<Value, SpecError> {
        /// The names the specification knows.
        const NAMES: [&str; 16] = [
            "as",
            "core",
            "cpu",
            "data",
            "fsize",
            "locks",
            "memlock",
            "msgqueue",
            "nice",
            "nofile",
            "nproc",
            "rss",
            "rtprio",
            "rttime",
            "sigpending",
            "stack",
        ];
        if !NAMES.contains(&self.name.as_str()) {
            return Err(SpecError::Ulimit(self.name.clone()));
        }
        let kind = format!("RLIMIT_{}", self.name.to_uppercase());
        let number = |n: Option<u64>| n.unwrap_or(u64::MAX);
        Ok(json!({ "type": kind, "soft": number(self.soft), "hard": number(self.hard) }))
    }
}

/// Whether a container may be called this: it becomes a directory name.
pub(crate) fn is_valid_id(id: &str) -> bool {
    /// As long as a file name may be.
    const LONGEST: usize = 255;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !id.is_empty() && id.len() <= LONGEST && id.chars().all(plain) && Path::new(id).file_name().is_some()
}
