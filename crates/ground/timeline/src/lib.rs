//! The cold-start timeline: what happened between the command and the first answer, in nanoseconds.
//!
//! Every part of Glowplug records [`Event`]s into one [`Timeline`]; a reducer turns them into the critical path whose
//! parts add up to the wall time, and a codec writes them as JSON lines. Recording is cheap and never blocks on I/O.
//! Drawing for people lives in the binary.
#![forbid(unsafe_code)]

mod codec;
mod event;
mod interval;
mod recorder;
mod reduce;

pub use codec::{CodecError, Limits, Reading, read, write};
pub use event::{Cause, Event, Fetch, Header, Mark, Phase, Span, Stall};
pub use interval::Interval;
pub use recorder::{SpanGuard, Timeline};
pub use reduce::{
    CauseBytes, Link, PathStalls, PhaseTotal, ReduceError, Report, Segment, SegmentKind, Stalls, reduce,
};
