//! Layers that were opened by a zTOC are held against it as a whole once they are complete: one that is right is confirmed for good and
//! costs no byte twice, one that is wrong is found where no single span shows it.

use std::sync::Arc;
use std::time::Duration;

use glowplug_base::Clock;
use glowplug_image::{Image, LayerSpec, Opened, Spare, open};
use glowplug_oci::{Compression, LayerFormat};
use glowplug_testkit::{Layer, Tree};
use glowplug_timeline::{Event, Mark, Timeline};
use glowplug_toc::{Checkpoint, Compression as ZtocCompression, Ztoc, ZtocEntry};

use crate::fixture::{
    MIB, Node, Shelf, bytes, check, export, export_cut, exported, files, layers, memory, tar,
};

/// How long a fill and its audit may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Opens a layer whose registry gives `blob`, with a zTOC, and lets it fill.
async fn fill(node: &Node, layer: &Layer, blob: &Layer, ztoc: &Ztoc) -> (Opened, Timeline) {
    let spec = LayerSpec {
        blob: layer.digest(),
        format: LayerFormat::Tar,
        compression: layer.compression,
        diff_id: Some(layer.diff_id()),
        source: memory(blob),
        annotations: Default::default(),
        external: None,
        soci: Some(Shelf::with(layer, ztoc).lookup().1),
    };
    let timeline = Timeline::new(Clock::system());
    let opened = open(&node.store, &[spec], &timeline).await.unwrap();
    opened.image.start_prefetch(None, &(Arc::new(|| true) as Spare));
    (opened, timeline)
}

async fn confirmed(image: &Image) {
    let all = async {
        while !image.layers().all(|layer| layer.is_confirmed()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("an audit that ends");
}

fn count(timeline: &Timeline, name: &str) -> usize {
    timeline.events().iter().filter(|event| matches!(event, Event::Mark(mark) if mark.name == name)).count()
}

/// Bytes that neighbouring spans share: each may begin in the middle of one.
fn shared(ztoc: &Ztoc) -> u64 {
    ztoc.span_digests.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_what_its_index_says_is_confirmed_once_and_nothing_comes_twice() {
    for (what, layer) in layers() {
        let ztoc = export(layer).await;
        let node = Node::new();
        let (opened, timeline) = fill(&node, layer, layer, &ztoc).await;
        assert_eq!(opened.adopted, 1, "{what}");
        assert!(check(&opened.image, "b/last", MIB, 100).await, "{what}");
        confirmed(&opened.image).await;
        let moved = opened.image.moved_bytes();
        let blob = layer.blob.len() as u64;
        assert!(moved <= blob + shared(&ztoc), "{what}: {moved} of {blob}");
        assert_eq!(opened.image.contradictions(), [], "{what}");
        drop(opened);
        assert_eq!(
            (count(&timeline, Mark::CONFIRMED), count(&timeline, Mark::CONTRADICTED)),
            (1, 0),
            "{what}"
        );

        let (again, timeline) = fill(&node, layer, layer, &ztoc).await;
        assert_eq!((again.known, again.adopted, again.streamed), (1, 0, 0), "{what}");
        assert!(
            again.image.is_complete() && again.image.layers().all(|layer| layer.is_confirmed()),
            "{what}"
        );
        drop(again);
        assert_eq!(count(&timeline, Mark::CONFIRMED), 0, "{what}: once is enough");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_what_came_at_an_earlier_start_only_spans_with_headers_come_again() {
    for (what, layer) in layers() {
        let ztoc = export(layer).await;
        let node = Node::new();
        let first = node.open_with(layer, &ztoc).await;
        for name in ["b/big", "m/101"] {
            assert!(check(&first.image, name, 0, files()[name].len()).await, "{what}");
        }
        let earlier = first.image.moved_bytes();
        drop(first);
        let (opened, _) = fill(&node, layer, layer, &ztoc).await;
        assert_eq!(opened.known, 1, "{what}");
        confirmed(&opened.image).await;
        let (moved, blob) = (opened.image.moved_bytes(), layer.blob.len() as u64);
        // Somewhere in the middle of the large file is a span that is nothing but its bytes.
        assert!(moved < blob && moved + earlier > blob, "{what}: {earlier} and {moved} of {blob}");
        assert_eq!(opened.image.contradictions(), [], "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_the_archive_is_hashed_as_well() {
    let end = Tree::build(|tree| _ = tree.file("a", bytes(1, 5 * MIB)));
    let record = end.len().next_multiple_of(10_240) - end.len();
    // Behind the end marker anything may follow. Such a layer streams by to be confirmed.
    for (number, tail) in [vec![], vec![0; record], bytes(2, MIB)].into_iter().enumerate() {
        let tar = [&end[..], &tail].concat();
        for compression in [Compression::Gzip, Compression::None] {
            let layer = Layer::from_tar(tar.clone(), compression);
            let ztoc = export(&layer).await;
            let node = Node::new();
            let (opened, _) = fill(&node, &layer, &layer, &ztoc).await;
            assert_eq!(opened.adopted, 1);
            confirmed(&opened.image).await;
            assert_eq!(opened.image.contradictions(), [], "{number}: {compression:?}");
        }
    }
}

/// A layer, the blob that its registry gives, a zTOC that is wrong, and what is said of it.
struct Lie {
    what: &'static str,
    layer: Layer,
    blob: Layer,
    ztoc: Ztoc,
    said: &'static str,
    /// Whether every file shows its own bytes all the same.
    is_readable: bool,
}

fn entry<'a>(ztoc: &'a mut Ztoc, name: &str) -> &'a mut ZtocEntry {
    ztoc.entries.iter_mut().find(|entry| entry.name == name.as_bytes()).unwrap()
}

/// The uncompressed layer with a span that begins so many bytes before the payload of `name`: what is before it is not seen with that
/// span.
async fn cut_before(name: &str, bytes: u64) -> (Layer, Ztoc) {
    let layer = layers()[2].1.clone();
    let at = entry(&mut exported().clone(), name).offset - bytes;
    let ztoc = export_cut(&layer, at).await;
    (layer, ztoc)
}

/// Lies that no span shows: what it decodes to, and the headers that are seen with it, are as the zTOC says.
async fn lies() -> Vec<Lie> {
    let mut lies = Vec::new();
    let mut tell = |what, said, is_readable, layer: &Layer, ztoc: Ztoc| {
        let (layer, blob) = (layer.clone(), layer.clone());
        lies.push(Lie { what, layer, blob, ztoc, said, is_readable });
    };
    let gzip = &layers()[0].1;
    let honest = exported();

    let mut ztoc = honest.clone();
    entry(&mut ztoc, "end").uid = 7;
    tell("another owner", "/end: another owner", true, gzip, ztoc);
    let mut ztoc = honest.clone();
    entry(&mut ztoc, "d/cap").mtime.seconds += 1;
    tell("another time", "/d/cap: another time", true, gzip, ztoc);

    // A row of headers that a span begins within.
    let (layer, ztoc) = cut_before("l/150", 0).await;
    let mut renamed = ztoc.clone();
    entry(&mut renamed, "l/200").name = b"l/x".to_vec();
    tell("another name", "hides /l/200", true, &layer, renamed);
    let mut hidden = ztoc.clone();
    hidden.entries.retain(|entry| entry.name != b"l/200");
    tell("hidden entry", "hides /l/200", true, &layer, hidden);
    let mut relinked = ztoc;
    entry(&mut relinked, "l/201").link = b"../etc/shadow".to_vec();
    tell("link to elsewhere", "/l/201: another link", true, &layer, relinked);

    // A header that a span begins within.
    let (layer, mut ztoc) = cut_before("m/053", 256).await;
    entry(&mut ztoc, "m/053").size -= 1;
    tell("shorter file", "/m/053: another size", false, &layer, ztoc);

    // Zeros at the old end of a window stand for what is not known. The window of the next span, which is held against this one, has
    // nothing else.
    let mut ztoc = honest.clone();
    let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { panic!("not gzip") };
    let is_known = |checkpoint: &Checkpoint| checkpoint.window.iter().any(|byte| *byte != 0);
    let before = checkpoints.windows(2).position(|pair| is_known(&pair[0]) && !is_known(&pair[1])).unwrap();
    checkpoints[before].window[..31 * 1024].fill(0);
    tell("window that forgets", "/b/last: its bytes are others", false, gzip, ztoc);

    // A registry whose blob is another one, with an index that fits it.
    for (_, layer) in layers() {
        let mut infected = tar();
        let at = infected.len() / 3;
        infected[at] ^= 1;
        let blob = Layer::from_tar(infected, layer.compression);
        let ztoc = export(&blob).await;
        let what = "other blob";
        let said = "its bytes are not those that the image's manifest names";
        lies.push(Lie { what, layer: layer.clone(), blob, ztoc, said, is_readable: false });
    }
    lies
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_that_no_span_shows_are_found_counted_and_told() {
    for Lie { what, layer, blob, ztoc, said, is_readable } in lies().await {
        let node = Node::new();
        let (opened, timeline) = fill(&node, &layer, &blob, &ztoc).await;
        assert_eq!((opened.adopted, opened.streamed), (1, 0), "{what}");
        let found = tokio::time::timeout(PATIENCE, opened.image.contradicted()).await.expect(what);
        assert!(found.layer == layer.digest() && found.is_readable == is_readable, "{what}: {found:?}");
        assert!(found.to_string().contains(said), "{what}: {found}");
        assert_eq!(opened.image.contradictions(), [found], "{what}");
        assert!(opened.image.layers().all(|layer| !layer.is_confirmed()), "{what}");
        // Reads go on where every byte is one that the manifest vouches for.
        assert_eq!(check(&opened.image, "b/last", 0, 1000).await, is_readable, "{what}");
        drop(opened);
        assert_eq!(
            (count(&timeline, Mark::CONFIRMED), count(&timeline, Mark::CONTRADICTED)),
            (0, 1),
            "{what}"
        );
        node.start_again(what, &layer, &ztoc).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_that_a_span_shows_are_counted_and_told_as_well() {
    let (_, layer) = &layers()[0];
    let places = |ztoc: &mut Ztoc| ztoc.entries[5..].iter_mut().for_each(|entry| entry.offset += 512);
    let window = |ztoc: &mut Ztoc| {
        let ZtocCompression::Gzip { checkpoints, .. } = &mut ztoc.compression else { panic!("not gzip") };
        checkpoints[1].window[32 * 1024 - 100] ^= 1;
    };
    let hidden = |ztoc: &mut Ztoc| _ = ztoc.entries.remove(1);
    let lies = [("places", places as fn(&mut Ztoc)), ("window", window), ("hidden entry", hidden)];
    for (what, lie) in lies {
        let mut ztoc = exported().clone();
        lie(&mut ztoc);
        let node = Node::new();
        let (opened, timeline) = fill(&node, layer, layer, &ztoc).await;
        let found = tokio::time::timeout(PATIENCE, opened.image.contradicted()).await.expect(what);
        assert!(
            found.to_string().contains("the index is wrong about") && !found.is_readable,
            "{what}: {found}"
        );
        assert_eq!(opened.image.contradictions().len(), 1, "{what}");
        drop(opened);
        assert_eq!(count(&timeline, Mark::CONTRADICTED), 1, "{what}");
        node.start_again(what, layer, &ztoc).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_image_says_of_a_layer_confirms_nothing_for_another() {
    let (_, layer) = &layers()[0];
    let mut infected = tar();
    let at = infected.len() / 3;
    infected[at] ^= 1;
    // An image that names the layer of another, and an archive, a registry and an index of its own for it.
    let blob = Layer::from_tar(infected, layer.compression);
    let ztoc = export(&blob).await;
    let node = Node::new();
    let spec = |diff_id, source: &Layer| LayerSpec {
        blob: layer.digest(),
        format: LayerFormat::Tar,
        compression: layer.compression,
        diff_id: Some(diff_id),
        source: memory(source),
        annotations: Default::default(),
        external: None,
        soci: Some(Shelf::with(layer, &ztoc).lookup().1),
    };
    let spare: Spare = Arc::new(|| true);
    let timeline = Timeline::new(Clock::system());
    let opened = open(&node.store, &[spec(blob.diff_id(), &blob)], &timeline).await.unwrap();
    opened.image.start_prefetch(None, &spare);
    confirmed(&opened.image).await;
    assert_eq!(opened.image.audited(), (1, 0));
    drop(opened);

    let opened = open(&node.store, &[spec(layer.diff_id(), layer)], &timeline).await.unwrap();
    assert_eq!((opened.known, opened.image.audited()), (1, (0, 1)));
    opened.image.start_prefetch(None, &spare);
    let found =
        tokio::time::timeout(PATIENCE, opened.image.contradicted()).await.expect("an audit that ends");
    assert!(!found.is_readable, "{found:?}");
    drop(opened);
    node.start_again("a layer of two images", layer, &ztoc).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_whose_archive_has_no_known_digest_streams_by_to_be_confirmed() {
    let (_, layer) = &layers()[0];
    let node = Node::new();
    drop(node.open_with(layer, exported()).await);
    let spec = LayerSpec {
        blob: layer.digest(),
        format: LayerFormat::Tar,
        compression: layer.compression,
        diff_id: None,
        source: memory(layer),
        annotations: Default::default(),
        external: None,
        soci: None,
    };
    let opened = open(&node.store, &[spec], &Timeline::new(Clock::system())).await.unwrap();
    opened.image.start_prefetch(None, &(Arc::new(|| true) as Spare));
    confirmed(&opened.image).await;
    assert!(opened.image.moved_bytes() > layer.blob.len() as u64 * 3 / 2, "twice, but for a few bytes");
}
