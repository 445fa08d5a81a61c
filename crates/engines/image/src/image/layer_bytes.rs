//! A layer's data file as readers see it who bring the tree themselves: whatever is read there is here or comes.

use glowplug_base::ByteRange;

use super::{Image, Part, copy};
use crate::ReadError;

impl Image {
    /// The length of a layer's data file in bytes; layers count from the bottom.
    pub fn layer_bytes(&self, layer: usize) -> Option<u64> {
        Some(self.fetcher.supplies().get(layer)?.layer.index().data_size)
    }

    /// Reads a layer's data file without waiting: `None` when bytes are missing. Fewer bytes than asked for come only at its end.
    ///
    /// # Errors
    /// What the disk says.
    pub fn try_read_layer(&self, layer: usize, offset: u64, len: u32) -> Option<Result<Vec<u8>, ReadError>> {
        let Some(part) = self.layer_part(layer, offset, len) else { return Some(Ok(Vec::new())) };
        let here = &self.fetcher.supplies()[layer].layer;
        self.are_here(layer, &[part]).then(|| copy(here, &[part], part.data.len() as usize))
    }

    /// Reads a layer's data file, and waits for what is missing.
    ///
    /// # Errors
    /// Bytes that could not be had within the source's deadlines, or what the disk says.
    pub async fn read_layer(&self, layer: usize, offset: u64, len: u32) -> Result<Vec<u8>, ReadError> {
        let Some(part) = self.layer_part(layer, offset, len) else { return Ok(Vec::new()) };
        let started = self.timeline.now_ns();
        self.bring(layer, &[part]).await?;
        self.timeline.stall(started, self.path_at(layer, offset), part.data.len());
        copy(&self.fetcher.supplies()[layer].layer, &[part], part.data.len() as usize)
    }

    fn layer_part(&self, layer: usize, offset: u64, len: u32) -> Option<Part> {
        let all = ByteRange::new(0, self.layer_bytes(layer)?);
        let data = ByteRange::at(offset, u64::from(len)).intersect(&all);
        (!data.is_empty() && data.start == offset).then_some(Part { at: 0, data })
    }

    /// The file that has its bytes at `offset` of a layer's data file, for people.
    pub fn path_at(&self, layer: usize, offset: u64) -> String {
        let found = self.entry_at(layer, offset);
        found.map_or_else(String::new, |(_, entry)| format!("/{}", String::from_utf8_lossy(&entry.path)))
    }
}
