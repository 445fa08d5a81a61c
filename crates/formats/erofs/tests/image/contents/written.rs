//! What this crate writes is told as it was: the same paths, attributes and links.

use std::collections::BTreeMap;

use glowplug_erofs::{Content, DeviceNumber, Inode, Member, ReadLimits, contents, write};
use proptest::prelude::*;

use crate::trees::forest;

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// What there is at a path.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, u32),
    rdev: DeviceNumber,
    size: u64,
    xattrs: Attributes,
    target: Vec<u8>,
}

fn of_inodes(inodes: &[Inode]) -> BTreeMap<Vec<u8>, Told> {
    let mut told = BTreeMap::new();
    let mut pending = vec![(Vec::new(), 0)];
    while let Some((path, index)) = pending.pop() {
        let inode = &inodes[index];
        let target = match &inode.content {
            Content::Symlink(target) => target.clone(),
            Content::Directory(entries) => {
                let below = |name: &Vec<u8>| match path.is_empty() {
                    true => name.clone(),
                    false => [&path[..], name].join(&b'/'),
                };
                pending.extend(entries.iter().map(|(name, child)| (below(name), *child)));
                Vec::new()
            }
            _ => Vec::new(),
        };
        let is_device = matches!(inode.mode >> 12, 0o2 | 0o6);
        let is_file = inode.mode >> 12 == 0o10;
        let it = Told {
            mode: inode.mode,
            owner: (inode.uid, inode.gid),
            mtime: (inode.mtime_s, inode.mtime_ns),
            rdev: if is_device { inode.rdev } else { DeviceNumber::default() },
            size: if is_file { inode.size } else { 0 },
            xattrs: inode.xattrs.iter().cloned().collect(),
            target,
        };
        told.insert(path, it);
    }
    told
}

fn of_members(members: &[Member]) -> BTreeMap<Vec<u8>, Told> {
    let told = |member: &Member| {
        let first = member.same_as.map_or(member, |first| &members[first]);
        let it = Told {
            mode: member.mode,
            owner: (member.uid, member.gid),
            mtime: (member.mtime_s, member.mtime_ns),
            rdev: member.rdev,
            size: member.size,
            xattrs: first.xattrs.iter().cloned().collect(),
            target: first.target.clone(),
        };
        (member.path.clone(), it)
    };
    members.iter().map(told).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_told((mut inodes, _) in forest(30)) {
        // File contents would lie on devices, which layers have none of.
        for inode in &mut inodes {
            if let Content::Data(extents) = &mut inode.content {
                extents.clear();
            }
        }
        let mut image = Vec::new();
        write(&inodes, &[], &mut image).unwrap();
        let members = contents(&mut &image[..], &ReadLimits::default()).unwrap();
        prop_assert_eq!(of_members(&members), of_inodes(&inodes));
    }
}
