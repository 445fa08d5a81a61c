//! Model weights by their first bytes, whatever they are called. Nothing is parsed further and nothing is executed.

/// How many of a file's first bytes [`weights`] wants to see.
pub const HEAD_BYTES: u32 = 512;
/// The longest header of a safetensors file that its readers take.
const SAFETENSORS_HEADER_BYTES: u64 = 100_000_000;
/// How a pickle of torch before version 1.6 begins: protocol 2, then torch's own number 0x1950a86a20f9469cfc6c.
const TORCH_PICKLE: [u8; 14] =
    [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The newest version of ONNX that is taken for one.
const ONNX_VERSIONS: u8 = 32;

/// The format of the weights that begin with `head`; `None` where they are none, or none that can be told.
pub fn weights(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"GGUF") {
        Some("GGUF")
    } else if head.starts_with(&TORCH_PICKLE) || is_torch_zip(head) {
        Some("torch")
    } else if is_onnx(head) {
        Some("ONNX")
    } else if head.get(4..8) == Some(b"TFL3") {
        Some("TensorFlow Lite")
    } else {
        is_safetensors(head).then_some("safetensors")
    }
}

/// The length of a header, and the header, which is JSON.
fn is_safetensors(head: &[u8]) -> bool {
    head.split_first_chunk().is_some_and(|(length, rest)| {
        (2..=SAFETENSORS_HEADER_BYTES).contains(&u64::from_le_bytes(*length)) && rest.starts_with(b"{\"")
    })
}

/// A zip archive whose first member is torch's `NAME/data.pkl`.
fn is_torch_zip(head: &[u8]) -> bool {
    let Some(length) = head.get(26..28).filter(|_| head.starts_with(b"PK\x03\x04")) else { return false };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    head.get(30..30 + length).is_some_and(|name| name.ends_with(b"/data.pkl"))
}

/// A protocol buffer that begins with a version and the producer's name, as exporters write them.
fn is_onnx(head: &[u8]) -> bool {
    let [8, version, 0x12, length, rest @ ..] = head else { return false };
    let name = rest.get(..usize::from(*length)).unwrap_or_default();
    (1..=ONNX_VERSIONS).contains(version)
        && !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_known_by_their_first_bytes() {
        let zip = |name: &str| {
            let mut head = b"PK\x03\x04".to_vec();
            head.resize(26, 0);
            head.extend((name.len() as u16).to_le_bytes());
            head.extend([0; 2]);
            [&head, name.as_bytes()].concat()
        };
        let safetensors = [&200_u64.to_le_bytes()[..], b"{\"__metadata__\":{}"].concat();
        for (head, format) in [
            (&b"GGUF\x03\0\0\0"[..], Some("GGUF")),
            (&safetensors, Some("safetensors")),
            (&zip("archive/data.pkl"), Some("torch")),
            (&TORCH_PICKLE, Some("torch")),
            (b"\x08\x08\x12\x07pytorch\x1a\x03", Some("ONNX")),
            (b"\x1c\0\0\0TFL3", Some("TensorFlow Lite")),
            (&zip("org/apache/Main.class"), None),
            (b"\x7fELF\x02\x01\x01", None),
            (&[0xff; 64], None),
            (b"{\"a\":1}", None),
            (b"", None),
        ] {
            assert_eq!(weights(head), format, "{head:?}");
        }
    }
}
