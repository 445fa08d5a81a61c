//! The headers of one tar entry as Go's `archive/tar` reads them, held against what the table says of the entry.
//!
//! Not a reader of tars: it takes what common tools write, and says no to everything that it is not sure that Go reads
//! in the same way.

use std::collections::BTreeMap;

use crate::files::TocEntry;
use crate::timestamp::Timestamp;
use crate::ztoc::EntryKind;

/// Headers and what they announce are padded to this.
const BLOCK_BYTES: usize = 512;
/// Decimals of a second that count.
const NANOSECOND_DIGITS: usize = 9;

/// What stood before an entry's own header.
#[derive(Default)]
struct Extended<'a> {
    pax: Option<BTreeMap<&'a [u8], &'a [u8]>>,
    path: Option<&'a [u8]>,
    link: Option<&'a [u8]>,
}

/// Whether `blocks`, all headers of one entry, say of it what `entry` does; else what is in the way.
pub(super) fn check(mut blocks: &[u8], entry: &TocEntry) -> Result<(), &'static str> {
    let mut extended = Extended::default();
    loop {
        let (header, rest) = blocks.split_first_chunk::<BLOCK_BYTES>().ok_or("a header that is cut short")?;
        let flag = header[156];
        if !matches!(flag, b'x' | b'L' | b'K') {
            return if rest.is_empty() { own(header, &extended, entry) } else { Err("more than one header") };
        }
        let size = number(&header[124..136]).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|&size| size <= rest.len()).ok_or("a header that is cut short")?;
        let content = &rest[..size];
        let twice = match flag {
            b'x' => extended.pax.replace(records(content)?).is_some(),
            b'L' => extended.path.replace(text(content)).is_some(),
            _ => extended.link.replace(text(content)).is_some(),
        };
        if twice {
            return Err("two extended headers of one kind");
        }
        blocks = rest.get(size.next_multiple_of(BLOCK_BYTES)..).ok_or("a header that is cut short")?;
    }
}

/// The entry's own header.
fn own(header: &[u8; BLOCK_BYTES], extended: &Extended<'_>, entry: &TocEntry) -> Result<(), &'static str> {
    let no_records = BTreeMap::new();
    let pax = extended.pax.as_ref().unwrap_or(&no_records);
    // An empty value leaves what the header says.
    let record = |key: &str| pax.get(key.as_bytes()).copied().filter(|value| !value.is_empty());
    if record("atime").is_some() || record("ctime").is_some() {
        return Err("a time of access or change");
    }
    if pax.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
        return Err("a sparse file");
    }
    let has_devices = match &header[257..265] {
        b"ustar\x0000" if &header[508..] == b"tar\0" => return Err("a header of star"),
        b"ustar  \0" if header[345..].iter().any(|&byte| byte != 0) => return Err("GNU's own fields"),
        b"ustar\x0000" | b"ustar  \0" => true,
        magic if magic.starts_with(b"ustar") => return Err("an unknown dialect of tar"),
        _ => false,
    };
    let kind = match header[156] {
        b'0' => EntryKind::Regular,
        0 if !entry.name.ends_with(b"/") => EntryKind::Regular,
        b'1' => EntryKind::Hardlink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::Character,
        b'4' => EntryKind::Block,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => return Err("a type of entry that the format does not have"),
    };

    let mut path = text(&header[..100]).to_vec();
    if has_devices && header[345] != 0 {
        path = [text(&header[345..500]), b"/", &path].concat();
    }
    let path = either(extended.path, record("path"))?.unwrap_or(&path);
    let link = either(extended.link, record("linkpath"))?.unwrap_or(text(&header[157..257]));
    let field = |range: std::ops::Range<usize>, key| match record(key) {
        Some(value) => digits(value, 10),
        None => number(&header[range]),
    };
    let device = |range| if has_devices { number(&header[range]) } else { Some(0) };
    let mtime = match record("mtime") {
        Some(value) => time(value),
        None => number(&header[136..148])
            .and_then(|seconds| i64::try_from(seconds).ok())
            .map(|seconds| Timestamp { seconds, nanoseconds: 0 }),
    };
    let xattrs = pax.iter().filter_map(|(key, value)| Some((key.strip_prefix(b"SCHILY.xattr.")?, *value)));
    let is_said = |text: &[u8]| std::str::from_utf8(text).is_ok() && !text.contains(&0);
    let checks = [
        (kind == entry.kind, "another type"),
        (path == entry.name && is_said(path), "a name that the table cannot say"),
        (link == entry.link && is_said(link), "a link that the table cannot say"),
        (field(124..136, "size") == Some(entry.size), "another size"),
        (number(&header[100..108]) == Some(entry.mode.into()), "more than permissions in a mode"),
        (field(108..116, "uid") == Some(entry.uid.into()), "another owner"),
        (field(116..124, "gid") == Some(entry.gid.into()), "another group"),
        (mtime == Some(entry.mtime) && entry.mtime.text().is_some(), "a time that the table cannot say"),
        (device(329..337) == Some(entry.dev_major.into()), "another device"),
        (device(337..345) == Some(entry.dev_minor.into()), "another device"),
        (entry.xattrs.keys().all(|key| is_said(key)), "an extended attribute that the table cannot say"),
        (
            xattrs.eq(entry.xattrs.iter().map(|(key, value)| (&key[..], &value[..]))),
            "other extended attributes",
        ),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err(what))
}

/// GNU's header or a pax record: which of them counts, readers do not agree.
fn either<'a>(gnu: Option<&'a [u8]>, pax: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, &'static str> {
    match (gnu, pax) {
        (Some(_), Some(_)) => Err("a name in two extended headers"),
        (one, other) => Ok(one.or(other)),
    }
}

/// The records of a pax header, `LEN KEY=VALUE\n` each, where LEN counts all of it. The last of a key counts.
fn records(mut content: &[u8]) -> Result<BTreeMap<&[u8], &[u8]>, &'static str> {
    const MALFORMED: &str = "a malformed pax header";
    let mut records = BTreeMap::new();
    while !content.is_empty() {
        let space = content.iter().position(|&byte| byte == b' ').ok_or(MALFORMED)?;
        let length = digits(&content[..space], 10).and_then(|length| usize::try_from(length).ok());
        let (record, rest) = length.and_then(|length| content.split_at_checked(length)).ok_or(MALFORMED)?;
        let pair = record.get(space + 1..).and_then(|pair| pair.strip_suffix(b"\n")).ok_or(MALFORMED)?;
        let equals = pair.iter().position(|&byte| byte == b'=').ok_or(MALFORMED)?;
        records.insert(&pair[..equals], &pair[equals + 1..]);
        content = rest;
    }
    Ok(records)
}

/// A text field, which ends at its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A numeric field: octal with spaces and NULs around, or GNU's big-endian form if the highest bit is set. None if
/// negative.
fn number(field: &[u8]) -> Option<u64> {
    if let [first @ 0x80..=0xff, rest @ ..] = field {
        let start = (first & 0x40 == 0).then_some(u64::from(first & 0x3f))?;
        return rest.iter().try_fold(start, |value, &byte| value.checked_mul(256)?.checked_add(byte.into()));
    }
    let is_filling = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_filling(byte)) else { return Some(0) };
    let end = field.iter().rposition(|byte| !is_filling(byte))?;
    digits(&field[start..=end], 8)
}

/// Digits and nothing else.
fn digits(text: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with(['+', '-']))?;
    u64::from_str_radix(text, radix).ok()
}

/// Seconds, with decimals perhaps, of a time since 1970.
fn time(text: &[u8]) -> Option<Timestamp> {
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(digits(parts.next()?, 10)?).ok()?;
    let decimals = parts.next().unwrap_or_default();
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..NANOSECOND_DIGITS)
        .fold(0, |value, at| value * 10 + u32::from(decimals.get(at).copied().unwrap_or(b'0') - b'0'));
    Some(Timestamp { seconds, nanoseconds })
}
