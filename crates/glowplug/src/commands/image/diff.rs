//! `glowplug image diff`: what differs between the files of two images.

use std::collections::HashSet;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use glowplug_base::name::printable;
use glowplug_base::size::human;
use glowplug_base::{Clock, Digest};
use glowplug_image::difference::{Aspect, Change, Closeness, Difference, compare, totals};
use glowplug_image::{Image, NodeId};
use glowplug_layer::Kind;
use glowplug_timeline::Timeline;
use serde_json::{Map, Value, json};

use super::browse;
use super::describe::{document, kind, name, target, time};
use crate::cli::{DiffArgs, Global};
use crate::commands::runtime;
use crate::node::{Located, locate, open_store};
use crate::output::Output;
use crate::page::words::count;

/// Exit status of a comparison that found differences, and of one that could not be made, as `diff` has them.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;

/// Runs the command. Its errors are told here, since they have an exit status of their own.
pub fn diff(global: &Global, args: &DiffArgs, output: &Output, clock: Clock) -> ExitCode {
    match differs(global, args, output, clock) {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::from(DIFFERENT),
        Err(error) => {
            output.error(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

fn differs(global: &Global, args: &DiffArgs, output: &Output, clock: Clock) -> anyhow::Result<bool> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    runtime()?.block_on(async {
        let located = async |name: &str| {
            let located = locate(&store, &args.registry, name, &timeline).await;
            located.with_context(|| format!("look up {name}"))
        };
        let (before, after) = (located(&args.before).await?, located(&args.after).await?);
        // One after the other: a layer that both have streams by once.
        let before = Side::open(&args.before, before, &store, output, &timeline).await?;
        let after = Side::open(&args.after, after, &store, output, &timeline).await?;
        let closeness = Closeness { times: args.times, contents: args.contents };
        let comparison = compare(&before.image, &after.image, closeness);
        if let (files @ 1.., bytes) = comparison.doubtful() {
            let why = if args.contents { "" } else { " and other times" };
            let (files, bytes) = (count(files as u64, "file"), human(bytes));
            output.note(format!("{files} of equal size{why}: read on both sides, {bytes} at most on each"));
        }
        let found = comparison.decide().await?;
        let result = Found { before, after, found };
        output.bulk(|out| if output.json() { result.json(out) } else { result.text(out) })?;
        Ok(!result.found.is_empty())
    })
}

/// One of the two images.
struct Side {
    /// As it was asked for.
    name: String,
    located: Located,
    image: Image,
}

impl Side {
    async fn open(
        name: &str,
        located: Located,
        store: &std::sync::Arc<glowplug_store::Store>,
        output: &Output,
        timeline: &Timeline,
    ) -> anyhow::Result<Self> {
        let image = browse::open(store, &located, output, timeline).await?;
        Ok(Self { name: name.to_owned(), located, image })
    }

    /// The layers' blobs and their lengths in bytes.
    fn layers(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.located.image.layers.iter().map(|layer| (layer.descriptor.digest, layer.descriptor.size))
    }

    /// Bytes of a file; of anything else none.
    fn bytes(&self, id: NodeId) -> u64 {
        self.image.tree().node(id).filter(|node| node.kind == Kind::File).map_or(0, |node| node.size)
    }

    fn document(&self) -> Value {
        let ((files, bytes), layers) = (totals(self.image.tree()), self.layers());
        let (layers, blobs): (Vec<Digest>, Vec<u64>) = layers.unzip();
        json!({ "image": self.name, "manifest": self.located.image.manifest_digest, "layers": layers,
            "compressed_bytes": blobs.iter().sum::<u64>(), "files": files, "bytes": bytes })
    }
}

/// What was found.
struct Found {
    before: Side,
    after: Side,
    found: Vec<Difference>,
}

/// Paths, and bytes of files, each file counted once however many names it has.
#[derive(Clone, Copy, Default)]
struct Amount {
    paths: u64,
    bytes: u64,
}

impl Amount {
    fn of(side: &Side, nodes: impl Iterator<Item = NodeId>) -> Self {
        let (mut amount, mut seen) = (Self::default(), HashSet::new());
        for id in nodes {
            amount.paths += 1;
            amount.bytes += if seen.insert(id) { side.bytes(id) } else { 0 };
        }
        amount
    }

    fn document(self) -> Value {
        json!({ "paths": self.paths, "bytes": self.bytes })
    }
}

impl Found {
    fn added(&self) -> Amount {
        let added = self.found.iter().filter_map(|difference| match difference.change {
            Change::Added(id) => Some(id),
            _ => None,
        });
        Amount::of(&self.after, added)
    }

    fn removed(&self) -> Amount {
        let removed = self.found.iter().filter_map(|difference| match difference.change {
            Change::Removed(id) => Some(id),
            _ => None,
        });
        Amount::of(&self.before, removed)
    }

    /// What has changed: as it was, and as it is.
    fn changed(&self) -> (Amount, Amount) {
        let pairs = self.found.iter().filter_map(|difference| match difference.change {
            Change::Changed { before, after, .. } => Some((before, after)),
            _ => None,
        });
        let (was, is): (Vec<NodeId>, Vec<NodeId>) = pairs.unzip();
        (Amount::of(&self.before, was.into_iter()), Amount::of(&self.after, is.into_iter()))
    }

    /// Layers that both images have, in the order of the one before, and their bytes.
    fn shared(&self) -> (Vec<Digest>, u64) {
        let after: Vec<Digest> = self.after.layers().map(|(blob, _)| blob).collect();
        let both = self.before.layers().filter(|(blob, _)| after.contains(blob));
        let (blobs, sizes): (Vec<Digest>, Vec<u64>) = both.unzip();
        (blobs, sizes.iter().sum())
    }

    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for difference in &self.found {
            let path = printable(&difference.path);
            let (what, detail) = match &difference.change {
                Change::Added(id) => ("added", size(&self.after, *id)),
                Change::Removed(id) => ("removed", size(&self.before, *id)),
                Change::Changed { before, after, why } => {
                    let why: Vec<String> = why.iter().map(|why| self.reason(*why, *before, *after)).collect();
                    ("changed", why.join(", "))
                }
            };
            writeln!(out, "{what:<8} /{path}  {detail}")?;
        }
        for (side, what) in [(&self.before, "before"), (&self.after, "after")] {
            let ((files, bytes), compressed) =
                (totals(side.image.tree()), side.layers().map(|(_, size)| size).sum());
            let (layers, files) = (count(side.layers().count() as u64, "layer"), count(files, "file"));
            let (compressed, bytes) = (human(compressed), human(bytes));
            writeln!(out, "{what:<8} {}: {layers}, {compressed} compressed; {files}, {bytes}", side.name)?;
        }
        let (shared, shared_bytes) = self.shared();
        let ((was, is), added, removed) = (self.changed(), self.added(), self.removed());
        writeln!(
            out,
            "shared   {}, {} compressed",
            count(shared.len() as u64, "layer"),
            human(shared_bytes)
        )?;
        writeln!(
            out,
            "{} added ({}), {} removed ({}), {} changed ({} before, {} after)",
            added.paths,
            human(added.bytes),
            removed.paths,
            human(removed.bytes),
            was.paths,
            human(was.bytes),
            human(is.bytes)
        )
    }

    /// In what the sides of a path differ, with what it was and is.
    fn reason(&self, why: Aspect, before: NodeId, after: NodeId) -> String {
        let nodes = self.before.image.tree().node(before).zip(self.after.image.tree().node(after));
        let Some((was, is)) = nodes else { return why.to_string() };
        let link = |side: &Side, id| target(&side.image, id).unwrap_or_default();
        let (was, is) = match why {
            Aspect::Contents | Aspect::Xattrs => return why.to_string(),
            Aspect::Type => (kind(was.kind).to_owned(), kind(is.kind).to_owned()),
            Aspect::Size => (human(was.size), human(is.size)),
            Aspect::Mode => (format!("{:04o}", was.mode), format!("{:04o}", is.mode)),
            Aspect::Owner => (format!("{}:{}", was.uid, was.gid), format!("{}:{}", is.uid, is.gid)),
            Aspect::Link => (link(&self.before, before), link(&self.after, after)),
            Aspect::Device => {
                (format!("{},{}", was.device.0, was.device.1), format!("{},{}", is.device.0, is.device.1))
            }
            Aspect::Time => (time(was), time(is)),
        };
        format!("{why} {was} to {is}")
    }

    fn json(&self, out: &mut dyn Write) -> io::Result<()> {
        let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for Difference { path, change } in &self.found {
            let path = [b"/", &**path].concat();
            match change {
                Change::Added(id) => added.push(document(&self.after.image, &path, *id)),
                Change::Removed(id) => removed.push(document(&self.before.image, &path, *id)),
                Change::Changed { before, after, why } => {
                    let mut fields = Map::new();
                    name(&mut fields, "path", &path);
                    fields.insert("why".to_owned(), why.iter().map(ToString::to_string).collect());
                    fields.insert("before".to_owned(), document(&self.before.image, &path, *before));
                    fields.insert("after".to_owned(), document(&self.after.image, &path, *after));
                    changed.push(Value::Object(fields));
                }
            }
        }
        let ((was, is), (shared, shared_bytes)) = (self.changed(), self.shared());
        let document = json!({ "same": self.found.is_empty(), "before": self.before.document(), "after": self.after.document(),
            "shared_layers": shared, "shared_compressed_bytes": shared_bytes,
            "totals": { "added": self.added().document(), "removed": self.removed().document(),
                "changed_before": was.document(), "changed_after": is.document() },
            "added": added, "removed": removed, "changed": changed });
        writeln!(out, "{document}")
    }
}

/// The size of a file, or what else it is.
fn size(side: &Side, id: NodeId) -> String {
    match side.image.tree().node(id) {
        Some(node) if node.kind == Kind::File => human(node.size),
        Some(node) => kind(node.kind).to_owned(),
        None => String::new(),
    }
}
