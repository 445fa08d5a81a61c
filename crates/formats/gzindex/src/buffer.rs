//! What a streaming decoder writes to: the last bytes stay, because those to come refer to them.

use crate::WINDOW_BYTES;
use crate::inflate::{Corrupt, Inflate, Step};

/// Output between two moves of the window to the front. Together with the window it should fit into the second-level cache, since it is
/// gone over twice more: for the checksum, and by whoever takes it.
const ROOM_BYTES: usize = 128 * 1024;

/// The window, and room behind it.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    /// What was decoded ends here.
    filled: usize,
}

impl Buffer {
    /// With nothing in it.
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; WINDOW_BYTES + ROOM_BYTES].into_boxed_slice(), filled: 0 }
    }

    /// A new member begins, which refers to nothing before it.
    pub(crate) fn forget(&mut self) {
        self.filled = 0;
    }

    /// Decodes at most `most` bytes; the step's `filled` is how many there were.
    pub(crate) fn decode(
        &mut self,
        inflate: &mut Inflate,
        input: &[u8],
        most: usize,
    ) -> Result<Step, Corrupt> {
        if self.filled == self.bytes.len() {
            self.bytes.copy_within(self.filled - WINDOW_BYTES.., 0);
            self.filled = WINDOW_BYTES;
        }
        let end = self.filled + most.min(self.bytes.len() - self.filled);
        let before = self.filled;
        let step = inflate.run(input, &mut self.bytes[..end], before, &[])?;
        self.filled = step.filled;
        Ok(Step { filled: step.filled - before, ..step })
    }

    /// The last `len` bytes.
    pub(crate) fn last(&self, len: usize) -> &[u8] {
        &self.bytes[self.filled - len..self.filled]
    }

    /// The last bytes as far as those to come may refer to them, oldest first.
    pub(crate) fn window(&self) -> &[u8] {
        self.last(self.filled.min(WINDOW_BYTES))
    }
}
