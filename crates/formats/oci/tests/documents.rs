//! Manifests, indexes and configurations, good and hostile.

use glowplug_oci::{
    Compression, ConfigError, Descriptor, Document, DocumentError, Index, LayerError, LayerFormat, LayerKind,
    Limits, Platform, check_config, media, parse_config,
};
use proptest::prelude::*;

fn descriptor(media_type: &str) -> serde_json::Value {
    serde_json::json!({"mediaType": media_type, "digest": Descriptor::of(media_type, b"x").digest, "size": 1})
}

fn parse(json: serde_json::Value, content_type: Option<&str>) -> Result<Document, DocumentError> {
    Document::parse(json.to_string().as_bytes(), content_type, &Limits::default())
}

#[test]
fn both_families_are_read() {
    for (own, told, layer) in [
        (Some(media::OCI_MANIFEST), None, media::OCI_LAYER_GZIP),
        (None, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"), media::OCI_LAYER_ZSTD),
        (None, Some("text/plain"), media::OCI_LAYER),
        (None, None, media::OCI_LAYER),
        (Some(media::DOCKER_MANIFEST), Some(media::DOCKER_MANIFEST), media::DOCKER_LAYER_GZIP),
    ] {
        let mut json = serde_json::json!({
            "schemaVersion": 2, "config": descriptor(media::OCI_CONFIG), "layers": [descriptor(layer)], "annotations": null,
        });
        if let Some(own) = own {
            json["mediaType"] = own.into();
        }
        let Document::Manifest(manifest) = parse(json, told).unwrap() else {
            panic!("{own:?} is a manifest")
        };
        assert_eq!(manifest.layers[0].media_type, layer);
    }
    for own in [media::OCI_INDEX, media::DOCKER_INDEX] {
        let json = serde_json::json!({"schemaVersion": 2, "mediaType": own, "manifests": [descriptor(media::OCI_MANIFEST)]});
        assert!(matches!(parse(json, None).unwrap(), Document::Index(index) if index.manifests.len() == 1));
    }
}

#[test]
fn what_cannot_be_served_is_refused_by_name() {
    let config = descriptor(media::OCI_CONFIG);
    let schema1 = serde_json::json!({"schemaVersion": 1, "name": "x", "fsLayers": [], "history": []});
    assert!(matches!(parse(schema1, None), Err(DocumentError::Schema1(_))));
    let by_type = Some("application/vnd.docker.distribution.manifest.v1+prettyjws");
    assert!(matches!(parse(serde_json::json!({"config": config}), by_type), Err(DocumentError::Schema1(_))));
    let other =
        serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.example+json", "layers": []});
    assert!(
        matches!(parse(other, None), Err(DocumentError::Type(name)) if name == "application/vnd.example+json")
    );
    let both = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [], "manifests": []});
    assert!(matches!(parse(both, None), Err(DocumentError::Ambiguous(_))));
    let disagree = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "config": config});
    assert!(matches!(parse(disagree, None), Err(DocumentError::Ambiguous(_))));
    let header = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": []});
    assert!(matches!(parse(header, Some(media::OCI_MANIFEST)), Err(DocumentError::Ambiguous(_))));
    assert!(matches!(parse(serde_json::json!({}), None), Err(DocumentError::Ambiguous(_))));

    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    assert_eq!(LayerKind::of(encrypted), Err(LayerError::Encrypted(encrypted.into())));
    assert_eq!(LayerKind::of("text/html"), Err(LayerError::Unknown("text/html".into())));
    let erofs = |compression| Ok(LayerKind { format: LayerFormat::Erofs, compression, foreign: false });
    assert_eq!(LayerKind::of("application/vnd.erofs.layer.v1"), erofs(Compression::None));
    assert_eq!(LayerKind::of("application/vnd.erofs.layer.v1+zstd"), erofs(Compression::Zstd));
    for other in ["application/vnd.erofs.layer.v1+gzip", "application/vnd.erofs.layer.v2"] {
        assert_eq!(LayerKind::of(other), Err(LayerError::Erofs(other.into())));
    }
    let foreign = LayerKind::of("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").unwrap();
    assert!(foreign.foreign && foreign.compression == Compression::Gzip);
}

#[test]
fn limits_hold() {
    let limits = Limits { document_bytes: 1000, config_bytes: 100, entries: 2 };
    let big = vec![b' '; 1001];
    assert!(matches!(Document::parse(&big, None, &limits), Err(DocumentError::TooBig { bytes: 1001, .. })));
    let entry = descriptor(media::OCI_MANIFEST);
    let many = serde_json::json!({"schemaVersion": 2, "manifests": [entry, entry, entry]});
    let many = Document::parse(many.to_string().as_bytes(), None, &limits);
    assert!(matches!(many, Err(DocumentError::TooMany { entries: 3, .. })));
    let deep = "[".repeat(900);
    assert!(matches!(Document::parse(deep.as_bytes(), None, &limits), Err(DocumentError::Json(_))));
    let huge = Descriptor { size: u64::MAX, ..Descriptor::of(media::OCI_CONFIG, b"") };
    assert!(matches!(check_config(&huge, &limits), Err(ConfigError::TooBig { .. })));
    assert!(matches!(check_config(&Descriptor::of("x/y", b""), &limits), Err(ConfigError::NotAnImage(_))));
}

#[test]
fn configurations_must_match_their_manifest() {
    let config = |ids: &[&str]| {
        let rootfs = serde_json::json!({"type": "layers", "diff_ids": ids});
        serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string().into_bytes()
    };
    let id = glowplug_base::Digest::of(b"layer");
    let limits = Limits::default();
    let (_, ids) = parse_config(&config(&[&id.to_string()]), 1, &limits).unwrap();
    assert_eq!(ids, [id]);
    assert!(matches!(
        parse_config(&config(&[]), 1, &limits),
        Err(ConfigError::LayerCount { config: 0, manifest: 1 })
    ));
    assert!(matches!(parse_config(&config(&["md5:0"]), 1, &limits), Err(ConfigError::DiffId(_))));
    assert!(matches!(parse_config(b"{", 1, &limits), Err(ConfigError::Json(_))));
}

fn index(platforms: &[&str]) -> Index {
    Index::new(
        platforms
            .iter()
            .map(|name| {
                let mut entry = Descriptor::of(media::OCI_MANIFEST, name.as_bytes());
                entry.platform = (!name.is_empty()).then(|| name.parse().expect("a platform"));
                entry
            })
            .collect(),
    )
}

#[test]
fn platforms_are_chosen_by_level() {
    for (wanted, offered, expected) in [
        ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some(1)),
        ("linux/amd64", &["linux/amd64/v3", "linux/amd64"], Some(1)),
        ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some(1)),
        ("linux/arm64/v8", &["linux/arm/v7", "linux/arm64"], Some(1)),
        ("linux/arm64", &["linux/arm64/v8"], Some(0)),
        ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], Some(1)),
        ("linux/x86_64", &["windows/amd64", "linux/amd64"], Some(1)),
        ("linux/amd64", &["unknown/unknown", "linux/amd64"], Some(1)),
        ("linux/amd64", &["", "unknown/unknown"], Some(0)),
        ("linux/amd64", &["", ""], None),
        ("linux/amd64", &["linux/arm64", "linux/s390x"], None),
        ("linux/amd64", &["unknown/unknown"], None),
        ("linux/amd64", &[], None),
    ] {
        let (index, wanted) = (index(offered), wanted.parse::<Platform>().unwrap());
        let chosen = index
            .select(&wanted)
            .map(|chosen| index.manifests.iter().position(|entry| entry == chosen).unwrap());
        assert_eq!(chosen.clone().ok(), expected, "{wanted} of {offered:?}");
        if let Err(error) = chosen {
            assert_eq!(
                error.to_string().contains("linux/s390x"),
                offered.contains(&"linux/s390x"),
                "{error}"
            );
        }
    }
    let mut attested = index(&["linux/amd64", "linux/amd64"]);
    attested.manifests[0]
        .annotations
        .insert("vnd.docker.reference.type".into(), "attestation-manifest".into());
    let host = Platform::new("linux", "amd64");
    assert_eq!(attested.select(&host).unwrap(), &attested.manifests[1]);
    attested.manifests[1].artifact_type = Some("application/vnd.amazon.soci.index.v2+json".into());
    assert!(attested.select(&host).is_err());
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes, None, &Limits::default());
        let _ = parse_config(&bytes, 0, &Limits::default());
    }

    #[test]
    fn near_documents_never_panic(
        version in 0..4_i64, size in any::<i64>(), digest in "(sha256:[0-9a-f]{0,64}|[a-z0-9:]{0,20})", media in "[a-z/+.]{0,40}",
    ) {
        let entry = serde_json::json!({"mediaType": media, "size": size, "digest": digest, "platform": {"os": null}});
        let json = serde_json::json!({"schemaVersion": version, "config": entry, "layers": [entry]});
        let _ = Document::parse(json.to_string().as_bytes(), Some(&media), &Limits::default());
        let json = serde_json::json!({"schemaVersion": version, "manifests": [entry, null]});
        let _ = Document::parse(json.to_string().as_bytes(), None, &Limits::default());
    }

    #[test]
    fn platforms_round_trip(text in "[a-z0-9]{1,8}/[a-z0-9]{1,8}(/v[0-9.]{1,4})?") {
        let platform: Platform = text.parse().unwrap();
        prop_assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
    }
}
