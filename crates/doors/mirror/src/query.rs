//! What a request asks for: parts of its path, parameters, and the Range header.

use axum::http::{HeaderMap, Uri, header};
use glowplug_base::ByteRange;

/// What stands after `/v2/`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The repository; empty for the API's root.
    pub(crate) name: String,
    /// `manifests`, `blobs` or `referrers`; empty for the API's root.
    pub(crate) kind: &'static str,
    /// A tag or a digest, and what follows it.
    pub(crate) rest: String,
}

impl Path {
    /// Takes a path apart. A repository may have parts that are called like the kinds, so the last one counts.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        // Some clients write the colon of a digest in this way.
        let path = path.replace("%3A", ":").replace("%3a", ":");
        if path.is_empty() {
            return Some(Self { name: String::new(), kind: "", rest: String::new() });
        }
        ["manifests", "blobs", "referrers"].into_iter().find_map(|kind| {
            let (name, rest) = path.rsplit_once(&format!("/{kind}/"))?;
            (!name.is_empty() && !rest.is_empty()).then(|| Self {
                name: name.to_owned(),
                kind,
                rest: rest.to_owned(),
            })
        })
    }
}

/// A parameter of the query, decoded.
pub(crate) fn parameter(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Whether whoever asks does not want what is kept.
pub(crate) fn wants_anew(headers: &HeaderMap) -> bool {
    let directives = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    directives.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("no-cache"))
}

/// Which bytes of a blob are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of them.
    Whole,
    /// A part of them, never empty.
    Part(ByteRange),
    /// None that there are.
    Unsatisfiable,
}

/// Reads a Range header for `size` bytes (RFC 9110, section 14). What is not understood, several ranges among it, asks
/// for the whole, as the standard allows.
pub(crate) fn range(headers: &HeaderMap, size: u64) -> Wanted {
    let value = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = value.and_then(bytes) else { return Wanted::Whole };
    let found = match (first, last) {
        (Some(first), Some(last)) if last < first => return Wanted::Whole,
        (Some(first), last) => {
            ByteRange::new(first, last.map_or(size, |last| last.saturating_add(1)).min(size))
        }
        (None, Some(suffix)) => ByteRange::new(size.saturating_sub(suffix), size),
        (None, None) => return Wanted::Whole,
    };
    if found.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(found) }
}

/// `bytes=FIRST-LAST`, of which one may be missing.
fn bytes(value: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = value.trim().split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    let number = |text: &str| match text.trim() {
        "" => Some(None),
        // A sign is none of the standard's digits.
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    };
    (unit.trim().eq_ignore_ascii_case("bytes")).then_some((number(first)?, number(last)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(value: &str, size: u64) -> Wanted {
        range(&[(header::RANGE, value.parse().unwrap())].into_iter().collect(), size)
    }

    #[test]
    fn ranges_are_read_as_the_standard_has_it() {
        let part = |start, end| Wanted::Part(ByteRange::new(start, end));
        for (value, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 10)),
            ("bytes=9-9", part(9, 10)),
            ("bytes=5-100", part(5, 10)),
            ("bytes=5-18446744073709551615", part(5, 10)),
            ("bytes=-1", part(9, 10)),
            ("bytes=-100", part(0, 10)),
            ("Bytes = 2 - 3", part(2, 4)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=10-11", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=3-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=99999999999999999999-", Wanted::Whole),
            ("lines=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(value, 10), expected, "{value}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(range(&HeaderMap::new(), 10), Wanted::Whole);
    }

    #[test]
    fn paths_are_taken_apart_at_the_last_kind() {
        let path = |text| Path::parse(text).map(|path| (path.name, path.kind, path.rest));
        let owned = |name: &str, kind, rest: &str| Some((name.to_owned(), kind, rest.to_owned()));
        assert_eq!(path(""), owned("", "", ""));
        assert_eq!(path("a/b/manifests/v1"), owned("a/b", "manifests", "v1"));
        assert_eq!(path("a/blobs/sha256%3Aab"), owned("a", "blobs", "sha256:ab"));
        assert_eq!(path("blobs/blobs/blobs/x"), owned("blobs/blobs", "blobs", "x"));
        for bad in ["a", "a/tags/list", "/manifests/x", "a/manifests/"] {
            assert_eq!(path(bad), None, "{bad}");
        }
    }

    #[test]
    fn anew_is_asked_for_by_the_standard_word() {
        let anew = |value: &str| {
            wants_anew(&[(header::CACHE_CONTROL, value.parse().unwrap())].into_iter().collect())
        };
        assert!(anew("no-cache") && anew("max-age=0, No-Cache"));
        assert!(!anew("no-store") && !wants_anew(&HeaderMap::new()));
    }
}
