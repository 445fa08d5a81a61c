//! What building needs beside cargo, found or installed, and named before anything else happens.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::runner;
use crate::house::cargo;

/// Debian's packages for a C compiler and its headers. The C code of aws-lc and zstd is compiled by cargo's `cc`
/// alone: no make, no cmake, no perl.
const C_COMPILER_PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

/// Makes sure that C can be compiled: installs Debian's compiler where there is none, and says so first.
pub fn ensure_c_compiler() -> anyhow::Result<()> {
    if compiles_c() {
        println!("building needs Rust and a C compiler with its headers: both are here");
        return Ok(());
    }
    let packages = C_COMPILER_PACKAGES.join(" ");
    println!("building needs a C compiler with its headers; installing Debian's packages {packages}");
    runner::run(Command::new("apt-get").arg("update"))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "--yes", "--no-install-recommends"]).args(C_COMPILER_PACKAGES);
    runner::run(install.env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("install {packages} by hand, as root"))?;
    if !compiles_c() {
        bail!("cc still cannot compile a program that includes stdlib.h");
    }
    Ok(())
}

fn compiles_c() -> bool {
    succeeds(Command::new("cc").args(["-fsyntax-only", "-include", "stdlib.h", "-x", "c", "/dev/null"]))
}

/// The toolchain's formatter and linter; rustup brings both in by `rust-toolchain.toml`.
pub fn require_components() -> anyhow::Result<()> {
    for component in ["fmt", "clippy"] {
        if !succeeds(cargo().args([component, "--version"])) {
            bail!("cargo {component} is missing: rustup component add rustfmt clippy");
        }
    }
    Ok(())
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|s| s.success())
}
