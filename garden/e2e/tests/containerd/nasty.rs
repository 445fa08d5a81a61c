//! An image of four layers that does to files, by hand, everything that a layer can do to them and that containerd unpacks.
//!
//! Each theme lies in a folder of its own and says what each layer does in it.

use glowplug_testkit::{Entry, Image, ImageBuilder, Layer, Tree};
use tar::{EntryType, Header};

/// What one theme does in the layer of a number, 0 being the lowest.
type Theme = fn(usize, &mut Tree);

const THEMES: [Theme; 15] = [
    root, lowest, whiteouts, opaque, replaced, repeated, links, names, attributes, devices, sparse, symlinks,
    implied, aufs, global,
];

/// The image: a layer of each compression.
pub fn image() -> Image {
    let layer = |number: usize| move |tree: &mut Tree| THEMES.iter().for_each(|theme| theme(number, tree));
    ImageBuilder::new()
        .layer(Layer::gzip(layer(0)))
        .layer(Layer::zstd(layer(1)))
        .layer(Layer::plain(layer(2)))
        .layer(Layer::gzip(layer(3)))
        .build()
}

fn root(layer: usize, tree: &mut Tree) {
    match layer {
        0 => tree.add(Entry::dir("./").mode(0o711).owner(3, 4).xattr("user.root", "0")).file("top", "0"),
        1 => tree.add(Entry::dir("/").mode(0o1777).mtime(5, 6)).file("/slash", "1"),
        2 => tree.file("./dot", "2").add(Entry::file(".wh..wh..opq", "")),
        _ => tree.whiteout("slash"),
    };
}

/// Whiteouts where there is nothing below: they remove what the layer itself has brought until then.
fn lowest(layer: usize, tree: &mut Tree) {
    if layer == 0 {
        tree.dir("low").file("low/gone", "0").whiteout("low/gone").whiteout("low/back").file("low/back", "0");
        tree.dir("low/dir").file("low/dir/x", "0").hardlink("low/kept", "low/dir/x").file("low/opq/x", "0");
        tree.file("low/opq/unlisted/x", "0").dir("low/opq/listed").file("low/opq/listed/y", "0");
        tree.file("low/opq/listed/unlisted/y", "0").opaque("low/opq").file("low/opq/later/x", "0");
        tree.file("low/unlisted/x", "0").whiteout("low/unlisted").whiteout("low/made/nothing");
    }
}

/// What aufs kept in its layers for itself.
fn aufs(layer: usize, tree: &mut Tree) {
    if layer == 1 {
        tree.dir(".wh..wh.plnk").file(".wh..wh.plnk/12.34", "1").file(".wh..wh.aufs", "");
    }
}

/// The last theme: a global header holds until the layer's end.
fn global(layer: usize, tree: &mut Tree) {
    if layer == 3 {
        let records = b"12 uid=1234\n20 mtime=1234567890\n";
        raw(tree, &mut header(EntryType::XGlobalHeader, "pax_global_header"), records);
        tree.file("global/file", "3");
    }
}

fn whiteouts(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            tree.dir("wh").file("wh/file", "0").file("wh/kept", "0").file("wh/comes-back", "0");
            tree.dir("wh/dir").file("wh/dir/x", "0").dir("wh/dir/sub").file("wh/dir/sub/y", "0");
            tree.dir("wh/emptied").file("wh/emptied/only", "0").symlink("wh/link", "kept");
            tree.dir("wh/deep").dir("wh/deep/a").dir("wh/deep/a/b").file("wh/deep/a/b/c", "0");
            tree.dir("wh/unlisted").file("wh/unlisted/x", "0").file("wh/unlisted/y", "0");
            tree.dir("wh/again").file("wh/again/old", "0");
        }
        1 => {
            tree.dir("wh").whiteout("wh/file").whiteout("wh/dir").whiteout("wh/link");
            tree.whiteout("wh/comes-back").dir("wh/emptied").whiteout("wh/emptied/only");
            tree.whiteout("wh/unlisted/x").whiteout("wh/nothing-here").whiteout("wh/made/for-nothing");
            // The directory below and the new one become one again.
            tree.whiteout("wh/again").dir("wh/again").file("wh/again/new", "1");
            tree.whiteout("wh/deep/a/b/c");
        }
        2 => {
            tree.file("wh/comes-back", "2").dir("wh/dir").file("wh/dir/new", "2").whiteout("wh/deep/a");
            tree.whiteout("wh/made/for-nothing");
        }
        _ => {
            tree.dir("wh/file").file("wh/file/now-a-folder", "3").file("wh/deep/a/again", "3");
        }
    }
}

fn opaque(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            for name in ["first", "last", "unlisted", "deep", "again", "file"] {
                tree.dir(&format!("opq/{name}")).file(&format!("opq/{name}/old"), "0");
                tree.dir(&format!("opq/{name}/sub")).file(&format!("opq/{name}/sub/old"), "0");
            }
        }
        1 => {
            tree.dir("opq/first").opaque("opq/first").file("opq/first/new", "1");
            tree.dir("opq/last").file("opq/last/new", "1").dir("opq/last/sub").opaque("opq/last");
            tree.opaque("opq/unlisted").file("opq/unlisted/new", "1");
            tree.dir("opq/deep").dir("opq/deep/sub").opaque("opq/deep/sub");
            tree.dir("opq/again").opaque("opq/again").file("opq/again/new", "1");
            tree.opaque("opq/only-here").file("opq/only-here/x", "1");
            // The mark goes with the folder that it is on.
            tree.dir("opq/file").opaque("opq/file").file("opq/file", "1").dir("opq/file");
        }
        2 => {
            tree.dir("opq/again").file("opq/again/newer", "2").dir("opq/again/sub");
            tree.dir("opq/first").opaque("opq/first");
        }
        _ => {
            tree.file("opq/again/sub/newest", "3").file("opq/unlisted/sub/new", "3");
        }
    }
}

fn replaced(layer: usize, tree: &mut Tree) {
    let (file, link) = (layer.to_string(), |tree: &mut Tree, name: &str| {
        tree.dir("rep/target").file("rep/target/x", "x").symlink(name, "target");
    });
    let folder = |tree: &mut Tree, name: &str| {
        tree.dir(name).file(&format!("{name}/of-{layer}"), "x");
    };
    match layer {
        0 => {
            tree.dir("rep").file("rep/to-and-fro", &file).file("rep/under", &file);
            folder(tree, "rep/fro-and-to");
            folder(tree, "rep/linked");
            link(tree, "rep/unlinked");
            tree.add(Entry::fifo("rep/pipe"));
            folder(tree, "rep/sandwich");
        }
        1 => {
            folder(tree, "rep/to-and-fro");
            tree.file("rep/fro-and-to", &file).file("rep/pipe", &file).file("rep/sandwich", &file);
            link(tree, "rep/linked");
            folder(tree, "rep/unlinked");
            // A folder that nothing lists takes the place of a file.
            tree.file("rep/under/x", &file);
        }
        2 => {
            tree.file("rep/to-and-fro", &file);
            folder(tree, "rep/fro-and-to");
            folder(tree, "rep/linked");
            link(tree, "rep/unlinked");
            folder(tree, "rep/sandwich");
        }
        _ => {
            folder(tree, "rep/to-and-fro");
            folder(tree, "rep/unlinked");
        }
    }
}

fn repeated(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            tree.file("twice/file", "short").file("twice/file", "and much longer");
            tree.add(Entry::dir("twice/dir").mode(0o700).xattr("user.a", "1").mtime(10, 1));
            tree.file("twice/dir/kept", "0");
            tree.add(Entry::dir("twice/dir").mode(0o750).xattr("user.b", "2").mtime(20, 2));
            tree.dir("twice/lost").file("twice/lost/x", "0").file("twice/lost", "0").dir("twice/lost");
            // What takes a folder's place gets its time.
            tree.add(Entry::dir("twice/late").mtime(33, 3)).file("twice/late/x", "0").file("twice/late", "0");
            tree.dir("twice/below").file("twice/below/x", "0");
        }
        1 => {
            // What is below shows again.
            tree.file("twice/below", "1").dir("twice/below");
            tree.symlink("twice/file", "dir").file("twice/file", "1");
            tree.add(Entry::dir("twice/to-a-link").mtime(30, 3)).symlink("twice/to-a-link", "marked");
            tree.add(Entry::dir("twice/marked").mtime(40, 4));
        }
        _ => {}
    }
}

fn links(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            tree.dir("ln").dir("ln/d").file("ln/a", "0").hardlink("ln/b", "ln/a").hardlink("ln/d/c", "/ln/b");
            tree.file("ln/one", "0").hardlink("ln/two", "./ln/one");
            tree.symlink("ln/soft", "a").hardlink("ln/soft-too", "ln/soft");
            tree.add(Entry::fifo("ln/pipe")).hardlink("ln/pipe-too", "ln/pipe");
            // A link brings its own attributes.
            tree.add(Entry::file("ln/plain", "0").mode(0o600).owner(1, 2).xattr("user.kept", "0"));
            let changed = Entry::hardlink("ln/changed", "ln/plain").mode(0o4711).owner(7, 8).mtime(99, 5);
            tree.add(changed.xattr("user.more", "1"));
            tree.add(Entry::file("ln/able", "0").mode(0o755).xattr("security.capability", CAPABILITY));
            tree.add(Entry::hardlink("ln/unable", "ln/able").mode(0o755));
            let able = Entry::hardlink("ln/still-able", "ln/cap").mode(0o755);
            tree.add(Entry::file("ln/cap", "0").mode(0o755).xattr("security.capability", CAPABILITY));
            tree.add(able.xattr("security.capability", CAPABILITY));
            tree.symlink("ln/way", "d").hardlink("ln/by-link", "ln/way/c");
            tree.dir("ln/gone").hardlink("ln/gone/a", "ln/a");
            tree.file("ln/old", "0").hardlink("ln/keeps-old", "ln/old").file("ln/old", "new");
            tree.file("ln/replaced", "0").file("ln/other", "0").hardlink("ln/replaced", "ln/other");
        }
        1 => {
            tree.whiteout("ln/b").whiteout("ln/gone").file("ln/one", "1").hardlink("ln/three", "ln/one");
        }
        2 => {
            tree.whiteout("ln/one").whiteout("ln/soft").whiteout("ln/a");
        }
        _ => {
            tree.file("ln/b", "3").hardlink("ln/a", "ln/b");
        }
    }
}

/// `cap_net_bind_service` as the kernel keeps it with a file, revision 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn names(layer: usize, tree: &mut Tree) {
    let (long, longest) = ("l".repeat(120), "n".repeat(255));
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(200)].join("/");
    match layer {
        0 => {
            tree.dir("names").file(&format!("names/{long}"), "pax").file(&format!("names/{longest}"), "0");
            tree.file(&format!("names/{deep}/file"), "0");
            tree.symlink("names/far", &format!("names/{deep}/file"));
            tree.hardlink("names/hard", &format!("names/{deep}/file"));
            gnu_long(tree, b'L', format!("names/gnu-{long}").as_bytes());
            raw(tree, &mut header(EntryType::Regular, "names/gnu-cut"), b"gnu");
            gnu_long(tree, b'K', format!("/target/{deep}").as_bytes());
            raw(tree, &mut header(EntryType::Symlink, "names/gnu-far"), b"");
            gnu_long(tree, b'L', format!("names/gnu-{deep}/").as_bytes());
            raw(tree, &mut header(EntryType::Directory, "names/gnu-deep"), b"");
            let mut prefixed = Header::new_ustar();
            prefixed.set_entry_type(EntryType::Regular);
            prefixed.as_ustar_mut().unwrap().prefix[..9].copy_from_slice(b"names/pre");
            prefixed.as_ustar_mut().unwrap().name[..4].copy_from_slice(b"fix!");
            plain(&mut prefixed);
            raw(tree, &mut prefixed, b"ustar");
            for odd in
                [&b"not-\xff\xfe-utf8"[..], b"new\nline", b" space ", b"back\\slash", b".hidden", b"..."]
            {
                tree.add(Entry::file([b"names/", odd].concat(), "odd"));
            }
            tree.add(Entry::new(EntryType::Regular, "names/trailing//"));
            tree.file("names//double///slash", "0").file("names/./dot/./x", "0");
            let mut old = Header::new_old();
            old.as_old_mut().name[..13].copy_from_slice(b"names/old-dir");
            old.as_old_mut().name[13] = b'/';
            old.as_old_mut().linkflag = [0];
            plain(&mut old);
            raw(tree, &mut old, b"");
        }
        1 => {
            tree.whiteout(&format!("names/{long}"));
        }
        _ => {}
    }
}

fn attributes(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            for mode in [0, 0o1, 0o644, 0o4755, 0o2755, 0o1644, 0o6711, 0o7777] {
                tree.add(Entry::file(format!("attr/file-{mode:o}"), "0").mode(mode));
                tree.add(Entry::dir(format!("attr/dir-{mode:o}")).mode(mode));
            }
            tree.add(Entry::symlink("attr/link-mode", "x").mode(0o600).owner(9, 9).mtime(77, 8));
            for id in [1, 65_534, 65_535, 65_536, 1_999_999] {
                tree.add(Entry::file(format!("attr/owner-{id}"), "0").owner(id, id + 1));
            }
            tree.add(Entry::file("attr/owner-pax", "0").pax("uid", "4294967294").pax("gid", "3000000000"));
            for (name, time) in [
                ("nanos", "1700000000.123456789"),
                ("tenth", "1700000000.1"),
                ("finer", "1700000000.1234567891"),
                ("negative", "-1.5"),
                ("long-ago", "-1000000000"),
                ("far", "4000000000.25"),
                ("too-far", "9300000000.5"),
                ("zero", "0"),
            ] {
                tree.add(Entry::file(format!("attr/time-{name}"), "0").pax("mtime", time));
                tree.add(Entry::dir(format!("attr/time-dir-{name}")).pax("mtime", time));
            }
            for (name, value) in [
                ("user.text", &b"text"[..]),
                ("user.bytes", b"\0\xff=\n"),
                ("user.empty", b""),
                ("user.a=b", b"c"),
                ("security.capability", &CAPABILITY),
                ("security.other", b"0"),
                ("trusted.secret", b"0"),
                ("trusted.overlay.opaque", b"y"),
                ("foreign.name", b"0"),
                ("system.name", b"0"),
            ] {
                tree.add(Entry::file(format!("attr/x-{name}"), "0").xattr(name, value));
                if name != "security.capability" {
                    tree.add(Entry::dir(format!("attr/xd-{name}")).xattr(name, value));
                    tree.add(Entry::symlink(format!("attr/xl-{name}"), "x").xattr(name, value));
                    tree.add(Entry::fifo(format!("attr/xp-{name}")).xattr(name, value));
                }
            }
            let many = (0..20).fold(Entry::file("attr/many", "0"), |entry, number| {
                entry.xattr(&format!("user.{number}"), format!("{number}"))
            });
            tree.add(many);
            tree.add(Entry::file("attr/x-large", "0").xattr("user.large", vec![b'x'; 3000]));
            // Version 2; owner rw, user 1 r, group r, mask r, others none.
            let entries =
                [(1, 6, u32::MAX), (2, 4, 1), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)];
            let acl =
                entries.iter().fold(vec![2, 0, 0, 0], |mut acl, (tag, rights, id): &(u16, u16, u32)| {
                    acl.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
                    acl.extend(id.to_le_bytes());
                    acl
                });
            tree.add(Entry::file("attr/acl", "0").xattr("system.posix_acl_access", &acl));
            tree.add(Entry::dir("attr/acl-dir").xattr("system.posix_acl_default", &acl));
            tree.add(Entry::file("attr/bsd", "0").pax("LIBARCHIVE.xattr.user.bsd", "YnNk"));
            tree.add(Entry::dir("attr/re").mode(0o700).owner(5, 6).xattr("user.old", "0").mtime(50, 5));
            tree.add(Entry::dir("attr/unlisted").mode(0o710).owner(5, 6).xattr("user.old", "0").mtime(50, 5));
            tree.file("attr/re/x", "0").file("attr/unlisted/x", "0");
            tree.file("attr/empty", "");
        }
        1 => {
            tree.add(Entry::dir("attr/re").mode(0o1751).owner(7, 8).xattr("user.new", "1").mtime(60, 6));
            tree.file("attr/unlisted/y", "1");
        }
        _ => {}
    }
}

fn devices(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            tree.add(Entry::char_device("dev/null", 1, 3).mode(0o666).owner(1, 2).mtime(9, 9));
            tree.add(Entry::char_device("dev/big", 4095, 0o7_777_777 & 0xf_ffff));
            block(tree, "dev/sda", 8, 17);
            tree.add(Entry::fifo("dev/pipe").mode(0o600).owner(3, 4).mtime(8, 8));
            tree.add(Entry::fifo("dev/open-pipe").mode(0o6777));
            tree.file("dev/hidden", "0").dir("dev/hidden-dir").file("dev/hidden-dir/x", "0");
            tree.add(Entry::char_device("dev/below", 0, 0));
            let mut odd = header(EntryType::Regular, "dev/file-with-number");
            odd.set_device_major(5).unwrap();
            raw(tree, &mut odd, b"0");
        }
        1 => {
            tree.add(Entry::char_device("dev/hidden", 0, 0)).add(Entry::char_device("dev/hidden-dir", 0, 0));
            tree.file("dev/pipe", "1");
        }
        2 => {
            tree.file("dev/hidden-dir/new", "2");
        }
        _ => {}
    }
}

fn sparse(layer: usize, tree: &mut Tree) {
    if layer != 0 {
        return;
    }
    let block = vec![b'x'; 4096];
    let two = [&block[..], &[b'y'; 4096]].concat();
    let pax = |name: &str| {
        Entry::file(format!("sparse/{name}-cut"), &two).pax("GNU.sparse.name", format!("sparse/{name}"))
    };
    let zero = pax("pax-0.1").pax("GNU.sparse.size", "20480").pax("GNU.sparse.numblocks", "2");
    tree.add(zero.pax("GNU.sparse.map", "4096,4096,12288,4096"));
    let zero = pax("pax-0.0").pax("GNU.sparse.size", "20480").pax("GNU.sparse.numblocks", "2");
    let zero = zero.pax("GNU.sparse.offset", "0").pax("GNU.sparse.numbytes", "4096");
    tree.add(zero.pax("GNU.sparse.offset", "8192").pax("GNU.sparse.numbytes", "4096"));
    let map = format!("{:\0<512}", "2\n8192\n4096\n16384\n4096\n");
    let one = Entry::file("sparse/pax-1.0-cut", [map.as_bytes(), &two].concat());
    let one = one.pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
    tree.add(one.pax("GNU.sparse.name", "sparse/pax-1.0").pax("GNU.sparse.realsize", "40960"));
    tree.add(
        Entry::file("sparse/hole-cut", "")
            .pax("GNU.sparse.name", "sparse/hole")
            .pax("GNU.sparse.size", "1048576")
            .pax("GNU.sparse.numblocks", "1")
            .pax("GNU.sparse.map", "1048576,0"),
    );
}

/// A file with data between the boundaries of blocks.
pub fn odd_holes() -> Image {
    let odd =
        Entry::file("odd-cut", "0123456789").pax("GNU.sparse.name", "odd").pax("GNU.sparse.size", "30000");
    let odd = odd.pax("GNU.sparse.numblocks", "3").pax("GNU.sparse.map", "100,4,9000,5,20000,1");
    ImageBuilder::new().layer(Layer::gzip(|tree| _ = tree.add(odd).file("plain", "0"))).build()
}

/// Length of the file that [`old_sparse`] adds.
pub const OLD_SPARSE_BYTES: u64 = 5 * 12288 + 4096;

/// Adds a file in GNU's old form: four runs in the header, the others in a block of their own.
pub fn old_sparse(tree: &mut Tree) {
    let mut header = header(EntryType::GNUSparse, "old-sparse");
    let gnu = header.as_gnu_mut().unwrap();
    let octal = |number: u64| {
        let mut field = [0; 12];
        field[..11].copy_from_slice(format!("{number:011o}").as_bytes());
        field
    };
    let mut more = [0; 512];
    for run in 0..6_u64 {
        let (offset, bytes) = (octal(run * 12288), octal(4096));
        if let Some(slot) = gnu.sparse.get_mut(run as usize) {
            (slot.offset, slot.numbytes) = (offset, bytes);
        } else {
            let at = (run as usize - 4) * 24;
            more[at..at + 12].copy_from_slice(&offset);
            more[at + 12..at + 24].copy_from_slice(&bytes);
        }
    }
    gnu.isextended = [1];
    gnu.realsize = octal(OLD_SPARSE_BYTES);
    header.set_size(6 * 4096);
    header.set_cksum();
    tree.raw(header.as_bytes()).raw(&more);
    (0..6).for_each(|run| _ = tree.raw(&vec![b'a' + run; 4096]));
}

fn symlinks(layer: usize, tree: &mut Tree) {
    match layer {
        0 => {
            tree.dir("sym").dir("sym/real").file("sym/real/x", "0").symlink("sym/abs", "/sym/real");
            tree.symlink("sym/rel", "real")
                .symlink("sym/up", "../../../../sym/real")
                .symlink("sym/loop", "loop");
            tree.symlink("sym/nowhere", "no/such")
                .symlink("sym/chain", "rel")
                .symlink("sym/far", &"t/".repeat(300));
            // Within a layer, entries go where its own links lead.
            tree.file("sym/abs/by-abs", "0")
                .file("sym/up/by-up", "0")
                .dir("sym/chain/dir")
                .file("sym/chain/dir/x", "0");
            tree.file("sym/nowhere/x", "0").symlink("sym/odd", "missing/../real").file("sym/odd/by-odd", "0");
            tree.hardlink("sym/hard", "sym/rel/x");
            tree.symlink("sym/late", "real").dir("sym/late").file("sym/late/x", "0");
        }
        1 => {
            // Those of other layers are not followed: a folder takes the link's place, with the attributes of what it leads to.
            tree.file("sym/rel/above", "1").file("sym/abs/above", "1").dir("sym/up");
            tree.file("sym/up/above", "1").whiteout("sym/chain/x");
        }
        2 => {
            tree.symlink("sym/new", "rel").file("sym/new/x", "2").dir("sym/real").opaque("sym/real");
            tree.symlink("sym/rel", "real");
        }
        _ => {
            tree.file("sym/rel/newest", "3").whiteout("sym/new/x");
        }
    }
}

fn implied(layer: usize, tree: &mut Tree) {
    let listed = |path: &str| Entry::dir(path).mode(0o2751).owner(11, 12).mtime(70, 7).xattr("user.of", "0");
    match layer {
        0 => {
            tree.file("imp/a/b/c", "0").add(listed("imp/listed")).file("imp/listed/x", "0");
            tree.add(listed("imp/gone")).add(listed("imp/gone/sub")).file("imp/gone/sub/x", "0");
            tree.add(listed("imp/hidden")).add(listed("imp/hidden/sub")).add(listed("imp/late"));
            tree.add(listed("imp/file"));
            // Listed after what is in it.
            tree.file("imp/order/x", "0").add(listed("imp/order"));
        }
        1 => {
            tree.file("imp/listed/sub/y", "1").whiteout("imp/gone").dir("imp/hidden").opaque("imp/hidden");
            tree.add(Entry::dir("imp/late").mode(0o700)).file("imp/late/x", "1").file("imp/file", "1");
        }
        2 => {
            tree.file("imp/gone/y", "2").file("imp/hidden/sub/y", "2").file("imp/late/y", "2");
            tree.file("imp/listed/sub/z", "2").file("imp/file/y", "2");
        }
        _ => {}
    }
}

fn header(kind: EntryType, path: &str) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    plain(&mut header);
    header
}

/// Fills in what every header needs.
fn plain(header: &mut Header) {
    header.set_mode(0o750);
    header.set_uid(1);
    header.set_gid(2);
    header.set_mtime(3);
}

/// An entry whose header the test kit would not write.
fn raw(tree: &mut Tree, header: &mut Header, data: &[u8]) {
    header.set_size(data.len() as u64);
    header.set_cksum();
    let padding = vec![0; data.len().next_multiple_of(512) - data.len()];
    tree.raw(header.as_bytes()).raw(data).raw(&padding);
}

fn gnu_long(tree: &mut Tree, kind: u8, name: &[u8]) {
    let mut header = header(EntryType::new(kind), "././@LongLink");
    raw(tree, &mut header, &[name, b"\0"].concat());
}

fn block(tree: &mut Tree, path: &str, major: u32, minor: u32) {
    let mut header = header(EntryType::Block, path);
    header.set_device_major(major).unwrap();
    header.set_device_minor(minor).unwrap();
    raw(tree, &mut header, b"");
}
