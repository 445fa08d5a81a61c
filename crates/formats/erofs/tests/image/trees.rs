//! Random trees, and hand-made inodes.

use glowplug_erofs::{Content, DataExtent, Device, DeviceNumber, Inode};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

/// Size of each device that [`forest`] uses.
pub const DEVICE_BYTES: u64 = 1 << 20;

pub fn inode(mode: u32, content: Content) -> Inode {
    Inode {
        mode,
        uid: 0,
        gid: 0,
        mtime_s: 1_700_000_000,
        mtime_ns: 123_456_789,
        nlink: 1,
        rdev: DeviceNumber::default(),
        size: 0,
        xattrs: Vec::new(),
        content,
    }
}

pub fn directory(entries: Vec<(Vec<u8>, usize)>) -> Inode {
    inode(0o40_755, Content::Directory(entries))
}

pub fn file(size: u64, extents: Vec<DataExtent>) -> Inode {
    Inode { size, ..inode(0o100_644, Content::Data(extents)) }
}

pub fn extent(file_offset: u64, device: u16, device_offset: u64, len: u64) -> DataExtent {
    DataExtent { file_offset, device, device_offset, len }
}

pub fn device(bytes: u64) -> Device {
    Device { bytes, tag: b"data".to_vec() }
}

/// Adds `child` to the tree under `name` in directory `parent`.
pub fn add(inodes: &mut Vec<Inode>, parent: usize, name: impl Into<Vec<u8>>, child: Inode) -> usize {
    inodes.push(child);
    let index = inodes.len() - 1;
    link(inodes, parent, name, index);
    index
}

pub fn link(inodes: &mut [Inode], parent: usize, name: impl Into<Vec<u8>>, child: usize) {
    let Content::Directory(entries) = &mut inodes[parent].content else { panic!("not a directory") };
    entries.push((name.into(), child));
}

/// One random step in building a tree.
#[derive(Debug, Clone)]
struct Step {
    parent: prop::sample::Index,
    name: Vec<u8>,
    inode: Option<Inode>,
    /// With no inode: which earlier one gets another link.
    target: prop::sample::Index,
}

/// Up to `steps` inodes below a root, and the devices of their contents.
pub fn forest(steps: usize) -> impl Strategy<Value = (Vec<Inode>, Vec<Device>)> {
    (any_inode(), vec(step(), 0..steps), 1..4_usize).prop_map(|(root, steps, devices)| {
        let mut inodes = vec![Inode {
            mode: 0o40_755,
            size: 0,
            rdev: DeviceNumber::default(),
            content: Content::Directory(Vec::new()),
            ..root
        }];
        for Step { parent, name, inode, target } in steps {
            let directories: Vec<usize> =
                (0..inodes.len()).filter(|&i| inodes[i].mode >> 12 == 0o4).collect();
            let parent = *parent.get(&directories);
            let Content::Directory(entries) = &inodes[parent].content else { unreachable!() };
            if entries.iter().any(|(other, _)| *other == name) {
                continue;
            }
            match inode {
                Some(mut inode) => {
                    if let Content::Data(extents) = &mut inode.content {
                        extents.iter_mut().for_each(|extent| extent.device %= devices as u16);
                    }
                    add(&mut inodes, parent, name, inode);
                }
                None => {
                    let target = target.index(inodes.len());
                    if inodes[target].mode >> 12 != 0o4 {
                        link(&mut inodes, parent, name, target);
                    }
                }
            }
        }
        count_links(&mut inodes);
        (inodes, vec![device(DEVICE_BYTES); devices])
    })
}

/// Sets the link counts that a file system would show.
fn count_links(inodes: &mut [Inode]) {
    let mut counts = vec![0; inodes.len()];
    counts[0] = 1;
    for index in 0..inodes.len() {
        if let Content::Directory(entries) = &inodes[index].content {
            counts[index] += 1;
            for &(_, child) in entries {
                counts[child] += 1;
                counts[index] += u32::from(inodes[child].mode >> 12 == 0o4);
            }
        }
    }
    inodes.iter_mut().zip(counts).for_each(|(inode, count)| inode.nlink = count);
}

fn step() -> impl Strategy<Value = Step> {
    let made = prop_oneof![9 => any_inode().prop_map(Some), 1 => Just(None)];
    (any::<prop::sample::Index>(), name(), made, any::<prop::sample::Index>())
        .prop_map(|(parent, name, inode, target)| Step { parent, name, inode, target })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0x61_u8..0x65, 1 => 1_u8..=255];
    let length = prop_oneof![8 => 1..6_usize, 2 => 6..60_usize, 1 => 200..=255_usize];
    length
        .prop_flat_map(move |length| vec(byte.clone(), length))
        .prop_filter("slash or dots", |name| !name.contains(&b'/') && name != b"." && name != b"..")
}

fn any_inode() -> impl Strategy<Value = Inode> {
    let content = prop_oneof![
        3 => Just((0o4, 0, DeviceNumber::default(), Content::Directory(Vec::new()))),
        2 => target().prop_map(|target| (0o12, 0, DeviceNumber::default(), Content::Symlink(target))),
        4 => contents().prop_map(|(size, data)| (0o10, size, DeviceNumber::default(), Content::Data(data))),
        1 => (0..1_u32 << 12, 0..1_u32 << 20, any::<bool>()).prop_map(|(major, minor, block)| {
            (if block { 0o6 } else { 0o2 }, 0, DeviceNumber { major, minor }, Content::None)
        }),
        1 => prop_oneof![Just(0o1), Just(0o14), Just(0o10)]
            .prop_map(|kind| (kind, 0, DeviceNumber::default(), Content::None)),
    ];
    let time = (-2_000_000_000..5_000_000_000_i64, 0..1_000_000_000_u32);
    (content, 0..0o10_000_u32, 0..100_000_u32, 0..100_000_u32, time, xattrs()).prop_map(
        |((kind, size, rdev, content), bits, uid, gid, (mtime_s, mtime_ns), xattrs)| Inode {
            mode: kind << 12 | bits,
            uid,
            gid,
            mtime_s,
            mtime_ns,
            nlink: 1,
            rdev,
            size,
            xattrs,
            content,
        },
    )
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![6 => 1..60_usize, 2 => 3900..=4095_usize];
    length.prop_flat_map(|length| vec(1_u8..=255, length))
}

/// Size and extents of a file of up to some blocks, with holes.
fn contents() -> impl Strategy<Value = (u64, Vec<DataExtent>)> {
    let run = (any::<bool>(), 1..20_u64, 0..3_u16, 0..(DEVICE_BYTES / 4096 - 20));
    (vec(run, 0..5), 0..4096_u64).prop_map(|(runs, cut)| {
        let mut extents = Vec::new();
        let mut offset = 0;
        for (hole, blocks, device, block) in runs {
            let len = blocks * 4096;
            if !hole {
                extents.push(extent(offset, device, block * 4096, len));
            }
            offset += len;
        }
        let size = offset.saturating_sub(cut);
        if let Some(last) = extents.last_mut()
            && last.file_offset + last.len > size
        {
            last.len = size - last.file_offset;
        }
        (size, extents)
    })
}

fn xattrs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let name = prop_oneof![
        4 => "user\\.[a-z.]{1,8}",
        2 => "trusted\\.(overlay\\.)?[a-z]{1,6}",
        2 => "security\\.[a-z]{2,9}x",
    ];
    let value = prop_oneof![6 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 3000..9000)];
    let few = btree_map(name.prop_map(String::into_bytes), value, 1..4);
    prop_oneof![4 => Just(Vec::new()), 1 => few.prop_map(|map| map.into_iter().rev().collect())]
}
