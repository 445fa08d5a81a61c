//! Index manifests and prefetch lists.

use glowplug_base::Digest;
use glowplug_toc::index::{self, REFERENCE_BUILD_TOOL};
use glowplug_toc::{
    IndexError, IndexVersion, Prefetch, PrefetchDescriptor, PrefetchError, PrefetchSpan, SociIndex, Subject,
    ZtocDescriptor,
};

const V1: &str = concat!(
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
    r#""config":{"mediaType":"application/vnd.amazon.soci.index.v1+json","#,
    r#""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"#,
    r#""layers":[{"mediaType":"application/octet-stream","#,
    r#""digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":1234,"#,
    r#""annotations":{"com.amazon.soci.disable-xattrs":"true","#,
    r#""com.amazon.soci.image-layer-digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","#,
    r#""com.amazon.soci.image-layer-mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","#,
    r#""com.amazon.soci.span-size":"4194304"}},"#,
    r#"{"mediaType":"application/vnd.amazon.soci.prefetch.v1+json","#,
    r#""digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":77,"#,
    r#""annotations":{"com.amazon.soci.image-layer-digest":"#,
    r#""sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],"#,
    r#""subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
    r#""digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":999},"#,
    r#""annotations":{"com.amazon.soci.build-tool-identifier":"AWS SOCI CLI v0.2"}}"#,
);

fn sample() -> SociIndex {
    SociIndex {
        version: IndexVersion::V1(Some(Subject {
            media_type: index::MANIFEST_MEDIA_TYPE.to_owned(),
            digest: Digest::of(b"abc"),
            size: 999,
        })),
        ztocs: vec![ZtocDescriptor {
            digest: Digest::of(b"abc"),
            size: 1234,
            layer_digest: Digest::of(b""),
            layer_media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            span_size: Some(4 << 20),
            disable_xattrs: true,
        }],
        prefetches: vec![PrefetchDescriptor {
            digest: Digest::of(b"abc"),
            size: 77,
            layer_digest: Digest::of(b""),
        }],
        build_tool: REFERENCE_BUILD_TOOL.to_owned(),
    }
}

#[test]
fn version_1() {
    assert_eq!(String::from_utf8(sample().encode()).unwrap(), V1);
    assert_eq!(SociIndex::parse(V1.as_bytes()).unwrap(), sample());
    assert!(sample().ztoc_of(&Digest::of(b"")).is_some());
    assert!(sample().ztoc_of(&Digest::of(b"other")).is_none());
}

#[test]
fn version_2_has_no_subject() {
    let index = SociIndex { version: IndexVersion::V2, prefetches: Vec::new(), ..sample() };
    let text = String::from_utf8(index.encode()).unwrap();
    assert!(text.contains(index::ARTIFACT_TYPE_V2) && !text.contains("subject"), "{text}");
    assert_eq!(SociIndex::parse(text.as_bytes()).unwrap(), index);
}

#[test]
fn fields_of_other_makers_are_passed_over() {
    let text = V1
        .replace(r#""schemaVersion":2,"#, r#""schemaVersion":2,"artifactType":"x","future":[1],"#)
        .replace("application/vnd.amazon.soci.prefetch.v1+json", "application/x-other")
        .replace(r#","com.amazon.soci.span-size":"4194304""#, "");
    let index = SociIndex::parse(text.as_bytes()).unwrap();
    assert_eq!(index.prefetches, []);
    assert_eq!(index.ztocs[0].span_size, None);
}

#[test]
fn what_is_no_index_is_refused() {
    assert!(matches!(SociIndex::parse(b"{"), Err(IndexError::Json(_))));
    assert!(matches!(SociIndex::parse(&vec![b' '; (4 << 20) + 1]), Err(IndexError::TooLarge(_))));
    let image = V1.replace("soci.index.v1", "other");
    assert!(matches!(SociIndex::parse(image.as_bytes()), Err(IndexError::ArtifactType(_))));
    for (what, with) in [
        ("image-layer-digest", "nothing"),
        (
            r#""com.amazon.soci.image-layer-digest":"sha256:"#,
            r#""com.amazon.soci.image-layer-digest":"sha512:"#,
        ),
        ("4194304", "-1"),
    ] {
        let text = V1.replace(what, with);
        let error = SociIndex::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, IndexError::Annotation { index: 0, .. }), "{error}");
    }
}

#[test]
fn prefetch_lists() {
    let text = concat!(
        r#"{"version":"1.0","prefetch_spans":[{"start_span":0,"end_span":3},"#,
        r#"{"start_span":7,"end_span":7,"priority":2}]}"#,
    );
    let list = Prefetch {
        spans: vec![
            PrefetchSpan { start_span: 0, end_span: 3, priority: 0 },
            PrefetchSpan { start_span: 7, end_span: 7, priority: 2 },
        ],
    };
    assert_eq!(Prefetch::parse(text.as_bytes()).unwrap(), list);
    assert_eq!(String::from_utf8(list.encode()).unwrap(), text);

    let parse = |text: &str| Prefetch::parse(text.as_bytes());
    assert!(matches!(parse(r#"{"version":"2.0","prefetch_spans":[]}"#), Err(PrefetchError::Version(_))));
    assert!(matches!(parse(r#"{"version":"1.0","prefetch_spans":[]}"#), Err(PrefetchError::Empty)));
    let turned = r#"{"version":"1.0","prefetch_spans":[{"start_span":4,"end_span":3}]}"#;
    assert!(matches!(parse(turned), Err(PrefetchError::Range { index: 0 })));
    assert!(matches!(parse("[]"), Err(PrefetchError::Json(_))));
}
