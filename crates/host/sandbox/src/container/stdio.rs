//! What a container's standard streams are connected to.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;

use super::{Settings, Streams, TheirEnds};

/// One standard stream.
#[derive(Debug, Default)]
pub enum StdStream {
    /// `/dev/null`.
    #[default]
    Null,
    /// Glowplug's own.
    Inherit,
    /// A pipe, whose other end the container's handle gives out.
    Pipe,
    /// This descriptor.
    Fd(OwnedFd),
}

/// Opens the three; answers our ends and the container's.
pub(super) fn connect(settings: &mut Settings) -> io::Result<(Streams, TheirEnds)> {
    let mut streams = Streams::default();
    let stdin = match std::mem::take(&mut settings.stdin) {
        StdStream::Pipe => {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            streams.stdin = Some(pipe::Sender::from_owned_fd(ours)?);
            theirs
        }
        other => plain(other, io::stdin().as_fd())?,
    };
    let output = |stream: StdStream, own: std::os::fd::BorrowedFd<'_>| -> io::Result<_> {
        if !matches!(stream, StdStream::Pipe) {
            return Ok((None, plain(stream, own)?));
        }
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Some(pipe::Receiver::from_owned_fd(ours)?), theirs))
    };
    let (ours, stdout) = output(std::mem::take(&mut settings.stdout), io::stdout().as_fd())?;
    streams.stdout = ours;
    let (ours, stderr) = output(std::mem::take(&mut settings.stderr), io::stderr().as_fd())?;
    streams.stderr = ours;
    Ok((streams, [stdin, stdout, stderr]))
}

fn plain(stream: StdStream, own: std::os::fd::BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match stream {
        StdStream::Fd(fd) => Ok(fd),
        StdStream::Inherit => own.try_clone_to_owned(),
        StdStream::Null | StdStream::Pipe => {
            Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
        }
    }
}
