//! `glowplug image ls`: the files of an image as a container sees them.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;

use glowplug_base::Clock;
use glowplug_base::name::printable;
use glowplug_image::{Image, NodeId};
use glowplug_layer::Kind;
use glowplug_timeline::Timeline;
use serde::{Serialize, Serializer};

use super::browse;
use super::describe::{document, letters, target, time};
use crate::cli::{Global, LsArgs};
use crate::commands::runtime;
use crate::node::{Located, locate, open_store};
use crate::output::Output;

/// Runs the command.
pub fn ls(global: &Global, args: &LsArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    runtime()?.block_on(async {
        let located = locate(&store, &args.registry, &args.image, &timeline).await?;
        let image = browse::open(&store, &located, output, &timeline).await?;
        let listing = Listing::of(&image, args)?;
        output.bulk(|out| match output.json() {
            true => listing.json(&located, out),
            false if args.long => listing.long(out),
            false => listing.short(out),
        })
    })
}

/// What is listed: names, and what they name.
struct Listing<'a> {
    image: &'a Image,
    rows: Vec<(Vec<u8>, NodeId)>,
}

impl<'a> Listing<'a> {
    fn of(image: &'a Image, args: &LsArgs) -> anyhow::Result<Self> {
        let path = args.path.as_bytes();
        let tree = image.tree();
        // As `ls` has it: a link is followed, but where the link itself may be meant.
        let link = image.look_up_link(path)?;
        let id = if args.long { link } else { image.follow(path).unwrap_or(link) };
        let rows = match tree.node(id) {
            Some(node) if node.kind == Kind::Directory && args.recursive => {
                let mut prefix = tree.path_bytes(id);
                if !prefix.ends_with(b"/") {
                    prefix.push(b'/');
                }
                tree.below(id).map(|(path, id)| ([&*prefix, &path].concat(), id)).collect()
            }
            Some(node) if node.kind == Kind::Directory => {
                node.children.iter().map(|(name, id)| (name.to_vec(), *id)).collect()
            }
            _ => vec![(path.to_vec(), id)],
        };
        Ok(Self { image, rows })
    }

    fn short(&self, out: &mut dyn Write) -> io::Result<()> {
        self.rows.iter().try_for_each(|(name, _)| writeln!(out, "{}", printable(name)))
    }

    fn long(&self, out: &mut dyn Write) -> io::Result<()> {
        let cells = |(name, id): &(Vec<u8>, NodeId)| {
            let node = self.image.tree().node(*id)?;
            let size = match node.kind {
                Kind::Char | Kind::Block => format!("{},{}", node.device.0, node.device.1),
                _ => node.size.to_string(),
            };
            let layer = node.origin.map_or_else(|| "-".to_owned(), |(layer, _)| layer.to_string());
            let target = target(self.image, *id).map_or_else(String::new, |target| format!(" -> {target}"));
            let numbers = [node.links.to_string(), node.uid.to_string(), node.gid.to_string(), size, layer];
            Some((letters(node), numbers, time(node), format!("{}{target}", printable(name))))
        };
        let mut widths = [0; 5];
        for (_, numbers, ..) in self.rows.iter().filter_map(cells) {
            widths.iter_mut().zip(&numbers).for_each(|(width, number)| *width = number.len().max(*width));
        }
        for (letters, [links, uid, gid, size, layer], time, name) in self.rows.iter().filter_map(cells) {
            let [l, u, g, s, n] = widths;
            writeln!(out, "{letters} {links:>l$} {uid:>u$} {gid:>g$} {size:>s$} {time} {layer:>n$} {name}")?;
        }
        Ok(())
    }

    fn json(&self, located: &Located, out: &mut dyn Write) -> io::Result<()> {
        let document = Document {
            image: &located.image.name,
            manifest: located.image.manifest_digest,
            layers: located.image.layers.iter().map(|layer| layer.descriptor.digest).collect(),
            entries: self,
        };
        serde_json::to_writer(&mut *out, &document)?;
        writeln!(out)
    }
}

/// The result for machines.
#[derive(Serialize)]
struct Document<'a> {
    image: &'a str,
    manifest: glowplug_base::Digest,
    layers: Vec<glowplug_base::Digest>,
    entries: &'a Listing<'a>,
}

impl Serialize for Listing<'_> {
    /// One at a time: an image may have millions.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows.iter().map(|(name, id)| document(self.image, name, *id)))
    }
}
