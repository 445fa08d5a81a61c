//! The image for tests: one static program, and everything that layers can do to each other: whiteouts, opaque
//! folders, hard links, owners, special modes, file capabilities, long names, and enough bytes that nobody needs for a
//! lazy start to show.

use super::recipe::Layer;
use crate::tree::Tree;

/// What the image answers at [`ANSWER_PATH`].
pub const ANSWER: &str = "the tiny image answers\n";
/// Where it is asked.
pub const ANSWER_PATH: &str = "/answer.txt";

/// Bytes of each of the files that nothing reads.
const PAYLOAD_FILE_BYTES: usize = 1 << 20;
/// `cap_net_bind_service` as the kernel keeps it with a file, revision 2, effective and permitted.
const CAP_NET_BIND_SERVICE: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The layers, the lowest first.
pub fn layers(busybox: &[u8]) -> Vec<Layer> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    vec![
        layer("busybox", base(busybox)),
        layer("payload", payload(&mut noise)),
        layer("changes: one file removed, one folder replaced, one file changed", changes(&mut noise)),
    ]
}

fn layer(made_by: &str, tree: Tree) -> Layer {
    Layer { made_by: made_by.to_owned(), tree, scratch: None }
}

fn base(busybox: &[u8]) -> Tree {
    let mut tree = Tree::new();
    for (path, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("home/user", 0o700),
        ("proc", 0o555),
        ("root", 0o700),
        ("sys", 0o555),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("www", 0o755),
    ] {
        tree.folder(path, mode);
    }
    tree.file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n");
    tree.file("etc/group", 0o644, "root:x:0:\nuser:x:1000:\n");
    tree.file("bin/busybox", 0o755, busybox);
    for name in ["sh", "ls", "cat", "echo", "stat", "find", "sleep", "id", "env", "wc", "dd", "md5sum"] {
        tree.symlink(&format!("bin/{name}"), "busybox");
    }
    tree.hard_link("usr/bin/httpd", "bin/busybox");
    tree.file("usr/bin/bound", 0o755, "#!/bin/sh\nexec id\n");
    tree.xattr("usr/bin/bound", "security.capability", &CAP_NET_BIND_SERVICE);
    tree.file("usr/bin/raised", 0o4755, "#!/bin/sh\nexec id\n");
    tree.own("home/user", 1000, 1000);
    tree.file("home/user/notes", 0o600, "mine\n");
    tree.own("home/user/notes", 1000, 1000);
    tree.file("www/healthz", 0o644, "ok\n");
    tree.file(&format!("www{ANSWER_PATH}"), 0o644, "not this one: a later layer has the answer\n");
    tree
}

fn payload(noise: &mut Noise) -> Tree {
    let mut tree = Tree::new();
    tree.folder("data", 0o755);
    for number in 0..8 {
        tree.file(&format!("data/part-{number}"), 0o644, noise.bytes(PAYLOAD_FILE_BYTES));
    }
    tree.hard_link("data/part-0-again", "data/part-0");
    tree.file("data/removed-later", 0o644, noise.bytes(4096));
    tree.folder("data/replaced-later", 0o755);
    tree.file("data/replaced-later/old", 0o644, "old\n");
    tree.file("data/empty", 0o644, "");
    tree.file(&format!("data/{}", "a-long-name-".repeat(20)), 0o644, "long\n");
    tree.file("data/zeros", 0o644, vec![0; PAYLOAD_FILE_BYTES]);
    tree
}

fn changes(noise: &mut Noise) -> Tree {
    let mut tree = Tree::new();
    tree.folder("data", 0o755);
    tree.file("data/.wh.removed-later", 0o644, "");
    tree.folder("data/replaced-later", 0o755);
    tree.file("data/replaced-later/.wh..wh..opq", 0o644, "");
    tree.file("data/replaced-later/new", 0o644, noise.bytes(4096));
    tree.folder("www", 0o755);
    tree.file(&format!("www{ANSWER_PATH}"), 0o644, ANSWER);
    tree
}

/// Bytes that do not compress and are the same each time (xorshift64*).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            bytes.extend_from_slice(&self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
