//! `glowplug doctor`: what this machine can do, and what to do about what it cannot.

use std::process::ExitCode;

use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_linux::probe::Kernel;
use glowplug_registry::Ranges;
use glowplug_source::read_all;
use glowplug_timeline::{Cause, Timeline};
use serde_json::json;

use crate::cli::{DoctorArgs, Global};
use crate::node::{locate, open_store};
use crate::output::Output;

/// Least free space that a start of a large image needs.
const FREE_BYTES: u64 = 20 << 30;

/// How bad a finding is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Good,
    /// Works, but slower or with less.
    Limited,
    Bad,
}

struct Finding {
    grade: Grade,
    what: String,
    advice: &'static str,
}

fn finding(grade: Grade, what: impl Into<String>, advice: &'static str) -> Finding {
    Finding { grade, what: what.into(), advice }
}

/// Runs the command. Exit code 1 when something is missing without which nothing starts.
pub fn doctor(global: &Global, args: &DoctorArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let mut findings = machine(&Kernel::look());
    findings.push(private_networks());
    findings.push(disk(global));
    if let Some(image) = &args.image {
        findings.extend(registry(global, args, image));
    }
    for found in &findings {
        let grade = match found.grade {
            Grade::Good => "ok  ",
            Grade::Limited => "note",
            Grade::Bad => "FAIL",
        };
        output.result(format!("{grade}  {}", found.what));
        if found.grade != Grade::Good {
            output.result(format!("      {}", found.advice));
        }
    }
    let bad = findings.iter().filter(|found| found.grade == Grade::Bad).count();
    output.result(if bad == 0 {
        "this machine is fit".to_owned()
    } else {
        format!("{bad} problems to solve first")
    });
    let rows: Vec<_> = findings
        .iter()
        .map(|f| json!({ "ok": f.grade != Grade::Bad, "limited": f.grade == Grade::Limited, "finding": f.what, "advice": f.advice }))
        .collect();
    output.document(&json!({ "fit": bad == 0, "findings": rows }));
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn machine(kernel: &Kernel) -> Vec<Finding> {
    let grade = |good: bool, otherwise| if good { Grade::Good } else { otherwise };
    let enough = kernel.version.is_some_and(|version| version >= (5, 10));
    let cgroups = kernel.cgroups.as_ref().map_or_else(|| "none".to_owned(), |layout| format!("{layout:?}"));
    vec![
        finding(grade(enough, Grade::Bad), format!("kernel {}", kernel.release), "use Linux 5.10 or later"),
        finding(grade(kernel.euid == 0, Grade::Bad), format!("user id {}", kernel.euid), "run as root"),
        finding(grade(kernel.fuse, Grade::Bad), "FUSE: /dev/fuse", "load it: modprobe fuse"),
        finding(grade(kernel.overlay, Grade::Limited), "overlay file system", "load it: modprobe overlay"),
        finding(
            grade(kernel.erofs && kernel.erofs_from_file, Grade::Limited),
            format!("EROFS: {}, mounts plain files: {}", kernel.erofs, kernel.erofs_from_file),
            "images are served by FUSE alone, which is slower; use Linux 6.12 or later with EROFS on plain files",
        ),
        finding(
            grade(kernel.cgroups.is_some(), Grade::Limited),
            format!("cgroups: {}", cgroups.chars().take(60).collect::<String>()),
            "mount cgroups, or memory and CPU limits do not work",
        ),
    ]
}

/// What `run --network private` meets here, and what it left behind: the forwarding that it switched on.
fn private_networks() -> Finding {
    let forwarding = glowplug_sandbox::outbound::forwarding_links();
    let forwarding = if forwarding.is_empty() { "no link".to_owned() } else { forwarding.join(", ") };
    match glowplug_linux::nftables::chains_that_drop_forwarded() {
        Ok(chains) if chains.is_empty() => finding(
            Grade::Good,
            format!("private networks: nf_tables; IPv4 forwarding is on for {forwarding}"),
            "",
        ),
        Ok(chains) => finding(
            Grade::Limited,
            format!("private networks: packet rules drop what is forwarded ({})", chains.join(", ")),
            "if containers with --network private reach nothing, accept what comes from and goes to glowplug+ there",
        ),
        Err(error) => finding(
            Grade::Limited,
            format!("private networks: no nf_tables: {}", error.errno),
            "--network private does not work; load it (modprobe nft_masq), or use --network host or isolated",
        ),
    }
}

fn disk(global: &Global) -> Finding {
    let mut path = std::path::absolute(&global.store).unwrap_or_else(|_| global.store.clone());
    while !path.exists() && path.pop() {}
    match rustix::fs::statvfs(&path) {
        Ok(stat) => {
            let free = stat.f_bavail * stat.f_frsize;
            let grade = if free >= FREE_BYTES { Grade::Good } else { Grade::Limited };
            let what = format!("{} free for the store at {}", human(free), global.store.display());
            finding(grade, what, "large images need more: choose another disk with --store or set --quota")
        }
        Err(error) => finding(
            Grade::Bad,
            format!("no file system for the store at {}: {error}", global.store.display()),
            "choose another directory with --store",
        ),
    }
}

fn registry(global: &Global, args: &DoctorArgs, image: &str) -> Vec<Finding> {
    let tried = || -> anyhow::Result<(String, Ranges)> {
        let store = open_store(global)?;
        super::runtime()?.block_on(async {
            let located = locate(&store, &args.registry, image, &Timeline::new(Clock::system())).await?;
            if let Some(layer) = located.image.layers.iter().max_by_key(|layer| layer.descriptor.size) {
                let size = layer.descriptor.size;
                let middle = glowplug_base::ByteRange::new(size / 2, (size / 2 + 1024).min(size));
                read_all(&*located.repository.resilient_blob(&layer.descriptor), middle, Cause::Metadata)
                    .await?;
            }
            Ok((located.repository.name().to_owned(), located.repository.ranges()))
        })
    };
    match tried() {
        Ok((name, Ranges::Unsupported)) => vec![finding(
            Grade::Limited,
            format!("{name} does not serve ranges"),
            "every missing byte costs the bytes before it; use a registry or mirror that serves ranges",
        )],
        Ok((name, _)) => vec![finding(Grade::Good, format!("{name} answers and serves ranges"), "")],
        Err(error) => vec![finding(
            Grade::Bad,
            format!("{image} cannot be had: {error:#}"),
            "check the name, the network, and the credentials of `docker login`",
        )],
    }
}
