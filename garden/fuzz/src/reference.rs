//! Image references, sources and platforms: what is understood prints as something that means the same.

use glowplug_oci::{Platform, Reference, Source, is_tag};

/// Parses `data` as each of the short texts a person types.
pub fn reference(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    is_tag(text);
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse::<Platform>().ok(), Some(platform), "{text:?}");
    }
    if let Ok(source) = text.parse::<Source>() {
        assert_eq!(source.to_string().parse::<Source>().ok(), Some(source), "{text:?}");
    }
    let Ok(reference) = Reference::parse(text) else { return false };
    assert_eq!(Reference::parse(&reference.to_string()).ok().as_ref(), Some(&reference), "{text:?}");
    assert!(!reference.registry().is_empty() && !reference.repository().is_empty(), "{text:?}");
    assert!(!reference.api_host().is_empty(), "{text:?}");
    assert!(reference.tag().is_none_or(is_tag), "{text:?}");
    true
}
