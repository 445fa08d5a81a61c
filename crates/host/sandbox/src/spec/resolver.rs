//! The resolver of a container whose network has a way out: the host's, as far as it can be reached from there.
//!
//! A nameserver on the host's loopback is not the container's loopback, and IPv6 does not go out. systemd-resolved, the usual one on loopback,
//! keeps the nameservers behind it in a second file.

use std::fs;
use std::net::Ipv4Addr;

/// The host's files in the order they are tried.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// `resolv.conf` for the container, from the host's.
pub(super) fn of_host() -> String {
    let texts = FILES.map(|file| fs::read_to_string(file).unwrap_or_default());
    let (text, reachable) = choose(&texts);
    if !reachable {
        tracing::warn!(
            "the container cannot resolve names: no nameserver of this machine can be reached from its network, only over loopback or IPv6; use --network host"
        );
    }
    text
}

/// The first text that has a nameserver to be reached, without those that cannot; the first text where none has.
fn choose(texts: &[String]) -> (String, bool) {
    let narrowed = texts.iter().map(|text| narrow(text));
    let (narrowed, reachable): (Vec<String>, Vec<bool>) = narrowed.unzip();
    let at = reachable.iter().position(|reachable| *reachable);
    (narrowed.get(at.unwrap_or(0)).cloned().unwrap_or_default(), at.is_some())
}

/// The text without nameservers that cannot be reached, and whether one is left.
fn narrow(text: &str) -> (String, bool) {
    let mut left = false;
    let kept = text.lines().filter(|line| {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            return true;
        }
        let address = words.next().and_then(|word| word.parse::<Ipv4Addr>().ok());
        let reachable = address.is_some_and(|address| !address.is_loopback() && !address.is_unspecified());
        left |= reachable;
        reachable
    });
    (kept.map(|line| format!("{line}\n")).collect(), left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: &str = "# stub\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch lan\n";

    #[test]
    fn what_can_be_reached_is_kept_with_all_else() {
        let host = "search lan\nnameserver 127.0.0.1\nnameserver 10.1.1.1\nnameserver fd00::1\nnameserver 10.1.1.2\n";
        let narrowed = "search lan\nnameserver 10.1.1.1\nnameserver 10.1.1.2\n";
        assert_eq!(choose(&[host.into(), "nameserver 9.9.9.9\n".into()]), (narrowed.into(), true));
    }

    #[test]
    fn behind_a_stub_the_second_file_counts() {
        let real = "nameserver 192.168.1.1\nsearch lan\n";
        assert_eq!(choose(&[STUB.into(), real.into()]), (real.into(), true));
    }

    #[test]
    fn with_loopback_alone_the_rest_is_kept_and_told() {
        let rest = "# stub\noptions edns0 trust-ad\nsearch lan\n";
        assert_eq!(choose(&[STUB.into(), String::new()]), (rest.into(), false));
        assert_eq!(
            choose(&["nameserver ::1\nnameserver 0.0.0.0\nnameserver\n".into()]),
            (String::new(), false)
        );
    }
}
