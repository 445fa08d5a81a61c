//! What must be known of a layer before its entries can be put in another order: all of it. The layer streams by once, its
//! tar goes to a file on the disk, and where its entries lie stays in memory.
//!
//! A tar is compressed as one piece, so that what stands at its end cannot be written first without having all of it
//! decoded somewhere. That, or decoding the layer twice and having its registry send it twice: the disk is cheaper.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use glowplug_base::Digest;
use glowplug_source::RangeSource;
use glowplug_tarwalk::{Limits, Walker};

use super::entry::is_estargz_own;
use super::{Original, PIECES_AHEAD};
use crate::ConvertError;
use crate::arrange::{Contents, Lister};
use crate::spool::{Spool, SpooledTar};

/// A layer that has streamed by.
#[derive(Debug)]
pub(crate) struct Survey {
    /// What is in it.
    pub(crate) contents: Contents,
    /// Its tar, which is the one that the image says.
    pub(crate) tar: SpooledTar,
}

/// Lets `original`, whose blob comes from `source`, stream by into a file in `dir`. `leaves_out_own` says that what an
/// earlier conversion to eStargz put in is not wanted.
pub(crate) async fn survey(
    original: &Original,
    source: &dyn RangeSource,
    leaves_out_own: bool,
    dir: Option<&Path>,
) -> Result<Survey, ConvertError> {
    let blob = original.blob;
    let spool = Spool::create(dir).map_err(|(path, source)| ConvertError::Spool { path, source })?;
    let path = spool.path().to_owned();
    let (pieces, tar) = sync_channel::<Option<Vec<u8>>>(PIECES_AHEAD);
    let lister = Lister::new(if leaves_out_own { is_estargz_own } else { |_| false });
    let listing = tokio::task::spawn_blocking(move || list(&tar, spool, lister));
    let decoded = glowplug_image::stream_by(source, blob, original.compression, move |piece| {
        pieces.send(piece).is_ok()
    })
    .await;
    let listed = listing.await.map_err(|error| ConvertError::layer(blob, error))?;
    let listed = listed.map_err(|source| ConvertError::Spool { path, source })?;
    decoded?;
    let (survey, found) = listed.ok_or_else(|| ConvertError::layer(blob, "it could not be decoded"))?;
    if found != original.diff_id {
        return Err(ConvertError::DiffId { layer: blob, expected: original.diff_id, found });
    }
    Ok(survey)
}

/// Writes the tar down and lists its entries; nothing comes of one that ends without saying so. Blocks.
fn list(
    tar: &Receiver<Option<Vec<u8>>>,
    mut spool: Spool,
    mut lister: Lister,
) -> std::io::Result<Option<(Survey, Digest)>> {
    let mut walker = Some(Walker::new(Limits::default()));
    for piece in tar {
        let Some(piece) = piece else {
            let settled = walker.as_ref().map_or(0, Walker::settled);
            if walker.is_none_or(|walker| walker.finish().is_err()) {
                lister.give_up();
            }
            let (tar, digest) = spool.finish_tar();
            return Ok(Some((Survey { contents: lister.finish(settled), tar }, digest)));
        };
        spool.append(&piece)?;
        // Formats without a table take what is no tar, too.
        walker = walker.and_then(|mut walker| {
            walker.push(&piece, &mut |entry| lister.take(&entry)).is_ok().then_some(walker)
        });
    }
    Ok(None)
}
