//! One span's bytes: from the piece of the blob to the piece of the stream.

use glowplug_base::Digest;
use glowplug_gzindex::{SpanStart, decode_span};
use glowplug_layer::{Check, Origin, Recipe};
use glowplug_store::Layer;

use crate::error::chain;
use crate::soci;

/// Decodes the blob's bytes of a span. Checks them first where the index knows their digest.
pub(crate) fn decode(layer: &Layer, span: usize, blob: &[u8]) -> Result<Vec<u8>, String> {
    let expected = &layer.index().spans[span];
    if matches!(expected.check, Check::Blob(digest) if digest != Digest::of(blob)) {
        return Err("the bytes do not match the digest in the index".to_owned());
    }
    let mut stream = vec![0; usize::try_from(expected.stream.len()).map_err(|e| e.to_string())?];
    let mut window = Vec::new();
    match expected.recipe {
        Recipe::Stored => stream = blob.to_vec(),
        Recipe::GzipMember => {
            let start = SpanStart { bits: 0, window: &[], member_start: true };
            decode_span(start, blob, &mut stream).map_err(|e| e.to_string())?;
        }
        Recipe::Deflate { bits, .. } => {
            window = layer.window(span).map_err(|e| chain(&e))?;
            let start = SpanStart { bits, window: &window, member_start: false };
            decode_span(start, blob, &mut stream).map_err(|e| soci::undecodable(layer, span, &e))?;
        }
        Recipe::ZstdFrame => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(blob).map_err(|e| e.to_string())?;
            std::io::Read::read_exact(&mut decoder, &mut stream).map_err(|e| e.to_string())?;
        }
        Recipe::Whole => return Err("there is no way into the layer here".to_owned()),
    }
    // Others' indexes are believed only as far as the bytes bear them out.
    if layer.index().origin == Origin::Soci {
        soci::verify(layer, span, &window, &stream)?;
    }
    Ok(stream)
}
