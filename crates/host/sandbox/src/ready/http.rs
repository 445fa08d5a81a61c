//! The least of HTTP/1.1 that tells a status.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Probe, ProbeError};
use crate::net::Dialer;

/// The most of an answer that is read in search of its first line.
const STATUS_LINE_BYTES: usize = 8 << 10;

/// Parses what follows `http://`.
pub(super) fn parse(url: &str, rest: &str) -> Result<Probe, ProbeError> {
    let wrong = |why| ProbeError::Url { url: url.to_owned(), why };
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
    let path = format!("/{}", path.split_once('#').map_or(path, |p| p.0));
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong("its path contains a space or control character"));
    }
    let (name, port) = match authority.rsplit_once(':') {
        // Brackets, or not an IPv6 address cut in two.
        Some((name, port)) if !port.contains(']') => {
            (name, port.parse().ok().filter(|p| *p != 0).ok_or_else(|| wrong("its port is not a port"))?)
        }
        _ => (authority, 80),
    };
    let address = match name {
        "" | "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => {
            let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
            // A container's own network has no resolver, and a container is not asked by way of anything else.
            bare.parse().map_err(|_| wrong("its host is neither empty, localhost nor an address"))?
        }
    };
    let host = if name.is_empty() { "localhost" } else { name };
    Ok(Probe::Http { address, port, path, host: format!("{host}:{port}") })
}

/// The status a `GET` is answered with.
pub(super) async fn get(
    dialer: &Dialer,
    address: IpAddr,
    port: u16,
    host: &str,
    path: &str,
) -> io::Result<u16> {
    let mut stream = dialer.connect(address, port).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: glowplug\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.contains(&b'\n') {
        let n = stream.read(&mut buffer).await?;
        if n == 0 || answer.len() > STATUS_LINE_BYTES {
            break;
        }
        answer.extend_from_slice(&buffer[..n]);
    }
    status(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

/// The status in an answer's first line.
fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\n').next()?;
    let text = std::str::from_utf8(line).ok()?;
    let mut words = text.split_ascii_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    words.next().filter(|code| code.len() == 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_lines() {
        assert_eq!(status(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503\r\nx"), Some(503));
        assert_eq!(status(b"HTTP/2 200\r\n"), None);
        assert_eq!(status(b"SSH-2.0\r\n"), None);
        assert_eq!(status(b"HTTP/1.1 99999 \r\n"), None);
    }

    proptest! {
        #[test]
        fn any_answer_is_survived(bytes: Vec<u8>) {
            let _ = status(&bytes);
        }
    }
}
