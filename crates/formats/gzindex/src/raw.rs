//! The only unsafe code: a safe hand on the C-shaped inflate of zlib-rs.
//!
//! zlib's safe Rust surfaces offer neither stops at block borders nor `inflatePrime`, which checkpoints need.
//!
//! Invariants of [`Inflate`]: `stream` was initialised by `inflateInit2_` and is ended once, on drop; it lives
//! in a box, so it never moves while the library may hold its address; its input and output pointers are set
//! from live slices before every call and no call outlives the borrow of these slices.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::mem::MaybeUninit;

use libz_rs_sys::{
    Z_BLOCK, Z_BUF_ERROR, Z_MEM_ERROR, Z_NO_FLUSH, Z_OK, Z_STREAM_END, inflate, inflateEnd,
    inflateGetDictionary, inflateInit2_, inflatePrime, inflateReset2, inflateSetDictionary, z_stream,
    zlibVersion,
};

use crate::{GzError, WINDOW_BYTES};

/// Wrapper the decoder expects around the deflate data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrapper {
    /// Bare deflate data.
    Raw,
    /// A gzip header before and a checksum and length after it, both verified.
    Gzip,
}

impl Wrapper {
    /// zlib's `windowBits`: the largest window is 15 bits; negative is raw, plus 16 is gzip only.
    const fn window_bits(self) -> c_int {
        match self {
            Self::Raw => -15,
            Self::Gzip => 15 + 16,
        }
    }
}

/// Where a call of the decoder may stop before input or output run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopAt {
    /// Nowhere.
    End,
    /// After the header and between deflate blocks.
    Block,
}

/// What one call did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes of input taken.
    pub consumed: usize,
    /// Bytes of output written.
    pub produced: usize,
    /// Whether the member (or the raw stream) is complete.
    pub ended: bool,
    /// Whether the decoder stands between two blocks, or before the first or behind the last.
    pub between_blocks: bool,
    /// Whether the block before is the last of the stream.
    pub after_last: bool,
    /// How many bits of the input taken so far are not used yet.
    pub unused_bits: u8,
}

/// A decoder of one deflate stream at a time.
pub(crate) struct Inflate {
    stream: Box<z_stream>,
}

// SAFETY: the raw pointers in `z_stream` lead to memory that only this value owns (the library's state, from
// the global allocator) or are not followed between calls (input and output); nothing in it is bound to a thread.
unsafe impl Send for Inflate {}

impl fmt::Debug for Inflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflate")
            .field("total_in", &self.stream.total_in)
            .field("total_out", &self.stream.total_out)
            .finish_non_exhaustive()
    }
}

impl Inflate {
    /// A decoder at the start of a stream in `wrapper`.
    ///
    /// # Errors
    /// [`GzError::NoMemory`] when the state cannot be allocated.
    pub(crate) fn new(wrapper: Wrapper) -> Result<Self, GzError> {
        let mut stream = Box::new(z_stream::default());
        let size = size_of::<z_stream>() as c_int;
        // SAFETY: the stream is a valid z_stream whose allocator fields are the defaults, and the version is
        // the library's own NUL-terminated string.
        let code = unsafe { inflateInit2_(&raw mut *stream, wrapper.window_bits(), zlibVersion(), size) };
        if code == Z_OK { Ok(Self { stream }) } else { Err(GzError::NoMemory) }
    }

    /// Begins anew, with nothing remembered.
    pub(crate) fn reset(&mut self, wrapper: Wrapper) {
        // SAFETY: the stream is initialised (invariant).
        let code = unsafe { inflateReset2(&raw mut *self.stream, wrapper.window_bits()) };
        debug_assert_eq!(code, Z_OK, "a reset of a sound stream with sound bits cannot fail");
    }

    /// Puts the `bits` low bits of `value` before the input. For raw streams, before their first step.
    ///
    /// # Errors
    /// [`GzError::BadStart`] for more bits than the decoder takes.
    pub(crate) fn prime(&mut self, bits: u8, value: u8) -> Result<(), GzError> {
        // SAFETY: the stream is initialised (invariant).
        let code = unsafe { inflatePrime(&raw mut *self.stream, c_int::from(bits), c_int::from(value)) };
        if code == Z_OK { Ok(()) } else { Err(GzError::BadStart { bits, window: 0 }) }
    }

    /// Lets the data to come refer to `window`. For raw streams, before their first step.
    ///
    /// # Errors
    /// [`GzError::BadStart`] when it is larger than a window can be.
    pub(crate) fn set_window(&mut self, window: &[u8]) -> Result<(), GzError> {
        let bad = GzError::BadStart { bits: 0, window: window.len() };
        if window.len() > WINDOW_BYTES {
            return Err(bad);
        }
        // SAFETY: the stream is initialised (invariant); pointer and length are those of a live slice, and
        // the length was just checked to fit.
        let code = unsafe {
            inflateSetDictionary(&raw mut *self.stream, window.as_ptr(), window.len() as libz_rs_sys::uInt)
        };
        if code == Z_OK { Ok(()) } else { Err(bad) }
    }

    /// The last decoded bytes, oldest first, as far as data to come may refer to them.
    pub(crate) fn window(&self) -> Vec<u8> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut len: libz_rs_sys::uInt = 0;
        // SAFETY: the stream is initialised (invariant); the library writes at most 32768 bytes, and that
        // many are there.
        let code =
            unsafe { inflateGetDictionary(&raw const *self.stream, window.as_mut_ptr(), &raw mut len) };
        debug_assert_eq!(code, Z_OK, "a sound stream has a window");
        window.truncate(len as usize);
        window.shrink_to_fit();
        window
    }

    /// Decodes from `input` to the end of `out` within its spare capacity, at most `max` bytes.
    ///
    /// # Errors
    /// As [`Self::step_into`].
    pub(crate) fn step_append(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        max: usize,
        stop: StopAt,
    ) -> Result<Step, GzError> {
        let spare = out.spare_capacity_mut();
        let max = max.min(spare.len());
        let step = self.step_uninit(input, &mut spare[..max], stop)?;
        let len = out.len() + step.produced;
        // SAFETY: the library wrote `produced` bytes from the start of the spare capacity, and `produced` is
        // at most what it was given.
        unsafe { out.set_len(len) };
        Ok(step)
    }

    /// Decodes from `input` into `out`.
    ///
    /// # Errors
    /// [`GzError::Corrupt`] with an offset that counts from the start of `input`.
    pub(crate) fn step_into(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, GzError> {
        let len = out.len();
        // SAFETY: initialised bytes are valid as maybe uninitialised ones, and `step_uninit` only ever writes
        // initialised bytes through the reference.
        let out = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<MaybeUninit<u8>>(), len) };
        self.step_uninit(input, out, StopAt::End)
    }

    fn step_uninit(
        &mut self,
        input: &[u8],
        out: &mut [MaybeUninit<u8>],
        stop: StopAt,
    ) -> Result<Step, GzError> {
        // The library counts a call in 32 bits; what does not fit is left for the next call.
        let given_in = libz_rs_sys::uInt::try_from(input.len()).unwrap_or(libz_rs_sys::uInt::MAX);
        let given_out = libz_rs_sys::uInt::try_from(out.len()).unwrap_or(libz_rs_sys::uInt::MAX);
        let stream = &mut *self.stream;
        stream.next_in = input.as_ptr();
        stream.avail_in = given_in;
        stream.next_out = out.as_mut_ptr().cast();
        stream.avail_out = given_out;
        let flush = match stop {
            StopAt::End => Z_NO_FLUSH,
            StopAt::Block => Z_BLOCK,
        };
        // SAFETY: the stream is initialised (invariant), its pointers and counts describe live, disjoint
        // slices, and the output is only written to.
        let code = unsafe { inflate(&raw mut *stream, flush) };
        let consumed = (given_in - stream.avail_in) as usize;
        let produced = (given_out - stream.avail_out) as usize;
        // The slices end with this call.
        stream.next_in = std::ptr::null();
        stream.avail_in = 0;
        stream.next_out = std::ptr::null_mut();
        stream.avail_out = 0;
        match code {
            // A buffer error only says that nothing moved: the caller sees that from the counts.
            Z_OK | Z_BUF_ERROR | Z_STREAM_END => Ok(Step {
                consumed,
                produced,
                ended: code == Z_STREAM_END,
                // How zlib packs its `data_type`.
                between_blocks: stream.data_type & 128 != 0,
                after_last: stream.data_type & 64 != 0,
                unused_bits: (stream.data_type & 63) as u8,
            }),
            Z_MEM_ERROR => Err(GzError::NoMemory),
            _ => Err(GzError::Corrupt { at: consumed as u64, reason: self.reason() }),
        }
    }

    fn reason(&self) -> String {
        if self.stream.msg.is_null() {
            return "the decoder refused it".to_owned();
        }
        // SAFETY: when not null, `msg` is one of the library's static NUL-terminated strings.
        unsafe { CStr::from_ptr(self.stream.msg) }.to_string_lossy().into_owned()
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        // SAFETY: the stream is initialised (invariant) and not used after this.
        unsafe { inflateEnd(&raw mut *self.stream) };
    }
}
