//! The link: a veth pair between the node and a further network namespace, shaped in both directions.
//!
//! Both ends vanish with the far namespace.

use std::process::Command;
use std::str::FromStr;

use anyhow::Context;

use super::namespace::Namespace;
use crate::packages::debian::Debian;
use crate::step;

/// The registry's end.
pub const REGISTRY_ADDRESS: &str = "10.77.0.1";
const NODE_ADDRESS: &str = "10.77.0.2";
const NODE_END: &str = "glowplug-node";
const REGISTRY_END: &str = "glowplug-reg";

/// How fast the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// As fast as the machine copies.
    Unshaped,
    /// Megabits per second.
    Megabits(u32),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |suffix: &str, factor: u32| {
            text.strip_suffix(suffix)?.parse::<u32>().ok()?.checked_mul(factor).filter(|mbit| *mbit > 0)
        };
        if text == "none" {
            return Ok(Self::Unshaped);
        }
        number("gbit", 1000)
            .or_else(|| number("mbit", 1))
            .map(Self::Megabits)
            .ok_or_else(|| "a rate is none, Nmbit or Ngbit".to_owned())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unshaped => f.write_str("none"),
            Self::Megabits(mbit) if mbit % 1000 == 0 => write!(f, "{}gbit", mbit / 1000),
            Self::Megabits(mbit) => write!(f, "{mbit}mbit"),
        }
    }
}

/// A link that is up.
pub struct Link {
    far: Namespace,
}

impl Link {
    /// Fetches what laying a link needs and the machine lacks. Outside the enclosure.
    pub fn prepare() -> anyhow::Result<()> {
        tool("ip")?;
        tool("tc")?;
        Ok(())
    }

    /// Lays the link. Inside the enclosure.
    pub fn lay(rate: Rate) -> anyhow::Result<Self> {
        let link = Self { far: Namespace::make()? };
        let pid = link.holder().to_string();
        ip(None, &["link", "set", "lo", "up"])?;
        ip(None, &["link", "add", NODE_END, "type", "veth", "peer", "name", REGISTRY_END])?;
        ip(None, &["link", "set", REGISTRY_END, "netns", &pid])?;
        for (namespace, end, address) in
            [(None, NODE_END, NODE_ADDRESS), (Some(pid.as_str()), REGISTRY_END, REGISTRY_ADDRESS)]
        {
            ip(namespace, &["address", "add", &format!("{address}/24"), "dev", end])?;
            ip(namespace, &["link", "set", end, "up"])?;
            shape(namespace, end, rate)?;
        }
        ip(Some(&pid), &["link", "set", "lo", "up"])?;
        Ok(link)
    }

    /// The process that holds the registry's network namespace.
    pub fn holder(&self) -> u32 {
        self.far.holder()
    }

    /// Bytes that the node received since the link was laid, frames and all.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        received_now()
    }
}

/// Bytes that the node received since the link was laid; an error where there is none.
pub fn received_now() -> anyhow::Result<u64> {
    let table = std::fs::read_to_string("/proc/self/net/dev")?;
    received(&table, NODE_END).with_context(|| format!("no link {NODE_END}"))
}

/// The received bytes of an interface in the text of `/proc/net/dev`.
pub(super) fn received(table: &str, interface: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Lets what leaves by `end` go no faster than `rate`.
pub(super) fn shape(namespace: Option<&str>, end: &str, rate: Rate) -> anyhow::Result<()> {
    let Rate::Megabits(mbit) = rate else { return Ok(()) };
    // The burst is what 1 Gbit/s carries in 2 ms: less and the shaper's timer starves the link.
    let rate = format!("{mbit}mbit");
    let shape =
        ["qdisc", "add", "dev", end, "root", "tbf", "rate", &rate, "burst", "256kb", "latency", "50ms"];
    run_in(namespace, "tc", &shape)
}

/// Runs `ip`, in the namespace that a process holds or in this one.
pub(super) fn ip(namespace: Option<&str>, args: &[&str]) -> anyhow::Result<()> {
    run_in(namespace, "ip", args)
}

fn run_in(namespace: Option<&str>, program: &str, args: &[&str]) -> anyhow::Result<()> {
    let (program, libraries) = tool(program)?;
    let mut command = match namespace {
        Some(pid) => {
            let mut command = Command::new("nsenter");
            command.args(["--target", pid, "--net", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    step::read(command.args(args)).map(drop)
}

type Tool = (std::path::PathBuf, Option<std::path::PathBuf>);

/// `ip` or `tc` of the machine, else Debian's, private.
fn tool(program: &str) -> anyhow::Result<Tool> {
    if let Some(found) = super::enclosure::find(program) {
        return Ok((found, None));
    }
    let root = Debian::open()?.tool(
        "iproute2",
        &[
            "iproute2",
            "libbpf1",
            "libbsd0",
            "libcap2",
            "libdb5.3",
            "libelf1",
            "libmd0",
            "libmnl0",
            "libtirpc3",
            "libxtables12",
            "zlib1g",
        ],
    )?;
    let place = ["sbin", "bin", "usr/sbin", "usr/bin"]
        .iter()
        .map(|folder| root.join(folder).join(program))
        .find(|place| place.exists())
        .with_context(|| format!("no `{program}` in iproute2"))?;
    // Debian 12 keeps some of them in /lib, some in /usr/lib.
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|folder| root.join(folder));
    Ok((place, Some(std::env::join_paths(libraries)?.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written_alike() {
        for text in ["none", "1gbit", "200mbit"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "0mbit", "fast", "9999999gbit"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_received_bytes_are_those_of_the_interface() {
        let table =
            "Inter-| Receive\n face |bytes\n    lo:  11 0\nglowplug-node: 123456 7 0 0 0 0 0 0 99 1\n";
        assert_eq!(received(table, "glowplug-node"), Some(123_456));
        assert_eq!(received(table, "glowplug"), None);
    }
}
