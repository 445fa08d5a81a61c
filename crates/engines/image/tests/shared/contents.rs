//! Contents of files in the layers of several tests.

pub const MIB: usize = 1024 * 1024;

/// Bytes that compress a little, different everywhere.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len).map(|_| if next() % 3 == 0 { (next() >> 20) as u8 } else { b'x' }).collect()
}
