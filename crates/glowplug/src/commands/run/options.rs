//! From flags to what the sandbox is asked for.

use std::path::PathBuf;

use anyhow::bail;
use glowplug_sandbox::Outbound;
use glowplug_sandbox::spec::{BindMount, Network, RunOptions, Seccomp, Ulimit};

use crate::cli::RunArgs;

/// The sandbox's options; with a way out that was laid for the container, its network is that.
pub fn options(
    args: &RunArgs,
    id: &str,
    rootfs: PathBuf,
    state: PathBuf,
    outbound: Option<&Outbound>,
) -> anyhow::Result<RunOptions> {
    let mut options = RunOptions::new(id, rootfs, state);
    options.args.clone_from(&args.args);
    options.entrypoint = args.entrypoint.clone().map(|program| vec![program]);
    options.env.clone_from(&args.env);
    options.user.clone_from(&args.user);
    options.workdir.clone_from(&args.workdir);
    options.hostname.clone_from(&args.hostname);
    options.network = match outbound {
        Some(outbound) => Network::Private { namespace: outbound.namespace() },
        None if args.network == "isolated" => Network::Isolated,
        None => Network::Host,
    };
    options.mounts = args.volume.iter().map(|text| BindMount::parse(text)).collect::<Result<_, _>>()?;
    options.readonly = args.read_only;
    options.memory_bytes = args.memory;
    options.cpu_millis = args.cpus.map(millis).transpose()?;
    options.pids = args.pids_limit;
    options.shm_bytes = args.shm_size.unwrap_or(options.shm_bytes);
    options.cap_add.clone_from(&args.cap_add);
    options.cap_drop.clone_from(&args.cap_drop);
    options.ulimits = args.ulimit.iter().map(|text| Ulimit::parse(text)).collect::<Result<_, _>>()?;
    options.devices.clone_from(&args.device);
    for option in &args.security_opt {
        match option.as_str() {
            "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => {
                options.no_new_privileges = true;
            }
            "seccomp=unconfined" | "seccomp:unconfined" => options.seccomp = Seccomp::Unconfined,
            _ => bail!("--security-opt {option:?} is not no-new-privileges or seccomp=unconfined"),
        }
    }
    Ok(options)
}

/// CPUs as thousandths.
fn millis(cpus: f64) -> anyhow::Result<u64> {
    if !(0.001..=100_000.0).contains(&cpus) {
        bail!("--cpus {cpus} is not a number of CPUs such as 1.5");
    }
    Ok((cpus * 1000.0).round() as u64)
}
