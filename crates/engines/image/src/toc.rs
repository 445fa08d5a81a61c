//! The table of contents that a layer carries itself: eStargz and zstd:chunked, taken in.
//!
//! ```text
//! find        annotations of the layer -> where its table is -> the table, held against the digest in the manifest
//! to_index    table -> layer index (its claims checked for sense)
//! audit       the whole layer against its table, while the rest of it comes in (crate::fetch::audit)
//! ```
//!
//! The chain of trust is: the manifest names the digest of the table, the table those of the chunks, and no chunk is readable
//! before it matched. A layer whose manifest names no digest of a table is a plain layer, whatever else it carries, and
//! streams by. Trouble with a table is never an image's trouble: the layer then streams by as well.
//!
//! Hidden from the tree are the table itself and the two landmarks, as the tools that write them have it.

mod external;
mod find;
mod import;

pub use external::External;
pub use find::{Kind, Table, find, kind, unvouched};
pub use import::{is_hidden, to_index};
