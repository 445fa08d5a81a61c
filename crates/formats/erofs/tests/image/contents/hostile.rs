//! Mangled images give errors or members, never panics; what is refused has a name; limits hold.

use glowplug_erofs::{ContentsError, Member, ReadError, ReadLimits, contents};
use proptest::collection::vec;
use proptest::prelude::*;

use super::builder::{Builder, DIRECTORY, FILE, Inode, Layout, META_BLOCK, NULL, SYMLINK};

const TIGHT: ReadLimits = ReadLimits { inodes: 50, entries: 200, chunks: 1000, bytes: 1 << 20 };

fn read(image: &[u8]) -> Result<Vec<Member>, ContentsError> {
    contents(&mut &image[..], &TIGHT)
}

fn builder() -> Builder {
    let mut builder = Builder::new(12);
    builder.data = vec![5; 3 * 4096];
    builder.shared = vec![(6, "selinux", "label")];
    let directory = builder.add(0, "d", Inode::new(DIRECTORY, [], Layout::Inline));
    builder.add(directory, "plain", Inode::new(FILE, [1; 5000], Layout::Plain));
    let xattrs = vec![(1, "own", "1")];
    builder.add(
        directory,
        "tail",
        Inode { xattrs, shared: vec![0], ..Inode::new(FILE, [2; 300], Layout::Inline) },
    );
    let blocks = vec![Some(2), None, Some(0)];
    let chunks = Layout::Chunks { bits: 0, indexes: true, blocks };
    let file = builder.add(0, "chunks", Inode { size: 3 * 4096, ..Inode::new(FILE, [], chunks) }.extended());
    builder.link(directory, "again", file);
    builder.add(0, "link", Inode::new(SYMLINK, *b"d/plain", Layout::Inline));
    builder
}

proptest! {
    #[test]
    fn mangled_images_never_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut image = builder().build();
        for (at, byte) in changes {
            // Where there is metadata: the rest is nobody's business.
            let at = 1024 + at.index(5 * 4096 - 1024);
            image[at] = byte;
        }
        let _ = read(&image);
        image.truncate(cut.index(image.len()));
        let _ = read(&image);
    }

    #[test]
    fn flipped_bits_in_inodes_and_directories_never_panic(
        flips in vec((0..800_usize, 0..8_u32), 1..6),
    ) {
        let mut image = builder().build();
        for (at, bit) in flips {
            image[META_BLOCK as usize * 4096 + at] ^= 1 << bit;
        }
        let _ = read(&image);
    }

    #[test]
    fn an_image_cut_short_says_how_much_is_missing(cut in any::<prop::sample::Index>()) {
        let image = builder().build();
        let short = &image[..cut.index(image.len())];
        match read(short) {
            // All metadata is here.
            Ok(members) => prop_assert_eq!(members, read(&image).unwrap()),
            Err(ContentsError::Absent { end }) => {
                prop_assert!(end > short.len() as u64 && end <= image.len() as u64);
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..5000)) {
        prop_assert!(read(&bytes).is_err());
    }
}

/// The image of a root with one child.
fn with(child: Inode) -> Vec<u8> {
    let mut builder = Builder::new(12);
    builder.add(0, "x", child);
    builder.build()
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let compressed =
        |layout| with(Inode { size: 9, ..Inode::new(FILE, [], Layout::Raw { layout, location: 9 }) });
    for layout in [1, 3] {
        assert_eq!(read(&compressed(layout)), Err(ContentsError::Compressed { path: "x".to_owned() }));
    }
    let feature = |incompat, devices| {
        let builder = Builder { incompat, devices, ..builder() };
        read(&builder.build())
    };
    assert!(
        feature(0x3f, 0).is_ok(),
        "settings of compression say nothing about files that are not compressed"
    );
    for (incompat, devices, what) in [
        (0x8, 1, "file contents on other devices"),
        (0x40, 0, "prefixes of attribute names of its own"),
        (0x80, 0, "addresses of 48 bits"),
        (0x100, 0, "metadata in an inode of its own"),
        (0x8000, 0, "features that are newer than this program"),
    ] {
        assert_eq!(feature(incompat, devices), Err(ContentsError::Feature(what)));
    }
    let unsupported = |image: &[u8]| match read(image) {
        Err(ContentsError::Read(ReadError::Unsupported(what))) => what,
        other => panic!("{other:?}"),
    };
    let mut image = builder().build();
    image[1024 + 12] = 17;
    assert_eq!(unsupported(&image), "block size");
    let layout = with(Inode { size: 9, ..Inode::new(FILE, [], Layout::Raw { layout: 5, location: 9 }) });
    assert_eq!(unsupported(&layout), "layout of a file");
    let chunks = with(Inode { size: 9, ..Inode::new(FILE, [], Layout::Raw { layout: 4, location: 0x40 }) });
    assert_eq!(unsupported(&chunks), "form of chunks");
    let xattrs = vec![(0x81, "x", "y")];
    assert_eq!(
        unsupported(&with(Inode { xattrs, ..Inode::new(FILE, [], Layout::Plain) })),
        "long prefix of an attribute's name"
    );
}

#[test]
fn nonsense_is_told_from_what_is_not_understood() {
    let corrupt = |image: &[u8]| match read(image) {
        Err(ContentsError::Read(ReadError::Corrupt { what, .. })) => what,
        other => panic!("{other:?}"),
    };
    let file = || Inode::new(FILE, [], Layout::Plain);
    let attribute = |prefix, name| with(Inode { xattrs: vec![(prefix, name, "v")], ..file() });
    assert_eq!(corrupt(&attribute(9, "x")), "unknown namespace of an attribute");
    assert_eq!(corrupt(&attribute(1, "")), "impossible name of an attribute");
    assert_eq!(corrupt(&attribute(2, "x")), "impossible name of an attribute");
    assert_eq!(corrupt(&attribute(1, "a\0b")), "impossible name of an attribute");
    let twice = vec![(1, "x", "v"), (1, "x", "w")];
    assert_eq!(corrupt(&with(Inode { xattrs: twice, ..file() })), "attribute that is there twice");
    assert_eq!(corrupt(&with(Inode { time: (0, 1_000_000_000), ..file() }.extended())), "impossible time");
    assert_eq!(corrupt(&with(Inode { size: u64::MAX, ..file() }.extended())), "impossible length");
    assert_eq!(corrupt(&with(Inode { mode: 0o150_000, ..file() })), "unknown type");
    let link = |target: &[u8], layout| with(Inode::new(SYMLINK, target, layout));
    assert_eq!(corrupt(&link(b"", Layout::Plain)), "impossible length of a link");
    assert_eq!(corrupt(&link(&[b'x'; 4096], Layout::Plain)), "impossible length of a link");
    assert_eq!(corrupt(&link(b"a\0b", Layout::Inline)), "impossible target of a link");
    let hole = Layout::Raw { layout: 0, location: NULL };
    assert_eq!(
        corrupt(&with(Inode { size: 3, ..Inode::new(SYMLINK, [], hole) })),
        "impossible target of a link"
    );

    let mut builder = Builder::new(12);
    let directory = builder.add(0, "d", Inode::new(DIRECTORY, [], Layout::Plain));
    builder.link(directory, "loop", directory);
    assert_eq!(corrupt(&builder.build()), "directory with two parents");
    let mut builder = Builder::new(12);
    builder.link(0, "root", 0);
    assert_eq!(corrupt(&builder.build()), "directory with two parents");
    let mut builder = Builder::new(12);
    let file = builder.add(0, "same", file());
    builder.link(0, "same", file);
    assert_eq!(corrupt(&builder.build()), "names out of order");
    let mut image = self::builder().build();
    image[1024 + 14] += 9;
    assert!(read(&image).is_err(), "the root is something else");
}

#[test]
fn files_and_directories_of_any_length_cost_nothing() {
    let huge = u64::MAX >> 1;
    let plain = Inode { size: huge, ..Inode::new(FILE, [], Layout::Raw { layout: 0, location: 9 }) };
    let members = read(&with(plain.extended())).unwrap();
    assert_eq!((members[1].size, members[1].pieces.len()), (huge, 1));
    for (mode, layout, location) in [(DIRECTORY, 0, 9), (DIRECTORY, 4, 0x20), (FILE, 4, 0), (FILE, 4, 0x1f)] {
        let inode = Inode { size: huge, ..Inode::new(mode, [], Layout::Raw { layout, location }) };
        let mut builder = Builder::new(12);
        builder.add(0, "x", inode.extended());
        builder.names.retain(|number, _| *number == 0);
        assert!(read(&builder.build()).is_err());
    }
}

#[test]
fn limits_hold() {
    let image = builder().build();
    let enough = ReadLimits { inodes: 6, entries: 10, chunks: 3, bytes: 200 };
    let within = |limits| contents(&mut &image[..], &limits);
    assert!(within(enough).is_ok());
    for limits in [
        ReadLimits { inodes: 5, ..enough },
        ReadLimits { entries: 9, ..enough },
        ReadLimits { chunks: 2, ..enough },
        ReadLimits { bytes: 40, ..enough },
    ] {
        assert!(matches!(within(limits), Err(ContentsError::Read(ReadError::Limit(_)))), "{limits:?}");
    }
}

#[test]
fn paths_are_no_longer_than_linux_takes() {
    let name: &'static str = Box::leak("n".repeat(255).into_boxed_str());
    let mut builder = Builder::new(12);
    let mut parent = 0;
    for _ in 0..17 {
        parent = builder.add(parent, name, Inode::new(DIRECTORY, [], Layout::Plain));
    }
    assert!(matches!(read(&builder.build()), Err(ContentsError::Path { .. })));
}
