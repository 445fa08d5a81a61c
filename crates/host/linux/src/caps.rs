//! Capability sets by name, and giving them up for good before a container's program runs.
//!
//! Names are the kernel's with or without the `CAP_` prefix. The order in which a process gives up privileges
//! matters and is the caller's: [`limit_bounding`] first, then user and group ids with [`keep_across_setuid`], then [`apply`].

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities,
};

/// A set of capabilities; the kernel's bit numbering.
pub use rustix::thread::CapabilitySet as Set;

/// What Docker leaves to a container: enough for images made for Docker, nothing that administers the host.
pub const DOCKER_DEFAULT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// The capability of this name (`CAP_CHOWN`, `chown`, …), if this kernel interface knows it.
pub fn parse(name: &str) -> Option<CapabilitySet> {
    let upper = name.to_ascii_uppercase();
    CapabilitySet::from_name(upper.strip_prefix("CAP_").unwrap_or(&upper))
}

/// The names of a set's members with the `CAP_` prefix, in the kernel's order.
pub fn names(set: CapabilitySet) -> Vec<String> {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

/// The calling thread's effective set.
pub fn effective() -> Result<CapabilitySet, Errno> {
    Ok(rustix::thread::capabilities(None)?.effective)
}

/// Removes from the bounding set everything outside `keep`, so that no later exec can bring it back.
///
/// Walks up to the first number that the running kernel does not know, which is newer than any list here may be.
pub fn limit_bounding(keep: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..63 {
        let cap = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(cap) {
            Ok(true) if !keep.contains(cap) => remove_capability_from_bounding_set(cap)?,
            Ok(_) => {}
            Err(Errno::INVAL) => break,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Lets the permitted set survive the next change away from user id 0.
pub fn keep_across_setuid() -> Result<(), Errno> {
    set_keep_capabilities(true)
}

/// Sets the calling thread's effective, permitted, inheritable and ambient sets.
///
/// Capabilities that the caller does not hold itself are left out of the permitted set rather than failing: a container may not
/// have more than its creator, and may well run with less.
pub fn apply(
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
    ambient: CapabilitySet,
) -> Result<(), Errno> {
    let held = rustix::thread::capabilities(None)?.permitted;
    let permitted = permitted & held;
    let sets =
        CapabilitySets { effective: effective & permitted, permitted, inheritable: inheritable & held };
    set_capabilities(None, sets)?;
    clear_ambient_capability_set()?;
    for cap in ambient.iter() {
        if permitted.contains(cap) {
            configure_capability_in_ambient_set(cap, true)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sets_convert_both_ways() {
        let names = names(DOCKER_DEFAULT);
        assert_eq!(names.len(), 14);
        let back = names.iter().map(|n| parse(n).unwrap()).fold(CapabilitySet::empty(), |a, b| a | b);
        assert_eq!(back, DOCKER_DEFAULT);
        assert_eq!(parse("net_raw"), Some(CapabilitySet::NET_RAW));
        assert_eq!(parse("CAP_TIME_TRAVEL"), None);
    }
}
