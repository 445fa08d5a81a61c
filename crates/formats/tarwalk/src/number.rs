//! Numbers as tar writes them: octal or base-256 in headers, decimal in pax records.

/// A numeric header field: octal digits among spaces and NULs, or two's complement when the high bit of the
/// first byte is set (GNU's base-256). Empty is 0; none when malformed or beyond 64 bits.
pub(crate) fn field(bytes: &[u8]) -> Option<i64> {
    match bytes.first() {
        Some(&first) if first & 0x80 != 0 => base_256(bytes),
        _ => octal(bytes),
    }
}

/// An octal field; what follows a NUL after the first digit is not looked at.
pub(crate) fn octal(bytes: &[u8]) -> Option<i64> {
    let begin = bytes.iter().position(|byte| !matches!(byte, b' ' | 0)).unwrap_or(bytes.len());
    let digits = bytes[begin..].split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii_end();
    digits.iter().try_fold(0_i64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// The bit below the marker is the sign.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let negative = bytes[0] & 0x40 != 0;
    let first = if negative { i64::from((bytes[0] | 0x80) as i8) } else { i64::from(bytes[0] & 0x7f) };
    bytes[1..].iter().try_fold(first, |value, &byte| value.checked_mul(256)?.checked_add(i64::from(byte)))
}

/// A decimal number, perhaps with a sign.
pub(crate) fn decimal(bytes: &[u8]) -> Option<i64> {
    str::from_utf8(bytes).ok()?.parse().ok()
}

/// A decimal number that cannot be negative.
pub(crate) fn decimal_size(bytes: &[u8]) -> Option<u64> {
    decimal(bytes)?.try_into().ok()
}

/// A pax time, `seconds[.fraction]` with perhaps a minus before: whole seconds rounded down, and nanoseconds.
/// Digits beyond the ninth are cut off.
pub(crate) fn time(bytes: &[u8]) -> Option<(i64, u32)> {
    let mut parts = bytes.splitn(2, |&byte| byte == b'.');
    let whole = parts.next().unwrap_or_default();
    let seconds = decimal(whole)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos =
        (0..9).fold(0, |value, at| value * 10 + u32::from(fraction.get(at).map_or(0, |byte| byte - b'0')));
    if whole.first() == Some(&b'-') && nanos > 0 {
        Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos))
    } else {
        Some((seconds, nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields() {
        assert_eq!(field(b"0000644\0"), Some(0o644));
        assert_eq!(field(b"   644 \0"), Some(0o644));
        assert_eq!(field(b"\0\0 12\0 9"), Some(0o12));
        assert_eq!(field(b"        "), Some(0));
        assert_eq!(field(b"\0\0\0\0"), Some(0));
        assert_eq!(field(b"77777777777\0"), Some(0o77_777_777_777));
        assert_eq!(field(b"0000648\0"), None);
        assert_eq!(field(b"-000644\0"), None);
        assert_eq!(field(b"1 2\0"), None);
        assert_eq!(field(&[b'7'; 30]), None);
    }

    #[test]
    fn base_256_fields() {
        assert_eq!(field(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(field(&[0xff; 12]), Some(-1));
        assert_eq!(field(&[0xff, 0xff, 0xff, 0xfe]), Some(-2));
        let mut wide = [0; 12];
        wide[0] = 0x80;
        wide[4..].copy_from_slice(&i64::MAX.to_be_bytes());
        assert_eq!(field(&wide), Some(i64::MAX));
        wide[4..].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(field(&wide), None);
        let mut least = [0xff; 12];
        least[4..].copy_from_slice(&i64::MIN.to_be_bytes());
        assert_eq!(field(&least), Some(i64::MIN));
        least[4] = 0x7f;
        assert_eq!(field(&least), None);
    }

    #[test]
    fn pax_times() {
        assert_eq!(time(b"1350244992.023960108"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12."), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        assert_eq!(time(b"0.0000000019"), Some((0, 1)));
        for bad in [&b""[..], b".5", b"1.-5", b"1.5x", b"x", b"1e3", b"99999999999999999999"] {
            assert_eq!(time(bad), None);
        }
        assert_eq!(time(format!("{}.5", i64::MIN).as_bytes()), None);
    }
}
