//! What there is to do for each layer: one new layer straight from its blob, or, where entries move, some that are made
//! from its tar on the disk.
//!
//! All layers are unpacked there before the first is packed, since a layer shows only what no layer above it hides.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use glowplug_base::Digest;
use glowplug_oci::Descriptor;
use glowplug_registry::{ResolvedImage, ResolvedLayer};

use super::{Converter, LAYERS_AT_ONCE};
use crate::ConvertError;
use crate::arrange::{Contents, Piece, pieces, wanted};
use crate::layer::{Original, Survey, survey};
use crate::plan::Plan;
use crate::settings::Encoding;
use crate::spool::SpooledTar;

/// Most layers that an image may have by being split: Docker takes 125, and the others more.
const MAX_LAYERS: usize = 125;

/// One new layer to be made.
pub(super) struct Job<'a> {
    /// Number of the old layer in the plan.
    pub(super) number: usize,
    /// The old layer, as its manifest lists it.
    pub(super) descriptor: &'a Descriptor,
    /// The old layer.
    pub(super) original: &'a Original,
    /// Which piece of it, from 0.
    pub(super) piece: usize,
    /// Of how many.
    pub(super) pieces: usize,
    /// Where its tar comes from.
    pub(super) tar: Tar,
}

/// Where a tar comes from.
pub(super) enum Tar {
    /// Out of the old blob.
    InBlob,
    /// From the old tar: a piece of it, or all of it as it is.
    OnDisk(Arc<SpooledTar>, Option<Piece>),
}

impl Converter<'_> {
    /// All there is to do, the layers in the order of the plan and the pieces of each in theirs.
    pub(super) async fn jobs<'a>(&self, plan: &'a Plan) -> Result<Vec<Job<'a>>, ConvertError> {
        let numbered = plan.layers.iter().enumerate();
        if !self.settings.rearranges() {
            let job = |(number, (descriptor, original)): (usize, &'a (Descriptor, Original))| Job {
                number,
                descriptor,
                original,
                piece: 0,
                pieces: 1,
                tar: Tar::InBlob,
            };
            return Ok(numbered.map(job).collect());
        }
        let (surveys, arranged) = self.arrange(plan).await?;
        let mut jobs = Vec::new();
        for ((number, (descriptor, original)), (survey, parts)) in
            numbered.zip(surveys.into_iter().zip(arranged))
        {
            let tar = Arc::new(survey.tar);
            let pieces = parts.len();
            jobs.extend(parts.into_iter().enumerate().map(|(piece, part)| {
                let tar = Tar::OnDisk(tar.clone(), part);
                Job { number, descriptor, original, piece, pieces, tar }
            }));
        }
        Ok(jobs)
    }

    /// Every layer unpacked, and of what it consists: pieces, or one that is all of it as it is.
    async fn arrange(&self, plan: &Plan) -> Result<(Vec<Survey>, Vec<Vec<Option<Piece>>>), ConvertError> {
        let (settings, dir) = (self.settings, self.to.spool_dir());
        let leaves_out_own = settings.encoding == Encoding::Estargz;
        let surveys = plan.layers.iter().enumerate().map(|(number, (descriptor, original))| async move {
            let source = self.watch.source(number, self.from.resilient_blob(descriptor));
            survey(original, &*source, leaves_out_own, dir).await
        });
        let surveys: Vec<Survey> =
            futures::stream::iter(surveys).buffered(LAYERS_AT_ONCE).try_collect().await?;
        let bytes = surveys.iter().map(|survey| survey.tar.len()).sum();
        self.watch.unpacked(&dir.map_or_else(std::env::temp_dir, Into::into), bytes);

        let digests = |image: &ResolvedImage| {
            image.layers.iter().map(|layer| layer.descriptor.digest).collect::<Vec<Digest>>()
        };
        let images: Vec<Vec<Digest>> = plan.images.iter().map(digests).collect();
        let contents: HashMap<Digest, &Contents> = plan
            .layers
            .iter()
            .zip(&surveys)
            .map(|((_, original), survey)| (original.blob, &survey.contents))
            .collect();
        let first = wanted(&images, &contents, &settings.order);
        let lowest: HashSet<Digest> = images.iter().filter_map(|layers| layers.first().copied()).collect();
        let mut arranged = Vec::new();
        for (number, ((_, original), survey)) in plan.layers.iter().zip(&surveys).enumerate() {
            let first = first.get(&original.blob).map_or(&[][..], |first| first);
            let contents = &survey.contents;
            let concerned = contents.has_to_change(first, settings.layer_bytes);
            let fixed = contents.fixed(lowest.contains(&original.blob)).filter(|_| concerned);
            if let Some(why) = fixed {
                self.watch.fixed(number, why);
            }
            let parts = if concerned && fixed.is_none() {
                pieces(contents, first, settings.layer_bytes)
            } else {
                Vec::new()
            };
            // One long file is as long as before.
            let stays = parts.is_empty() || (first.is_empty() && parts.len() == 1);
            arranged.push(if stays { vec![None] } else { parts.into_iter().map(Some).collect() });
        }
        check_numbers(plan, &arranged)?;
        Ok((surveys, arranged))
    }
}

/// Refuses an image that would get more layers than can be unpacked.
fn check_numbers(plan: &Plan, arranged: &[Vec<Option<Piece>>]) -> Result<(), ConvertError> {
    let counts: HashMap<Digest, usize> =
        plan.layers.iter().zip(arranged).map(|((_, original), parts)| (original.blob, parts.len())).collect();
    for image in &plan.images {
        let count = |layer: &ResolvedLayer| counts.get(&layer.descriptor.digest).copied();
        let layers: usize = image.layers.iter().filter_map(count).sum();
        if layers > MAX_LAYERS && layers > image.layers.len() {
            return Err(ConvertError::Layers { image: image.name.clone(), layers, most: MAX_LAYERS });
        }
    }
    Ok(())
}
