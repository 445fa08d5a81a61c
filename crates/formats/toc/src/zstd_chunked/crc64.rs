//! CRC-64 of ISO 3309, as Go's `hash/crc64` has it with its table `ISO`: what a tar-split keeps of each file.

/// The polynomial, lowest bit last.
const POLYNOMIAL: u64 = 0xd800_0000_0000_0000;

/// By byte, and how many bytes stand behind it: eight bytes go in one step.
static TABLES: [[u64; 256]; 8] = tables();

const fn tables() -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u64 = tables[behind - 1][byte];
            tables[behind][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// A checksum that is being computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Crc64(u64);

impl Crc64 {
    /// Counts bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut crc = !self.0;
        let (groups, rest) = bytes.as_chunks::<8>();
        for group in groups {
            let mixed = (crc ^ u64::from_le_bytes(*group)).to_le_bytes();
            crc = 0;
            for (byte, table) in mixed.into_iter().zip(TABLES.iter().rev()) {
                crc ^= table[usize::from(byte)];
            }
        }
        for &byte in rest {
            crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        }
        self.0 = !crc;
    }

    /// The checksum of what was counted, most significant byte first.
    pub(super) fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> u64 {
        let mut crc = Crc64::default();
        crc.update(bytes);
        u64::from_be_bytes(crc.bytes())
    }

    #[test]
    fn values_of_go() {
        assert_eq!(of(b""), 0);
        assert_eq!(of(b"a"), 0x3420_0000_0000_0000);
        assert_eq!(of(b"abcdefghij"), 0x7f5b_6e21_b002_d367);
        assert_eq!(of(b"Discard medicine more than two years old."), 0x8ec0_e7c8_35bf_9cdf);
    }

    #[test]
    fn pieces_give_the_same() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * n) as u8).collect();
        for cut in [0, 1, 7, 8, 9, 500, 993, 1000] {
            let mut crc = Crc64::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            assert_eq!(u64::from_be_bytes(crc.bytes()), of(&bytes), "{cut}");
        }
    }
}
