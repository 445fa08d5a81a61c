//! One span's bytes: from the piece of the blob to the piece of the stream.

use std::sync::Mutex;

use glowplug_base::Digest;
use glowplug_gzindex::{SpanStart, decode_span};
use glowplug_layer::{Check, Origin, Recipe};
use glowplug_store::Layer;

use crate::error::chain;
use crate::soci;

/// Decodes the blob's bytes of a span, in `room` where they are compressed. Checks them first where the index knows their digest.
pub(crate) fn decode<'a>(
    layer: &Layer,
    span: usize,
    blob: &'a [u8],
    room: &'a mut Vec<u8>,
) -> Result<&'a [u8], String> {
    let expected = &layer.index().spans[span];
    if matches!(expected.check, Check::Blob(digest) if digest != Digest::of(blob)) {
        return Err("the bytes do not match the digest in the index".to_owned());
    }
    room.resize(usize::try_from(expected.stream.len()).map_err(|e| e.to_string())?, 0);
    let mut stream = blob;
    let mut window = Vec::new();
    match expected.recipe {
        Recipe::Stored => {}
        Recipe::GzipMember => {
            let start = SpanStart { bits: 0, window: &[], member_start: true };
            decode_span(start, blob, room).map_err(|e| e.to_string())?;
            stream = room;
        }
        Recipe::Deflate { bits, .. } => {
            window = layer.window(span).map_err(|e| chain(&e))?;
            let start = SpanStart { bits, window: &window, member_start: false };
            decode_span(start, blob, room).map_err(|e| soci::undecodable(layer, span, &e))?;
            stream = room;
        }
        Recipe::ZstdFrame => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blob).map_err(|e| e.to_string())?;
            std::io::Read::read_exact(&mut decoder, room).map_err(|e| e.to_string())?;
            stream = room;
        }
        Recipe::Whole => return Err("there is no way into the layer here".to_owned()),
    }
    // Others' indexes are believed only as far as the bytes bear them out.
    if layer.index().origin == Origin::Soci {
        soci::verify(layer, span, &window, stream)?;
    }
    Ok(stream)
}

/// Buffers that spans are decoded in, used again and again: memory that is new costs a page fault for every 4 KiB.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<Vec<Vec<u8>>>);

impl Rooms {
    /// As many are kept as decode at the same time on a small machine, and none that an unusually long span made large.
    const KEPT: usize = 8;
    const KEPT_BYTES: usize = 8 << 20;

    /// Does `work` with a buffer. What is in it is not specified.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let rooms = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut room = rooms().pop().unwrap_or_default();
        let outcome = work(&mut room);
        let mut rooms = rooms();
        if rooms.len() < Self::KEPT && room.capacity() <= Self::KEPT_BYTES {
            rooms.push(room);
        }
        outcome
    }
}
