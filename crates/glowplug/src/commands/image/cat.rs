//! `glowplug image cat`: the bytes of files of an image.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;

use anyhow::Context as _;
use futures::StreamExt as _;
use glowplug_base::Clock;
use glowplug_base::name::printable;
use glowplug_image::{Image, NodeId};
use glowplug_timeline::Timeline;
use tokio::io::AsyncWriteExt as _;

use super::browse;
use crate::cli::{CatArgs, Global};
use crate::commands::runtime;
use crate::node::{locate, open_store};
use crate::output::Output;

/// Bytes that are read at once: what is missing of them comes in one request, which is then worth its round trip.
const PIECE_BYTES: u32 = 4 << 20;
/// Pieces on their way at the same time, so that one comes while the one before is written.
const PIECES_AT_ONCE: usize = 2;

/// Runs the command.
pub fn cat(global: &Global, args: &CatArgs, output: &Output, clock: Clock) -> anyhow::Result<()> {
    let store = open_store(global)?;
    let timeline = Timeline::new(clock);
    runtime()?.block_on(async {
        let located = locate(&store, &args.registry, &args.image, &timeline).await?;
        let image = browse::open(&store, &located, output, &timeline).await?;
        // All of them are looked up first: half of what was asked for is worse than nothing.
        let files = args.paths.iter().map(|path| Ok((path.as_bytes(), image.look_up_file(path.as_bytes())?)));
        for (path, file) in files.collect::<anyhow::Result<Vec<_>>>()? {
            if !print(&image, path, file, output).await? {
                break;
            }
        }
        Ok(())
    })
}

/// Prints a file; whether anybody still listens.
async fn print(image: &Image, path: &[u8], file: NodeId, output: &Output) -> anyhow::Result<bool> {
    let size = image.tree().node(file).map_or(0, |node| node.size);
    let offsets = futures::stream::iter((0..size).step_by(PIECE_BYTES as usize));
    let mut pieces = offsets.map(|offset| image.read(file, offset, PIECE_BYTES)).buffered(PIECES_AT_ONCE);
    let mut out = output.program_out();
    while let Some(piece) = pieces.next().await {
        let piece = piece.with_context(|| format!("read {}", printable(path)))?;
        let written = async {
            out.write_all(&piece).await?;
            out.flush().await
        };
        match written.await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error).context("write to standard output"),
        }
    }
    Ok(true)
}
