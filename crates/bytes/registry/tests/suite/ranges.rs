//! Blobs by ranges, whatever comes in between.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use glowplug_base::{ByteRange, Digest};
use glowplug_oci::Descriptor;
use glowplug_registry::{Client, Options, Ranges, Repository};
use glowplug_source::{Kind, RangeSource};
use glowplug_testkit::{Auth, Fault, Rule, TestRegistry};
use glowplug_timeline::Cause;
use proptest::prelude::*;

use crate::{IMPATIENT, client, noise, open, options, read};

const SIZE: usize = 300_000;

/// A registry with one blob.
struct Blob {
    registry: TestRegistry,
    repository: Arc<dyn Repository>,
    descriptor: Descriptor,
    bytes: Vec<u8>,
}

impl Blob {
    async fn new() -> Self {
        Self::with(&client(options())).await
    }

    async fn impatient() -> Self {
        Self::with(&client(Options { retry: IMPATIENT, ..options() })).await
    }

    async fn with(client: &Client) -> Self {
        let (registry, bytes) = (TestRegistry::start(), noise(SIZE));
        registry.put_blob(bytes.clone());
        let repository = open(client, &registry, "app").await;
        Self { registry, repository, descriptor: Descriptor::of("x/y", &bytes), bytes }
    }

    fn raw(&self) -> Arc<dyn RangeSource> {
        self.repository.blob(&self.descriptor)
    }

    fn resilient(&self) -> Arc<dyn RangeSource> {
        self.repository.resilient_blob(&self.descriptor)
    }

    fn ranges_asked(&self) -> Vec<String> {
        self.registry.blob_requests().into_iter().map(|logged| logged.range.unwrap_or_default()).collect()
    }
}

#[tokio::test]
async fn ranges_are_what_was_asked_for() {
    let blob = Blob::new().await;
    let source = blob.raw();
    assert_eq!(source.size(), SIZE as u64);
    assert_eq!(blob.repository.ranges(), Ranges::Unknown);
    for (start, end) in [(0, 1), (0, SIZE), (SIZE - 1, SIZE), (1000, 200_000), (5, 5)] {
        assert_eq!(read(&*source, start as u64, end as u64).await.unwrap(), blob.bytes[start..end]);
    }
    // The whole blob is asked for without a range, nothing is not asked for at all.
    assert_eq!(blob.ranges_asked(), ["bytes=0-0", "", "bytes=299999-299999", "bytes=1000-199999"]);
    assert_eq!(blob.repository.ranges(), Ranges::Supported);
    let outside = read(&*source, 1, SIZE as u64 + 1).await.unwrap_err();
    assert!(matches!(outside.kind, Kind::Protocol(_)));
}

#[tokio::test]
async fn a_whole_answer_to_a_range_is_cut() {
    let blob = Blob::new().await;
    blob.registry.inject(Rule::blobs(Fault::IgnoreRange));
    for (start, end) in [(0, 10), (100_000, 200_001), (SIZE - 1, SIZE)] {
        assert_eq!(read(&*blob.raw(), start as u64, end as u64).await.unwrap(), blob.bytes[start..end]);
    }
    assert_eq!(blob.repository.ranges(), Ranges::Unsupported);
}

#[tokio::test]
async fn the_raw_source_names_each_trouble() {
    let blob = Blob::new().await;
    for (fault, kind) in [
        (Fault::Status(404), Kind::NotFound),
        (Fault::Status(502), Kind::Server(502)),
        (Fault::Throttle(None), Kind::Throttled { retry_after: None }),
        (Fault::Throttle(Some("7".into())), Kind::Throttled { retry_after: Some(Duration::from_secs(7)) }),
        (Fault::Short(10), Kind::Short { start: 100, end: 200, got: 10 }),
        (Fault::WrongRange, Kind::Protocol("the answer is another range than was asked for".into())),
        (Fault::Status(403), Kind::Denied("fault injection".into())),
        (Fault::Status(400), Kind::Protocol("unexpected status 400 Bad Request: fault injection".into())),
    ] {
        blob.registry.inject(Rule::blobs(fault.clone()).times(1));
        assert_eq!(read(&*blob.raw(), 100, 200).await.unwrap_err().kind, kind, "{fault:?}");
    }
    blob.registry.inject(Rule::blobs(Fault::ResetAfter(10)).times(1));
    let kind = read(&*blob.raw(), 100, 200).await.unwrap_err().kind;
    assert!(matches!(kind, Kind::Connection(_)), "{kind:?}");
}

#[tokio::test]
async fn a_blob_that_is_shorter_or_longer_than_its_descriptor_is_an_error() {
    let blob = Blob::new().await;
    let digest = blob.descriptor.digest;
    let source = blob.raw();
    for length in [0, SIZE - 1, SIZE + 1] {
        blob.registry.put_wrong_blob(digest, noise(length));
        let error = read(&*source, 100, SIZE as u64).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Protocol(_)), "{length}: {error}");
        let whole = read(&*blob.resilient(), 0, SIZE as u64).await.unwrap_err();
        // An empty answer is a short one; it may be better the next time.
        assert_eq!(whole.is_retryable(), length == 0, "{length}: {whole}");
    }
    blob.registry.remove_blob(&digest);
    assert_eq!(read(&*source, 0, 1).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn what_breaks_is_resumed_where_it_broke() {
    for fault in [
        Fault::ResetAfter(70_000),
        Fault::Short(70_000),
        Fault::Status(503),
        Fault::Throttle(Some("0".into())),
    ] {
        let blob = Blob::new().await;
        blob.registry.inject(Rule::blobs(fault.clone()).times(2));
        let read = read(&*blob.resilient(), 10, SIZE as u64 - 10).await;
        assert_eq!(
            read.unwrap_or_else(|error| panic!("{fault:?}: {error}")),
            blob.bytes[10..SIZE - 10],
            "{fault:?}"
        );
        let asked = blob.ranges_asked();
        assert_eq!(asked.len(), 3);
        if matches!(fault, Fault::Short(_)) {
            assert_eq!(asked, ["bytes=10-299989", "bytes=70010-299989", "bytes=140010-299989"]);
        }
    }
}

#[tokio::test]
async fn silence_ends() {
    let blob = Blob::impatient().await;
    blob.registry.inject(Rule::blobs(Fault::Hang(70_000)).times(1));
    assert_eq!(read(&*blob.resilient(), 0, 100_000).await.unwrap(), blob.bytes[..100_000]);
    blob.registry.clear_faults();
    blob.registry.inject(Rule::blobs(Fault::Silent).times(1));
    assert_eq!(read(&*blob.resilient(), 10, 20).await.unwrap(), blob.bytes[10..20]);
    blob.registry.inject(Rule::blobs(Fault::Hang(5)));
    let error = read(&*blob.resilient(), 10, 20).await;
    // Every attempt brings five bytes, so two suffice.
    assert_eq!(error.unwrap(), blob.bytes[10..20]);
    blob.registry.clear_faults();
    blob.registry.inject(Rule::blobs(Fault::Silent));
    assert!(matches!(read(&*blob.resilient(), 10, 20).await.unwrap_err().kind, Kind::Stalled(_)));
}

#[tokio::test]
async fn skipping_shows_that_bytes_move() {
    let blob = Blob::new().await;
    blob.registry.inject(Rule::blobs(Fault::IgnoreRange));
    let stream = blob.raw().open(ByteRange::new(200_000, 200_001), Cause::Fault).await.unwrap();
    let pieces: Vec<_> = stream.map(|piece| piece.unwrap()).collect().await;
    assert!(pieces.iter().filter(|piece| piece.is_empty()).count() > 1, "{pieces:?}");
    assert_eq!(pieces.concat(), blob.bytes[200_000..200_001]);
}

#[tokio::test]
async fn a_presigned_url_is_kept_and_never_sees_credentials() {
    let blob = Blob::new().await;
    blob.registry.set_auth(Auth::anonymous_bearer());
    blob.registry.redirect_blobs(true);
    let source = blob.raw();
    for start in [0, 1000, 2000] {
        assert_eq!(read(&*source, start, start + 10).await.unwrap(), blob.bytes[start as usize..][..10]);
    }
    let log = blob.registry.blob_requests();
    let (cdn, own): (Vec<_>, Vec<_>) = log.iter().partition(|logged| logged.cdn);
    assert_eq!(own.iter().map(|logged| logged.status).collect::<Vec<_>>(), [401, 307], "{own:?}");
    assert!(own[1].authorization.is_some());
    assert_eq!(cdn.len(), 3);
    assert!(cdn.iter().all(|logged| logged.authorization.is_none() && logged.status == 206), "{cdn:?}");

    // When it has expired, the registry is asked once more.
    blob.registry.expire_presigned();
    blob.registry.clear_log();
    assert_eq!(read(&*source, 5, 10).await.unwrap(), blob.bytes[5..10]);
    let statuses: Vec<_> =
        blob.registry.blob_requests().iter().map(|logged| (logged.cdn, logged.status)).collect();
    assert_eq!(statuses, [(true, 403), (false, 307), (true, 206)]);

    // A new one that is refused too is an error, not a loop.
    blob.registry.inject(Rule::any(Fault::Status(403)).on("/presigned/"));
    blob.registry.clear_log();
    let error = read(&*source, 5, 10).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Denied(_)));
    assert_eq!(blob.registry.blob_requests().len(), 3);
}

#[tokio::test]
async fn no_request_ever_asks_for_several_ranges_or_for_a_head() {
    let blob = Blob::new().await;
    let source = blob.resilient();
    let reads = (0..20_u64).map(|at| {
        let source = source.clone();
        async move { read(&*source, at * 1000, at * 1000 + 1500).await.unwrap() }
    });
    let all = futures::future::join_all(reads).await;
    for (at, bytes) in all.iter().enumerate() {
        assert_eq!(*bytes, blob.bytes[at * 1000..at * 1000 + 1500]);
    }
    let log = blob.registry.log();
    assert_eq!(log.len(), 20);
    assert!(log.iter().all(|logged| logged.method == "GET" && !logged.range.as_ref().unwrap().contains(',')));
}

#[tokio::test]
async fn an_empty_blob_is_empty() {
    let blob = Blob::new().await;
    let empty = blob.repository.blob(&Descriptor::new("x/y", Digest::of(b""), 0));
    assert!(read(&*empty, 0, 0).await.unwrap().is_empty());
    assert!(blob.registry.log().is_empty());
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..40_000_u64).prop_map(Fault::ResetAfter),
        (1..40_000_u64).prop_map(Fault::Short),
        Just(Fault::IgnoreRange),
        Just(Fault::Status(500)),
        Just(Fault::Status(429)),
        Just(Fault::Delay(Duration::ZERO)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_mixture_of_faults_gives_the_bytes_or_an_error(
        faults in prop::collection::vec((any_fault(), 0..3_u64), 0..5),
        reads in prop::collection::vec((0..SIZE as u64, 0..100_000_u64), 1..5),
        redirect in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let blob = Blob::new().await;
            blob.registry.redirect_blobs(redirect);
            for (fault, skip) in faults {
                blob.registry.inject(Rule::blobs(fault).skip(skip).times(1));
            }
            let source = blob.resilient();
            for (start, length) in reads {
                let end = (start + length).min(SIZE as u64);
                // At most five faults against four attempts in a row: most reads succeed, all are right.
                if let Ok(bytes) = read(&*source, start, end).await {
                    assert!(bytes == blob.bytes[start as usize..end as usize]);
                }
            }
            blob.registry.clear_faults();
            assert!(read(&*source, 0, SIZE as u64).await.unwrap() == blob.bytes);
        });
    }
}
