//! A container's root: the image's door at the bottom, a writable directory on top, one overlay.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use glowplug_image::Image;
use glowplug_linux::mount;
use tokio::runtime::Handle;

use crate::bytes::Bytes;
use crate::fuse;

/// How the image is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Through this process, names and attributes included: the kernel has no EROFS on plain files.
    Fuse,
    /// Names and attributes by the kernel, bytes through this process, while they are still coming.
    Lazy,
    /// By the kernel alone: every byte is here.
    Erofs,
}

impl std::fmt::Display for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fuse => "FUSE",
            Self::Lazy => "EROFS over FUSE",
            Self::Erofs => "EROFS",
        })
    }
}

/// Which door is wanted; what the kernel does not have is replaced by what comes behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The fastest: [`Door::Erofs`] for an image that is complete.
    Fastest,
    /// At most [`Door::Lazy`], so that what is read is seen here and can be learned from.
    Watched,
    /// [`Door::Fuse`], as on a kernel without EROFS on plain files.
    Fuse,
}

/// Why a root cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// A directory of the mount cannot be made.
    #[error("create {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// FUSE does not work here.
    #[error("mount FUSE at {path}")]
    Fuse {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refuses a mount.
    #[error(transparent)]
    Kernel(#[from] mount::MountError),
}

/// Threads that answer the kernel. Waiting for bytes happens elsewhere, so a few suffice for any number of readers.
const FUSE_THREADS: usize = 4;

/// A mounted root. Dropping it unmounts everything.
#[derive(Debug)]
pub struct Rootfs {
    work: PathBuf,
    door: Door,
    session: Option<BackgroundSession>,
    mounted: Vec<PathBuf>,
}

impl Rootfs {
    /// Mounts `image` with its working directories below `work`, which is made. `runtime` waits for missing bytes.
    ///
    /// # Errors
    /// The kernel refuses a mount or a directory cannot be made; nothing stays mounted then.
    pub fn mount(image: &Arc<Image>, work: &Path, runtime: &Handle, wish: Wish) -> Result<Self, MountError> {
        let mut rootfs = Self { work: work.to_owned(), door: Door::Fuse, session: None, mounted: Vec::new() };
        let lower = rootfs.directory("lower")?;
        rootfs.door = rootfs.open_door(image, &lower, runtime, wish)?;
        let (upper, scratch) = (rootfs.directory("upper")?, rootfs.directory("scratch")?);
        let merged = rootfs.directory("merged")?;
        let writable = mount::Writable { upper: &upper, work: &scratch, volatile: true };
        mount::overlay(&[&lower], Some(writable), &merged)?;
        rootfs.mounted.push(merged);
        Ok(rootfs)
    }

    /// The mounted root.
    pub fn path(&self) -> PathBuf {
        self.work.join("merged")
    }

    /// How the image is read.
    pub const fn door(&self) -> Door {
        self.door
    }

    fn directory(&self, name: &str) -> Result<PathBuf, MountError> {
        let path = self.work.join(name);
        match std::fs::create_dir_all(&path) {
            Ok(()) => Ok(path),
            Err(source) => Err(MountError::Directory { path, source }),
        }
    }

    /// Mounts the image itself, by the best door that the wish and the kernel leave.
    fn open_door(
        &mut self,
        image: &Arc<Image>,
        lower: &Path,
        runtime: &Handle,
        wish: Wish,
    ) -> Result<Door, MountError> {
        if wish == Wish::Fastest && image.is_complete() {
            match self.mount_complete(image, lower) {
                Ok(()) => return Ok(Door::Erofs),
                Err(error) => tracing::info!(%error, "no EROFS from the data files"),
            }
        }
        if wish != Wish::Fuse {
            match self.mount_lazy(image, lower, runtime) {
                Ok(()) => return Ok(Door::Lazy),
                Err(error) => {
                    tracing::info!(%error, "no EROFS over FUSE, serving the image through FUSE alone")
                }
            }
            self.end_session();
        }
        self.mount_fuse(image, lower, runtime)?;
        Ok(Door::Fuse)
    }

    /// Names by the kernel, bytes from the data files themselves.
    fn mount_complete(&mut self, image: &Image, lower: &Path) -> Result<(), Box<dyn Error>> {
        let devices: Vec<_> = image.layers().map(|layer| layer.data_path()).collect();
        self.mount_names(image, &devices, lower)
    }

    /// Names by the kernel, bytes from files that this process completes.
    fn mount_lazy(
        &mut self,
        image: &Arc<Image>,
        lower: &Path,
        runtime: &Handle,
    ) -> Result<(), Box<dyn Error>> {
        let place = self.directory("bytes")?;
        let session = Session::new(Bytes::new(image.clone(), runtime.clone()), &place, &config())?;
        self.session = Some(session.spawn()?);
        let devices: Vec<_> =
            (0..image.layers().count()).map(|layer| place.join(Bytes::name(layer))).collect();
        self.mount_names(image, &devices, lower)
    }

    /// Mounts the image's metadata; `devices` are the layers' data files, bottom first.
    fn mount_names(
        &mut self,
        image: &Image,
        devices: &[PathBuf],
        lower: &Path,
    ) -> Result<(), Box<dyn Error>> {
        let metadata = self.work.join("image.erofs");
        std::fs::write(&metadata, image.erofs()?)?;
        let devices: Vec<_> = devices.iter().map(PathBuf::as_path).collect();
        mount::erofs(&metadata, &devices, lower)?;
        self.mounted.push(lower.to_owned());
        Ok(())
    }

    fn mount_fuse(&mut self, image: &Arc<Image>, lower: &Path, runtime: &Handle) -> Result<(), MountError> {
        let failed = |source| MountError::Fuse { path: lower.to_owned(), source };
        let door = fuse::Door::new(image.clone(), runtime.clone());
        let session = Session::new(door, lower, &config()).map_err(failed)?;
        self.session = Some(session.spawn().map_err(failed)?);
        Ok(())
    }

    fn end_session(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(error) = session.umount_and_join()
            // The kernel ended the connection before a serving thread looked: it is gone, which was wanted.
            && error.kind() != std::io::ErrorKind::ConnectionAborted
        {
            tracing::warn!(%error, "could not unmount FUSE");
        }
    }
}

/// How FUSE is mounted.
fn config() -> Config {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::FSName("glowplug".to_owned()),
        MountOption::Subtype("glowplug".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::Dev,
        MountOption::Suid,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(FUSE_THREADS);
    config.clone_fd = true;
    config
}

impl Drop for Rootfs {
    fn drop(&mut self) {
        // Top first. Lazily, for a process that we do not know of may still stand in it.
        for target in self.mounted.drain(..).rev() {
            if let Err(error) = mount::unmount(&target, true) {
                tracing::warn!(%error, "could not unmount");
            }
        }
        self.end_session();
        if let Err(error) = std::fs::remove_dir_all(&self.work) {
            tracing::warn!(path = %self.work.display(), %error, "could not remove");
        }
    }
}
