//! Which bytes of a layer's tar go where: the files of an order in front, and a long layer into several.
//!
//! ```text
//! contents   what a tar holds, and where; and whether it may be taken apart
//! shown      order -> which layer shows which of the files
//! pieces     contents, order, length -> which bytes of the tar each new layer is made of
//! ```
//!
//! Pure: paths and offsets in, offsets out. Invariants: an entry keeps its bytes, headers included. Laid over the layers
//! below one after the other, the pieces give the tree that the layer gives: directories come before what is in them and
//! again in every piece that has something below them, so that each piece leaves them with their own attributes and times;
//! a file and its hard links stay together and in their order; what hides files of layers below is in the first piece.
//!
//! A tar whose meaning hangs on the order of its entries in any other way is left as it is, see [`Contents::fixed`].

mod contents;
mod movable;
mod pieces;
mod shown;

pub(crate) use contents::{Contents, Lister};
pub(crate) use pieces::{Piece, pieces};
pub(crate) use shown::wanted;

use glowplug_base::ByteRange;
use glowplug_tarwalk::Whiteout;

/// An entry of a tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, normalised.
    path: Vec<u8>,
    kind: Kind,
    /// Its bytes in the tar, from the first header to the end of the padding.
    bytes: ByteRange,
}

/// What an entry is, as far as that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory,
    /// Anything that has a place of its own.
    File,
    /// One more name of what is at this normalised path.
    Link(Vec<u8>),
    /// It says something about layers below.
    Hides(Whiteout),
}

/// The directories that a path leads through, the root, which is empty, first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| &path[..at]);
    (!path.is_empty()).then_some(&[][..]).into_iter().chain(slashes)
}
