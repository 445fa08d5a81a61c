//! What we write, read by the others.

use std::process::Command;

use anyhow::{Context, bail};
use glowplug_base::Digest;
use serde::Deserialize;

use super::glowplug::Format;
use super::listing::{Listing, Reader};
use super::{Row, SPAN_BYTES, Trip, copy};
use crate::images::layout::Layout;
use crate::peers::converters::Program;
use crate::step::{self, say};

/// Each format that has layers of its own, and who reads it. Whoever knows nothing of tables reads all of them.
const READERS: [(Format, &[Reader]); 3] = [
    (Format::Estargz, &[Reader::Stargz, Reader::Storage, Reader::Tar]),
    (Format::ZstdChunkedStargz, &[Reader::Stargz, Reader::Tar]),
    (Format::ZstdChunkedStorage, &[Reader::Storage, Reader::Tar]),
];

/// Makes every format and has it read.
pub(super) fn read(trip: &Trip<'_>) -> anyhow::Result<Vec<Row>> {
    let mut rows = vec![original(trip)?];
    for (format, readers) in READERS {
        let place = trip.place.join("ours");
        say(format!("our {}", format.name()));
        trip.glowplug.forget()?;
        step::read(&mut trip.glowplug.convert(format, None, trip.original, &place))?;
        for reader in readers {
            let listing = Listing::read(*reader, &Layout::at(&place), trip.place)?;
            rows.push(Row {
                what: format!("glowplug image convert, {}", format.name()),
                by: reader.title(),
                names: listing.names(),
                bytes: listing.bytes(),
                differences: trip.reference.differences(&listing),
            });
        }
        std::fs::remove_dir_all(&place)?;
    }
    rows.push(index(trip)?);
    Ok(rows)
}

/// The original as we list it: what the others' listings are compared with is what we see, too.
fn original(trip: &Trip<'_>) -> anyhow::Result<Row> {
    trip.glowplug.forget()?;
    let listing = Listing::parse(&trip.glowplug.list(trip.original)?)?;
    Ok(Row {
        what: "the original".to_owned(),
        by: "glowplug image ls",
        names: listing.names(),
        // No content has been read.
        bytes: 0,
        differences: trip.reference.merged().differences(&listing),
    })
}

/// What `glowplug image index --json` prints, as far as it matters here.
#[derive(Deserialize)]
struct Indexed {
    layers: Vec<IndexedLayer>,
}

#[derive(Deserialize)]
struct IndexedLayer {
    digest: Digest,
    ztoc: Option<Ztoc>,
}

#[derive(Deserialize)]
struct Ztoc {
    digest: Digest,
}

/// What `check-ztoc` prints.
#[derive(Deserialize)]
struct Checked {
    entries: usize,
    bytes: u64,
    differences: Vec<String>,
}

fn index(trip: &Trip<'_>) -> anyhow::Result<Row> {
    say("our SOCI index");
    trip.glowplug.forget()?;
    let place = trip.place.join("ours");
    let layout = copy(trip.original, &place)?;
    let printed = step::read(&mut trip.glowplug.index(&layout, SPAN_BYTES))?;
    let indexed: Indexed =
        serde_json::from_str(&printed).context("glowplug image index printed something else")?;
    let mut row = Row {
        what: "glowplug image index".to_owned(),
        by: "soci-snapshotter",
        names: 0,
        bytes: 0,
        differences: Vec::new(),
    };
    for layer in &indexed.layers {
        let Some(ztoc) = &layer.ztoc else { bail!("layer {} has no zTOC", layer.digest) };
        let mut command = Command::new(Program::CheckZtoc.path());
        command.arg(SPAN_BYTES.to_string());
        command.arg(layout.blobs().join(ztoc.digest.hex())).arg(layout.blobs().join(layer.digest.hex()));
        let checked: Checked =
            serde_json::from_str(&step::read(&mut command)?).context("check-ztoc printed something else")?;
        row.names += checked.entries;
        row.bytes += checked.bytes;
        let of_layer = checked.differences.iter().map(|text| format!("layer {}: {text}", layer.digest));
        row.differences.extend(of_layer);
    }
    std::fs::remove_dir_all(&place)?;
    Ok(row)
}
