//! A file of an image in words and as JSON.

use glowplug_base::name::printable;
use glowplug_image::{Image, Node, NodeId};
use glowplug_layer::Kind;
use glowplug_toc::Timestamp;
use serde_json::{Map, Value, json};

/// What a node is, in a word.
pub const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink => "symlink",
        Kind::Hardlink => "hardlink",
        Kind::Char => "char device",
        Kind::Block => "block device",
        Kind::Fifo => "fifo",
    }
}

/// Type and mode as `ls -l` writes them.
pub fn letters(node: &Node) -> String {
    let first = match node.kind {
        Kind::File | Kind::Hardlink => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Char => 'c',
        Kind::Block => 'b',
        Kind::Fifo => 'p',
    };
    let mut letters = String::from(first);
    // Set-user-id, set-group-id and sticky stand where the right to execute does.
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = node.mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (bits & 1 != 0, node.mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => set,
            (false, true) => unset,
        });
    }
    letters
}

/// Modification time to the second, in UTC.
pub fn time(node: &Node) -> String {
    Timestamp { seconds: node.mtime.0, nanoseconds: 0 }.to_string()
}

/// Target of a link, for people.
pub fn target(image: &Image, id: NodeId) -> Option<String> {
    image.link(id).map(printable)
}

/// A node as JSON, by the name `path`.
pub fn document(image: &Image, path: &[u8], id: NodeId) -> Value {
    let mut fields = Map::new();
    name(&mut fields, "path", path);
    let Some(node) = image.tree().node(id) else { return Value::Object(fields) };
    let mtime = Timestamp { seconds: node.mtime.0, nanoseconds: node.mtime.1 }.to_string();
    let known = json!({ "type": kind(node.kind), "mode": format!("{:04o}", node.mode), "uid": node.uid, "gid": node.gid,
        "bytes": node.size, "links": node.links, "mtime": mtime, "layer": node.origin.map(|origin| origin.0) });
    if let Value::Object(known) = known {
        fields.extend(known);
    }
    if let Some(target) = image.link(id) {
        name(&mut fields, "target", target);
    }
    if matches!(node.kind, Kind::Char | Kind::Block) {
        fields.insert("device".to_owned(), json!([node.device.0, node.device.1]));
    }
    let xattrs = image.tree().xattrs(id);
    if !xattrs.is_empty() {
        let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let of = |(name, value): &(Vec<u8>, Vec<u8>)| {
            (String::from_utf8_lossy(name).into_owned(), hex(value).into())
        };
        fields.insert("xattrs_hex".to_owned(), Value::Object(xattrs.iter().map(of).collect()));
    }
    Value::Object(fields)
}

/// Puts a name in: as text, and as bytes too where the text cannot say it.
pub fn name(fields: &mut Map<String, Value>, key: &str, name: &[u8]) {
    fields.insert(key.to_owned(), String::from_utf8_lossy(name).into());
    if std::str::from_utf8(name).is_err() {
        fields.insert(format!("{key}_bytes"), name.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: Kind, mode: u32) -> Node {
        let (uid, gid, mtime, device, size, links) = (0, 0, (0, 0), (0, 0), 0, 1);
        let (origin, parent, children) = (None, 0, Vec::new());
        Node { kind, mode, uid, gid, mtime, device, size, links, origin, parent, children }
    }

    #[test]
    fn modes_are_written_as_ls_writes_them() {
        let written = [
            (Kind::File, 0o4755),
            (Kind::Directory, 0o1777),
            (Kind::Symlink, 0o777),
            (Kind::File, 0o7644),
            (Kind::Fifo, 0o2010),
        ]
        .map(|(kind, mode)| letters(&node(kind, mode)));
        assert_eq!(written, ["-rwsr-xr-x", "drwxrwxrwt", "lrwxrwxrwx", "-rwSr-Sr-T", "p-----s---"]);
    }

    #[test]
    fn names_that_are_no_text_come_as_bytes_too() {
        let mut fields = Map::new();
        name(&mut fields, "path", b"a\xff");
        name(&mut fields, "target", "ä".as_bytes());
        let expected = json!({ "path": "a\u{fffd}", "path_bytes": [97, 255], "target": "ä" });
        assert_eq!(Value::Object(fields), expected);
    }
}
