//! Reading with every step checked.

/// Something points outside the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed FlatBuffer")]
pub(crate) struct Malformed;

/// A table: fields by slot, found through its vtable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table<'a> {
    buffer: &'a [u8],
    position: usize,
    /// The field offsets of the vtable, two bytes each.
    fields: &'a [u8],
}

/// A vector of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vector<'a> {
    buffer: &'a [u8],
    /// Position of the first element.
    start: usize,
    len: usize,
}

fn array<const N: usize>(buffer: &[u8], position: usize) -> Result<[u8; N], Malformed> {
    let bytes = buffer.get(position..position.checked_add(N).ok_or(Malformed)?);
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed)
}

/// The position that the offset at `position` leads to.
fn follow(buffer: &[u8], position: usize) -> Result<usize, Malformed> {
    let offset = u32::from_le_bytes(array(buffer, position)?);
    position.checked_add(offset as usize).ok_or(Malformed)
}

/// The bytes after the 4-byte count at `position`, `width` for each counted element.
fn counted(buffer: &[u8], position: usize, width: usize) -> Result<(usize, &[u8]), Malformed> {
    let count = u32::from_le_bytes(array(buffer, position)?) as usize;
    let start = position.checked_add(4).ok_or(Malformed)?;
    let end = count.checked_mul(width).and_then(|bytes| start.checked_add(bytes)).ok_or(Malformed)?;
    Ok((start, buffer.get(start..end).ok_or(Malformed)?))
}

impl<'a> Table<'a> {
    pub(crate) fn root(buffer: &'a [u8]) -> Result<Self, Malformed> {
        Self::at(buffer, follow(buffer, 0)?)
    }

    fn at(buffer: &'a [u8], position: usize) -> Result<Self, Malformed> {
        let back = i64::from(i32::from_le_bytes(array(buffer, position)?));
        let vtable = usize::try_from(position as i64 - back).map_err(|_| Malformed)?;
        let bytes = usize::from(u16::from_le_bytes(array(buffer, vtable)?));
        let vtable = buffer.get(vtable..vtable.checked_add(bytes).ok_or(Malformed)?).ok_or(Malformed)?;
        // Its own size and the table's size come before the field offsets.
        let fields = vtable.get(4..).ok_or(Malformed)?;
        Ok(Self { buffer, position, fields })
    }

    fn field(&self, slot: usize) -> Option<usize> {
        let offset = u16::from_le_bytes(array(self.fields, slot * 2).ok()?);
        (offset != 0).then(|| self.position + usize::from(offset))
    }

    fn scalar<const N: usize>(&self, slot: usize) -> Result<Option<[u8; N]>, Malformed> {
        self.field(slot).map(|position| array(self.buffer, position)).transpose()
    }

    pub(crate) fn i8(&self, slot: usize, default: i8) -> Result<i8, Malformed> {
        Ok(self.scalar(slot)?.map_or(default, i8::from_le_bytes))
    }

    pub(crate) fn i32(&self, slot: usize, default: i32) -> Result<i32, Malformed> {
        Ok(self.scalar(slot)?.map_or(default, i32::from_le_bytes))
    }

    pub(crate) fn u32(&self, slot: usize, default: u32) -> Result<u32, Malformed> {
        Ok(self.scalar(slot)?.map_or(default, u32::from_le_bytes))
    }

    pub(crate) fn i64(&self, slot: usize, default: i64) -> Result<i64, Malformed> {
        Ok(self.scalar(slot)?.map_or(default, i64::from_le_bytes))
    }

    /// A string, whose encoding nobody checks, or a vector of bytes.
    pub(crate) fn bytes(&self, slot: usize) -> Result<Option<&'a [u8]>, Malformed> {
        let Some(position) = self.field(slot) else { return Ok(None) };
        Ok(Some(counted(self.buffer, follow(self.buffer, position)?, 1)?.1))
    }

    pub(crate) fn table(&self, slot: usize) -> Result<Option<Self>, Malformed> {
        let Some(position) = self.field(slot) else { return Ok(None) };
        Self::at(self.buffer, follow(self.buffer, position)?).map(Some)
    }

    /// A vector of strings or tables.
    pub(crate) fn vector(&self, slot: usize) -> Result<Option<Vector<'a>>, Malformed> {
        let Some(position) = self.field(slot) else { return Ok(None) };
        let (start, bytes) = counted(self.buffer, follow(self.buffer, position)?, 4)?;
        Ok(Some(Vector { buffer: self.buffer, start, len: bytes.len() / 4 }))
    }
}

impl<'a> Vector<'a> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn element(&self, index: usize) -> Result<usize, Malformed> {
        if index >= self.len {
            return Err(Malformed);
        }
        follow(self.buffer, self.start + index * 4)
    }

    pub(crate) fn table(&self, index: usize) -> Result<Table<'a>, Malformed> {
        Table::at(self.buffer, self.element(index)?)
    }

    pub(crate) fn bytes(&self, index: usize) -> Result<&'a [u8], Malformed> {
        Ok(counted(self.buffer, self.element(index)?, 1)?.1)
    }
}
