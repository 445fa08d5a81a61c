//! The one printer: it knows whether a person, a pipe or a machine reads.

mod progress;

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use glowplug_base::{Hint, Hinted};
use glowplug_sandbox::outbound::OutboundError;
use glowplug_sandbox::ready::ReadyError;
use glowplug_sandbox::{CreateError, spec};

use crate::cli::Global;
use crate::trace::Style;
pub use progress::Progress;
use progress::Yielding;

/// Columns of a terminal that does not tell its width.
const DEFAULT_WIDTH: usize = 100;

/// Where and how to print.
#[derive(Debug, Clone)]
pub struct Output {
    quiet: bool,
    json: bool,
    colour: bool,
    /// Standard output is for the result of what this is a part of.
    part: bool,
    progress: Progress,
}

impl Output {
    /// As the flags and the environment say.
    pub fn new(global: &Global) -> Self {
        let colour = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|text| text.is_empty());
        let level = if global.verbose { tracing::Level::DEBUG } else { tracing::Level::WARN };
        // Bars have no place between lines that a person asked for, nor where a machine may read.
        let watched = std::io::stderr().is_terminal() && !global.quiet && !global.json && !global.verbose;
        let progress = if watched { Progress::on_terminal() } else { Progress::hidden() };
        let beside = progress.clone();
        let writer = move || Beside(beside.clone());
        tracing_subscriber::fmt().with_max_level(level).with_writer(writer).with_ansi(colour).init();
        Self { quiet: global.quiet, json: global.json, colour, part: false, progress }
    }

    /// For a command that is a part of another one: it gives no result of its own, and what its program prints goes to standard error.
    #[must_use]
    pub fn of_a_part(&self) -> Self {
        Self { quiet: self.quiet || self.json, json: false, part: true, ..self.clone() }
    }

    /// Whether a machine reads standard output.
    pub const fn json(&self) -> bool {
        self.json
    }

    /// The bars.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Standard output for a program: what it writes ends the bars if it goes to their terminal.
    pub fn program_out(&self) -> Yielding<Box<dyn tokio::io::AsyncWrite + Send + Unpin>> {
        if self.part {
            self.for_program(Box::new(tokio::io::stderr()), std::io::stderr().is_terminal())
        } else {
            self.for_program(Box::new(tokio::io::stdout()), std::io::stdout().is_terminal())
        }
    }

    /// Standard error for a program.
    pub fn program_err(&self) -> Yielding<tokio::io::Stderr> {
        self.for_program(tokio::io::stderr(), std::io::stderr().is_terminal())
    }

    fn for_program<W>(&self, stream: W, terminal: bool) -> Yielding<W> {
        let elsewhere = Progress::hidden();
        (if terminal { &self.progress } else { &elsewhere }).yielding(stream)
    }

    /// How to draw.
    pub fn style(&self) -> Style {
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let terminal =
            rustix::termios::tcgetwinsize(std::io::stderr()).ok().map(|size| usize::from(size.ws_col));
        let width = terminal.filter(|width| *width > 0).or(columns).unwrap_or(DEFAULT_WIDTH);
        Style { colour: self.colour, width }
    }

    /// A line on what happens, for people.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            let _ = self.progress.aside(|| writeln!(std::io::stderr(), "{text}"));
        }
    }

    /// The command's result, for people.
    pub fn result(&self, text: impl std::fmt::Display) {
        if !self.json {
            let _ = self.progress.aside(|| writeln!(std::io::stdout(), "{text}"));
        }
    }

    /// The command's result, for machines.
    pub fn document(&self, value: &serde_json::Value) {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{value}");
        }
    }

    /// A result that may be long, for whoever reads: written piece by piece after the bars have gone. A reader who has seen enough ends it,
    /// and that is no trouble.
    pub fn bulk(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> anyhow::Result<()> {
        self.progress.end();
        let mut out = io::BufWriter::new(io::stdout().lock());
        match write(&mut out).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(error).context("write to standard output")
            }
            _ => Ok(()),
        }
    }

    /// What went wrong, why, and the way out.
    pub fn error(&self, error: &anyhow::Error) {
        self.progress.end();
        let hint = hint(error);
        let mut message = String::new();
        for cause in error.chain() {
            let text = cause.to_string();
            // Some errors repeat their source in their own words.
            if !message.ends_with(&text) {
                message = if message.is_empty() { text } else { format!("{message}: {text}") };
            }
        }
        if self.json {
            let hint = hint.as_ref().map(ToString::to_string);
            let _ = writeln!(std::io::stderr(), "{}", serde_json::json!({ "error": message, "hint": hint }));
            return;
        }
        let (red, bold, end) =
            if self.colour { ("\u{1b}[31m", "\u{1b}[1m", "\u{1b}[0m") } else { ("", "", "") };
        let _ = writeln!(std::io::stderr(), "{red}{bold}error{end}: {message}");
        if let Some(hint) = hint {
            let _ = writeln!(std::io::stderr(), "{bold}hint{end}: {hint}");
        }
    }
}

/// Standard error beside the bars, for lines that are written as a whole.
#[derive(Debug)]
struct Beside(Progress);

impl io::Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        std::io::stderr().flush()
    }
}

/// The first way out that an error in the chain knows.
fn hint(error: &anyhow::Error) -> Option<Hint> {
    error.chain().find_map(|cause| {
        let of = |known: Option<&dyn Hinted>| known.and_then(Hinted::hint);
        of(cause.downcast_ref::<glowplug_image::ImageError>().map(|e| e as &dyn Hinted))
            .or_else(|| {
                of(cause.downcast_ref::<glowplug_image::soci::PublishError>().map(|e| e as &dyn Hinted))
            })
            .or_else(|| of(cause.downcast_ref::<glowplug_convert::ConvertError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_image::PathError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_store::StoreError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_source::SourceError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_registry::Error>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_peer::OpenError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<glowplug_oci::SourceParseError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<spec::SpecError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<OutboundError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<CreateError>().map(|e| e as &dyn Hinted)))
            .or_else(|| of(cause.downcast_ref::<ReadyError>().map(|e| e as &dyn Hinted)))
    })
}
