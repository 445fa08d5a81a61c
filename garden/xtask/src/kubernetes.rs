//! `cargo xtask kubernetes`: proof that nodes follow the EndpointSlices of a real Kubernetes API server, and that it takes
//! the manifests in `deploy/kubernetes`.
//!
//! The server is built from the Go module proxy, once, and runs with Debian's etcd in namespaces of its own. What is held
//! against it is `garden/e2e/tests/kubernetes`: members that come and go, a connection that breaks, a server that is
//! killed, tokens that are replaced, roles that allow too little.

use std::process::Command;

use anyhow::bail;
use clap::Parser;

use crate::house::cargo;
use crate::peers::kubernetes;
use crate::rig::{self, enclosure};
use crate::{interrupt, paths, step};

/// Follow members through a real Kubernetes API server. Needs root, and Go to build the server: many minutes the first time.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask kubernetes", no_binary_name = true)]
struct Args {}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    Args::parse_from(args);
    interrupt::watch()?;
    if enclosure::is_inside() {
        enclosure::furnish()?;
        return try_it();
    }
    enclosure::check()?;
    enclosure::check_build()?;
    let version = kubernetes::make()?;
    step::say("building glowplug and the tests");
    step::run(cargo().args(["build", "--package", "glowplug", "--locked"]).current_dir(paths::workspace()))?;
    step::run(test().arg("--no-run"))?;
    step::say(format!("against {version}"));
    enclosure::enter(&["kubernetes".to_owned()])
}

/// Inside.
fn try_it() -> anyhow::Result<()> {
    let mut command = test();
    command
        .args(["--offline", "--", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("GLOWPLUG_BIN", paths::built().join("glowplug"))
        .env("GLOWPLUG_KUBE_APISERVER", kubernetes::server())
        .env("GLOWPLUG_ETCD", kubernetes::etcd()?)
        // It is emptied whatever ends us.
        .env("TMPDIR", rig::nodes());
    if !step::run_group(&mut command)?.success() {
        bail!("members were not followed as they should be");
    }
    Ok(())
}

fn test() -> Command {
    let mut command = cargo();
    command.args(["test", "--package", "glowplug-e2e", "--test", "kubernetes", "--locked"]);
    command.current_dir(paths::workspace());
    command
}
