//! `glowplug run`: from an image's name to its first answer, and on until it ends.
//!
//! ```text
//! resolve -> index every layer -> prefetch begins -> mount -> create -> exec -> ready -> waterfall -> … -> exit
//! ```

mod options;
mod report;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use glowplug_base::Clock;
use glowplug_base::size::human;
use glowplug_image::profile::shared;
use glowplug_image::{Image, Profile, Spare};
use glowplug_mount::{Rootfs, Wish};
use glowplug_sandbox::ready::{self, Probe};
use glowplug_sandbox::spec::Port;
use glowplug_sandbox::user::{self, Accounts};
use glowplug_sandbox::{Container, Helper, Outbound, Runtime, Settings, StdStream, spec};
use glowplug_store::{Layer, Store};
use glowplug_timeline::{Mark, Phase, Timeline};
use serde_json::json;

use crate::cli::{Global, RunArgs};
use crate::commands::signals::Stop;
use crate::node::{Located, StartKind, locate, open_store};
use crate::output::Output;
use report::Report;

/// How long a container may take to end after it was asked to, as Docker has it.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;
/// How long after readiness reads still belong to the start: servers load the rest at their first request.
const FIRST_ANSWERS_MS: u64 = 10_000;

/// Runs the command.
pub fn run(global: &Global, args: &RunArgs, output: &Output, clock: Clock) -> anyhow::Result<ExitCode> {
    let store = open_store(global)?;
    let result = super::runtime()?.block_on(start(global, args, output, &Timeline::new(clock), &store));
    // The store is written back last, when nothing reads through it any more.
    drop(store);
    result
}

async fn start(
    global: &Global,
    args: &RunArgs,
    output: &Output,
    timeline: &Timeline,
    store: &Arc<Store>,
) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let id = args.name.clone().unwrap_or_else(made_up_name);
    let ports = args.publish.iter().map(|text| Port::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let probe = probe(args, &ports)?;
    let runtime = Runtime::parse(&args.runtime);
    // Started now, it is there when the image is.
    let helper = (runtime == Runtime::Embedded).then(|| Helper::spawn(&id)).transpose()?;
    let outbound = (args.network == "private").then(|| tokio::task::spawn_blocking(Outbound::lay));
    let located = tokio::select! {
        located = locate(store, &args.registry, &args.image, timeline) => located?,
        () = stop.asked() => bail!("stopped while the image was looked up"),
    };
    let outbound = match outbound {
        Some(laying) => Some(laying.await??),
        None => None,
    };
    outbound.iter().flat_map(Outbound::notes).for_each(|note| output.note(note));
    let kind = kind(&located, args);
    let learned = kind.profile(store);
    // What this node has not learned another may have published or offered; looked for while the layers are opened.
    let command = shared::command(args.entrypoint.as_deref(), &args.args);
    let told = async {
        match &learned {
            Some(_) => None,
            None => located.order(&command, timeline).await,
        }
    };
    let opening = async { tokio::join!(open(store, &located, output, timeline), told) };
    let (image, told) = tokio::select! {
        (image, told) = opening => (image?, told),
        () = stop.asked() => bail!("stopped while layers were streaming in"),
    };
    let report = Report::new(args, &located, timeline.clone());
    told.iter().for_each(|order| output.note(format!("order of the start from {}", order.from)));
    let profile = learned.or(told.map(|order| order.profile));
    let arriving = output.progress().arriving(missing_bytes(&image));
    // What an earlier start did not touch can wait until this one is over: its decoding would only slow the application down.
    let started = Arc::new(AtomicBool::new(profile.is_none()));
    let over = started.clone();
    let spare = move || over.load(Ordering::Relaxed) && glowplug_linux::load::has_spare();
    image.start_prefetch(profile.as_ref(), &(Arc::new(spare) as Spare));

    let work = Work::make(global, &id)?;
    // The first start of a kind is watched, so that the next can be streamed in its order.
    let wish = if profile.is_none() { Wish::Watched } else { Wish::Fastest };
    let mounting = timeline.span(Phase::Create, "mount");
    let (rootfs, image_again, handle) =
        (work.0.join("rootfs"), image.clone(), tokio::runtime::Handle::current());
    let rootfs =
        tokio::task::spawn_blocking(move || Rootfs::mount(&image_again, &rootfs, &handle, wish)).await??;
    drop(mounting);
    output.note(format!("image is served by {}", rootfs.door()));

    let mut running = Running::create(
        args,
        &located,
        &image,
        &id,
        &work,
        &rootfs,
        runtime,
        helper,
        outbound.as_ref(),
        timeline,
    )
    .await?;
    let forwarders = running.publish(args, &ports).await?;
    running.container.start().await.context("start the container")?;
    timeline.mark(Mark::EXEC);
    report.steps(&running.container);
    running.pump_output(probe.as_ref(), output);

    let refuted = refuted(&image, store, &located, args.strict);
    tokio::pin!(refuted);
    let readied = tokio::select! {
        readied = running.ready(probe.as_ref(), &image, Duration::from_secs(args.ready_timeout)) => Ok(Some(readied)),
        () = stop.asked() => Ok(None),
        refusal = &mut refuted => Err(refusal),
    };
    drop(arriving);
    let readied = match readied {
        Ok(readied) => readied,
        Err(refusal) => {
            running.end(&located).await;
            report.write()?;
            audited(&image, output);
            return Err(refusal);
        }
    };
    let mut code = ExitCode::SUCCESS;
    match readied {
        Some(Ok(())) => {
            timeline.mark(Mark::READY);
            started.store(true, Ordering::Relaxed);
            // The first requests want the processors as much as the start did.
            let (settling, pause) = (Arc::downgrade(&image), Duration::from_millis(FIRST_ANSWERS_MS));
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                if let Some(image) = settling.upgrade() {
                    image.settle();
                }
            });
            let lesson = Lesson { kind, known: profile, ready_ms: image.age_ms() };
            let taught = lesson.keep(store, &image);
            let offering = offer(&located, &image, &command, taught);
            report.ready(output)?;
            if !args.until_ready {
                let ended = tokio::select! {
                    code = running.until_exit(&mut stop, &located) => Ok(code),
                    refusal = &mut refuted => Err(refusal),
                };
                lesson.keep(store, &image);
                match ended {
                    Ok(ended) => code = ended,
                    Err(refusal) => {
                        running.end(&located).await;
                        report.write()?;
                        audited(&image, output);
                        return Err(refusal);
                    }
                }
            }
            let _ = offering.await;
            // The first answers taught more, and what is here now may have been held against its layer.
            let _ = offer(&located, &image, &command, lesson.keep(store, &image)).await;
        }
        Some(Err(error)) => {
            running.lines_of(&error, output);
            running.end(&located).await;
            report.write()?;
            let _ = offer(&located, &image, &command, None).await;
            return Err(error.into());
        }
        None => {}
    }
    running.end(&located).await;
    timeline.mark(Mark::EXIT);
    report.write()?;
    located.neighbours.refute(store, &image).await;
    audited(&image, output);
    drop((forwarders, running, rootfs, outbound));
    Ok(code)
}

/// Tells what became of the indexes that others made, as far as the layers were held against them.
fn audited(image: &Image, output: &Output) {
    let contradictions = image.contradictions();
    for contradiction in &contradictions {
        let reads = if contradiction.is_readable { "" } else { "nothing more of it is read, and " };
        output.note(format!("{contradiction}; {reads}its next start makes its own index"));
    }
    let (confirmed, pending) = image.audited();
    if confirmed + pending + contradictions.len() == 0 {
        return;
    }
    let said = contradictions.iter().map(|found| {
        json!({ "layer": found.layer, "entries": found.entries, "first": found.first,
            "is_readable": found.is_readable })
    });
    output.document(
        &json!({ "audit": { "confirmed": confirmed, "pending": pending, "contradictions": said.collect::<Vec<_>>() } }),
    );
}

/// Returns when a layer turns out to hold something else than its published index shows, if that is to end the run.
/// The node that gave the index is told of in any case.
async fn refuted(image: &Image, store: &Store, located: &Located, strict: bool) -> anyhow::Error {
    let contradiction = image.contradicted().await;
    located.neighbours.refute(store, image).await;
    if !strict {
        std::future::pending::<()>().await;
    }
    anyhow::anyhow!("{contradiction}").context("the container was stopped, as --strict asks")
}

/// What tells readiness: what was asked for, else the first published port, else nothing but a running program.
fn probe(args: &RunArgs, ports: &[Port]) -> anyhow::Result<Option<Probe>> {
    if args.network == "host"
        && let Some(port) = ports.iter().find(|port| port.host != port.container)
    {
        bail!(
            "port {} cannot become {} in the host's network; use --network private",
            port.container,
            port.host
        );
    }
    match (&args.ready, ports.first()) {
        (Some(text), _) => Ok(Some(Probe::parse(text)?)),
        (None, Some(port)) => Ok(Some(Probe::Tcp(port.container))),
        (None, None) => Ok(None),
    }
}

/// The image's users and groups, from the image itself: through the mount this process would ask itself, and could not be killed while
/// it waits for bytes.
async fn accounts(image: &Image) -> anyhow::Result<Accounts> {
    let file = async |path: &str| {
        let read = image.read_path(path, user::LARGEST_BYTES + 1).await;
        read.with_context(|| format!("read the image's {path}"))
    };
    let (passwd, group) = tokio::try_join!(file(user::PASSWD), file(user::GROUP))?;
    Ok(Accounts { passwd, group })
}

async fn open(
    store: &Arc<Store>,
    located: &Located,
    output: &Output,
    timeline: &Timeline,
) -> anyhow::Result<Arc<Image>> {
    store.enforce_quota()?;
    let mut layers = located.layers();
    for (number, layer) in layers.iter_mut().enumerate() {
        layer.source = output.progress().metered(number, layer.source.clone());
    }
    let size: u64 = layers.iter().map(|layer| layer.source.size()).sum();
    output.note(format!("{}: {} layers, {}", located.image.name, layers.len(), human(size)));
    let mut models = located.models.clone();
    for (number, model) in models.iter_mut().enumerate() {
        model.source = output.progress().metered(layers.len() + number, model.source.clone());
    }
    if !models.is_empty() {
        let size: u64 = models.iter().map(|model| model.file.size).sum();
        output.note(format!("models beside it: {}, {}", models.len(), human(size)));
    }
    let opened =
        glowplug_image::open_with(store, &layers, &models, located.neighbours.asked(), timeline).await?;
    let (known, adopted, streamed) = (opened.known, opened.adopted, opened.streamed);
    output.note(format!(
        "{known} layers known here, {adopted} with a published index, {streamed} streamed by and indexed"
    ));
    if opened.offered > 0 {
        output.note(format!("{} layers with an index from a peer", opened.offered));
    }
    if opened.distrusted > 0 {
        output.note(format!(
            "{} of them have a published index that proved wrong at an earlier start; publish it again",
            opened.distrusted
        ));
    }
    Ok(Arc::new(opened.image))
}

/// Bytes of the image's blobs whose spans are not here yet. Those that must be checked first count as here: nobody waits
/// for a bar.
fn missing_bytes(image: &Image) -> u64 {
    let missing = |layer: &Arc<Layer>| layer.index().blob_size.saturating_sub(layer.present_blob_bytes());
    image.layers().map(missing).sum()
}

/// Offers to the node's peer service what this start made and learned; in the background, since the application wants the processors.
fn offer(
    located: &Located,
    image: &Arc<Image>,
    command: &str,
    taught: Option<Profile>,
) -> tokio::task::JoinHandle<()> {
    let (neighbours, image, command) = (located.neighbours.clone(), image.clone(), command.to_owned());
    let manifest = located.image.manifest_digest;
    tokio::spawn(async move { neighbours.offer(&image, manifest, &command, taught.as_ref()).await })
}

/// A name that no other container has: process ids repeat in other namespaces, while the tree of control groups is one.
fn made_up_name() -> String {
    format!("glowplug-{:08x}", RandomState::new().build_hasher().finish() as u32)
}

fn kind(located: &Located, args: &RunArgs) -> StartKind {
    StartKind::of(located.image.manifest_digest, args.entrypoint.as_deref(), &args.args)
}

/// What earlier runs of this image and command taught this node.
pub fn learned(store: &Store, located: &Located, args: &RunArgs) -> Option<Profile> {
    kind(located, args).profile(store)
}

/// What a run teaches: when it was ready, and what was known before it.
struct Lesson {
    kind: StartKind,
    known: Option<Profile>,
    ready_ms: u64,
}

impl Lesson {
    /// Keeps what was learned so far, and gives it. Called when ready and again at the end: the first answer reads, too.
    fn keep(&self, store: &Store, image: &Image) -> Option<Profile> {
        let run = image.touched_within(self.ready_ms.saturating_add(FIRST_ANSWERS_MS));
        // Served by the kernel, an image does not tell what was read.
        if run.is_empty() {
            return None;
        }
        let merged = match self.known.clone() {
            Some(known) => known.merge(&run),
            None => run,
        };
        if let Err(error) = self.kind.keep(store, &merged) {
            tracing::warn!(%error, "the start profile could not be kept");
        }
        Some(merged)
    }
}

/// The container's own directory, removed with everything in it.
struct Work(PathBuf);

impl Work {
    /// Makes the directory, and removes what killed runs left: whoever holds the store's lock is its only run.
    fn make(global: &Global, id: &str) -> anyhow::Result<Self> {
        let all = std::path::absolute(global.store.join("run"))?;
        for mount in glowplug_linux::mount::mounts_below(&all).unwrap_or_default().iter().rev() {
            let _ = glowplug_linux::mount::unmount(mount, true);
        }
        if all.exists() {
            std::fs::remove_dir_all(&all).with_context(|| format!("remove {}", all.display()))?;
        }
        let path = all.join(id);
        std::fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A container and what belongs to it.
struct Running {
    container: Container,
    logs: glowplug_sandbox::logs::Logs,
}

impl Running {
    #[expect(clippy::too_many_arguments, reason = "called once, from the one place that has them all")]
    async fn create(
        args: &RunArgs,
        located: &Located,
        image: &Image,
        id: &str,
        work: &Work,
        rootfs: &Rootfs,
        runtime: Runtime,
        helper: Option<Helper>,
        outbound: Option<&Outbound>,
        timeline: &Timeline,
    ) -> anyhow::Result<Self> {
        let state = work.0.join("state");
        std::fs::create_dir_all(&state).with_context(|| format!("create {}", state.display()))?;
        let wanted = options::options(args, id, rootfs.path(), state.clone(), outbound)?;
        let config = located.image.config.clone();
        let specifying = timeline.span(Phase::Create, "specification");
        let accounts = accounts(image).await?;
        let spec = tokio::task::spawn_blocking(move || spec::build(&config, &accounts, &wanted)).await??;
        drop(specifying);
        let mut settings = Settings::new(id, &state);
        settings.runtime = runtime;
        settings.helper = helper;
        settings.stdout = StdStream::Pipe;
        settings.stderr = StdStream::Pipe;
        let container = Container::create(spec, settings).await.context("create the container")?;
        Ok(Self { container, logs: glowplug_sandbox::logs::Logs::new() })
    }

    /// Opens the published ports of a container with its own network.
    async fn publish(
        &self,
        args: &RunArgs,
        ports: &[Port],
    ) -> anyhow::Result<Vec<glowplug_sandbox::forward::Forwarder>> {
        let mut open = Vec::new();
        if args.network != "host" {
            for port in ports {
                let dialer = self.container.dialer()?;
                let forwarder = glowplug_sandbox::forward::Forwarder::open(*port, dialer).await;
                open.push(forwarder.with_context(|| format!("publish port {} on the host", port.host))?);
            }
        }
        Ok(open)
    }

    fn pump_output(&mut self, probe: Option<&Probe>, output: &Output) {
        if let Some(probe) = probe {
            probe.notice(&self.logs);
        }
        if let Some(out) = self.container.take_stdout() {
            tokio::spawn(self.logs.pump(out, Some(output.program_out())));
        }
        if let Some(err) = self.container.take_stderr() {
            tokio::spawn(self.logs.pump(err, Some(output.program_err())));
        }
    }

    async fn ready(
        &self,
        probe: Option<&Probe>,
        image: &Arc<Image>,
        patience: Duration,
    ) -> Result<(), ready::ReadyError> {
        let Some(probe) = probe else { return Ok(()) };
        let moved = || image.moved_bytes();
        let context = ready::Context::of(&self.container, Some(self.logs.clone()), &moved, patience);
        ready::wait(probe, context).await.map(|_| ())
    }

    /// Waits until the program ends by itself or because somebody asked; gives its exit code.
    async fn until_exit(&self, stop: &mut Stop, located: &Located) -> ExitCode {
        let signal = spec::stop_signal(&located.image.config);
        let exit = tokio::select! {
            exit = self.container.wait() => exit,
            () = stop.asked() => {
                let _ = self.container.kill(signal);
                tokio::select! {
                    exit = self.container.wait() => exit,
                    () = tokio::time::sleep(STOP_PATIENCE) => self.killed().await,
                    () = stop.asked() => self.killed().await,
                }
            }
        };
        self.logs.closed().await;
        ExitCode::from(u8::try_from(exit.code).unwrap_or(1))
    }

    async fn killed(&self) -> glowplug_sandbox::Exit {
        let _ = self.container.kill(SIGKILL);
        self.container.wait().await
    }

    /// Ends the program if it still runs: asked first, killed when it does not listen.
    async fn end(&self, located: &Located) {
        let _ = self.container.kill(spec::stop_signal(&located.image.config));
        if tokio::time::timeout(STOP_PATIENCE, self.container.wait()).await.is_err() {
            self.killed().await;
        }
    }

    fn lines_of(&self, error: &ready::ReadyError, output: &Output) {
        // Its output went by already; repeat the end of it where a machine reads.
        if output.json() {
            output.document(&serde_json::json!({ "output": error.lines() }));
        }
    }
}
