//! OCI `createContainer` hooks: programs of the host run in the container's namespaces before its root is pivoted.
//!
//! GPU vendors' device descriptions need them, to refresh the linker cache for libraries they mounted. Best effort in one respect: other kinds
//! of hook are not run.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use oci_spec::runtime::{Hook, Spec};

use crate::wire::{Failure, Order};

/// Whether there are any to run.
pub(super) fn any(spec: &Spec) -> bool {
    !list(spec).is_empty()
}

fn list(spec: &Spec) -> &[Hook] {
    spec.hooks().as_ref().and_then(|h| h.create_container().as_deref()).unwrap_or_default()
}

/// Runs them in order; the first that fails ends it.
pub(super) fn run_create_container(order: &Order) -> Result<(), Failure> {
    let state = serde_json::json!({
        "ociVersion": order.spec.version(),
        "id": order.id,
        "status": "creating",
        "pid": std::process::id(),
        "bundle": order.bundle,
    })
    .to_string();
    list(&order.spec).iter().try_for_each(|hook| run(hook, &state))
}

fn run(hook: &Hook, state: &str) -> Result<(), Failure> {
    let what = || hook.path().display().to_string();
    let mut command = Command::new(hook.path());
    let mut args = hook.args().iter().flatten();
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    command.args(args).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.envs(hook.env().iter().flatten().filter_map(|pair| pair.split_once('=')));
    let mut child = command.spawn().map_err(|e| Failure::io("hooks", what(), e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read its state.
        let _ = stdin.write_all(state.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| Failure::io("hooks", what(), e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::text("hooks", format!("{} ended with {}: {}", what(), output.status, said.trim())))
}
