//! How many bytes of a program or library only a debugger reads.
//!
//! Looked at are the section headers and their names, of files for little-endian machines; what is damaged has none.
//! The symbol table counts: what linking at run time needs is in another one, which stays.

/// Bytes of the longest header.
const HEADER_BYTES: u32 = 64;
/// More sections than any linker makes.
const MAX_SECTIONS: u64 = 20_000;
/// The longest table of section names that is looked at, in bytes.
const MAX_NAMES_BYTES: u64 = 1 << 20;
/// Type of a section that takes no room in the file.
const NOBITS: u64 = 8;

/// The bytes of `size` that stripping takes, read by `read(offset, len)`; fewer bytes than asked for end it.
///
/// # Errors
/// What `read` says.
pub fn debug_bytes<E>(size: u64, mut read: impl FnMut(u64, u32) -> Result<Vec<u8>, E>) -> Result<u64, E> {
    let head = read(0, HEADER_BYTES)?;
    let Some(table) = Table::of(&head) else { return Ok(0) };
    let length = table.count * table.width;
    if table.count > MAX_SECTIONS || table.offset.saturating_add(length) > size {
        return Ok(0);
    }
    let headers = read(table.offset, length as u32)?;
    let sections: Vec<Section> =
        headers.chunks_exact(table.width as usize).map(|raw| table.section(raw)).collect();
    let Some(names) = sections.get(table.names as usize).filter(|names| names.size <= MAX_NAMES_BYTES) else {
        return Ok(0);
    };
    let names = read(names.offset, names.size as u32)?;
    let spare = sections.iter().filter(|section| section.kind != NOBITS && section.is_for_debuggers(&names));
    Ok(spare.map(|section| section.size.min(size)).sum::<u64>().min(size))
}

/// Where the section headers are.
struct Table {
    wide: bool,
    offset: u64,
    width: u64,
    count: u64,
    /// Number of the section that holds the names.
    names: u64,
}

/// A section.
struct Section {
    name: u64,
    kind: u64,
    offset: u64,
    size: u64,
}

impl Table {
    fn of(head: &[u8]) -> Option<Self> {
        let wide = match head.get(..6)? {
            [0x7f, b'E', b'L', b'F', 1, 1] => false,
            [0x7f, b'E', b'L', b'F', 2, 1] => true,
            _ => return None,
        };
        let (offset, counts) = if wide { (number(head, 40, 8)?, 58) } else { (number(head, 32, 4)?, 46) };
        let (width, count) = (number(head, counts, 2)?, number(head, counts + 2, 2)?);
        let expected = if wide { 64 } else { 40 };
        let names = number(head, counts + 4, 2)?;
        (offset > 0 && width == expected).then_some(Self { wide, offset, width, count, names })
    }

    fn section(&self, raw: &[u8]) -> Section {
        let field = |wide: (usize, usize), narrow: (usize, usize)| {
            let (at, len) = if self.wide { wide } else { narrow };
            number(raw, at, len).unwrap_or(0)
        };
        Section {
            name: field((0, 4), (0, 4)),
            kind: field((4, 4), (4, 4)),
            offset: field((24, 8), (16, 4)),
            size: field((32, 8), (20, 4)),
        }
    }
}

impl Section {
    fn is_for_debuggers(&self, names: &[u8]) -> bool {
        let name = names.get(self.name as usize..).unwrap_or_default();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        [&b".debug"[..], b".zdebug", b".stab", b".gdb_index"].iter().any(|known| name.starts_with(known))
            || [&b".symtab"[..], b".strtab"].contains(&name)
    }
}

/// A little-endian number of `len` bytes, 8 at most.
fn number(bytes: &[u8], at: usize, len: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..len].copy_from_slice(bytes.get(at..at + len)?);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
pub mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A library of 64 bits with sections by name and size, padded to `size` bytes.
    pub fn library(sections: &[(&str, u64)], size: usize) -> Vec<u8> {
        let mut names = vec![0];
        let mut headers = vec![0; 64];
        let mut header = |name: u32, kind: u32, offset: u64, size: u64| {
            let mut raw = [0; 64];
            raw[..4].copy_from_slice(&name.to_le_bytes());
            raw[4..8].copy_from_slice(&kind.to_le_bytes());
            raw[24..32].copy_from_slice(&offset.to_le_bytes());
            raw[32..40].copy_from_slice(&size.to_le_bytes());
            headers.extend(raw);
        };
        for (name, size) in sections {
            // Like in a file of debug information alone, what is named .bss takes no room.
            header(names.len() as u32, if *name == ".bss" { 8 } else { 1 }, 64, *size);
            names.extend(name.as_bytes());
            names.push(0);
        }
        let own = names.len() as u32;
        names.extend(b".shstrtab\0");
        header(own, 3, 64, names.len() as u64);
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1];
        file.resize(64, 0);
        file.extend(&names);
        let (at, count) = (file.len() as u64, headers.len() as u16 / 64);
        file[40..48].copy_from_slice(&at.to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        file[60..62].copy_from_slice(&count.to_le_bytes());
        file[62..64].copy_from_slice(&(count - 1).to_le_bytes());
        file.extend(headers);
        file.resize(file.len().max(size), 0);
        file
    }

    fn debug(file: &[u8]) -> u64 {
        let read = |at: u64, len: u32| {
            let from = (at as usize).min(file.len());
            Ok::<_, Infallible>(file[from..(from + len as usize).min(file.len())].to_vec())
        };
        debug_bytes(file.len() as u64, read).unwrap()
    }

    #[test]
    fn debug_sections_and_symbols_are_counted() {
        let sections =
            [(".text", 5_000), (".debug_info", 3_000), (".symtab", 200), (".strtab", 100), (".bss", 900)];
        assert_eq!(debug(&library(&sections, 20_000)), 3_300);
        assert_eq!(debug(&library(&[(".text", 5_000), (".dynsym", 400)], 20_000)), 0);
    }

    #[test]
    fn whatever_is_damaged_has_none_and_does_no_harm() {
        let sound = library(&[(".debug_info", 3_000)], 20_000);
        for at in 0..200 {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = sound.clone();
                damaged[at] = value;
                assert!(debug(&damaged) <= 20_000, "byte {at} as {value}");
            }
        }
        (0..sound.len().min(400)).for_each(|len| assert!(debug(&sound[..len]) <= len as u64));
    }
}
