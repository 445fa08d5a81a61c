//! The layers of an image with Python: Python itself from Debian, the packages from PyPI, the server.

use std::path::Path;

use super::debian;
use super::recipe::{Finish, Layer};
use crate::interrupt::Partial;
use crate::packages::debian::Deb;
use crate::packages::python::{DIST_PACKAGES, Python};
use crate::paths;
use crate::tree::Tree;

/// Whether the packages from PyPI carry their bytecode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bytecode {
    /// Compiled while the image is built, as pip does by default.
    Compiled,
    /// Left out, as images are built that want to be small.
    LeftOut,
}

/// Debian's Python and libraries on top of the base, the standard library compiled as its package's script does.
pub fn from_debian(python: &Python, all: &[Deb], base: &[Deb]) -> anyhow::Result<Layer> {
    const LIBRARY: &str = "usr/lib/python3";
    let mut tree = debian::further(all, base)?;
    let scratch = scratch("standard-library")?;
    let mut library = tree.clone();
    library.retain(|path| path == "usr" || path == "usr/lib" || path.starts_with(LIBRARY));
    library.write_to(scratch.path())?;
    python.compile(scratch.path(), "usr/lib")?;
    tree.add_folder(scratch.path(), "", &|path| path.ends_with(".pyc"))?;
    Ok(Layer {
        made_by: "apt-get install --no-install-recommends python3 and libraries".to_owned(),
        tree,
        scratch: Some(scratch),
    })
}

/// The packages of a lock file as one layer.
pub fn from_pypi(
    python: &Python,
    label: &str,
    lock: &Path,
    bytecode: Bytecode,
    finish: Finish<'_>,
) -> anyhow::Result<Layer> {
    let wheels = python.wheels(label, lock)?;
    let scratch = scratch(label)?;
    python.install(&wheels, lock, scratch.path())?;
    finish(scratch.path())?;
    if bytecode == Bytecode::Compiled {
        python.compile(scratch.path(), DIST_PACKAGES)?;
    }
    let mut tree = Tree::new();
    tree.add_folder(scratch.path(), "", &|_| true)?;
    Ok(Layer {
        made_by: "pip install --requirement requirements.txt".to_owned(),
        tree,
        scratch: Some(scratch),
    })
}

/// The files of `folder` at `/app`.
pub fn app(folder: &Path) -> anyhow::Result<Layer> {
    let mut tree = Tree::new();
    tree.folder("app", 0o755);
    tree.add_folder(folder, "app", &|_| true)?;
    Ok(Layer { made_by: "COPY app /app".to_owned(), tree, scratch: None })
}

fn scratch(label: &str) -> anyhow::Result<Partial> {
    Partial::folder(&paths::rig().join("scratch").join(label))
}
