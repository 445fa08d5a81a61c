//! Users and groups by name, as the image's own `/etc/passwd` and `/etc/group` define them.
//!
//! Rules are Docker's for `--user`: `user`, `uid`, `user:group`, any mixture of names and numbers; a number need not be listed. The files
//! come as bytes: where a process serves an image to the kernel, reading them through the mount would be asking itself, and a process that
//! is killed while it does so cannot end. Text that is not UTF-8 names nobody.

/// Where an image lists its users.
pub const PASSWD: &str = "/etc/passwd";
/// Where an image lists its groups.
pub const GROUP: &str = "/etc/group";
/// The largest file taken, in bytes. Ten thousand users take 600 KiB.
pub const LARGEST_BYTES: u32 = 1 << 20;

/// An image's two files; without one, which is common, every user or group is a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Contents of [`PASSWD`], at most [`LARGEST_BYTES`] of them and one more, which tells that the file is larger.
    pub passwd: Option<Vec<u8>>,
    /// Contents of [`GROUP`], likewise.
    pub group: Option<Vec<u8>>,
}

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
    /// The file is larger than [`LARGEST_BYTES`].
    #[error("the image's {0} is larger than 1 MiB")]
    Large(&'static str),
}

/// Resolves `user[:group]` by the image's files; an empty text is root.
///
/// # Errors
/// A name that the files do not have, or a file that is too large: half of one could name the wrong user.
pub fn resolve(accounts: &Accounts, text: &str) -> Result<Identity, UserError> {
    let passwd = lines(accounts.passwd.as_deref(), PASSWD)?;
    let group = lines(accounts.group.as_deref(), GROUP)?;
    resolve_in(&passwd, &group, text)
}

fn lines<'f>(file: Option<&'f [u8]>, path: &'static str) -> Result<std::borrow::Cow<'f, str>, UserError> {
    let bytes = file.unwrap_or_default();
    if bytes.len() > LARGEST_BYTES as usize {
        return Err(UserError::Large(path));
    }
    Ok(String::from_utf8_lossy(bytes))
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
    fn files_may_be_missing_or_odd_and_not_large() {
        let none = Accounts::default();
        assert_eq!(resolve(&none, "7:8"), Ok(identity(7, 8, &[8], None)));
        assert_eq!(resolve(&none, ""), Ok(identity(0, 0, &[0], None)));
        assert_eq!(resolve(&none, "web"), Err(UserError::NoUser("web".into())));
        let mut listed = Accounts { passwd: Some(b"\xff:x:5:5::/:\nweb:x:33:33::/w:".to_vec()), group: None };
        assert_eq!(resolve(&listed, "web"), Ok(identity(33, 33, &[33], Some("/w"))));
        let mut passwd = listed.passwd.unwrap();
        passwd.resize(LARGEST_BYTES as usize, b'\n');
        listed.passwd = Some(passwd.clone());
        assert_eq!(resolve(&listed, "web").map(|who| who.uid), Ok(33));
        passwd.push(b'\n');
        let (large, whole) = (Some(passwd), Some(GROUP.as_bytes().to_vec()));
        let passwd = Accounts { passwd: large.clone(), group: whole };
        assert_eq!(resolve(&passwd, "web"), Err(UserError::Large(super::PASSWD)));
        let group = Accounts { passwd: None, group: large };
        assert_eq!(resolve(&group, "1:1"), Err(UserError::Large(super::GROUP)));
    }
}
