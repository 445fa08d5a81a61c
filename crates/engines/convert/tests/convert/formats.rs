//! What comes out is the same tar, for everybody who can only decode.

use glowplug_base::Digest;
use glowplug_convert::Encoding;
use glowplug_oci::{Compression, media};
use glowplug_testkit::{Layer, Tree};
use glowplug_toc::estargz::{
    NO_PREFETCH_LANDMARK, TOC_DIGEST_ANNOTATION, TOC_NAME, UNCOMPRESSED_SIZE_ANNOTATION,
};

use crate::fixture::{
    CHUNK, ENCODINGS, Pieces, at, convert, convert_watched, decode, image, layer, open, placeless, settings,
    varied, walk,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_format_decodes_to_the_tar_that_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let tar = varied();
    let layers = [Compression::Gzip, Compression::Zstd, Compression::None];
    let mut layers: Vec<Layer> = layers.map(|kind| Layer::from_tar(tar.clone(), kind)).into();
    layers.push(Layer::in_parts(tar.clone(), Compression::Gzip, 70_000));
    let built = image(layers).annotation("kept", "yes").docker().build();
    built.write_layout(&dir.path().join("from"), Some("v1"));
    let from = at(&dir.path().join("from"), ":v1");
    for encoding in ENCODINGS {
        let to = dir.path().join(format!("{encoding:?}"));
        let converted = convert(&from, &at(&to, ":v2"), &settings(encoding)).await.unwrap();
        let made = open(&to, &converted.new);
        assert_eq!((converted.old, made.manifest.annotations["kept"].as_str()), (built.digest(), "yes"));
        assert_eq!(made.manifest.media_type.as_deref(), Some(media::OCI_MANIFEST));
        assert_eq!(made.manifest.config.media_type, media::OCI_CONFIG);
        for (number, (blob, listed)) in made.layers.iter().zip(&made.manifest.layers).enumerate() {
            assert_eq!(listed.media_type, encoding.media_type());
            let decoded = decode(blob, encoding);
            assert_eq!(made.config["rootfs"]["diff_ids"][number], Digest::of(&decoded).to_string());
            if encoding != Encoding::Estargz {
                assert!(decoded == tar, "{encoding:?}, layer {number}");
                continue;
            }
            let mut entries = placeless(walk(&decoded));
            let (first, last) = (entries.remove(0).0, entries.pop().unwrap().0);
            assert_eq!((&*first.path, &*last.path), (NO_PREFETCH_LANDMARK.as_bytes(), TOC_NAME.as_bytes()));
            assert_eq!(entries, placeless(walk(&tar)));
            // Headers are as they were, byte for byte: the tar without what was put in is the tar.
            assert!(decoded[1024..].starts_with(&tar[..tar.len() - 1024]));
            assert_eq!(listed.annotations[UNCOMPRESSED_SIZE_ANNOTATION], decoded.len().to_string());
            assert!(listed.annotations.contains_key(TOC_DIGEST_ANNOTATION));
        }
        if encoding != Encoding::Estargz {
            assert_eq!(made.config_bytes, built.config, "nothing in it changes");
        }
        // The blob of an image is the same wherever it was compressed how before, and is there once.
        assert!(made.layers.iter().all(|blob| *blob == made.layers[0]));
        let left =
            std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["blobs", "index.json", "oci-layout"], "nothing temporary is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_image_gives_the_same_bytes_and_a_second_time_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: String| dir.path().join(name);
    image([layer(varied())]).build().write_layout(&place("from".into()), None);
    let from = at(&place("from".into()), "");
    for encoding in ENCODINGS {
        let first = place(format!("{encoding:?} 1"));
        let one = convert(&from, &at(&first, ""), &settings(encoding)).await.unwrap();
        let two =
            convert(&from, &at(&place(format!("{encoding:?} 2")), ":x"), &settings(encoding)).await.unwrap();
        assert_eq!(one, two);
        let again = place(format!("{encoding:?} 3"));
        let again = convert(&at(&first, ""), &at(&again, ""), &settings(encoding)).await.unwrap();
        assert_eq!(again.new, one.new, "{encoding:?} of {encoding:?}");
        let finer = glowplug_convert::Settings { chunk_bytes: CHUNK * 2, level: 9, ..settings(encoding) };
        let finer = convert(&from, &at(&place(format!("{encoding:?} 4")), ""), &finer).await.unwrap();
        assert_ne!(finer.new, one.new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_bytes_come_the_result_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: String| dir.path().join(name);
    image([Layer::from_tar(varied(), Compression::None)]).build().write_layout(&place("from".into()), None);
    let from = at(&place("from".into()), "");
    // What eStargz leaves out comes in pieces, too.
    let lazy = convert(&from, &at(&place("lazy".into()), ""), &settings(Encoding::Estargz)).await.unwrap();
    for encoding in &ENCODINGS[2..] {
        let mut made = Vec::new();
        for piece in [usize::MAX, 100, 512, 513, 16_384, 100_000] {
            let to = place(format!("{encoding:?} {piece}"));
            let converted = convert_watched(&from, &at(&to, ""), &settings(*encoding), &Pieces(piece)).await;
            made.push(converted.unwrap().new);
            if *encoding == Encoding::Estargz {
                let (from, to) = (at(&place("lazy".into()), ""), at(&to, ":again"));
                let again = convert_watched(&from, &to, &settings(*encoding), &Pieces(piece)).await.unwrap();
                assert_eq!((again.new, again.old), (lazy.new, lazy.new), "pieces of {piece}");
            }
        }
        assert!(made.iter().all(|new| *new == made[0]), "{encoding:?}: {made:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_estargz_layer_is_one_of_every_other_format_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    image([layer(varied())]).build().write_layout(&place("from"), None);
    let estargz = settings(Encoding::Estargz);
    let lazy = convert(&at(&place("from"), ""), &at(&place("lazy"), ""), &estargz).await.unwrap();
    let lazy = open(&place("lazy"), &lazy.new);
    let zstd =
        convert(&at(&place("lazy"), ""), &at(&place("zstd"), ""), &settings(Encoding::Zstd)).await.unwrap();
    let zstd = open(&place("zstd"), &zstd.new);
    assert_eq!(zstd.config_bytes, lazy.config_bytes, "only eStargz changes a tar");
    assert!(zstd.manifest.layers[0].annotations.is_empty(), "what was said of the table is no longer true");
    assert!(decode(&zstd.layers[0], Encoding::Zstd) == decode(&lazy.layers[0], Encoding::Estargz));
    let back = convert(&at(&place("zstd"), ""), &at(&place("back"), ""), &estargz).await.unwrap();
    assert_eq!(open(&place("back"), &back.new).layers, lazy.layers);
}

#[tokio::test(flavor = "multi_thread")]
async fn tars_may_end_as_they_like() {
    let whole = Tree::build(|tree| _ = tree.file("a", "1").file("b", "12345"));
    let entries = whole.len() - 1024;
    let unpadded = 512 + 512 + 512 + 5;
    let ends = [
        whole[..unpadded].to_vec(),
        whole[..entries].to_vec(),
        whole[..entries + 512].to_vec(),
        [&whole[..], &[0; 700_000]].concat(),
        [&whole[..], b"what follows the end is nobody's"].concat(),
        Vec::new(),
        vec![0; 1024],
    ];
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let layers = ends.iter().map(|tar| Layer::from_tar(tar.clone(), Compression::Zstd));
    image(layers).build().write_layout(&place("from"), None);
    for encoding in ENCODINGS {
        let to = place(&format!("{encoding:?}"));
        let converted = convert(&at(&place("from"), ""), &at(&to, ""), &settings(encoding)).await.unwrap();
        for (tar, blob) in ends.iter().zip(&open(&to, &converted.new).layers) {
            let decoded = decode(blob, encoding);
            if encoding == Encoding::Estargz {
                let names = walk(&decoded).into_iter().map(|(entry, _)| entry.path);
                let names: Vec<Vec<u8>> = names.collect();
                assert_eq!(names[1..names.len() - 1].len(), walk(tar).len(), "{names:?}");
                assert!(decoded[1024..].starts_with(&tar[..tar.len().min(unpadded)]) || tar.len() == 1024);
            } else {
                assert!(decoded == *tar, "{encoding:?}, {} bytes", tar.len());
            }
        }
    }
}
