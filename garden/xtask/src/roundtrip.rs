//! `cargo xtask roundtrip`: proof that what we write is read by those whom it is for, and what they write by us.
//!
//! Of one image every format is made by us and read by the libraries that nodes out there have, which hold each chunk and
//! each archive against its digest on the way; then every format is made by them and read by us. What was read is compared
//! name by name with what Go's own tar reader finds in the original's layers: type, mode, owners, time, links, extended
//! attributes, and the digest of the content. Indexes are compared with those that SOCI's own library makes.

mod copy;
pub mod glowplug;
mod listing;
mod ours;
pub mod theirs;

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Parser;

use self::glowplug::Glowplug;
use self::listing::Listing;
use crate::images::layout::Layout;
use crate::images::{self, Name, blob::Variant};
use crate::interrupt::{self, Partial};
use crate::peers::converters;
use crate::{paths, step};

pub use self::copy::copy;

/// Of a row so many differences are printed.
const SHOWN: usize = 10;
/// Decoded bytes between two places where reading can begin: SOCI's default.
pub const SPAN_BYTES: u64 = 4 << 20;

/// Read our images by the libraries of others and theirs by ours, and compare file by file.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask roundtrip", no_binary_name = true)]
struct Args {
    /// The image.
    #[arg(long, default_value = "ocr")]
    image: Name,
    /// Try this binary instead of building one.
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// One image as somebody has read it.
struct Row {
    what: String,
    by: &'static str,
    /// Names that were compared; of a directory without an entry of its own none.
    names: usize,
    /// Of the contents that were read and compared.
    bytes: u64,
    differences: Vec<String>,
}

/// What everything works with.
struct Trip<'a> {
    glowplug: &'a Glowplug,
    /// The image that everything is made of.
    original: &'a Layout,
    /// Its layers by Go's tar reader.
    reference: &'a Listing,
    /// For results, which are removed when they have been read.
    place: &'a Path,
}

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let args = Args::parse_from(args);
    interrupt::watch()?;
    if !rustix::process::geteuid().is_root() {
        bail!("this needs root: layers are unpacked with their owners");
    }
    converters::make()?;
    let original = images::make(args.image, Variant::Gzip)?;
    let place = Partial::folder(&paths::target().join("roundtrip"))?;
    let glowplug = Glowplug::new(args.binary.as_deref(), &place.path().join("store"))?;
    step::say("the original, by Go's tar reader");
    let reference = Listing::read(listing::Reader::Tar, &original, place.path())?;
    let trip = Trip { glowplug: &glowplug, original: &original, reference: &reference, place: place.path() };
    let mut rows = ours::read(&trip)?;
    rows.extend(theirs::read(&trip)?);
    report(&rows)
}

fn report(rows: &[Row]) -> anyhow::Result<()> {
    println!();
    for version in converters::versions()? {
        println!("{version}");
    }
    println!("\n{:<46}{:<24}{:>8}{:>10}  verdict", "", "read by", "names", "MB");
    for row in rows {
        let verdict = match row.differences.len() {
            0 => "equal".to_owned(),
            count => format!("{count} differences"),
        };
        let megabytes = row.bytes as f64 / 1e6;
        println!("{:<46}{:<24}{:>8}{megabytes:>10.1}  {verdict}", row.what, row.by, row.names);
    }
    let bad: Vec<&Row> = rows.iter().filter(|row| !row.differences.is_empty()).collect();
    for row in &bad {
        println!("\n{}, read by {}:", row.what, row.by);
        for difference in row.differences.iter().take(SHOWN) {
            println!("    {difference}");
        }
    }
    if !bad.is_empty() {
        bail!("{} of {} were not read as they should be", bad.len(), rows.len());
    }
    Ok(())
}
