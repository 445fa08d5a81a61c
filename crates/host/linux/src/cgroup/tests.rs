//! Cgroup layouts from mount tables, and the files that limits land in, over a made-up hierarchy.

use super::*;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 / /mnt/again rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

#[test]
fn layouts_from_mount_tables() {
    let hybrid = Layout::parse(HYBRID, |_| String::new());
    assert_eq!(hybrid.kind(), "hybrid");
    assert_eq!(hybrid.hierarchies.len(), 4);
    assert_eq!(hybrid.hierarchies[1].root, Path::new("/sys/fs/cgroup/memory"));
    let v2 = Layout::parse("30 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", |root| {
        assert_eq!(root, Path::new("/sys/fs/cgroup"));
        "cpuset cpu io memory pids\n".to_owned()
    });
    assert_eq!(v2.kind(), "v2");
    assert_eq!(v2.hierarchies[0].controllers, ["cpuset", "cpu", "io", "memory", "pids"]);
    let v1: String = HYBRID.lines().filter(|l| !l.contains("cgroup2")).map(|l| format!("{l}\n")).collect();
    assert_eq!(Layout::parse(&v1, |_| String::new()).kind(), "v1");
    assert!(Layout::parse("garbage\n1 2 3 - \n", |_| String::new()).hierarchies.is_empty());
}

/// A directory that looks enough like a hierarchy for files to be written into.
fn fake(unified: bool, controllers: &[&str]) -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let controllers: Vec<String> = controllers.iter().map(|c| (*c).to_owned()).collect();
    if unified {
        for name in ["g", "g/x"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("cgroup.controllers"), controllers.join(" ")).unwrap();
        }
    }
    let layout =
        Layout { hierarchies: vec![Hierarchy { root: dir.path().to_owned(), controllers, unified }] };
    (dir, layout)
}

#[test]
fn limits_land_in_the_files_of_each_version() {
    let limits = Limits {
        memory_bytes: Some(1 << 30),
        memory_swap_bytes: Some(2 << 30),
        cpu_quota_us: Some(150_000),
        cpu_shares: Some(1024),
        pids: Some(100),
    };
    let read =
        |dir: &tempfile::TempDir, name: &str| fs::read_to_string(dir.path().join("g/x").join(name)).unwrap();

    let (dir, layout) = fake(true, &["cpu", "memory", "pids"]);
    let group = Cgroup::create(&layout, Path::new("/g/../x")).unwrap();
    assert_eq!(group.paths(), [dir.path().join("g/x")], "dots never leave the hierarchy");
    group.limit(&limits).unwrap();
    assert_eq!(read(&dir, "memory.max"), (1u64 << 30).to_string());
    assert_eq!(read(&dir, "memory.swap.max"), (1u64 << 30).to_string());
    assert_eq!(read(&dir, "cpu.max"), "150000 100000");
    assert_eq!(read(&dir, "cpu.weight"), "39");
    assert_eq!(read(&dir, "pids.max"), "100");

    let (dir, layout) = fake(false, &["cpu", "memory", "pids"]);
    let group = Cgroup::create(&layout, Path::new("g/x")).unwrap();
    group.limit(&limits).unwrap();
    assert_eq!(read(&dir, "memory.memsw.limit_in_bytes"), (2u64 << 30).to_string());
    assert_eq!(read(&dir, "cpu.cfs_quota_us"), "150000");
    group.join(42).unwrap();
    assert_eq!(read(&dir, "cgroup.procs"), "42");
}

#[test]
fn a_limit_without_its_controller_is_an_error() {
    let (_dir, layout) = fake(false, &["memory"]);
    let limits = Limits { pids: Some(1), ..Limits::default() };
    let error = Cgroup::create(&layout, Path::new("g/x")).unwrap().limit(&limits).unwrap_err();
    assert!(matches!(error, CgroupError::NoController { controller: "pids", .. }));
}
