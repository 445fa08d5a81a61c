//! The kernel's own view of a written image. Needs root and EROFS; skipped without, unless `CI=true` says
//! that they must be there.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use glowplug_erofs::{Content, Device, DeviceNumber, Inode, write};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rustix::mount::{self, FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::model::{self, Body};
use crate::trees::{DEVICE_BYTES, add, device, directory, extent, file, forest, inode, link};

/// Whether mounting is possible here.
fn can_mount() -> bool {
    let erofs = fs::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("erofs"));
    let possible = erofs && rustix::process::geteuid().is_root();
    assert!(possible || std::env::var("CI").as_deref() != Ok("true"), "CI must be able to mount EROFS");
    if !possible {
        eprintln!("skipped: needs root and EROFS in the kernel");
    }
    possible
}

/// A mounted image. The mount hangs in no directory, so it ends with the test even if that is killed.
struct Mounted {
    mount: OwnedFd,
    _folder: tempfile::TempDir,
}

impl Mounted {
    fn new(inodes: &[Inode], devices: &[Device], fill: impl Fn(usize, &File)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let mut image = File::create(at("image")).unwrap();
        write(inodes, devices, &mut image).unwrap();
        let mut paths = Vec::new();
        for (index, device) in devices.iter().enumerate() {
            let path = at(&format!("device{index}"));
            let data = File::create(&path).unwrap();
            data.set_len(device.bytes).unwrap();
            fill(index, &data);
            paths.push(path);
        }
        check(&at("image"), &paths);
        let context = mount::fsopen("erofs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let context = context.as_fd();
        mount::fsconfig_set_string(context, "source", at("image")).unwrap();
        for path in &paths {
            mount::fsconfig_set_string(context, "device", path).unwrap();
        }
        mount::fsconfig_create(context).unwrap_or_else(|error| panic!("{error}: {}", log(context)));
        let mount = mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)
            .unwrap();
        Self { mount, _folder: folder }
    }

    fn path(&self, inside: &[u8]) -> PathBuf {
        // The slash makes system calls that do not follow links step into the mount all the same.
        let root = format!("/proc/self/fd/{}/", self.mount.as_raw_fd());
        PathBuf::from(OsString::from_vec([root.as_bytes(), inside].concat()))
    }
}

/// What the kernel has to say about a failed mount.
fn log(context: impl AsFd) -> String {
    let mut buffer = [0; 4096];
    let read = rustix::io::read(context, &mut buffer).unwrap_or(0);
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

/// The second opinion of erofs-utils, where they are installed.
fn check(image: &Path, devices: &[PathBuf]) {
    let mut command = Command::new("fsck.erofs");
    for path in devices {
        command.arg(format!("--device={}", path.display()));
    }
    if let Ok(output) = command.arg(image).output() {
        assert!(output.status.success(), "fsck.erofs: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Byte `offset` of device `index`; never zero, so that holes are told apart.
fn pattern(index: usize, offset: u64) -> u8 {
    (offset ^ offset >> 8 ^ offset >> 16 ^ (index as u64) << 6) as u8 | 1
}

fn fill_with_pattern(index: usize, data: &File) {
    let bytes: Vec<u8> = (0..data.metadata().unwrap().len()).map(|offset| pattern(index, offset)).collect();
    data.write_all_at(&bytes, 0).unwrap();
}

/// Attributes as the kernel shows them, without those of users where it lists but does not give them: on
/// anything but files and directories.
fn xattrs(path: &Path, mode: u32) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0_u8; 70_000];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .filter(|name| shown(name, mode))
        .map(|name| {
            let mut value = vec![0_u8; 70_000];
            let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect()
}

fn shown(name: &[u8], mode: u32) -> bool {
    !name.starts_with(b"user.") || matches!(mode >> 12, 0o4 | 0o10)
}

/// Compares everything that system calls show with what was asked for.
fn compare(mounted: &Mounted, inodes: &[Inode], byte: impl Fn(usize, u64) -> u8) {
    let expected = model::of(inodes);
    let mut children: HashMap<&[u8], BTreeMap<&[u8], u32>> = HashMap::new();
    for (path, node) in expected.iter().filter(|(path, _)| !path.is_empty()) {
        let slash = path.iter().rposition(|&byte| byte == b'/').unwrap();
        children.entry(&path[..slash]).or_default().insert(&path[slash + 1..], node.mode);
    }
    let mut numbers = HashMap::new();
    for (inside, node) in &expected {
        let path = mounted.path(inside);
        let stat = fs::symlink_metadata(&path).unwrap();
        assert_eq!(stat.mode(), node.mode, "{path:?}");
        assert_eq!((stat.uid(), stat.gid()), node.owner, "{path:?}");
        assert_eq!((stat.mtime(), stat.mtime_nsec()), (node.mtime.0, i64::from(node.mtime.1)), "{path:?}");
        assert_eq!(stat.nlink(), u64::from(node.nlink), "{path:?}");
        assert_eq!(numbers.entry(node.same_as.clone()).or_insert(stat.ino()), &stat.ino(), "{path:?}");
        let mut wanted = node.xattrs.clone();
        wanted.retain(|name, _| shown(name, node.mode));
        assert_eq!(xattrs(&path, node.mode), wanted, "{path:?}");
        match &node.body {
            Body::Directory => {
                let wanted = children.remove(inside.as_slice()).unwrap_or_default();
                let found: Vec<_> = fs::read_dir(&path).unwrap().map(Result::unwrap).collect();
                assert_eq!(found.len(), wanted.len(), "{path:?}");
                for entry in found {
                    let mode = wanted[entry.file_name().as_bytes()];
                    let kind = entry.file_type().unwrap();
                    assert_eq!(kind.is_dir(), mode >> 12 == 0o4, "{entry:?}");
                    assert_eq!(kind.is_symlink(), mode >> 12 == 0o12, "{entry:?}");
                    assert_eq!(kind.is_fifo(), mode >> 12 == 0o1, "{entry:?}");
                    assert_eq!(entry.ino(), entry.metadata().unwrap().ino(), "{entry:?}");
                }
            }
            Body::Symlink(target) => assert_eq!(fs::read_link(&path).unwrap().as_os_str().as_bytes(), target),
            Body::File(size, blocks) => {
                assert_eq!(stat.len(), *size, "{path:?}");
                let mut wanted = vec![0; *size as usize];
                for &(file_offset, device, device_offset) in blocks {
                    let rest = &mut wanted[file_offset as usize..];
                    for (i, slot) in rest.iter_mut().take(4096).enumerate() {
                        *slot = byte(usize::from(device), device_offset + i as u64);
                    }
                }
                let mut found = Vec::new();
                File::open(&path).unwrap().read_to_end(&mut found).unwrap();
                assert!(found == wanted, "{path:?}");
            }
            Body::Other => {
                let minor = (stat.rdev() & 0xff | stat.rdev() >> 12 & 0xf_ff00) as u32;
                assert_eq!(((stat.rdev() >> 8 & 0xfff) as u32, minor), node.rdev, "{path:?}");
            }
        }
        let missing = mounted.path(&[inside.as_slice(), b"/no such entry"].concat());
        assert!(fs::symlink_metadata(missing).is_err());
    }
}

#[test]
fn random_trees() {
    if !can_mount() {
        return;
    }
    let mut runner = TestRunner::deterministic();
    for _ in 0..12 {
        let (inodes, devices) = forest(150).new_tree(&mut runner).unwrap().current();
        let mounted = Mounted::new(&inodes, &devices, fill_with_pattern);
        compare(&mounted, &inodes, pattern);
    }
}

#[test]
fn edges_of_the_format() {
    if !can_mount() {
        return;
    }
    let mut inodes = vec![directory(Vec::new())];
    inodes[0].nlink = 2;
    // Links of every length that matters for being stored beside the inode.
    for length in [1, 31, 32, 33, 4031, 4032, 4033, 4094, 4095] {
        let target = vec![b'a' + (length % 26) as u8; length];
        add(&mut inodes, 0, format!("link{length}"), inode(0o120_777, Content::Symlink(target)));
    }
    // Directories around the size of one and two blocks; the names sort before, between and after the dots.
    for count in [1, 2, 150, 151, 152, 153, 154, 155, 156, 157, 158, 300, 310, 320] {
        let sub = add(&mut inodes, 0, format!("directory{count}"), directory(Vec::new()));
        for i in 0..count {
            let first = [b'!', b'-', b'.', b'0', b'z', 0xff][i % 6];
            let name = [&[first][..], format!("name{i:09}").as_bytes()].concat();
            add(&mut inodes, sub, name, file(0, Vec::new()));
        }
    }
    // Attributes that cross blocks, together with a directory that wants to be inline.
    for bytes in [0, 1, 3900, 4000, 4096, 20_000, 65_000] {
        let mut holder = directory(Vec::new());
        holder.xattrs = vec![
            (b"user.value".to_vec(), vec![7; bytes]),
            (b"trusted.overlay.opaque".to_vec(), b"y".to_vec()),
        ];
        let sub = add(&mut inodes, 0, format!("attributes{bytes}"), holder);
        add(&mut inodes, sub, "child", file(0, Vec::new()));
    }
    // A file with a capability, linked twice, and an overlay whiteout.
    let mut ping = file(5000, vec![extent(0, 0, 8192, 5000)]);
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ping.xattrs = vec![(b"security.capability".to_vec(), capability.to_vec())];
    ping.nlink = 2;
    let ping = add(&mut inodes, 0, "ping", ping);
    link(&mut inodes, 0, "pong", ping);
    add(&mut inodes, 0, "whiteout", inode(0o20_000, Content::None));
    let null = Inode { rdev: DeviceNumber { major: 1, minor: 3 }, ..inode(0o20_666, Content::None) };
    add(&mut inodes, 0, "null", null);
    // Holes before, between and after data, and nothing but a hole.
    let pieces = vec![extent(4096, 0, 0, 4096), extent(65_536, 0, 16_384, 8192)];
    add(&mut inodes, 0, "sparse", file(1_000_000, pieces));
    add(&mut inodes, 0, "hole", file(1_000_001, Vec::new()));

    let devices = [device(DEVICE_BYTES)];
    let mounted = Mounted::new(&inodes, &devices, fill_with_pattern);
    compare(&mounted, &inodes, pattern);
}

#[test]
fn far_offsets_of_a_large_device() {
    if !can_mount() {
        return;
    }
    // 6 TiB into the device, a file of 5 TiB: block addresses beyond 2^30, one chunk beyond 2^32 bytes.
    const START: u64 = 6 << 40;
    const SIZE: u64 = (5 << 40) + 100;
    let mut inodes = vec![directory(Vec::new())];
    add(&mut inodes, 0, "small", file(4096, vec![extent(0, 1, START + SIZE.next_multiple_of(4096), 4096)]));
    add(&mut inodes, 0, "large", file(SIZE, vec![extent(0, 1, START, SIZE)]));
    let devices = [device(4096), device(START + SIZE.next_multiple_of(4096) + 4096)];
    let mounted = Mounted::new(&inodes, &devices, |index, data| {
        if index == 1 {
            data.write_all_at(b"first", START).unwrap();
            data.write_all_at(b"middle", START + (3 << 40) + 4090).unwrap();
            data.write_all_at(b"last", START + SIZE - 4).unwrap();
            data.write_all_at(b"small", START + SIZE.next_multiple_of(4096)).unwrap();
        }
    });
    let large = File::open(mounted.path(b"/large")).unwrap();
    let read = |file: &File, offset, length| {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).unwrap();
        bytes
    };
    assert_eq!(read(&large, 0, 5), b"first");
    assert_eq!(read(&large, (3 << 40) + 4090, 6), b"middle");
    assert_eq!(read(&large, SIZE - 4, 4), b"last");
    assert_eq!(read(&File::open(mounted.path(b"/small")).unwrap(), 0, 5), b"small");
}

#[test]
fn a_hundred_thousand_entries() {
    if !can_mount() {
        return;
    }
    let mut inodes = vec![directory(Vec::new())];
    for i in 0..100_000_u32 {
        let name = format!("entry-{}", i.wrapping_mul(2_654_435_761));
        add(&mut inodes, 0, name, Inode { uid: i, ..file(0, Vec::new()) });
    }
    let mounted = Mounted::new(&inodes, &[], |_, _| {});
    assert_eq!(fs::read_dir(mounted.path(b"")).unwrap().count(), 100_000);
    for i in (0..100_000_u32).step_by(37) {
        let name = format!("/entry-{}", i.wrapping_mul(2_654_435_761));
        assert_eq!(fs::symlink_metadata(mounted.path(name.as_bytes())).unwrap().uid(), i);
    }
}
