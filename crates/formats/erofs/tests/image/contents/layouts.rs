//! Every layout that tools write without compression, at every size of block that they use.

use glowplug_erofs::{Member, Piece, ReadLimits, contents};

use super::builder::{Builder, CHARACTER, DIRECTORY, FIFO, FILE, Inode, Layout, SYMLINK};

fn read(image: &[u8]) -> Vec<Member> {
    contents(&mut &image[..], &ReadLimits::default()).unwrap()
}

fn find<'a>(members: &'a [Member], path: &str) -> &'a Member {
    members.iter().find(|member| member.path == path.as_bytes()).unwrap_or_else(|| panic!("no {path}"))
}

/// A file's bytes as its pieces say.
fn bytes(image: &[u8], member: &Member) -> Vec<u8> {
    let mut bytes = vec![0; member.size as usize];
    for Piece { file, image: at, len } in &member.pieces {
        let (file, at, len) = (*file as usize, *at as usize, *len as usize);
        bytes[file..file + len].copy_from_slice(&image[at..at + len]);
    }
    bytes
}

fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7) as u8 ^ seed).collect()
}

#[test]
fn flat_files_lie_in_blocks_and_beside_their_inodes() {
    for bits in [11, 12, 14, 16] {
        let block = 1 << bits;
        let mut builder = Builder::new(bits);
        let directory = builder.add(0, "d", Inode::new(DIRECTORY, [], Layout::Inline).extended());
        let mut files = Vec::new();
        let lengths = [0, 1, 100, block, block + 1, 3 * block - 1];
        let names = ["a", "b", "c", "e", "f", "g"];
        for (name, len) in names.into_iter().zip(lengths) {
            let content = pattern(name.as_bytes()[0], len);
            builder.add(directory, name, Inode::new(FILE, content.clone(), Layout::Plain));
            files.push((format!("d/{name}"), content.clone()));
            // A tail needs room beside the inode.
            if len % block <= block / 2 && len % block > 0 {
                builder.add(0, name, Inode::new(FILE, content.clone(), Layout::Inline).extended());
                files.push((name.to_owned(), content));
            }
        }
        let image = builder.build();
        let members = read(&image);
        for (path, content) in &files {
            assert_eq!(&bytes(&image, find(&members, path)), content, "{path}, blocks of {block}");
        }
        let tail = find(&members, "f");
        assert_eq!(tail.pieces.len(), 2, "a block and a tail");
        assert!(tail.pieces[1].image < tail.pieces[0].image);
        assert_eq!(find(&members, "d/g").pieces.len(), 1);
    }
}

#[test]
fn chunks_have_holes_are_shared_and_come_in_any_order() {
    for indexes in [false, true] {
        for bits in [0_u16, 1] {
            let chunk = 4096_usize << bits;
            let mut builder = Builder::new(12);
            builder.data = pattern(3, 6 * chunk);
            let blocks = |numbers: &[Option<u32>]| numbers.iter().map(|it| it.map(|it| it << bits)).collect();
            let mut file = |name, size: usize, numbers: &[Option<u32>]| {
                let layout = Layout::Chunks { bits, indexes, blocks: blocks(numbers) };
                builder.add(0, name, Inode { size: size as u64, ..Inode::new(FILE, [], layout) });
            };
            file("in-order", 3 * chunk - 5, &[Some(0), Some(1), Some(2)]);
            file("odd", 4 * chunk, &[Some(5), None, Some(3), Some(4)]);
            file("shared", chunk + 9, &[Some(4), Some(0)]);
            file("hole", 2 * chunk, &[None, None]);
            let image = builder.build();
            let members = read(&image);
            let data = |number: usize| &builder.data[number * chunk..(number + 1) * chunk];
            let (one, odd) = (find(&members, "in-order"), find(&members, "odd"));
            assert_eq!(one.pieces.len(), 1, "neighbours are one piece");
            assert_eq!(bytes(&image, one), builder.data[..3 * chunk - 5]);
            assert_eq!(odd.pieces.len(), 2);
            assert_eq!(bytes(&image, odd), [data(5), &vec![0; chunk][..], data(3), data(4)].concat());
            assert_eq!(bytes(&image, find(&members, "shared")), [data(4), &data(0)[..9]].concat());
            assert_eq!(find(&members, "hole").pieces, []);
        }
    }
}

#[test]
fn attributes_lie_beside_inodes_and_are_shared() {
    let mut builder = Builder::new(12);
    builder.shared = vec![(6, "selinux", "label"), (1, "x", "longer than the other one")];
    let xattrs = vec![(1, "own", "1"), (4, "overlay.opaque", "y"), (2, "", "acl")];
    let both = Inode { xattrs, shared: vec![1, 0], ..Inode::new(FILE, [7; 5], Layout::Inline) };
    builder.add(0, "both", both.clone().extended());
    builder.add(0, "compact", both);
    builder.add(0, "shared", Inode { shared: vec![0], ..Inode::new(FILE, [], Layout::Plain) });
    let members = read(&builder.build());
    let expected = [
        ("user.x", "longer than the other one"),
        ("security.selinux", "label"),
        ("user.own", "1"),
        ("trusted.overlay.opaque", "y"),
        ("system.posix_acl_access", "acl"),
    ];
    let expected = expected.map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    assert_eq!(find(&members, "both").xattrs, expected);
    assert_eq!(find(&members, "compact").xattrs, expected);
    assert_eq!(find(&members, "shared").xattrs, expected[1..2]);
}

#[test]
fn both_forms_of_inodes_tell_who_and_when() {
    let mut builder = Builder::new(12);
    let compact = Inode::new(FILE, [], Layout::Plain);
    let file = builder.add(0, "compact", compact.clone());
    builder.add(0, "extended", compact.extended());
    builder.link(0, "again", file);
    builder.add(0, "link", Inode::new(SYMLINK, *b"compact", Layout::Inline));
    builder.add(0, "plain-link", Inode::new(SYMLINK, *b"extended", Layout::Plain));
    let whiteout = Layout::Raw { layout: 0, location: 0 };
    builder.add(0, "whiteout", Inode::new(CHARACTER, [], whiteout));
    let null = Layout::Raw { layout: 0, location: 0x103 };
    builder.add(0, "null", Inode::new(CHARACTER, [], null));
    builder.add(0, "pipe", Inode::new(FIFO, [], Layout::Plain));
    let members = read(&builder.build());
    let who = |path: &str| {
        let it = find(&members, path);
        (it.uid, it.gid, it.mtime_s, it.mtime_ns)
    };
    assert_eq!(who("compact"), (1, 2, 1007, 500), "counted from the image's time");
    assert_eq!(who("extended"), (70_000, 80_000, 7, 9));
    let (first, second) = (find(&members, "again"), find(&members, "compact"));
    assert_eq!((first.same_as, second.same_as), (None, Some(1)), "names are in order");
    assert_eq!(find(&members, "link").target, b"compact");
    assert_eq!(find(&members, "plain-link").target, b"extended");
    let device = |path: &str| (find(&members, path).rdev.major, find(&members, path).rdev.minor);
    assert_eq!((device("whiteout"), device("null")), ((0, 0), (1, 3)));
    assert_eq!(find(&members, "pipe").mode, 0o010_600);
}

#[test]
fn directories_span_blocks() {
    let mut builder = Builder::new(12);
    let names: Vec<&'static str> =
        (0..400).map(|n| &*Box::leak(format!("name-{n:04}").into_boxed_str())).collect();
    let file = builder.add(0, names[0], Inode::new(FILE, [], Layout::Plain));
    names[1..].iter().for_each(|name| builder.link(0, name, file));
    let members = read(&builder.build());
    assert_eq!(members.len(), 401);
    assert!(members[1..].is_sorted_by_key(|member| member.path.clone()));
}
