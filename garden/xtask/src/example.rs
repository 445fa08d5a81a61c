//! Our own code as a program to be run or measured: the examples of the crates, built for release when they are needed,
//! so that xtask itself is not built with what they bring.

use std::path::PathBuf;

use crate::{house, paths, step};

/// Builds an example and says where it is.
pub fn build(package: &str, name: &str) -> anyhow::Result<PathBuf> {
    step::say(format!("building {name} of {package} (release)"));
    let mut cargo = house::cargo();
    cargo.args(["build", "--release", "--quiet", "--package", package, "--example", name]);
    step::run(cargo.current_dir(paths::workspace()))?;
    Ok(paths::target().join("release/examples").join(name))
}
