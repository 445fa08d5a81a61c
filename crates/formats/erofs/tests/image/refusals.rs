//! Trees that cannot be images are refused before anything is written.

use glowplug_erofs::{
    Content, Device, DeviceNumber, ExtentError, Inode, MAX_DEVICES, WriteError, XattrError, supports_xattr,
    write,
};

use crate::trees::{device, directory, extent, file, inode};

fn refuse(inodes: &[Inode], devices: &[Device]) -> WriteError {
    let mut image = Vec::new();
    let error = write(inodes, devices, &mut image).unwrap_err();
    assert!(image.is_empty());
    error
}

/// The error for a root with this one child.
fn refuse_child(child: Inode, devices: &[Device]) -> WriteError {
    refuse(&[directory(vec![(b"child".to_vec(), 1)]), child], devices)
}

#[test]
fn trees() {
    assert!(matches!(refuse(&[], &[]), WriteError::Root));
    assert!(matches!(refuse(&[file(0, Vec::new())], &[]), WriteError::Root));
    let error = refuse(&[directory(vec![(b"a".to_vec(), 7)])], &[]);
    assert!(matches!(error, WriteError::NoSuchInode { directory: 0, inode: 7 }));
    let error = refuse(&[directory(vec![(b"a".to_vec(), 0)])], &[]);
    assert!(matches!(error, WriteError::DirectoryLinkedTwice { inode: 0 }));
    let twice = directory(vec![(b"a".to_vec(), 1), (b"b".to_vec(), 1)]);
    let error = refuse(&[twice, directory(Vec::new())], &[]);
    assert!(matches!(error, WriteError::DirectoryLinkedTwice { inode: 1 }));
}

#[test]
fn names() {
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0", &[b'x'; 256]] {
        let error = refuse(&[directory(vec![(name.to_vec(), 1)]), file(0, Vec::new())], &[]);
        assert!(matches!(error, WriteError::Name { directory: 0, .. }), "{name:?}");
    }
    let error = refuse(&[directory(vec![(b"a".to_vec(), 1), (b"a".to_vec(), 1)]), file(0, Vec::new())], &[]);
    assert!(matches!(error, WriteError::DuplicateName { .. }));
}

#[test]
fn inodes() {
    for child in [
        inode(0o100_644, Content::Directory(Vec::new())),
        inode(0o644, Content::None),
        inode(0o1_100_644, Content::None),
        Inode { size: 1, ..inode(0o100_644, Content::None) },
        inode(0o20_644, Content::Data(Vec::new())),
    ] {
        assert!(matches!(refuse_child(child, &[]), WriteError::Mode { inode: 1, .. }));
    }
    for target in [Vec::new(), vec![b'x'; 4096], b"a\0b".to_vec()] {
        let error = refuse_child(inode(0o120_777, Content::Symlink(target)), &[]);
        assert!(matches!(error, WriteError::Symlink { inode: 1, .. }));
    }
    let late = Inode { mtime_ns: 1_000_000_000, ..file(0, Vec::new()) };
    assert!(matches!(refuse_child(late, &[]), WriteError::Time { .. }));
    let node = Inode { rdev: DeviceNumber { major: 4096, minor: 0 }, ..inode(0o20_644, Content::None) };
    assert!(matches!(refuse_child(node, &[]), WriteError::DeviceNumber { .. }));
}

#[test]
fn xattrs() {
    let with = |xattrs: &[(&[u8], usize)]| {
        let xattrs = xattrs.iter().map(|&(name, bytes)| (name.to_vec(), vec![0; bytes])).collect();
        match refuse_child(Inode { xattrs, ..file(0, Vec::new()) }, &[]) {
            WriteError::Xattr { inode: 1, source } => source,
            other => panic!("{other}"),
        }
    };
    assert!(matches!(with(&[(b"system.other", 1)]), XattrError::Namespace(_)));
    assert!(matches!(with(&[(b"user.", 1)]), XattrError::Namespace(_)));
    assert!(matches!(with(&[(b"user.a", 1), (b"user.a", 2)]), XattrError::Duplicate(_)));
    assert!(matches!(with(&[(b"user.a\0", 1)]), XattrError::Name(_)));
    assert!(matches!(with(&[(&[b"user.", &[b'x'; 251][..]].concat(), 1)]), XattrError::Name(_)));
    assert!(matches!(with(&[(b"user.a", 65_536)]), XattrError::Value { bytes: 65_536, .. }));
    let many: [(&[u8], usize); 5] = [
        (b"user.a", 65_000),
        (b"user.b", 65_000),
        (b"user.c", 65_000),
        (b"user.d", 65_000),
        (b"user.e", 65_000),
    ];
    assert!(matches!(with(&many), XattrError::TooLarge(_)));
    assert!(supports_xattr(b"security.capability") && !supports_xattr(b"system.nfs4_acl"));
}

#[test]
fn extents() {
    let of = |size, extents| match refuse_child(file(size, extents), &[device(1 << 20)]) {
        WriteError::Extents { inode: 1, source } => source,
        other => panic!("{other}"),
    };
    for (size, extents) in [
        (4096, vec![extent(0, 0, 0, 0)]),
        (4096, vec![extent(0, 0, 0, 4097)]),
        (0, vec![extent(0, 0, 0, 1)]),
        (8192, vec![extent(4096, 0, 0, u64::MAX)]),
    ] {
        assert!(matches!(of(size, extents), ExtentError::Range { index: 0 }));
    }
    let overlap = vec![extent(0, 0, 0, 8192), extent(4096, 0, 0, 4096)];
    assert!(matches!(of(8192, overlap), ExtentError::Range { index: 1 }));
    for bad in [extent(512, 0, 0, 512), extent(0, 0, 512, 4096), extent(0, 0, 0, 100)] {
        assert!(matches!(of(8192, vec![bad]), ExtentError::Unaligned { index: 0 }));
    }
    for bad in [extent(0, 1, 0, 8192), extent(0, 0, 1 << 20, 8192)] {
        assert!(matches!(of(8192, vec![bad]), ExtentError::Device { index: 0, .. }));
    }
    let lonely = vec![extent(4096, 0, 0, 4096)];
    assert!(matches!(of(1 << 40, lonely), ExtentError::TooManyChunks(_)));
}

#[test]
fn devices() {
    let root = [directory(Vec::new())];
    assert!(matches!(refuse(&root, &vec![device(1); MAX_DEVICES + 1]), WriteError::TooManyDevices(_)));
    assert!(matches!(refuse(&root, &[device(16 << 40)]), WriteError::DeviceSize { device: 0, .. }));
    let tag = Device { bytes: 1, tag: vec![b'x'; 65] };
    assert!(matches!(refuse(&root, &[tag]), WriteError::DeviceTag { device: 0 }));
    assert!(write(&root, &vec![device(1); MAX_DEVICES], &mut Vec::new()).is_ok());
}
