//! What the others write, read by us.

use std::path::Path;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use super::glowplug::Format;
use super::listing::Listing;
use super::{Row, SPAN_BYTES, Trip};
use crate::images::layout::Layout;
use crate::peers::converters::Program;
use crate::step::{self, say};

/// Of a list of a start's files, which stands for any: each so many-th file, the last first, so that the order in the layers
/// becomes another.
const PRIORITIZED_EACH: usize = 100;

/// How one of them makes an image.
struct Made {
    what: &'static str,
    /// How our reason begins for calling each layer lazy.
    lazy_by: &'static str,
    make: fn(&Trip<'_>, &Path) -> anyhow::Result<Command>,
}

const ALL: [Made; 5] = [
    Made {
        what: "stargz-snapshotter, estargz",
        lazy_by: "eStargz table",
        make: |trip, to| Ok(convert(trip, Format::Estargz, None, to)),
    },
    Made {
        what: "stargz-snapshotter, estargz with files first",
        lazy_by: "eStargz table",
        make: |trip, to| Ok(convert(trip, Format::Estargz, Some(&prioritized(trip)?), to)),
    },
    Made {
        what: "stargz-snapshotter, zstd-chunked-stargz",
        lazy_by: "zstd:chunked table",
        make: |trip, to| Ok(convert(trip, Format::ZstdChunkedStargz, None, to)),
    },
    Made {
        what: "containers/storage, zstd-chunked-storage",
        lazy_by: "zstd:chunked table",
        make: |trip, to| Ok(convert(trip, Format::ZstdChunkedStorage, None, to)),
    },
    Made {
        what: "soci convert",
        lazy_by: "SOCI index",
        make: |trip, to| Ok(soci_convert(trip.original, SPAN_BYTES, trip.place, to)),
    },
];

/// Has every format made and reads it.
pub(super) fn read(trip: &Trip<'_>) -> anyhow::Result<Vec<Row>> {
    ALL.iter().map(|made| made.read(trip)).collect()
}

impl Made {
    fn read(&self, trip: &Trip<'_>) -> anyhow::Result<Row> {
        say(format!("theirs: {}", self.what));
        let place = trip.place.join("theirs");
        step::read(&mut (self.make)(trip, &place)?)?;
        let image = Layout::at(&place);
        trip.glowplug.forget()?;
        let mut differences = self.unlazy(&trip.glowplug.explain(&image)?);
        let listing = Listing::parse(&trip.glowplug.list(&image)?)?;
        differences.extend(trip.reference.merged().differences(&listing));
        let found = trip.glowplug.diff(trip.original, &image)?;
        for kind in ["added", "removed", "changed"] {
            let paths = found[kind].as_array().with_context(|| format!("no `{kind}` in the comparison"))?;
            differences.extend(paths.iter().map(|path| format!("{kind}: {path}")));
        }
        std::fs::remove_dir_all(&place)?;
        Ok(Row {
            what: self.what.to_owned(),
            by: "glowplug",
            names: listing.names(),
            bytes: found["after"]["bytes"].as_u64().context("no size in the comparison")?,
            differences,
        })
    }

    /// The layers that we would not start lazily by what is meant for that.
    fn unlazy(&self, explained: &Value) -> Vec<String> {
        let layers = explained["layers"].as_array().map_or(&[][..], Vec::as_slice);
        let is_lazy = |layer: &&Value| {
            layer["lazy"] == true && layer["why"].as_str().is_some_and(|why| why.starts_with(self.lazy_by))
        };
        let mut found: Vec<String> =
            layers.iter().filter(|layer| !is_lazy(layer)).map(|layer| format!("not lazy: {layer}")).collect();
        if layers.is_empty() {
            found.push("not explained".to_owned());
        }
        found
    }
}

fn convert(trip: &Trip<'_>, format: Format, prioritized: Option<&Path>, to: &Path) -> Command {
    let mut command = converter(format, None, trip.place);
    if let Some(list) = prioritized {
        command.arg("-prioritized").arg(list);
    }
    command.arg(trip.original.folder()).arg(to);
    command
}

/// Their converter to `format`, with its temporary files in `scratch`; `level` is how hard to compress.
pub fn converter(format: Format, level: Option<u32>, scratch: &Path) -> Command {
    let mut command = Command::new(Program::ConvertLayers.path());
    command.env("TMPDIR", scratch).args(["-to", format.name()]);
    if let Some(level) = level {
        command.args(["-level", &level.to_string()]);
    }
    command
}

/// SOCI's command, which makes a copy of an image with an index of every layer, with its temporary files in `scratch`.
pub fn soci_convert(from: &Layout, span_bytes: u64, scratch: &Path, to: &Path) -> Command {
    let mut command = Command::new(Program::Soci.path());
    command
        .args(["convert", "--standalone", "--format", "oci-dir", "--min-layer-size", "0", "--span-size"])
        .arg(span_bytes.to_string())
        .arg(from.folder())
        .arg(to)
        .env("TMPDIR", scratch);
    command
}

fn prioritized(trip: &Trip<'_>) -> anyhow::Result<std::path::PathBuf> {
    let list = trip.place.join("prioritized");
    let paths = trip.reference.files().rev().step_by(PRIORITIZED_EACH);
    let lines: String = paths.map(|path| format!("{}\n", path.trim_start_matches('/'))).collect();
    std::fs::write(&list, lines)?;
    Ok(list)
}
