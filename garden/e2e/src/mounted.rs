//! An image of a layout folder mounted through one of our doors, without a container.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// By which way the kernel reads the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Through a process.
    Fuse,
    /// Names and attributes by the kernel, bytes through a process.
    Lazy,
    /// Straight from the kernel.
    Erofs,
}

impl Door {
    const fn word(self) -> &'static str {
        match self {
            Self::Fuse => "fuse",
            Self::Lazy => "lazy",
            Self::Erofs => "erofs",
        }
    }
}

/// A mounted image with a writable directory on top. Dropped, it is unmounted.
#[derive(Debug)]
pub struct Mounted {
    root: PathBuf,
    server: Child,
    _folder: tempfile::TempDir,
}

impl Mounted {
    /// Mounts the image of a layout folder with all of its bytes here.
    ///
    /// # Panics
    /// `GLOWPLUG_MOUNT_IMAGE`, the program that mounts, is not set, or the image does not get the door that was asked for.
    pub fn new(layout: &Path, door: Door) -> Self {
        Self::started(Command::new(program()), layout, door, door)
    }

    /// The same in a user namespace, where a kernel lets nobody mount EROFS but everybody FUSE and overlays: `got` comes
    /// in place of `wanted`. Only [`Mounted::inside`] sees it.
    ///
    /// # Panics
    /// As [`Mounted::new`].
    pub fn unprivileged(layout: &Path, wanted: Door, got: Door) -> Self {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount"]).arg(program());
        Self::started(unshare, layout, wanted, got)
    }

    fn started(mut program: Command, layout: &Path, wanted: Door, got: Door) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut server = program
            .arg(layout)
            .args([folder.path().join("store"), folder.path().join("work")])
            .arg(wanted.word())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        BufReader::new(server.stdout.take().expect("it was piped"))
            .read_line(&mut line)
            .expect("it writes text");
        let mounted = |line: &str| {
            let (opened, root) = line.trim_end().split_once(' ')?;
            (opened == got.word()).then(|| PathBuf::from(root))
        };
        let root = mounted(&line).unwrap_or_else(|| {
            drop(server.stdin.take());
            panic!("{} through {got:?}: got {line:?} ({:?})", layout.display(), server.wait())
        });
        Self { root, server, _folder: folder }
    }

    /// The image's root.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A command that runs in the namespaces of whoever mounted.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.server.id().to_string(), "--user", "--mount", program]);
        command
    }
}

fn program() -> PathBuf {
    std::env::var_os("GLOWPLUG_MOUNT_IMAGE")
        .expect("GLOWPLUG_MOUNT_IMAGE is not set: run `cargo xtask test e2e`")
        .into()
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The end of its input is its sign to unmount.
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}
