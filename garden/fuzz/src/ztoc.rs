//! zTOCs: what parses has spans that join and headers that lie between payloads, and encodes to what parses again.

use glowplug_toc::{Ztoc, ZtocLimits};

/// Parses `data` as a zTOC.
pub fn ztoc(data: &[u8]) -> bool {
    let limits = ZtocLimits { bytes: 1 << 20, entries: 4096, spans: 1024, text: 1 << 20 };
    let Ok(parsed) = Ztoc::parse(data, &limits) else { return false };
    check(&parsed);
    let written = parsed.encode().expect("what was parsed encodes");
    let roomy = ZtocLimits { bytes: 16 << 20, text: 16 << 20, ..limits };
    let again = Ztoc::parse(&written, &roomy).expect("what was encoded parses");
    // Not compared with the first: a time of the year 10000 in UTC cannot be written.
    assert!(again.encode().as_ref() == Ok(&written), "encoding twice gives two zTOCs");
    assert_eq!(again.span_digests, parsed.span_digests);
    assert_eq!(again.compression, parsed.compression);
    assert_eq!(again.entries.len(), parsed.entries.len());
    true
}

fn check(ztoc: &Ztoc) {
    let headers = ztoc.header_ranges().expect("entries of a parsed zTOC are in order");
    for (entry, header) in ztoc.entries.iter().zip(&headers) {
        assert!(header.start <= header.end && header.end == entry.offset, "{entry:?}");
        assert!(entry.offset + entry.payload_size() <= ztoc.uncompressed_size, "{entry:?}");
    }
    let spans: Vec<_> = ztoc.spans().collect();
    assert_eq!(spans.len(), ztoc.span_digests.len());
    for span in &spans {
        assert!(span.compressed.start <= span.compressed.end && span.compressed.end <= ztoc.compressed_size);
        assert!(span.uncompressed.start <= span.uncompressed.end);
    }
    for pair in spans.windows(2) {
        assert!(pair[1].uncompressed.start >= pair[0].uncompressed.start, "spans are in order");
        // A byte may belong to both.
        assert!(pair[1].compressed.start + 1 >= pair[0].compressed.end, "spans join");
    }
}
