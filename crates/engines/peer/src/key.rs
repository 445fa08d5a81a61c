//! The node's key: by it a node's service and the processes of its machine that may read the file know each other.
//!
//! Whoever can connect to loopback is not yet one of ours: containers with the host's network can, and whoever listens at
//! the service's port while it is away. So what could do harm is marked with the key in both directions, and the key itself is
//! never sent. The file is one line, `glowplug-key 1 <64 hex digits>`; what is not that is replaced.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use glowplug_base::Secret;

use crate::OpenError;

const MAGIC: &str = "glowplug-key 1 ";
/// Bytes of randomness in a key.
const KEY_BYTES: usize = 32;
/// The name of the file in a service's directory.
pub const KEY_FILE: &str = "key";

/// The key in a file; nothing where there is none, or this process may not read it.
pub fn read_key(path: &Path) -> Option<Secret> {
    let text = std::fs::read_to_string(path).ok()?;
    let digits = text.trim_end().strip_prefix(MAGIC)?;
    let sound = digits.len() == 2 * KEY_BYTES && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| Secret::new(digits.as_bytes()))
}

/// The key in a directory; made where there is none.
pub(crate) fn own(dir: &Path) -> Result<Secret, OpenError> {
    let path = dir.join(KEY_FILE);
    if let Some(key) = read_key(&path) {
        return Ok(key);
    }
    let failed = |source| OpenError::File { path: path.clone(), source };
    let beside = dir.join("key.new");
    let _ = std::fs::remove_file(&beside);
    let make = || {
        let mut random = [0; KEY_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let mut line = MAGIC.to_owned();
        random.iter().for_each(|byte| _ = write!(line, "{byte:02x}"));
        // For nobody else from the beginning, whatever the umask says.
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        std::fs::rename(&beside, &path)
    };
    make().map_err(failed)?;
    read_key(&path).ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_replaced_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(KEY_FILE);
        assert!(read_key(&path).is_none());
        let mark = |key: &Secret| key.mark(b"x");
        let first = mark(&own(dir.path()).unwrap());
        assert_eq!(mark(&own(dir.path()).unwrap()), first);
        assert_eq!(mark(&read_key(&path).unwrap()), first);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        for damaged in ["", "glowplug-key 1 00", "glowplug-key 2 0000"] {
            std::fs::write(&path, damaged).unwrap();
            assert!(read_key(&path).is_none());
            assert_ne!(mark(&own(dir.path()).unwrap()), first);
        }
    }
}
