//! Building, byte for byte as the Go builder does.
//!
//! A FlatBuffer grows from its end to its start: what is pointed to is written before what points. Here the
//! bytes are collected in reverse and turned round once at the end, so an *offset* is a distance from the end
//! of the buffer.

/// Largest buffer: its offsets are 32-bit and partly signed.
const MAX_BYTES: usize = i32::MAX as usize;

/// Something already written, by its distance from the end of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(usize);

/// A buffer being built.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    reversed: Vec<u8>,
    /// The strictest alignment so far, which the whole buffer needs.
    alignment: usize,
    /// Vtables to share: where each is and what it says.
    vtables: Vec<(usize, Vec<u16>)>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self { alignment: 1, ..Self::default() }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    /// Pads so that something of `size` bytes is aligned when it stands before `more` bytes yet to be
    /// written.
    fn align(&mut self, size: usize, more: usize) {
        self.alignment = self.alignment.max(size);
        let padded = (self.reversed.len() + more).next_multiple_of(size) - more;
        self.reversed.resize(padded, 0);
    }

    fn put_count(&mut self, count: usize) -> Offset {
        self.put(&(count as u32).to_le_bytes());
        Offset(self.reversed.len())
    }

    fn put_offset(&mut self, target: Offset) {
        self.align(4, 0);
        let distance = self.reversed.len() + 4 - target.0;
        self.put(&(distance as u32).to_le_bytes());
    }

    /// A string: with a zero after it that is not counted.
    pub(crate) fn bytes_with_zero(&mut self, text: &[u8]) -> Offset {
        self.align(4, text.len() + 1);
        self.put(&[0]);
        self.put(text);
        self.put_count(text.len())
    }

    /// A vector of bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Offset {
        self.align(4, bytes.len());
        self.put(bytes);
        self.put_count(bytes.len())
    }

    /// A vector of strings or tables.
    pub(crate) fn offsets(&mut self, targets: &[Offset]) -> Offset {
        self.align(4, 4 * targets.len());
        for &target in targets.iter().rev() {
            self.put_offset(target);
        }
        self.put_count(targets.len())
    }

    /// Begins a table; what its fields point to must have been written before.
    pub(crate) fn table(&mut self) -> TableBuilder<'_> {
        let end = self.reversed.len();
        TableBuilder { builder: self, end, slots: Vec::new() }
    }

    /// The finished buffer, unless it is too large to be one.
    pub(crate) fn finish(mut self, root: Offset) -> Option<Vec<u8>> {
        self.align(self.alignment, 4);
        self.put_offset(root);
        self.reversed.reverse();
        (self.reversed.len() <= MAX_BYTES).then_some(self.reversed)
    }
}

/// A table being built. Fields are laid out in the order of the calls.
#[derive(Debug)]
pub(crate) struct TableBuilder<'b> {
    builder: &'b mut Builder,
    /// Where the table's last byte is.
    end: usize,
    /// Where each slot's field is; 0 for none.
    slots: Vec<usize>,
}

impl TableBuilder<'_> {
    fn mark(&mut self, slot: usize) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, 0);
        }
        self.slots[slot] = self.builder.reversed.len();
    }

    /// Defaults are not stored.
    fn scalar<const N: usize>(&mut self, slot: usize, value: [u8; N], default: [u8; N]) {
        if value != default {
            self.builder.align(N, 0);
            self.builder.put(&value);
            self.mark(slot);
        }
    }

    pub(crate) fn i8(&mut self, slot: usize, value: i8, default: i8) {
        self.scalar(slot, value.to_le_bytes(), default.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, slot: usize, value: i32, default: i32) {
        self.scalar(slot, value.to_le_bytes(), default.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, slot: usize, value: u32, default: u32) {
        self.scalar(slot, value.to_le_bytes(), default.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, slot: usize, value: i64, default: i64) {
        self.scalar(slot, value.to_le_bytes(), default.to_le_bytes());
    }

    pub(crate) fn offset(&mut self, slot: usize, target: Offset) {
        self.builder.put_offset(target);
        self.mark(slot);
    }

    /// Ends the table with its vtable, or with a reference to an equal one.
    pub(crate) fn end(self) -> Offset {
        let builder = self.builder;
        builder.align(4, 0);
        builder.put(&[0; 4]);
        let table = builder.reversed.len();
        let fields: Vec<u16> =
            self.slots.iter().map(|&field| if field == 0 { 0 } else { (table - field) as u16 }).collect();
        // The newest equal one is taken, whatever the size of its table, as the Go builder does.
        let shared = builder.vtables.iter().rev().find(|(_, other)| *other == fields).map(|&(at, _)| at);
        let vtable = shared.unwrap_or_else(|| {
            for field in fields.iter().rev() {
                builder.put(&field.to_le_bytes());
            }
            builder.put(&((table - self.end) as u16).to_le_bytes());
            builder.put(&((fields.len() * 2 + 4) as u16).to_le_bytes());
            let at = builder.reversed.len();
            builder.vtables.push((at, fields));
            at
        });
        // The table begins with the signed distance back to its vtable; both are counted from the end.
        let distance = (vtable as i64 - table as i64) as i32;
        for (slot, byte) in builder.reversed[table - 4..table].iter_mut().rev().zip(distance.to_le_bytes()) {
            *slot = byte;
        }
        Offset(table)
    }
}
