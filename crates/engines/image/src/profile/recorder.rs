//! Notes the first touch of each block of the layers' data files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use glowplug_base::ByteRange;
use glowplug_layer::BLOCK_BYTES;

/// What was touched, in order.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// One bit a block, for each layer.
    seen: Vec<Vec<AtomicU64>>,
    order: Mutex<Vec<Noted>>,
}

/// A read with bytes that no read before it wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Number of the layer.
    pub(crate) layer: usize,
    /// The piece of its data file.
    pub(crate) data: ByteRange,
    /// Milliseconds after the image was opened.
    pub(crate) at_ms: u64,
}

impl Recorder {
    /// For layers with data files of these lengths in bytes.
    pub(crate) fn new(lengths: impl Iterator<Item = u64>) -> Self {
        let words = |length: u64| length.div_ceil(BLOCK_BYTES * 64);
        Self {
            seen: lengths.map(|length| (0..words(length)).map(|_| AtomicU64::new(0)).collect()).collect(),
            order: Mutex::default(),
        }
    }

    /// Notes that a piece of a layer's data file was touched now.
    pub(crate) fn touch(&self, layer: usize, data: ByteRange, now_ms: impl FnOnce() -> u64) {
        if data.is_empty() {
            return;
        }
        let mut new = false;
        for block in data.start / BLOCK_BYTES..data.end.div_ceil(BLOCK_BYTES) {
            let (Some(word), bit) = (self.seen[layer].get((block / 64) as usize), 1 << (block % 64)) else {
                break;
            };
            // Most reads are of what was read before, and must not contend for a line of memory.
            new |=
                word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        if new {
            self.lock().push(Noted { layer, data, at_ms: now_ms() });
        }
    }

    /// What was touched so far, in order.
    pub(crate) fn touches(&self) -> Vec<Noted> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Noted>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_noted_once_in_order() {
        let recorder = Recorder::new([100 * BLOCK_BYTES, 3 * BLOCK_BYTES].into_iter());
        let read = |layer, from: u64, to: u64, at| {
            recorder.touch(layer, ByteRange::new(from * BLOCK_BYTES, to * BLOCK_BYTES), || at);
        };
        read(0, 70, 72, 5);
        read(1, 2, 3, 6);
        read(0, 70, 71, 7);
        read(0, 71, 73, 8);
        // Beyond the end there is nothing to note.
        recorder.touch(1, ByteRange::at(1 << 40, 5), || 9);
        let noted: Vec<_> =
            recorder.touches().iter().map(|it| (it.layer, it.data.start / BLOCK_BYTES, it.at_ms)).collect();
        assert_eq!(noted, [(0, 70, 5), (1, 2, 6), (0, 71, 8)]);
    }
}
