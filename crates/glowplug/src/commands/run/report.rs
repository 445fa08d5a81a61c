//! What a run tells of itself: the waterfall when ready, the timeline as a file.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use glowplug_sandbox::Container;
use glowplug_timeline::{Event, Header, Phase, Span, Timeline, reduce, write};

use crate::cli::RunArgs;
use crate::node::Located;
use crate::output::Output;
use crate::trace::waterfall;

/// Gathers a run's timeline.
#[derive(Debug)]
pub struct Report {
    timeline: Timeline,
    header: Header,
    file: Option<PathBuf>,
    /// Monotonic clock of the machine at the timeline's zero, nanoseconds.
    zero_ns: u64,
}

impl Report {
    pub fn new(args: &RunArgs, located: &Located, timeline: Timeline) -> Self {
        let elapsed = timeline.now_ns();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let unix_start_ns = u64::try_from(unix).unwrap_or(0).saturating_sub(elapsed);
        let recorder = concat!("glowplug ", env!("CARGO_PKG_VERSION"));
        let mut header = Header::new(&*args.image, unix_start_ns, recorder);
        let layers = located.image.layers.iter().map(|layer| layer.descriptor.size);
        header.image_bytes = Some(layers.chain(located.models.iter().map(|model| model.file.size)).sum());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let monotonic_ns = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        Self {
            header,
            file: args.timeline.clone(),
            zero_ns: monotonic_ns.saturating_sub(timeline.now_ns()),
            timeline,
        }
    }

    /// Adds the steps of the container's creation.
    pub fn steps(&self, container: &Container) {
        let base = container.began_ns().saturating_sub(self.zero_ns);
        for step in container.steps() {
            self.timeline.record(Event::Span(Span {
                phase: Phase::Create,
                name: step.name.clone(),
                start_ns: base + step.start_ns,
                end_ns: base + step.end_ns,
                detail: None,
            }));
        }
    }

    /// The start is over: draws the waterfall.
    pub fn ready(&self, output: &Output) -> anyhow::Result<()> {
        let events = self.events();
        let report = reduce(&events)?;
        if output.json() {
            output.document(&serde_json::to_value(&report)?);
        } else {
            output.note(waterfall(&report, &events, output.style()));
        }
        self.write()
    }

    /// Writes the timeline as far as it goes.
    pub fn write(&self) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        std::fs::write(file, write(&self.events()))
            .with_context(|| format!("write the timeline {}", file.display()))
    }

    fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Header(self.header.clone())];
        events.extend(self.timeline.events());
        events
    }
}
