//! Contents of files of equal size, compared byte by byte up to the first difference.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use glowplug_base::name::printable;

use super::{CompareError, Difference};
use crate::{Image, NodeId, ReadError};

/// Files compared at the same time: what is missing of them then comes in few round trips.
const FILES_AT_ONCE: usize = 8;
/// Bytes that are compared at once: with a first one of the same length from each side in memory, enough for a request to be worth its
/// round trip, and few enough to stop early.
const PIECE_BYTES: u32 = 1 << 20;

/// Which of `pairs`, each a position in `found` and the nodes before and after, have different contents. Two hard links need no second
/// look.
pub(super) async fn differing(
    before: &Image,
    after: &Image,
    pairs: Vec<(usize, (NodeId, NodeId))>,
    found: &[Difference],
) -> Result<Vec<usize>, CompareError> {
    let mut places: BTreeMap<(NodeId, NodeId), Vec<usize>> = BTreeMap::new();
    pairs.into_iter().for_each(|(at, nodes)| places.entry(nodes).or_default().push(at));
    let looking = places.into_iter().map(|((was, is), places)| async move {
        let path = || places.first().map_or_else(String::new, |at| printable(&found[*at].path));
        match same(before, was, after, is).await {
            Ok(true) => Ok(Vec::new()),
            Ok(false) => Ok(places),
            Err(source) => Err(CompareError { path: path(), source }),
        }
    });
    let differing: Vec<Vec<usize>> =
        futures::stream::iter(looking).buffer_unordered(FILES_AT_ONCE).try_collect().await?;
    Ok(differing.concat())
}

/// Whether two files of equal size hold the same bytes.
async fn same(before: &Image, was: NodeId, after: &Image, is: NodeId) -> Result<bool, ReadError> {
    let mut offset = 0;
    loop {
        let (old, new) =
            tokio::try_join!(before.read(was, offset, PIECE_BYTES), after.read(is, offset, PIECE_BYTES))?;
        if old != new {
            return Ok(false);
        }
        if old.len() < PIECE_BYTES as usize {
            return Ok(true);
        }
        offset += u64::from(PIECE_BYTES);
    }
}
