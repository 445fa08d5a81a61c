//! Debian in an image: the base layer and the layer with Python, each as `apt-get install` would have left it, without
//! running the packages' scripts: what those would have made is made here.

use std::collections::BTreeMap;
use std::process::Command;

use crate::packages::debian::Deb;
use crate::step;
use crate::tree::Tree;

/// The packages of the base layer.
pub const BASE: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "ca-certificates",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "login",
    "mount",
    "ncurses-base",
    "ncurses-bin",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "tzdata",
    "usr-is-merged",
    "util-linux",
];

const CERTIFICATES: &str = "usr/share/ca-certificates";
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
    protocols: db files\nservices: db files\n";

/// The base layer.
pub fn base(debs: &[Deb]) -> anyhow::Result<Tree> {
    let mut tree = Tree::from_debs(debs.iter().map(|deb| &*deb.file))?;
    for (made, from) in [
        ("etc/passwd", "usr/share/base-passwd/passwd.master"),
        ("etc/group", "usr/share/base-passwd/group.master"),
    ] {
        if let Some(bytes) = tree.bytes(from).map(<[u8]>::to_vec) {
            tree.file(made, 0o644, bytes);
        }
    }
    let shadow: String = tree
        .bytes("etc/passwd")
        .map(String::from_utf8_lossy)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(|user| format!("{user}:*:19723:0:99999:7:::\n"))
        .collect();
    tree.file("etc/shadow", 0o640, shadow);
    tree.own("etc/shadow", 0, 42);
    tree.file("etc/nsswitch.conf", 0o644, NSSWITCH);
    tree.file("etc/hostname", 0o644, "");
    tree.symlink("usr/bin/sh", "dash");
    if !tree.contains("usr/bin/awk") && tree.contains("usr/bin/mawk") {
        tree.symlink("usr/bin/awk", "mawk");
    }
    for (path, mode) in [
        ("dev", 0o755),
        ("proc", 0o555),
        ("sys", 0o555),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("root", 0o700),
        ("etc/ssl", 0o755),
        ("etc/ssl/certs", 0o755),
        ("var/lib/dpkg", 0o755),
        ("var/lib/dpkg/info", 0o755),
    ] {
        tree.folder(path, mode);
    }
    let bundle: Vec<u8> = tree
        .below(CERTIFICATES)
        .filter(|path| path.ends_with(".crt"))
        .filter_map(|path| tree.bytes(path))
        .flat_map(|pem| pem.iter().copied())
        .collect();
    tree.file("etc/ssl/certs/ca-certificates.crt", 0o644, bundle);
    database(&mut tree, debs, debs)?;
    Ok(tree)
}

/// A layer of further packages on top of others.
pub fn further(all: &[Deb], below: &[Deb]) -> anyhow::Result<Tree> {
    let added: Vec<Deb> = all.iter().filter(|deb| !below.contains(deb)).cloned().collect();
    let mut tree = Tree::from_debs(added.iter().map(|deb| &*deb.file))?;
    // The links of the merged /usr are in the base layer already.
    tree.retain(|path| !["bin", "lib", "lib64", "sbin"].contains(&path));
    tree.folder("var/lib/dpkg", 0o755);
    tree.folder("var/lib/dpkg/info", 0o755);
    database(&mut tree, all, &added)?;
    Ok(tree)
}

/// dpkg's record of what is installed: the status of `all`, the file lists of `added`.
fn database(tree: &mut Tree, all: &[Deb], added: &[Deb]) -> anyhow::Result<()> {
    let mut status = String::new();
    for deb in all {
        let fields = step::read(Command::new("dpkg-deb").arg("--field").arg(&deb.file))?;
        let (package, rest) = fields.split_once('\n').unwrap_or((&fields, ""));
        status += &format!("{package}\nStatus: install ok installed\n{rest}\n");
    }
    tree.file("var/lib/dpkg/status", 0o644, status);
    for deb in added {
        let listing = Tree::from_debs([&*deb.file])?;
        let list: String = listing.paths().map(|path| format!("/{path}\n")).collect();
        tree.file(&format!("var/lib/dpkg/info/{}.list", deb.name), 0o644, list);
    }
    Ok(())
}

/// The packages and their versions, as an annotation of the image.
pub fn versions(debs: &[Deb]) -> BTreeMap<String, String> {
    let list: Vec<String> = debs.iter().map(|deb| format!("{}={}", deb.name, deb.version)).collect();
    BTreeMap::from([("dev.glowplug.test-image.debian".to_owned(), list.join(" "))])
}
