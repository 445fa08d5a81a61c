//! Manifests, indexes and configurations: what is read is written as a document that reads as the same.

use glowplug_oci::{Document, LayerKind, Limits, Platform, media, parse_config};

/// Parses `data` as each document a registry gives.
pub fn manifest(data: &[u8]) -> bool {
    let limits = Limits { document_bytes: 64 << 10, config_bytes: 64 << 10, entries: 128 };
    let config = (0..3).any(|layers| parse_config(data, layers, &limits).is_ok());
    let documents =
        [None, Some(media::OCI_MANIFEST), Some(media::OCI_INDEX), Some("application/json; charset=utf-8")]
            .map(|content_type| document(data, content_type, &limits));
    config || documents.contains(&true)
}

fn document(data: &[u8], content_type: Option<&str>, limits: &Limits) -> bool {
    let Ok(document) = Document::parse(data, content_type, limits) else { return false };
    document.subject();
    let written = match &document {
        Document::Manifest(manifest) => {
            manifest.layers.iter().for_each(|layer| {
                // Most types are no layer's; what counts is that it returns.
                let _ = LayerKind::of(&layer.media_type);
            });
            serde_json::to_vec(manifest)
        }
        Document::Index(index) => {
            // An index need not fit this platform.
            let _ = index.select(&Platform::new("linux", "amd64"));
            serde_json::to_vec(index)
        }
    };
    let written = written.expect("what was read can be written");
    let roomy = Limits { document_bytes: 1 << 20, ..*limits };
    let again = Document::parse(&written, Some(document.media_type()), &roomy);
    assert_eq!(again.expect("what was written reads"), document);
    true
}
