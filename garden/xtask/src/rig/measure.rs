//! One cold start, measured: from the command to the first right answer, and on until every byte is here.
//!
//! All ways are measured alike: the same client asks the same question every 20 ms from the moment the command is
//! given. The caller has brought the node into the state that the start is to begin from.

mod arrival;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::{Deserialize, Serialize};

use self::arrival::Arrival;
use super::Rig;
use super::containerd::Containerd;
use super::glowplug::Node;
use super::peers;
use super::usage::{Belonging, Watch};
use crate::images::{Name, layout::Manifest};

/// Where every image's server answers.
const PORT: u16 = 8080;
/// After this a start counts as failed.
const DEADLINE: Duration = Duration::from_secs(900);
/// A start without an answer that moved nothing for so long hangs.
const STUCK: Duration = Duration::from_secs(90);
/// A link that moved nothing for so long has moved everything.
const LINK_IDLE: Duration = Duration::from_secs(2);
/// How often containerd is asked whether the container still runs: seldom, for asking costs CPU.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Fewer bytes than this between two looks are not the image coming in.
const NOISE_BYTES: u64 = 4096;
/// What a start is called to containerd.
const CONTAINER: &str = "glowplug-rig-container";

/// What one start took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// From the command to the first right answer.
    pub answer_seconds: f64,
    /// Bytes that came over the link until then.
    pub answer_link_bytes: u64,
    /// CPU seconds until then, of everything that belongs to the start.
    pub answer_cpu_seconds: f64,
    /// From the command until every byte of the image was on the node.
    pub complete_seconds: Option<f64>,
    /// Bytes that came over the link until then.
    pub complete_link_bytes: u64,
    /// CPU seconds until then.
    pub complete_cpu_seconds: f64,
    /// Most resident memory of what starts the container: its daemons, clients, runtime. A daemon that waits for another case
    /// is not among them.
    pub peak_loader_bytes: u64,
    /// Most resident memory of the application.
    pub peak_application_bytes: u64,
    /// The answer.
    #[serde(skip)]
    pub answer: String,
    /// What the command printed until the answer came.
    #[serde(skip)]
    pub printed: String,
}

/// Counters at the begin of a start.
struct Begin<'a> {
    rig: &'a Rig,
    belonging: Belonging,
    link_bytes: u64,
    cpu_seconds: f64,
    watch: Watch,
    at: Instant,
}

impl<'a> Begin<'a> {
    /// `daemons` run already and belong to the start.
    fn now(rig: &'a Rig, daemons: &[u32]) -> anyhow::Result<Self> {
        let belonging = Belonging::from_now(daemons);
        Ok(Self {
            rig,
            watch: Watch::start(belonging.clone()),
            link_bytes: rig.link_bytes()?,
            cpu_seconds: belonging.cpu_seconds(),
            belonging,
            at: Instant::now(),
        })
    }

    fn link_bytes(&self) -> anyhow::Result<u64> {
        Ok(self.rig.link_bytes()? - self.link_bytes)
    }

    fn cpu_seconds(&self) -> f64 {
        self.belonging.cpu_seconds() - self.cpu_seconds
    }

    /// The counters at the first right answer, which is now.
    fn answered(&self, answer: String) -> anyhow::Result<Outcome> {
        let (link_bytes, cpu_seconds) = (self.link_bytes()?, self.cpu_seconds());
        Ok(Outcome {
            answer_seconds: self.at.elapsed().as_secs_f64(),
            answer_link_bytes: link_bytes,
            answer_cpu_seconds: cpu_seconds,
            complete_seconds: None,
            complete_link_bytes: link_bytes,
            complete_cpu_seconds: cpu_seconds,
            peak_loader_bytes: 0,
            peak_application_bytes: 0,
            answer,
            printed: String::new(),
        })
    }
}

/// When bytes last came over the link.
struct Traffic<'a> {
    begin: &'a Begin<'a>,
    seen: u64,
    at: Instant,
}

impl<'a> Traffic<'a> {
    fn now(begin: &'a Begin<'a>) -> anyhow::Result<Self> {
        Ok(Self { begin, seen: begin.link_bytes()?, at: Instant::now() })
    }

    fn idle_for(&mut self) -> anyhow::Result<Duration> {
        let now = self.begin.link_bytes()?;
        if now > self.seen + NOISE_BYTES {
            (self.seen, self.at) = (now, Instant::now());
        }
        Ok(self.at.elapsed())
    }
}

/// Where the image's server is asked.
pub fn server() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))
}

/// `glowplug run`, from whatever the node knows and holds now. The container is ended before this returns.
pub fn glowplug(rig: &Rig, node: &Node, image: Name, reference: &str) -> anyhow::Result<Outcome> {
    let question = image.question()?;
    let begin = Begin::now(rig, &[])?;
    let mut start = node.run(reference, image.ready_path())?;
    let mut traffic = Traffic::now(&begin)?;
    let answer = question.ask_until_right(server(), begin.at + DEADLINE, || {
        start.check_alive()?;
        if traffic.idle_for()? > STUCK {
            bail!("no answer, and no byte for {STUCK:?}; it printed:\n{}", start.printed().trim_end());
        }
        Ok(())
    })?;
    let mut outcome = begin.answered(answer)?;
    let mut traffic = Traffic::now(&begin)?;
    while start.complete_after().is_none() && traffic.idle_for()? < LINK_IDLE {
        std::thread::sleep(Duration::from_millis(50));
        start.check_alive()?;
    }
    outcome.complete_link_bytes = begin.link_bytes()?;
    outcome.complete_cpu_seconds = begin.cpu_seconds();
    outcome.printed = start.printed();
    let memory = begin.watch.stop();
    start.stop()?;
    outcome.complete_seconds = start.complete_after().map(|after| after.as_secs_f64());
    (outcome.peak_loader_bytes, outcome.peak_application_bytes) =
        (memory.loader_bytes, memory.application_bytes);
    Ok(outcome)
}

/// containerd's full pull, unpack and start. The container is ended before this returns; the image stays.
pub fn containerd(rig: &Rig, peer: &Containerd, image: Name, reference: &str) -> anyhow::Result<Outcome> {
    let begin = Begin::now(rig, peer.pid().as_slice())?;
    peer.pull(reference)?;
    let complete = begin.at.elapsed();
    let mut outcome = started(begin, peer, image, reference)?;
    outcome.complete_seconds = Some(complete.as_secs_f64());
    Ok(outcome)
}

/// A start with every byte unpacked on the node and in the page cache, right after another start of the same image.
pub fn warm_local(rig: &Rig, peer: &Containerd, image: Name, reference: &str) -> anyhow::Result<Outcome> {
    let mut outcome = started(Begin::now(rig, peer.pid().as_slice())?, peer, image, reference)?;
    outcome.complete_seconds = Some(0.0);
    Ok(outcome)
}

/// A lazy peer's pull and start, and on until it has moved every byte of the image or for [`arrival::WITHIN`] after the
/// answer. The container is ended before this returns.
pub fn peer(
    rig: &Rig,
    node: &peers::Node<'_>,
    image: Name,
    reference: &str,
    manifest: &Manifest,
) -> anyhow::Result<Outcome> {
    let containerd = node.containerd()?;
    let begin = Begin::now(rig, &node.daemons())?;
    let arrival = Arrival::watch(begin.at);
    containerd.pull(reference)?;
    let mut outcome = ask(&begin, containerd, image, reference)?;
    node.check_lazy(manifest)?;
    outcome.complete_seconds = arrival.complete(manifest.layer_bytes()).map(|after| after.as_secs_f64());
    outcome.complete_link_bytes = begin.link_bytes()?;
    outcome.complete_cpu_seconds = begin.cpu_seconds();
    end(begin, containerd, outcome)
}

fn started(begin: Begin<'_>, peer: &Containerd, image: Name, reference: &str) -> anyhow::Result<Outcome> {
    let outcome = ask(&begin, peer, image, reference)?;
    end(begin, peer, outcome)
}

/// Starts a pulled image and asks it until the right answer comes.
fn ask(begin: &Begin<'_>, peer: &Containerd, image: Name, reference: &str) -> anyhow::Result<Outcome> {
    peer.run(reference, CONTAINER)?;
    let mut looked = Instant::now();
    let answer = image.question()?.ask_until_right(server(), begin.at + DEADLINE, || {
        if looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        looked = Instant::now();
        peer.check_alive(CONTAINER)
    })?;
    begin.answered(answer)
}

/// Takes the memory and ends the container.
fn end(begin: Begin<'_>, peer: &Containerd, mut outcome: Outcome) -> anyhow::Result<Outcome> {
    let memory = begin.watch.stop();
    (outcome.peak_loader_bytes, outcome.peak_application_bytes) =
        (memory.loader_bytes, memory.application_bytes);
    peer.remove(CONTAINER)?;
    Ok(outcome)
}
