//! The registry mirror as the distribution specification has it.

use glowplug_oci::{Descriptor, Platform, Source, media};
use glowplug_peer::PIECE_BYTES;
use glowplug_registry::{Options, resolve};
use glowplug_testkit::{Fault, ImageBuilder, Layer, Rule, TestRegistry};
use reqwest::{Method, Response};

use crate::world::{Plan, Running, client, http, noise};

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_to_their_edges() {
    let registry = TestRegistry::start();
    let size = 2 * PIECE_BYTES as usize + 17;
    let expected = noise(size, 8);
    let digest = registry.put_blob(expected.clone());
    let node = Running::start(Plan::default()).await;
    let (http, url) = (http(), node.blob_url(&registry, &digest));
    let piece = PIECE_BYTES as usize;
    for (asked, start, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        (format!("bytes={}-{}", size - 1, size - 1), size - 1, size),
        ("bytes=-1".to_owned(), size - 1, size),
        (format!("bytes={}-{piece}", piece - 1), piece - 1, piece + 1),
        (format!("bytes={piece}-{}", 2 * piece - 1), piece, 2 * piece),
        (format!("bytes={}-99999999999", 2 * piece), 2 * piece, size),
        (format!("bytes=0-{}", size - 1), 0, size),
        ("bytes=0-".to_owned(), 0, size),
    ] {
        let response = http.get(&url).header("range", &asked).send().await.unwrap();
        assert_eq!(response.status(), 206, "{asked}");
        let told = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(header(&response, "content-range"), Some(&*told));
        assert_eq!(header(&response, "content-length"), Some(&*(end - start).to_string()));
        assert!(response.bytes().await.unwrap() == expected[start..end], "{asked}");
    }
    for beyond in [format!("bytes={size}-"), format!("bytes={size}-{}", size + 5), "bytes=-0".to_owned()] {
        let response = http.get(&url).header("range", &beyond).send().await.unwrap();
        assert_eq!(response.status(), 416, "{beyond}");
        assert_eq!(header(&response, "content-range"), Some(&*format!("bytes */{size}")));
    }
    let whole = http.get(&url).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), header(&whole, "accept-ranges")), (200, Some("bytes")));
    assert!(whole.bytes().await.unwrap() == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_tell_what_a_get_would() {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new().layer(Layer::gzip(|tree| _ = tree.dir("a"))).push(&registry, "app:v1");
    let node = Running::start(Plan::default()).await;
    let http = http();
    let layer = Descriptor::of(media::OCI_LAYER_GZIP, &image.layers[0].blob);
    let (digest, ns) = (image.digest(), registry.host());
    for (path, length, media_type, digest) in [
        ("manifests/v1".to_owned(), image.manifest.len(), media::OCI_MANIFEST, digest),
        (format!("manifests/{digest}"), image.manifest.len(), media::OCI_MANIFEST, digest),
        (format!("blobs/{}", layer.digest), layer.size as usize, "application/octet-stream", layer.digest),
    ] {
        let url = format!("{}/v2/app/{path}?ns={ns}", node.local);
        for method in [Method::HEAD, Method::GET] {
            let response = http.request(method.clone(), &url).send().await.unwrap();
            assert_eq!(response.status(), 200, "{method} {path}");
            assert_eq!(header(&response, "content-length"), Some(&*length.to_string()));
            assert_eq!(header(&response, "content-type"), Some(media_type));
            assert_eq!(header(&response, "docker-content-digest"), Some(&*digest.to_string()));
            let expected = if method == Method::HEAD { 0 } else { length };
            assert_eq!(response.bytes().await.unwrap().len(), expected);
        }
    }
    let missing = glowplug_base::Digest::of(b"missing");
    for path in [format!("blobs/{missing}"), format!("manifests/{missing}"), "manifests/v2".to_owned()] {
        let response = http.get(format!("{}/v2/app/{path}?ns={ns}", node.local)).send().await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert!(response.text().await.unwrap().contains("UNKNOWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_takes_whole_images_from_it() {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new()
        .platform(&Platform::new("linux", "amd64"))
        .layer(Layer::gzip(|tree| _ = tree.dir("a")))
        .push(&registry, "team/app:v1");
    let node = Running::start(Plan::default()).await;
    let source: Source = registry.reference("team/app:v1").parse().unwrap();
    let mut options = Options::default();
    options.mirrors.insert(registry.host(), vec![node.local.clone()]);
    let repository = client(options).open(&source).await.unwrap();
    let found = resolve(&*repository, &source, &Platform::new("linux", "amd64"), &Default::default()).await;
    assert_eq!(found.unwrap().manifest_digest, image.digest());
    let stats = node.node.stats();
    assert_eq!(stats.served_bytes, image.config.len() as u64);
    assert_eq!(registry.blob_requests().len(), 1, "the manifest told the configuration's length");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_the_registrys_and_digests_are_kept() {
    let registry = TestRegistry::start();
    let push =
        |name| ImageBuilder::new().layer(Layer::gzip(|tree| _ = tree.dir(name))).push(&registry, "app:v1");
    let first = push("a");
    let node = Running::start(Plan::default()).await;
    let http = http();
    let get = async |what: String| {
        let url = format!("{}/v2/app/manifests/{what}?ns={}", node.local, registry.host());
        http.get(url).send().await.unwrap().bytes().await.unwrap()
    };
    assert_eq!(get("v1".to_owned()).await, first.manifest);
    let second = push("b");
    assert_eq!(get("v1".to_owned()).await, second.manifest, "a tag may move at any time");
    registry.inject(Rule::manifests(Fault::Status(500)));
    assert_eq!(get(first.digest().to_string()).await, first.manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_listed_and_filtered() {
    let registry = TestRegistry::start();
    let image = ImageBuilder::new().layer(Layer::gzip(|tree| _ = tree.dir("a"))).push(&registry, "app:v1");
    let subject = image.descriptor();
    for kind in ["a/b", "c/d"] {
        let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": kind,
            "config": Descriptor::of(media::OCI_EMPTY, b"{}"), "layers": [],
            "subject": Descriptor::new(media::OCI_MANIFEST, subject.digest, subject.size)});
        registry.put_manifest("app", None, manifest.to_string(), media::OCI_MANIFEST);
    }
    let node = Running::start(Plan::default()).await;
    let url = format!("{}/v2/app/referrers/{}?ns={}", node.local, subject.digest, registry.host());
    let kinds = async |url: String| {
        let response = http().get(url).send().await.unwrap();
        assert_eq!(header(&response, "content-type"), Some(media::OCI_INDEX));
        let applied = header(&response, "oci-filters-applied").is_some();
        let index: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        (index["manifests"].as_array().unwrap().len(), applied)
    };
    assert_eq!(kinds(url.clone()).await, (2, false));
    assert_eq!(kinds(format!("{url}&artifactType=a/b")).await, (1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn which_registry_is_meant() {
    let registry = TestRegistry::start();
    let expected = noise(100, 9);
    let digest = registry.put_blob(expected.clone());
    let http = http();
    let status = async |node: &Running, path: &str| {
        http.get(format!("{}{path}", node.local)).send().await.unwrap().status().as_u16()
    };
    let blob = format!("/v2/app/blobs/{digest}");
    let any = Running::start(Plan::default()).await;
    assert_eq!(status(&any, "/v2/").await, 200);
    assert_eq!(status(&any, &blob).await, 400, "nothing says which");
    for bad in ["nodot", "a/b", "..", "x%0Ay", "%40", "reg.example:0"] {
        assert_eq!(status(&any, &format!("{blob}?ns={bad}")).await, 400, "{bad}");
    }
    let only = Running::start(Plan { upstreams: vec![registry.host()], ..Plan::default() }).await;
    assert_eq!(status(&only, &blob).await, 200);
    assert_eq!(status(&only, &format!("{blob}?ns={}", registry.host())).await, 200);
    assert_eq!(status(&only, &format!("{blob}?ns=other.example")).await, 404);
    assert_eq!(status(&only, "/v2/app/tags/list").await, 404);
    assert_eq!(status(&only, "/v2/app/blobs/sha512:00").await, 400);
    assert_eq!(status(&only, "/").await, 404);
    let written = http.post(format!("{}/v2/app/blobs/uploads/", only.local)).send().await.unwrap();
    assert_eq!((written.status().as_u16(), header(&written, "allow")), (405, Some("GET, HEAD")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_stops_reading_stops_the_fetching() {
    let registry = TestRegistry::start();
    let size = 200 * PIECE_BYTES as usize;
    let digest = registry.put_blob(noise(size, 10));
    let node = Running::start(Plan::default()).await;
    let mut response = http().get(node.blob_url(&registry, &digest)).send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    // What the sockets hold and what is ahead is fetched, and then no more, however often one looks.
    let mut seen = (node.node.stats().registry_bytes, 0);
    while seen.1 < 10_000 {
        tokio::task::yield_now().await;
        let now = node.node.stats().registry_bytes;
        seen = if now == seen.0 { (now, seen.1 + 1) } else { (now, 0) };
    }
    assert!(seen.0 < size as u64 / 2, "{} bytes were fetched of {size}", seen.0);
}
