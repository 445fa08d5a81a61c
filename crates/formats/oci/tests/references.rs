//! References and sources as people write them.

use glowplug_oci::{Reference, ReferenceError, Source};
use proptest::prelude::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn docker_defaults_ports_tags_and_digests() {
    let with_digest = format!("localhost/a@{DIGEST}");
    let with_both = format!("quay.io/a/b:v1@{DIGEST}");
    let both_canonical = format!("quay.io/a/b:v1@{DIGEST}");
    for (text, registry, api, repository, tag, canonical) in [
        (
            "busybox",
            "docker.io",
            "registry-1.docker.io",
            "library/busybox",
            Some("latest"),
            "docker.io/library/busybox:latest",
        ),
        ("a/b:1", "docker.io", "registry-1.docker.io", "a/b", Some("1"), "docker.io/a/b:1"),
        (
            "docker.io/x",
            "docker.io",
            "registry-1.docker.io",
            "library/x",
            Some("latest"),
            "docker.io/library/x:latest",
        ),
        (
            "index.docker.io/x/y",
            "docker.io",
            "registry-1.docker.io",
            "x/y",
            Some("latest"),
            "docker.io/x/y:latest",
        ),
        ("localhost/x", "localhost", "localhost", "x", Some("latest"), "localhost/x:latest"),
        (
            "localhost:5000/x/y/z:t",
            "localhost:5000",
            "localhost:5000",
            "x/y/z",
            Some("t"),
            "localhost:5000/x/y/z:t",
        ),
        ("[::1]:5000/x", "[::1]:5000", "[::1]:5000", "x", Some("latest"), "[::1]:5000/x:latest"),
        ("GHCR.io/x", "ghcr.io", "ghcr.io", "x", Some("latest"), "ghcr.io/x:latest"),
        ("LocalHost/x", "localhost", "localhost", "x", Some("latest"), "localhost/x:latest"),
        ("Host:5000/x", "host:5000", "host:5000", "x", Some("latest"), "host:5000/x:latest"),
        (
            "Index.Docker.IO/x",
            "docker.io",
            "registry-1.docker.io",
            "library/x",
            Some("latest"),
            "docker.io/library/x:latest",
        ),
        ("lInux/arm", "lInux", "lInux", "arm", Some("latest"), "lInux/arm:latest"),
        ("localoOst/image", "localoOst", "localoOst", "image", Some("latest"), "localoOst/image:latest"),
        ("HOST/a/b:1", "HOST", "HOST", "a/b", Some("1"), "HOST/a/b:1"),
        ("a__b/c-.d", "", "", "", None, ""),
        (
            "a__b/c---d.e_f",
            "docker.io",
            "registry-1.docker.io",
            "a__b/c---d.e_f",
            Some("latest"),
            "docker.io/a__b/c---d.e_f:latest",
        ),
        (&with_digest, "localhost", "localhost", "a", None, &with_digest),
        (&with_both, "quay.io", "quay.io", "a/b", Some("v1"), &both_canonical),
    ] {
        let parsed = Reference::parse(text);
        if registry.is_empty() {
            assert!(matches!(parsed, Err(ReferenceError::Repository(_))), "{text}");
            continue;
        }
        let parsed = parsed.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(
            (parsed.registry(), parsed.api_host(), parsed.repository()),
            (registry, api, repository),
            "{text}"
        );
        assert_eq!(parsed.tag(), tag, "{text}");
        assert_eq!(
            parsed.digest().map(|d| d.to_string()),
            text.contains('@').then(|| DIGEST.to_owned()),
            "{text}"
        );
        assert_eq!(parsed.to_string(), canonical);
        assert_eq!(Reference::parse(canonical).unwrap(), parsed);
    }
}

#[test]
fn what_is_wrong_is_named() {
    type Is = fn(&ReferenceError) -> bool;
    let long = format!("a/{}", "b".repeat(254));
    let long_tag = format!("a:{}", "b".repeat(129));
    let cases: [(&str, Is); 19] = [
        ("", |e| *e == ReferenceError::Empty),
        ("https://ghcr.io/a", |e| matches!(e, ReferenceError::Url(_))),
        ("Ubuntu", |e| matches!(e, ReferenceError::Uppercase(_))),
        ("ghcr.io/A/b", |e| matches!(e, ReferenceError::Uppercase(_))),
        (&long, |e| *e == ReferenceError::TooLong(256)),
        ("a:", |e| matches!(e, ReferenceError::Tag(_))),
        ("a:.x", |e| matches!(e, ReferenceError::Tag(_))),
        (&long_tag, |e| matches!(e, ReferenceError::Tag(_))),
        ("a//b", |e| matches!(e, ReferenceError::Repository(_))),
        ("a/", |e| matches!(e, ReferenceError::Repository(_))),
        ("a_-b", |e| matches!(e, ReferenceError::Repository(_))),
        ("a b", |e| matches!(e, ReferenceError::Repository(_))),
        ("host:0/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("host:99999/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("-x.io/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("[::zz]:1/a", |e| matches!(e, ReferenceError::Registry(_))),
        ("a@sha256:12", |e| matches!(e, ReferenceError::Digest(_))),
        ("a@sha512:12", |e| e.to_string() == "malformed image reference"),
        (&DIGEST[7..], |e| matches!(e, ReferenceError::Repository(_))),
    ];
    for (text, is) in cases {
        let error = Reference::parse(text).expect_err(text);
        assert!(is(&error), "{text}: {error:?}");
    }
}

#[test]
fn sources() {
    let tagged = Source::Layout { dir: "/x/y".into(), tag: Some("v1".into()) };
    for (text, expected) in [
        ("oci:/x/y:v1", tagged),
        ("oci:/x/y", Source::Layout { dir: "/x/y".into(), tag: None }),
        ("oci:C:/y", Source::Layout { dir: "C:/y".into(), tag: None }),
        ("oci-archive:/x.tar", Source::OciArchive { file: "/x.tar".into() }),
        ("docker-archive:x.tar", Source::DockerArchive { file: "x.tar".into() }),
        ("busybox", Source::Registry(Reference::parse("busybox").unwrap())),
    ] {
        let parsed: Source = text.parse().unwrap();
        assert_eq!(parsed, expected);
        assert_eq!(parsed.to_string().parse::<Source>().unwrap(), expected);
    }
    for bad in ["oci:", "oci-archive:", "docker-archive:", "oci-archive"] {
        assert_eq!(bad.parse::<Source>().is_err(), bad != "oci-archive", "{bad}");
    }
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
        let _ = text.parse::<Source>();
    }

    #[test]
    fn near_misses_never_panic_and_display_round_trips(text in "[a-zA-Z0-9._:/@\\[\\]-]{0,60}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
        }
    }
}
