//! Holds a decoded span against the zTOC that described it.
//!
//! The span's bytes are the blob's: their digest was right. Whether the zTOC tells the truth about what they are shows
//! only now: they decode from where it says, they hold the tar headers before each file that begins in the span, and the
//! stream's own bytes before the next span. One that does not is a lie, and the layer is distrusted from then on. Bytes
//! that do not match their digest prove nothing while they may come right when asked for again; see [`crate::claim::doubt`].

use glowplug_base::ByteRange;
use glowplug_gzindex::GzError;
use glowplug_layer::{Entry, LayerIndex, Origin, Recipe};
use glowplug_store::Layer;
use glowplug_tarwalk::{Kind as TarKind, Limits, Walker, normalise};

use crate::claim::difference;
use crate::error::chain;

/// Payloads end and headers begin at multiples of this many bytes.
const TAR_BLOCK_BYTES: u64 = 512;
/// Longest plain name that every tar header has room for.
const USTAR_NAME_BYTES: usize = 100;
/// Sizes from here on, eleven octal digits, do not fit into a plain tar header.
const USTAR_SIZE_END_BYTES: u64 = 8 << 30;

/// Checks the decoded bytes of a span whose index came from a zTOC. `window` is the stream before it, as far as known.
/// A zTOC that is wrong is distrusted.
pub(crate) fn verify(layer: &Layer, span: usize, window: &[u8], stream: &[u8]) -> Result<(), String> {
    let index = layer.index();
    let lie = |reason: String| refute(layer, reason);
    if matches!(index.spans.get(span + 1), Some(next) if matches!(next.recipe, Recipe::Deflate { .. })) {
        let claimed = layer.window(span + 1).map_err(|e| chain(&e))?;
        if !continues(&claimed, window, stream) {
            return Err(lie(format!("the index is wrong about the bytes before span {}", span + 1)));
        }
    }
    headers(index, index.spans[span].stream, window, stream).map_err(lie)
}

/// What it means that a span's bytes, whose digest was right, do not decode: the zTOC is wrong about where they begin.
pub(crate) fn undecodable(layer: &Layer, span: usize, error: &GzError) -> String {
    refute(layer, format!("the index is wrong about where span {span} begins: {error}"))
}

/// Distrusts the layer if its index came from a zTOC. Gives the reason back.
fn refute(layer: &Layer, reason: String) -> String {
    if layer.index().origin == Origin::Soci {
        layer.distrust(&reason);
    }
    reason
}

/// Whether `claimed` is the end of `window` and `stream` together. Zeros at its old end stand for nothing known.
fn continues(claimed: &[u8], window: &[u8], stream: &[u8]) -> bool {
    let known = claimed.iter().position(|byte| *byte != 0).map_or(&[][..], |first| &claimed[first..]);
    match known.len().checked_sub(stream.len()) {
        None | Some(0) => stream.ends_with(known),
        Some(older) => window.ends_with(&known[..older]) && known[older..] == *stream,
    }
}

/// Checks the headers of every file whose bytes begin within `here`.
fn headers(index: &LayerIndex, here: ByteRange, window: &[u8], stream: &[u8]) -> Result<(), String> {
    let entries = &index.entries;
    let first = first_from(entries, here.start);
    let before = entries[..first].iter().rposition(has_bytes);
    // Number of the first entry after the last file with bytes, and where its headers begin.
    let mut next = before.map_or(0, |before| before + 1);
    let mut begin = before.map_or(0, |before| end(&entries[before]));
    for (number, entry) in entries.iter().enumerate().skip(first).filter(|(_, entry)| has_bytes(entry)) {
        let payload = entry.extents[0].stream;
        if payload >= here.end {
            break;
        }
        let all = view(ByteRange::new(begin, payload), here, window, stream);
        // A long row of headers may begin before the window; the file's own is then all there is to go by.
        let own = view(ByteRange::new(payload - TAR_BLOCK_BYTES, payload), here, window, stream);
        let compared = match (all, own) {
            (Some(bytes), _) => compare(&entries[next..=number], &bytes),
            (None, Some(block)) => compare_own(entry, &block),
            (None, None) => Ok(()),
        };
        compared.map_err(|reason| {
            format!("the index is wrong about {:?}: {reason}", String::from_utf8_lossy(&entry.path))
        })?;
        (next, begin) = (number + 1, end(entry));
    }
    if !(here.start..here.end).contains(&begin) {
        return Ok(());
    }
    // The headers that come next begin here, whether or not they end here: an entry that the index hides would be next.
    let rest = &stream[(begin - here.start) as usize..];
    compare_start(&entries[next..], rest, here.end == index.stream_size).map_err(|reason| {
        format!("the index is wrong about what is at offset {begin} of the archive: {reason}")
    })
}

fn has_bytes(entry: &Entry) -> bool {
    !entry.extents.is_empty()
}

/// Where the header after a file with bytes begins.
fn end(entry: &Entry) -> u64 {
    entry.extents.last().map_or(0, |extent| (extent.stream + extent.len).next_multiple_of(TAR_BLOCK_BYTES))
}

/// Number of an entry from which on every file with bytes begins at `at` or later, and before which none does.
fn first_from(entries: &[Entry], at: u64) -> usize {
    let (mut low, mut high) = (0, entries.len());
    while low < high {
        let middle = low + (high - low) / 2;
        // Entries without bytes have no place of their own: look at the next that has.
        match entries[middle..high].iter().position(has_bytes).map(|skipped| middle + skipped) {
            Some(found) if entries[found].extents[0].stream < at => low = found + 1,
            _ => high = middle,
        }
    }
    low
}

/// The bytes of `wanted`, which ends within `here`; nothing when they begin before the window.
fn view(wanted: ByteRange, here: ByteRange, window: &[u8], stream: &[u8]) -> Option<Vec<u8>> {
    let older = usize::try_from(here.start.saturating_sub(wanted.start)).ok()?;
    let older = window.len().checked_sub(older).map(|from| &window[from..])?;
    let from = usize::try_from(wanted.start.saturating_sub(here.start)).ok()?;
    let to = usize::try_from(wanted.end - here.start).ok()?;
    Some([older, stream.get(from..to)?].concat())
}

/// Compares entries with the headers that the layer has for them.
fn compare(expected: &[Entry], headers: &[u8]) -> Result<(), String> {
    let mut found = Vec::new();
    Walker::new(Limits::default())
        .push(headers, &mut |entry| found.push(entry))
        .map_err(|e| e.to_string())?;
    if found.len() != expected.len()
        || found.last().is_some_and(|last| last.payload_offset != headers.len() as u64)
    {
        return Err("its headers are elsewhere".to_owned());
    }
    match found.iter().zip(expected).find(|(found, expected)| difference(found, expected).is_some()) {
        None => Ok(()),
        Some((found, _)) => Err(format!("the layer has {:?} there", String::from_utf8_lossy(&found.path))),
    }
}

/// Compares entries with those that the layer begins with in `bytes`; with `last` there are no others.
fn compare_start(expected: &[Entry], bytes: &[u8], last: bool) -> Result<(), String> {
    let mut found = Vec::new();
    Walker::new(Limits::default()).push(bytes, &mut |entry| found.push(entry)).map_err(|e| e.to_string())?;
    let differs = |(number, found): &(usize, &glowplug_tarwalk::Entry)| {
        expected.get(*number).is_none_or(|expected| difference(found, expected).is_some())
    };
    match (found.iter().enumerate().find(differs), expected.get(found.len())) {
        (Some((_, found)), _) => {
            Err(format!("the layer has {:?} there", String::from_utf8_lossy(&found.path)))
        }
        (None, Some(missing)) if last => {
            Err(format!("the layer has no {:?}", String::from_utf8_lossy(&missing.path)))
        }
        _ => Ok(()),
    }
}

/// Compares a file with the last block of its headers, which may be without the name, or the size of a huge file.
fn compare_own(expected: &Entry, block: &[u8]) -> Result<(), String> {
    let mut found = Vec::new();
    Walker::new(Limits::default()).push(block, &mut |entry| found.push(entry)).map_err(|e| e.to_string())?;
    let named = expected.path.len() <= USTAR_NAME_BYTES && expected.path.is_ascii();
    let sized = expected.size < USTAR_SIZE_END_BYTES;
    let same = |found: &glowplug_tarwalk::Entry| {
        found.kind == TarKind::File
            && (!named || normalise(&found.path).is_ok_and(|path| path == expected.path))
            && (!sized || found.size == expected.size)
    };
    if matches!(&found[..], [found] if same(found)) {
        Ok(())
    } else {
        Err("its header is elsewhere".to_owned())
    }
}
