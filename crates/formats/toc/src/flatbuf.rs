//! FlatBuffers, as much of it as zTOCs need, in safe code.
//!
//! The reader checks every offset when it follows it. The builder lays bytes out as the official Go builder
//! does, because digests of zTOCs are digests of these bytes.
//!
//! Source of the format: "FlatBuffer internals" in the FlatBuffers documentation.

mod build;
mod read;

pub(crate) use build::{Builder, Offset};
pub(crate) use read::{Malformed, Table};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back() {
        let mut builder = Builder::new();
        let text = builder.bytes_with_zero(b"text");
        let inner = {
            let mut table = builder.table();
            table.i64(3, -5, 0);
            table.end()
        };
        let list = builder.offsets(&[inner, inner]);
        let mut table = builder.table();
        table.offset(0, text);
        table.i8(1, 7, 1);
        table.i8(2, 1, 1);
        table.u32(4, u32::MAX, 0);
        table.offset(5, list);
        let root = table.end();
        let bytes = builder.finish(root).unwrap();

        let root = Table::root(&bytes).unwrap();
        assert_eq!(root.bytes(0).unwrap(), Some(&b"text"[..]));
        assert_eq!(root.i8(1, 1).unwrap(), 7);
        assert_eq!(root.i8(2, 1).unwrap(), 1, "default");
        assert_eq!(root.i32(3, -9).unwrap(), -9, "absent");
        assert_eq!(root.u32(4, 0).unwrap(), u32::MAX);
        let list = root.vector(5).unwrap().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list.table(1).unwrap().i64(3, 0).unwrap(), -5);
        assert_eq!(list.table(2), Err(Malformed));
        assert_eq!(root.bytes(9).unwrap(), None, "beyond the table's own slots");
    }

    #[test]
    fn offsets_out_of_the_buffer_are_errors() {
        for bytes in [&[][..], &[4, 0, 0], &[4, 0, 0, 0], &[255; 16], &[4, 0, 0, 0, 8, 0, 0, 0]] {
            let found = Table::root(bytes).and_then(|table| table.bytes(0));
            assert_eq!(found, Err(Malformed), "{bytes:?}");
        }
    }
}
