//! Mounts through the file-descriptor mount API: a mount is made detached, configured, and only then attached where it is seen.
//!
//! Three calls for whole mounts ([`overlay`], [`erofs`], [`bind`]) and [`Detached`] for building a container's tree. When
//! the kernel refuses a file system's options it writes why into the context's log; [`MountError`] carries those lines.
//!
//! The kernel limits one option's text to 255 bytes, so a longer path is an error (`EINVAL`) here rather than a truncated mount.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

/// Attributes of a mount, as opposed to options of the file system in it.
pub use rustix::mount::MountAttrFlags as Attributes;

/// A mount that did not happen.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} {what}{}", log_suffix(.log))]
pub struct MountError {
    /// What was being done, as a verb: `open`, `configure`, `create`, `attach`, …
    pub step: &'static str,
    /// File system type, option or path it was done to.
    pub what: String,
    /// What the kernel said.
    #[source]
    pub errno: Errno,
    /// The kernel's own explanation, line by line; often empty.
    pub log: Vec<String>,
}

fn log_suffix(log: &[String]) -> String {
    if log.is_empty() { String::new() } else { format!(" ({})", log.join("; ")) }
}

impl MountError {
    fn new(step: &'static str, what: impl Into<String>, errno: Errno) -> Self {
        Self { step, what: what.into(), errno, log: Vec::new() }
    }

    fn with_log(mut self, context: impl AsFd) -> Self {
        self.log = read_log(context);
        self
    }
}

/// The writable side of an overlay.
#[derive(Debug, Clone, Copy)]
pub struct Writable<'a> {
    /// Where changes go.
    pub upper: &'a Path,
    /// An empty directory on the same file system as `upper`, for the kernel's own use.
    pub work: &'a Path,
    /// Skip every sync: right for trees that are thrown away with their container, wrong for anything that must outlive a crash.
    pub volatile: bool,
}

/// Mounts an overlay of `lower` (topmost first) at `target`; read-only without a writable side.
///
/// A read-only overlay needs at least two lower directories; with one, bind it instead.
pub fn overlay(lower: &[&Path], writable: Option<Writable<'_>>, target: &Path) -> Result<(), MountError> {
    let context = Context::open("overlay")?;
    context.set("source", "overlay")?;
    if context.set_all("lowerdir+", lower).is_err() {
        // Before Linux 6.8 there is one option for all of them, with colons between.
        let joined = lower.iter().map(|p| escape_lower(p)).collect::<Vec<_>>().join(":");
        context.set("lowerdir", &joined)?;
    }
    let mut attributes = MountAttrFlags::empty();
    match writable {
        Some(Writable { upper, work, volatile }) => {
            context.set_path("upperdir", upper)?;
            context.set_path("workdir", work)?;
            if volatile {
                context.flag("volatile")?;
            }
        }
        None => attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
    context.mount(attributes)?.attach(target)
}

/// Mounts the EROFS `image` read-only at `target`, with the files or block devices its chunks lie on in the order of its device table.
///
/// Plain files need Linux 6.12 (`EROFS_FS_BACKED_BY_FILE`); no loop device is made.
pub fn erofs(image: &Path, devices: &[&Path], target: &Path) -> Result<(), MountError> {
    let context = Context::open("erofs")?;
    context.set_path("source", image)?;
    context.set_all("device", devices)?;
    context.flag("ro")?;
    context.mount(MountAttrFlags::MOUNT_ATTR_RDONLY)?.attach(target)
}

/// Binds `source` and every mount below it at `target`, read-only if asked.
pub fn bind(source: &Path, target: &Path, readonly: bool) -> Result<(), MountError> {
    let tree = Detached::clone_of(source, true)?;
    if readonly {
        tree.set_attributes(MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
    }
    tree.attach(target)
}

/// Unmounts what is on top at `target`. `lazy` takes it out of sight now and lets go of it when its last user does.
pub fn unmount(target: &Path, lazy: bool) -> Result<(), MountError> {
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(target, flags | UnmountFlags::NOFOLLOW)
        .map_err(|e| MountError::new("unmount", target.display().to_string(), e))
}

/// Cuts every mount of the calling process's mount namespace off from other namespaces, in both directions.
pub fn make_all_private() -> Result<(), MountError> {
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| MountError::new("make private", "/", e))
}

/// Makes the directory behind `root`, which must be a mount's root, the process's root and drops the old tree.
pub fn pivot_into(root: impl AsFd) -> Result<(), MountError> {
    let failed = |step| move |e| MountError::new(step, "the new root", e);
    rustix::process::fchdir(root).map_err(failed("enter"))?;
    // With both the same, the old root is stacked on the new one and no directory for it is needed.
    rustix::process::pivot_root(".", ".").map_err(failed("pivot into"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("leave the tree around"))?;
    rustix::process::chdir("/").map_err(failed("enter"))
}

/// A mount, or tree of mounts, that is attached nowhere yet. Dropped unattached, it goes away.
#[derive(Debug)]
pub struct Detached {
    fd: OwnedFd,
    what: String,
}

impl Detached {
    /// A new instance of a file system that needs no device. A key without a value is a flag.
    pub fn filesystem(
        kind: &str,
        options: &[(&str, Option<&str>)],
        attributes: MountAttrFlags,
    ) -> Result<Self, MountError> {
        let context = Context::open(kind)?;
        for (key, value) in options {
            match value {
                Some(value) => context.set(key, value)?,
                None => context.flag(key)?,
            }
        }
        context.mount(attributes)
    }

    /// A copy of the mount at `path` (file or directory), with everything mounted below it if `recursive`.
    pub fn clone_of(path: &Path, recursive: bool) -> Result<Self, MountError> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
        let what = path.display().to_string();
        match rustix::mount::open_tree(CWD, path, flags) {
            Ok(fd) => Ok(Self { fd, what }),
            Err(e) => Err(MountError::new("clone the mount of", what, e)),
        }
    }

    /// Adds attributes to the mount, and to those below it if `recursive` (Linux 5.12).
    pub fn set_attributes(&self, attributes: MountAttrFlags, recursive: bool) -> Result<(), MountError> {
        set_attributes(&self.fd, attributes, recursive)
            .map_err(|e| MountError::new("set attributes of", self.what.clone(), e))
    }

    /// Puts the mount at `target`, following symbolic links. The descriptor goes on naming the mount's root.
    pub fn attach(&self, target: &Path) -> Result<(), MountError> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
        rustix::mount::move_mount(&self.fd, "", CWD, target, flags)
            .map_err(|e| MountError::new("attach", format!("{} at {}", self.what, target.display()), e))
    }

    /// Type of the root of the mount.
    pub fn is_dir(&self) -> Result<bool, Errno> {
        let stat = rustix::fs::fstat(&self.fd)?;
        Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Adds attributes to the mount whose root `root` is.
pub fn add_attributes(root: impl AsFd, attributes: MountAttrFlags) -> Result<(), MountError> {
    set_attributes(root.as_fd(), attributes, false)
        .map_err(|e| MountError::new("set attributes of", "the mount", e))
}

/// `struct mount_attr` of mount_setattr(2), version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

fn set_attributes(root: impl AsFd, attributes: MountAttrFlags, recursive: bool) -> Result<(), Errno> {
    let attr = MountAttr { set: u64::from(attributes.bits()), clear: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: an empty nul-terminated path and a structure of exactly the size given; the kernel only reads both.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            root.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if r == 0 { Ok(()) } else { Err(crate::process::last_errno()) }
}

/// A file system context: options are collected in it until it is created.
struct Context {
    fd: OwnedFd,
    kind: String,
}

impl Context {
    fn open(kind: &str) -> Result<Self, MountError> {
        match rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(fd) => Ok(Self { fd, kind: kind.to_owned() }),
            Err(e) => Err(MountError::new("open file system type", kind, e)),
        }
    }

    fn failed(&self, key: &str, value: &str, errno: Errno) -> MountError {
        MountError::new("set", format!("{} option {key}={value}", self.kind), errno).with_log(&self.fd)
    }

    fn set(&self, key: &str, value: &str) -> Result<(), MountError> {
        rustix::mount::fsconfig_set_string(&self.fd, key, value).map_err(|e| self.failed(key, value, e))
    }

    fn set_path(&self, key: &str, path: &Path) -> Result<(), MountError> {
        rustix::mount::fsconfig_set_string(&self.fd, key, path)
            .map_err(|e| self.failed(key, &path.display().to_string(), e))
    }

    fn set_all(&self, key: &str, paths: &[&Path]) -> Result<(), MountError> {
        paths.iter().try_for_each(|path| self.set_path(key, path))
    }

    fn flag(&self, key: &str) -> Result<(), MountError> {
        rustix::mount::fsconfig_set_flag(&self.fd, key).map_err(|e| self.failed(key, "", e))
    }

    fn mount(self, attributes: MountAttrFlags) -> Result<Detached, MountError> {
        rustix::mount::fsconfig_create(&self.fd)
            .map_err(|e| MountError::new("create", self.kind.clone(), e).with_log(&self.fd))?;
        match rustix::mount::fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes) {
            Ok(fd) => Ok(Detached { fd, what: self.kind }),
            Err(e) => Err(MountError::new("mount", self.kind, e).with_log(&self.fd)),
        }
    }
}

/// What the kernel logged into a context: one message a read, with its level (`e`, `w`, `i`) in front.
fn read_log(context: impl AsFd) -> Vec<String> {
    /// A bound on messages, far above what any file system writes.
    const MESSAGES: usize = 32;
    let mut lines = Vec::new();
    let mut buffer = [0u8; 1024];
    while lines.len() < MESSAGES {
        match rustix::io::read(context.as_fd(), &mut buffer) {
            Ok(n) if n > 0 => {
                let text = String::from_utf8_lossy(&buffer[..n]);
                let text = text.trim();
                lines.push(
                    text.split_once(' ')
                        .filter(|(level, _)| level.len() == 1)
                        .map_or(text, |t| t.1)
                        .to_owned(),
                );
            }
            _ => break,
        }
    }
    lines
}

/// A path as an element of overlayfs's `lowerdir` list.
fn escape_lower(path: &Path) -> String {
    let mut escaped = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, ':' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Every mount point the calling thread sees at or below `under`, in the order they were made and without symbolic links.
pub fn mounts_below(under: &Path) -> std::io::Result<Vec<PathBuf>> {
    // The kernel's table knows no symbolic links. What is not there has nothing below it.
    let under = under.canonicalize().unwrap_or_else(|_| under.to_owned());
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|path| path.starts_with(&under))
        .collect())
}

/// Undoes mountinfo's octal escapes (`\040` for a space).
pub(crate) fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let bytes = field.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes.get(i + 1..i + 4).and_then(|d| std::str::from_utf8(d).ok());
        match octal.filter(|_| bytes[i] == b'\\').and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unescape_undoes_what_the_kernel_does(text in "[a-z \\\\\t\n/é]{0,40}") {
            let mut escaped = String::new();
            for c in text.chars() {
                match c {
                    ' ' | '\t' | '\n' | '\\' => escaped.push_str(&format!("\\{:03o}", c as u32)),
                    _ => escaped.push(c),
                }
            }
            prop_assert_eq!(unescape(&escaped), text);
        }
    }

    #[test]
    fn lower_directories_with_colons() {
        assert_eq!(escape_lower(Path::new("/a:b\\c")), "/a\\:b\\\\c");
    }
}
