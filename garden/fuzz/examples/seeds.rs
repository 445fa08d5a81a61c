//! Writes the seeds in `corpus/` that a program makes: `cargo run --example seeds`. Run it after a format got a new
//! version; seeds that people or fuzzers put there keep their names and stay.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use glowplug_base::{ByteRange, Digest};
use glowplug_erofs::{Content, DataExtent, Device, DeviceNumber, Inode};
use glowplug_layer::{Check, Cursor, Entry, Extent, Kind, LayerIndex, Origin, Recipe, Span, WindowRef};
use glowplug_toc::{
    Checkpoint, Compression as Cut, Dialect, EntryKind, IndexVersion, Prefetch, PrefetchDescriptor,
    PrefetchSpan, SociIndex, Subject, Timestamp, Toc, TocChunk, TocEntry, Ztoc, ZtocDescriptor, ZtocEntry,
    estargz,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tars =
        [("plain", plain_tar()?), ("pax", pax_tar()?), ("gnu", gnu_tar()?), ("devices", device_tar()?)];
    for (name, tar) in &tars {
        save("tarwalk", name, tar)?;
    }
    let mut members = gzip(&text(3000), 9)?;
    members.extend(gzip(&text(900), 1)?);
    save("gzindex", "members", &members)?;
    members.extend([0; 20]);
    save("gzindex", "padded", &members)?;
    save("gzindex", "blocks", &gzip(&text(40_000), 6)?)?;
    save("gzindex", "stored", &gzip(&text(2000), 0)?)?;
    save("gzindex", "empty", &gzip(b"", 6)?)?;
    save("gzindex", "tar", &gzip(&tars[1].1, 6)?)?;

    for (name, recipe) in [
        ("stored", Recipe::Stored),
        ("deflate", Recipe::Deflate { bits: 3, window: WindowRef { offset: 0, len: 900 } }),
        ("zstd", Recipe::ZstdFrame),
        ("whole", Recipe::Whole),
    ] {
        let file = glowplug_layer::encode(&index(recipe))?;
        // Behind the header of 32 bytes, of which the last 8 are the body's length.
        let length = u64::from_le_bytes(file[24..32].try_into()?);
        save("layer", &format!("{name}.body"), &zstd::bulk::decompress(&file[32..], length as usize)?)?;
        save("layer", &format!("{name}.file"), &file)?;
    }

    let mut image = Vec::new();
    glowplug_erofs::write(&tree(), &[Device { bytes: 3 << 20, tag: b"layer".to_vec() }], &mut image)?;
    save("erofs", "tree", &image)?;
    let mut image = Vec::new();
    glowplug_erofs::write(&tree()[..1].iter().cloned().map(emptied).collect::<Vec<_>>(), &[], &mut image)?;
    save("erofs", "empty", &image)?;

    save("ztoc", "plain", &ztoc(Cut::Uncompressed { span_size: 4096 }, 2).encode()?)?;
    let checkpoint =
        |compressed, uncompressed, bits| Checkpoint { compressed, uncompressed, bits, window: text(700) };
    let checkpoints = vec![checkpoint(10, 0, 0), checkpoint(4000, 5000, 3)];
    save("ztoc", "gzip", &ztoc(Cut::Gzip { span_size: 5000, checkpoints }, 2).encode()?)?;
    save(
        "ztoc",
        "empty",
        &Ztoc { entries: Vec::new(), ..ztoc(Cut::Uncompressed { span_size: 8192 }, 1) }.encode()?,
    )?;

    let (digest, size) = (Digest::from_bytes([7; 32]), 1234);
    let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
    let index = |version| SociIndex {
        version,
        ztocs: vec![ZtocDescriptor {
            digest,
            size,
            layer_digest: digest,
            layer_media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            span_size: Some(4 << 20),
            disable_xattrs: true,
        }],
        prefetches: vec![PrefetchDescriptor { digest, size, layer_digest: digest }],
        build_tool: "seed".to_owned(),
    };
    save("soci", "v1", &index(IndexVersion::V1(Some(Subject { media_type, digest, size }))).encode())?;
    save("soci", "v2", &index(IndexVersion::V2).encode())?;
    let spans = vec![
        PrefetchSpan { start_span: 0, end_span: 3, priority: 0 },
        PrefetchSpan { start_span: 9, end_span: 9, priority: -1 },
    ];
    save("soci", "prefetch", &Prefetch { spans }.encode())?;

    let table = toc(true).encode(Dialect::Estargz);
    save("estargz", "table", &table)?;
    let mut blob = text(2000);
    let member = gzip(&estargz::toc_tar(&table), 6)?;
    let footer = estargz::footer(blob.len() as u64);
    blob.extend(member.iter().chain(&footer));
    save("estargz", "blob", &blob)?;
    for (name, dialect) in [("storage", Dialect::Storage), ("stargz", Dialect::Stargz)] {
        let table = toc(dialect == Dialect::Stargz).encode(dialect);
        save("zstdchunked", name, &table)?;
        save("zstdchunked", &format!("{name}.frame"), &zstd::bulk::compress(&table, 3)?)?;
    }
    Ok(())
}

fn ztoc(compression: Cut, spans: usize) -> Ztoc {
    let entry = |name: &str, kind, offset, size| ZtocEntry {
        name: name.into(),
        kind,
        offset,
        size,
        link: if kind == EntryKind::Symlink { b"a".to_vec() } else { Vec::new() },
        mode: 0o644,
        uid: 1000,
        gid: 100,
        uname: b"user".to_vec(),
        gname: b"users".to_vec(),
        mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 500_000_000 },
        dev_major: 0,
        dev_minor: 0,
        pax: [(b"SCHILY.xattr.user.a".to_vec(), b"b".to_vec())].into(),
    };
    Ztoc {
        build_tool: "seed".to_owned(),
        compressed_size: 8192,
        uncompressed_size: 8192,
        entries: vec![
            entry("dir/", EntryKind::Directory, 512, 0),
            entry("dir/a", EntryKind::Regular, 1024, 700),
            entry("dir/b", EntryKind::Symlink, 2560, 0),
            entry("dir/c", EntryKind::Regular, 3072, 4000),
        ],
        compression,
        span_digests: vec![Digest::from_bytes([9; 32]); spans],
    }
}

/// A table with every kind of entry: with two files in one member, or with zeros, which no dialect has both of.
fn toc(is_shared: bool) -> Toc {
    let digest = Some(Digest::from_bytes([9; 32]));
    let entry = |name: &str, kind, chunks: Vec<TocChunk>| TocEntry {
        name: name.into(),
        kind,
        size: chunks.iter().map(|chunk| chunk.size).sum(),
        link: if matches!(kind, EntryKind::Symlink | EntryKind::Hardlink) {
            b"dir/a".to_vec()
        } else {
            Vec::new()
        },
        mode: 0o4755,
        uid: 1000,
        gid: 0,
        uname: b"user".to_vec(),
        gname: b"root".to_vec(),
        mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 5 },
        dev_major: if kind == EntryKind::Character { 1 } else { 0 },
        dev_minor: 0,
        xattrs: [(b"user.a".to_vec(), b"b".to_vec())].into(),
        digest,
        chunks,
    };
    let chunk = |file, size, start, end, inner, zeros| TocChunk {
        file,
        size,
        blob: ByteRange::new(start, end),
        inner,
        digest,
        zeros,
    };
    let (end, inner) = if is_shared { (100, 1224) } else { (200, 0) };
    let start = if is_shared { 40 } else { 100 };
    Toc {
        entries: vec![
            entry("dir/", EntryKind::Directory, Vec::new()),
            entry("dir/a", EntryKind::Regular, vec![chunk(0, 700, 40, 100, 0, false)]),
            entry("dir/b", EntryKind::Regular, vec![chunk(0, 90, start, end, inner, false)]),
            entry("dir/c", EntryKind::Symlink, Vec::new()),
            entry("dir/d", EntryKind::Hardlink, Vec::new()),
            entry("null", EntryKind::Character, Vec::new()),
            entry("loop", EntryKind::Block, Vec::new()),
            entry("pipe", EntryKind::Fifo, Vec::new()),
            entry(
                "<long>",
                EntryKind::Regular,
                vec![
                    chunk(0, 1000, end, 300, 0, false),
                    chunk(1000, 5000, 300, if is_shared { 400 } else { 300 }, 0, !is_shared),
                    chunk(6000, 10, 400, 500, 0, false),
                ],
            ),
            entry("empty", EntryKind::Regular, Vec::new()),
        ],
    }
}

fn save(target: &str, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// Words that compress, but not to nothing.
fn text(bytes: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|n| format!("{} {:x};", n % 7, n.wrapping_mul(2_654_435_761)).into_bytes())
        .take(bytes)
        .collect()
}

fn gzip(bytes: &[u8], level: u32) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    for part in bytes.chunks(10_000) {
        encoder.write_all(part)?;
        // Ends a block, so that short streams have places for checkpoints too.
        encoder.flush()?;
    }
    encoder.finish()
}

fn header(mut header: tar::Header, kind: tar::EntryType, size: u64) -> tar::Header {
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(1000);
    header.set_gid(100);
    header.set_mtime(1_700_000_000);
    header
}

fn plain_tar() -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let ustar = tar::Header::new_ustar;
    builder.append_data(&mut header(ustar(), tar::EntryType::Directory, 0), "etc/", &b""[..])?;
    builder.append_data(&mut header(ustar(), tar::EntryType::Regular, 700), "etc/file", &text(700)[..])?;
    builder.append_data(&mut header(ustar(), tar::EntryType::Regular, 0), "etc/.wh.gone", &b""[..])?;
    builder.append_data(&mut header(ustar(), tar::EntryType::Regular, 0), "var/.wh..wh..opq", &b""[..])?;
    builder.append_link(&mut header(ustar(), tar::EntryType::Symlink, 0), "etc/link", "../x/y")?;
    builder.append_link(&mut header(ustar(), tar::EntryType::Link, 0), "etc/hard", "etc/file")?;
    builder.into_inner()
}

fn pax_tar() -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/file", "d".repeat(180));
    builder.append_pax_extensions([
        ("path", long.as_bytes()),
        ("mtime", b"-1.5".as_slice()),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0".as_slice()),
        ("uid", b"70000".as_slice()),
    ])?;
    builder.append_data(
        &mut header(tar::Header::new_ustar(), tar::EntryType::Regular, 5),
        "short",
        &b"hello"[..],
    )?;
    builder.append_pax_extensions([
        ("GNU.sparse.major", b"1".as_slice()),
        ("GNU.sparse.minor", b"0".as_slice()),
        ("GNU.sparse.name", b"sparse".as_slice()),
        ("GNU.sparse.realsize", b"10000".as_slice()),
    ])?;
    let mut payload = b"2\n0\n512\n9000\n100\n".to_vec();
    payload.resize(512, 0);
    payload.extend(text(612));
    let mut sparse = header(tar::Header::new_ustar(), tar::EntryType::Regular, payload.len() as u64);
    builder.append_data(&mut sparse, "GNUSparseFile.0/sparse", &payload[..])?;
    builder.into_inner()
}

fn gnu_tar() -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(60));
    let gnu = tar::Header::new_gnu;
    builder.append_data(&mut header(gnu(), tar::EntryType::Regular, 3), &long, &b"abc"[..])?;
    builder.append_link(&mut header(gnu(), tar::EntryType::Symlink, 0), "link", &long)?;
    let mut old = header(gnu(), tar::EntryType::GNUSparse, 512);
    old.set_path("old")?;
    if let Some(gnu) = old.as_gnu_mut() {
        gnu.sparse[0].offset = *b"00000000000\0";
        gnu.sparse[0].numbytes = *b"00000001000\0";
        gnu.realsize = *b"00000100000\0";
    }
    old.set_cksum();
    builder.append(&old, &text(512)[..])?;
    builder.into_inner()
}

fn device_tar() -> std::io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind) in
        [("null", tar::EntryType::Char), ("loop", tar::EntryType::Block), ("pipe", tar::EntryType::Fifo)]
    {
        let mut device = header(tar::Header::new_ustar(), kind, 0);
        device.set_device_major(1)?;
        device.set_device_minor(3)?;
        builder.append_data(&mut device, path, &b""[..])?;
    }
    builder.into_inner()
}

/// Two files of which the second crosses from one span into the next.
fn index(recipe: Recipe) -> LayerIndex {
    let mut cursor = Cursor::new();
    let mut extent =
        |stream: u64, len: u64| Extent { file: 0, stream, data: cursor.place(0, len).unwrap_or(0), len };
    let (first, second) = (extent(512, 700), extent(2048, 6000));
    let entry = |path: &str, extent: Extent| Entry {
        path: path.into(),
        kind: Kind::File,
        link: Vec::new(),
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime_s: 1_700_000_000,
        mtime_ns: 5,
        device: (0, 0),
        size: extent.len,
        xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
        extents: vec![extent],
    };
    let cut = 4096;
    let data_cut = second.data + (cut - second.stream);
    let (stream_size, data_size) = (10_240, 12_288);
    let blob = |from, to| ByteRange::new(from, to);
    let spans = [
        (ByteRange::new(0, cut), blob(0, cut), ByteRange::new(0, data_cut)),
        (ByteRange::new(cut, stream_size), blob(cut, stream_size), ByteRange::new(data_cut, data_size)),
    ];
    LayerIndex {
        blob: Digest::from_bytes([7; 32]),
        blob_size: stream_size,
        stream_size,
        data_size,
        origin: Origin::Streamed,
        entries: vec![entry("a", first), entry("b/c", second)],
        spans: spans
            .into_iter()
            .map(|(stream, blob, data)| Span {
                stream,
                blob,
                data,
                recipe,
                check: Check::Data(Digest::from_bytes([9; 32])),
            })
            .collect(),
        chunks: Vec::new(),
        prefetch: Vec::new(),
    }
}

fn inode(mode: u32, content: Content) -> Inode {
    Inode {
        mode,
        uid: 1000,
        gid: 100,
        mtime_s: 1_700_000_000,
        mtime_ns: 5,
        nlink: 1,
        rdev: DeviceNumber::default(),
        size: 0,
        xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
        content,
    }
}

fn emptied(root: Inode) -> Inode {
    Inode { content: Content::Directory(Vec::new()), ..root }
}

fn tree() -> Vec<Inode> {
    let names = [("file", 1), ("hard", 1), ("link", 2), ("null", 3), ("sub", 4)];
    let extent = |file_offset, device_offset, len| DataExtent { file_offset, device: 0, device_offset, len };
    let mut file = inode(0o100_644, Content::Data(vec![extent(0, 4096, 8192), extent(16_384, 40_960, 100)]));
    (file.size, file.nlink) = (16_484, 2);
    let mut device = inode(0o020_666, Content::None);
    device.rdev = DeviceNumber { major: 1, minor: 3 };
    vec![
        inode(
            0o040_755,
            Content::Directory(names.map(|(name, index)| (name.as_bytes().to_vec(), index)).to_vec()),
        ),
        file,
        inode(0o120_777, Content::Symlink(b"../somewhere".to_vec())),
        device,
        inode(0o040_700, Content::Directory((0..300).map(|n| (format!("{n:03}").into_bytes(), 5)).collect())),
        inode(0o100_600, Content::None),
    ]
}
