//! The container's view of files: its root, `/proc`, `/dev`, `/sys`, bind mounts, and what is hidden or read-only in them.
//!
//! What comes from the host is opened first, in the host's view. Then the process moves into the new root with `chroot`, so that a
//! path of the container, with whatever symbolic links the image has in it, cannot lead anywhere else; and out again before the
//! root is pivoted.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use glowplug_linux::cgroup::View;
use glowplug_linux::mount::{Attributes, Detached, make_all_private};
use oci_spec::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::process::{chroot, fchdir};

use crate::wire::Failure;

/// Device files every container has.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Symbolic links every container has in `/dev`.
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Symbolic links followed on the way to a mount point before it is called a loop, as the kernel does.
const LINKS_MAX: usize = 40;

/// The container's tree while it is built; the process's root is the container's.
pub(super) struct Tree {
    root: Detached,
    host: OwnedFd,
    /// Clones of what comes from the host, for each mount of the specification that does.
    sources: Vec<Option<Detached>>,
    devices: Vec<(PathBuf, Detached)>,
}

fn failed(e: glowplug_linux::mount::MountError) -> Failure {
    Failure::new("mounts", e)
}

fn io(what: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let what = what.display().to_string();
    move |e| Failure::io("mounts", what, e)
}

impl Tree {
    /// Collects what comes from the host, then moves into the root.
    pub fn enter(spec: &Spec) -> Result<Self, Failure> {
        make_all_private().map_err(failed)?;
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let sources = mounts.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
        let mut devices = Vec::new();
        for device in DEVICES {
            devices.push((PathBuf::from(device), open_device(Path::new(device))?));
        }
        let listed = spec.linux().as_ref().and_then(|l| l.devices().as_deref()).unwrap_or_default();
        for device in listed {
            devices.push((device.path().clone(), open_device(device.path())?));
        }
        let path = spec.root().as_ref().map(|r| r.path().clone()).unwrap_or_default();
        let root = Detached::clone_of(&path, true).map_err(failed)?;
        root.set_attributes(Attributes::MOUNT_ATTR_NODEV, true).map_err(failed)?;
        root.attach(&path).map_err(failed)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let host = rustix::fs::open("/", flags, Mode::empty()).map_err(|e| io(Path::new("/"))(e.into()))?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        move_root(&root, &path)?;
        Ok(Self { root, host, sources, devices })
    }

    /// Every mount of the specification but cgroups, then devices.
    pub fn mount_all(&self, spec: &Spec) -> Result<(), Failure> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        for (mount, source) in mounts.iter().zip(&self.sources) {
            match (source, mount.typ().as_deref()) {
                (Some(source), _) => {
                    let is_dir = source.is_dir().map_err(|e| io(mount.destination())(e.into()))?;
                    let target = make_target(mount.destination(), is_dir).map_err(io(mount.destination()))?;
                    source.attach(&target).map_err(failed)?;
                }
                (None, Some("cgroup" | "cgroup2")) => {}
                (None, kind) => {
                    let options = Options::of(mount);
                    let target = make_target(mount.destination(), true).map_err(io(mount.destination()))?;
                    let kind = kind.unwrap_or("none");
                    let mut attributes = options.attributes;
                    // Device files are mounts of their own, and terminals are the one kind of device that a file system makes itself.
                    attributes.set(Attributes::MOUNT_ATTR_NODEV, kind != "devpts");
                    Detached::filesystem(kind, &options.data(), attributes)
                        .and_then(|fs| fs.attach(&target))
                        .map_err(failed)?;
                }
            }
        }
        for (path, device) in &self.devices {
            let target = make_target(path, false).map_err(io(path))?;
            device.attach(&target).map_err(failed)?;
        }
        for (target, link) in DEVICE_LINKS {
            match symlink(target, link) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(io(Path::new(link))(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The cgroup hierarchies the container is in, as seen from its cgroup namespace.
    pub fn mount_cgroups(&self, spec: &Spec, views: &[View]) -> Result<(), Failure> {
        let mounts = spec.mounts().as_deref().unwrap_or_default();
        let Some(mount) = mounts.iter().find(|m| matches!(m.typ().as_deref(), Some("cgroup" | "cgroup2")))
        else {
            return Ok(());
        };
        let attributes = Options::of(mount).attributes;
        let base = make_target(mount.destination(), true).map_err(io(mount.destination()))?;
        let mut holder = None;
        if views.iter().any(|v| !v.name.as_os_str().is_empty()) {
            // Several hierarchies need a directory each, which sysfs does not make.
            let tmpfs = Detached::filesystem("tmpfs", &[("mode", Some("755"))], Attributes::empty())
                .map_err(failed)?;
            tmpfs.attach(&base).map_err(failed)?;
            holder = Some(tmpfs);
        }
        for view in views {
            let target = base.join(&view.name);
            fs::create_dir_all(&target).map_err(io(&target))?;
            let kind = if view.controllers.is_some() { "cgroup" } else { "cgroup2" };
            let flags: Vec<_> = view.controllers.iter().flatten().map(|c| (c.as_str(), None)).collect();
            Detached::filesystem(kind, &flags, attributes)
                .and_then(|fs| fs.attach(&target))
                .map_err(failed)?;
            // Hierarchies of several controllers are also found by each one's name.
            for controller in view.controllers.iter().flatten().filter(|c| Path::new(c) != view.name) {
                symlink(&view.name, base.join(controller)).map_err(io(&target))?;
            }
        }
        match holder {
            Some(tmpfs) => tmpfs.set_attributes(attributes, false).map_err(failed),
            None => Ok(()),
        }
    }

    /// Working directory, kernel settings, hidden and read-only paths; then back to the host's root. Answers the container's root.
    pub fn finish(self, spec: &Spec, cwd: &Path) -> Result<Detached, Failure> {
        // As Docker: an image may name a working directory that it does not contain.
        make_target(cwd, true).map_err(io(cwd))?;
        if let Some(linux) = spec.linux() {
            for (key, value) in linux.sysctl().iter().flatten() {
                let path = Path::new("/proc/sys").join(key.replace('.', "/"));
                fs::write(&path, value).map_err(io(&path))?;
            }
            let mut empty = None;
            for path in linux.masked_paths().iter().flatten() {
                mask(Path::new(path), &mut empty)?;
            }
            for path in linux.readonly_paths().iter().flatten() {
                make_readonly(Path::new(path))?;
            }
        }
        move_root(&self.host, Path::new("/"))?;
        Ok(self.root)
    }
}

fn move_root(root: impl AsFd, name: &Path) -> Result<(), Failure> {
    fchdir(root).and_then(|()| chroot(".")).map_err(|e| io(name)(e.into()))
}

fn open_source(mount: &Mount) -> Result<Option<Detached>, Failure> {
    let options = Options::of(mount);
    if !options.bind && mount.typ().as_deref() != Some("bind") {
        return Ok(None);
    }
    let source = mount.source().as_deref().unwrap_or(Path::new(""));
    let tree = Detached::clone_of(source, true).map_err(failed)?;
    let is_device = rustix::fs::fstat(&tree).is_ok_and(|s| {
        let kind = rustix::fs::FileType::from_raw_mode(s.st_mode);
        kind.is_char_device() || kind.is_block_device()
    });
    let mut attributes = options.attributes;
    attributes.set(Attributes::MOUNT_ATTR_NODEV, !is_device);
    if !attributes.is_empty() {
        tree.set_attributes(attributes, true).map_err(failed)?;
    }
    Ok(Some(tree))
}

fn open_device(path: &Path) -> Result<Detached, Failure> {
    let device = Detached::clone_of(path, false).map_err(failed)?;
    device
        .set_attributes(Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC, false)
        .map_err(failed)?;
    Ok(device)
}

/// A mount's options, told apart.
struct Options {
    attributes: Attributes,
    bind: bool,
    data: Vec<String>,
}

impl Options {
    fn of(mount: &Mount) -> Self {
        let mut options = Self { attributes: Attributes::empty(), bind: false, data: Vec::new() };
        for option in mount.options().iter().flatten() {
            options.attributes |= match option.as_str() {
                "ro" => Attributes::MOUNT_ATTR_RDONLY,
                "nosuid" => Attributes::MOUNT_ATTR_NOSUID,
                "nodev" => Attributes::MOUNT_ATTR_NODEV,
                "noexec" => Attributes::MOUNT_ATTR_NOEXEC,
                "noatime" => Attributes::MOUNT_ATTR_NOATIME,
                "strictatime" => Attributes::MOUNT_ATTR_STRICTATIME,
                "bind" | "rbind" => {
                    options.bind = true;
                    Attributes::empty()
                }
                // Everything is private here, and the defaults need not be said.
                "rw" | "relatime" | "private" | "rprivate" | "defaults" => Attributes::empty(),
                other => {
                    options.data.push(other.to_owned());
                    Attributes::empty()
                }
            };
        }
        options
    }

    fn data(&self) -> Vec<(&str, Option<&str>)> {
        self.data
            .iter()
            .map(|o| o.split_once('=').map_or((o.as_str(), None), |(k, v)| (k, Some(v))))
            .collect()
    }
}

/// Makes sure something of the right type can be mounted on is at `path`, and answers where that really is.
///
/// A symbolic link to a place that does not exist is followed and the place made: images link `/etc/resolv.conf` into `/run`.
fn make_target(path: &Path, dir: bool) -> std::io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if fs::metadata(&path).is_ok() {
            return Ok(path);
        }
        let parent = path.parent().unwrap_or(Path::new("/")).to_owned();
        match fs::read_link(&path) {
            Ok(target) => path = parent.join(target),
            Err(_) => {
                if parent.components().any(|c| matches!(c, Component::Normal(_))) {
                    make_target(&parent, true)?;
                }
                let made = if dir { fs::create_dir(&path) } else { fs::File::create(&path).map(drop) };
                return made.map(|()| path);
            }
        }
    }
    Err(rustix::io::Errno::LOOP.into())
}

/// Hides a file behind `/dev/null` and a directory behind an empty read-only one, which all hidden directories share.
fn mask(path: &Path, empty: &mut Option<PathBuf>) -> Result<(), Failure> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(()) };
    let cover = if !metadata.is_dir() {
        Detached::clone_of(Path::new("/dev/null"), false)
    } else if let Some(first) = empty {
        Detached::clone_of(first, false)
    } else {
        *empty = Some(path.to_owned());
        Detached::filesystem(
            "tmpfs",
            &[("size", Some("0")), ("nr_inodes", Some("1"))],
            Attributes::MOUNT_ATTR_RDONLY,
        )
    };
    cover.and_then(|cover| cover.attach(path)).map_err(failed)
}

fn make_readonly(path: &Path) -> Result<(), Failure> {
    if fs::metadata(path).is_err() {
        return Ok(());
    }
    let same = Detached::clone_of(path, true).map_err(failed)?;
    same.set_attributes(Attributes::MOUNT_ATTR_RDONLY, true).map_err(failed)?;
    same.attach(path).map_err(failed)
}
