//! Users and groups by name, as the image's own `/etc/passwd` and `/etc/group` define them.
//!
//! Rules are Docker's for `--user`: `user`, `uid`, `user:group`, any mixture of names and numbers; a number need not be listed. Files are
//! opened below the root file system with symbolic links resolved inside it, and read up to a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

/// The most read of either file.
const FILE_BYTES: u64 = 1 << 20;

/// Who a container's program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// All groups, the primary one first.
    pub groups: Vec<u32>,
    /// Home directory if the user is listed.
    pub home: Option<String>,
}

/// A user or group that cannot be resolved.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No such user in the image.
    #[error("no user named {0:?} in the image's /etc/passwd")]
    NoUser(String),
    /// No such group in the image.
    #[error("no group named {0:?} in the image's /etc/group")]
    NoGroup(String),
}

/// Resolves `user[:group]` against the image's files below `rootfs`; an empty text is root.
///
/// Reads files of the image: on a lazily filled one it blocks until their bytes are here, so an async caller that also serves these
/// bytes must run it where blocking is allowed.
pub fn resolve(rootfs: &Path, text: &str) -> Result<Identity, UserError> {
    let passwd = read_below(rootfs, "etc/passwd");
    let group = read_below(rootfs, "etc/group");
    resolve_in(&passwd, &group, text)
}

fn read_below(rootfs: &Path, name: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || -> std::io::Result<String> {
        let root = rustix::fs::openat(
            CWD,
            rootfs,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let file = rustix::fs::openat2(root, name, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
        let mut bytes = Vec::new();
        File::from(file).take(FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // An image without these files is common; every user is a number then.
    open().unwrap_or_default()
}

fn resolve_in(passwd: &str, group: &str, text: &str) -> Result<Identity, UserError> {
    let (user, chosen_group) =
        text.split_once(':').map_or((text, None), |(u, g)| (u, Some(g).filter(|g| !g.is_empty())));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let listed = passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find_map(|fields| {
        let (name, uid, gid) =
            (*fields.first()?, fields.get(2)?.parse::<u32>().ok()?, fields.get(3)?.parse::<u32>().ok()?);
        let matches = name == user || number == Some(uid);
        matches.then(|| {
            (name.to_owned(), uid, gid, fields.get(5).map(|h| (*h).to_owned()).filter(|h| !h.is_empty()))
        })
    });
    let (name, uid, mut gid, home) = match (listed, number) {
        (Some((name, uid, gid, home)), _) => (Some(name), uid, gid, home),
        (None, Some(uid)) => (None, uid, 0, None),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    let groups_of_image = || {
        group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, gid, members) =
                (fields.next()?, fields.nth(1)?.parse::<u32>().ok()?, fields.next().unwrap_or(""));
            Some((name, gid, members))
        })
    };
    let mut groups = Vec::new();
    match (chosen_group, name) {
        (Some(wanted), _) => {
            let by_name = groups_of_image().find(|(name, ..)| *name == wanted).map(|g| g.1);
            gid = by_name.or(wanted.parse().ok()).ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?;
        }
        (None, Some(name)) => {
            let member = |members: &str| members.split(',').any(|m| m == name);
            groups.extend(groups_of_image().filter(|g| member(g.2)).map(|g| g.1));
        }
        (None, None) => {}
    }
    groups.retain(|g| *g != gid);
    groups.insert(0, gid);
    groups.dedup();
    Ok(Identity { uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken line\nweb:x:33:33::/var/www:\nodd:x:99:98\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nvideo:x:44:web,odd\nnums:x:notanumber:web\n";

    fn of(text: &str) -> Result<Identity, UserError> {
        resolve_in(PASSWD, GROUP, text)
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: Option<&str>) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), home: home.map(str::to_owned) }
    }

    #[test]
    fn every_form() {
        assert_eq!(of(""), Ok(identity(0, 0, &[0], Some("/root"))));
        assert_eq!(of("web"), Ok(identity(33, 33, &[33, 44], Some("/var/www"))));
        assert_eq!(of("33"), Ok(identity(33, 33, &[33, 44], Some("/var/www"))));
        assert_eq!(of("web:video"), Ok(identity(33, 44, &[44], Some("/var/www"))));
        assert_eq!(of("1234"), Ok(identity(1234, 0, &[0], None)));
        assert_eq!(of("1234:5678"), Ok(identity(1234, 5678, &[5678], None)));
        assert_eq!(of("odd:"), Ok(identity(99, 98, &[98, 44], None)));
        assert_eq!(of("nobody"), Err(UserError::NoUser("nobody".into())));
        assert_eq!(of("web:nogroup"), Err(UserError::NoGroup("nogroup".into())));
    }

    #[test]
    fn links_stay_inside_the_image() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("real")).unwrap();
        std::fs::write(root.path().join("real/passwd"), "inside:x:7:8::/h:\n").unwrap();
        std::os::unix::fs::symlink("/real/passwd", root.path().join("etc/passwd")).unwrap();
        assert_eq!(resolve(root.path(), "inside").unwrap().uid, 7);
        std::fs::remove_file(root.path().join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("../../../../../../etc/passwd", root.path().join("etc/passwd")).unwrap();
        assert!(resolve(root.path(), "root").is_err(), "the host's file must not be read");
    }
}
