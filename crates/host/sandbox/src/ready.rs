//! When a container is ready: an HTTP answer, an open port, a loaded model, a line of its log, or a command that succeeds.
//!
//! A line is an event, also if it is the last that the container says before it ends. The rest can only be asked for, so they are polled: 5 ms apart at first, 50 ms in the end. An attempt that got a
//! connection waits for its answer instead of asking again, so a server that accepts early and answers late is heard at once.
//!
//! The deadline is patience, not a date: it starts again whenever bytes of the image have moved, because a program that waits for
//! its own files is not stuck.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::time::Duration;

use glowplug_base::{Hint, Hinted};
use regex::bytes::Regex;
use tokio::time::Instant;

use crate::container::{Container, Exit};
use crate::logs::Logs;
use crate::net::Dialer;
use crate::wire::now_ns;

mod http;
#[cfg(test)]
mod tests;

/// First pause between attempts.
const PAUSE_FIRST: Duration = Duration::from_millis(5);
/// Longest pause between attempts: what polling may add to a start that takes seconds.
const PAUSE_LAST: Duration = Duration::from_millis(50);
/// How long one attempt may take before a new one is made.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long an ended container's output may still take to arrive, where it is only to be shown.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Lines of log shown with an error.
const LINES_SHOWN: usize = 20;
/// The port Triton and other V2 servers listen on.
const V2_PORT: u16 = 8000;

/// A question whose answer is whether the container is ready.
#[derive(Debug, Clone)]
pub enum Probe {
    /// `GET` answers with a status from 200 to 399.
    Http {
        /// Address to connect to.
        address: IpAddr,
        /// Port.
        port: u16,
        /// Path with query.
        path: String,
        /// The `Host` header.
        host: String,
    },
    /// The port accepts a connection on loopback.
    Tcp(u16),
    /// A V2 (Open Inference Protocol) server says that the model is ready.
    V2 {
        /// Port.
        port: u16,
        /// Model's name.
        model: String,
    },
    /// A line of output matches.
    Log(Regex),
    /// The command, run in the container, ends with code 0.
    Exec(Vec<String>),
}

/// A text that is no probe.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Unknown kind.
    #[error("{0:?} is not http://…, tcp:PORT, v2:MODEL, log:REGEX or exec:CMD")]
    Kind(String),
    /// Not a URL this prober can ask.
    #[error("{url:?} cannot be asked: {why}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a port.
    #[error("{0:?} is not a port")]
    Port(String),
    /// Not a regular expression.
    #[error("not a regular expression")]
    Regex(#[from] regex::Error),
    /// Nothing after the colon.
    #[error("{0:?} says nothing after the colon")]
    Empty(String),
}

impl Probe {
    /// Parses `http://[host]:port/path`, `tcp:PORT`, `v2:[PORT/]MODEL`, `log:REGEX`, or `exec:CMD`.
    ///
    /// A command that is a JSON array of strings is run as it is, any other by `/bin/sh -c`.
    pub fn parse(text: &str) -> Result<Self, ProbeError> {
        if let Some(rest) = text.strip_prefix("http://") {
            return http::parse(text, rest);
        }
        if text.starts_with("https://") {
            return Err(ProbeError::Url { url: text.to_owned(), why: "only plain http is supported" });
        }
        let (kind, rest) = text.split_once(':').ok_or_else(|| ProbeError::Kind(text.to_owned()))?;
        if rest.is_empty() {
            return Err(ProbeError::Empty(text.to_owned()));
        }
        let port = |text: &str| {
            text.parse().ok().filter(|p| *p != 0).ok_or_else(|| ProbeError::Port(text.to_owned()))
        };
        match kind {
            "tcp" => Ok(Self::Tcp(port(rest)?)),
            "v2" => {
                let (at, model) =
                    rest.split_once('/').map_or((Ok(V2_PORT), rest), |(at, model)| (port(at), model));
                if model.is_empty() || model.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
                {
                    return Err(ProbeError::Empty(text.to_owned()));
                }
                Ok(Self::V2 { port: at?, model: model.to_owned() })
            }
            "log" => Ok(Self::Log(Regex::new(rest)?)),
            "exec" => Ok(Self::Exec(match serde_json::from_str::<Vec<String>>(rest) {
                Ok(args) if !args.is_empty() => args,
                _ => vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()],
            })),
            _ => Err(ProbeError::Kind(text.to_owned())),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { host, path, .. } => write!(f, "http://{host}{path}"),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::V2 { port, model } => write!(f, "v2:{port}/{model}"),
            Self::Log(pattern) => write!(f, "log:{pattern}"),
            Self::Exec(args) => write!(f, "exec:{}", args.join(" ")),
        }
    }
}

/// What a probe needs to know of its container.
pub struct Context<'a> {
    /// Connects in the container's network.
    pub dialer: Dialer,
    /// The container's output; needed for [`Probe::Log`], shown with errors.
    pub logs: Option<Logs>,
    /// Where commands run; needed for [`Probe::Exec`].
    pub container: Option<&'a Container>,
    /// Resolves when the container ends: [`Container::exited`].
    pub alive: Pin<Box<dyn Future<Output = Exit> + Send + 'a>>,
    /// Bytes of the image moved so far. Only whether it changes matters.
    pub progress: &'a (dyn Fn() -> u64 + Send + Sync),
    /// How long to wait without either an answer or a byte.
    pub patience: Duration,
}

impl<'a> Context<'a> {
    /// The usual context of a started container, which may have ended by now: what it said still counts.
    pub fn of(
        container: &'a Container,
        logs: Option<Logs>,
        progress: &'a (dyn Fn() -> u64 + Send + Sync),
        patience: Duration,
    ) -> Self {
        let dialer = container.dialer().unwrap_or_else(|error| Dialer::nowhere(&error));
        let alive = Box::pin(container.exited());
        Self { dialer, logs, container: Some(container), alive, progress, patience }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// The container is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readied {
    /// Since [`wait`] was called.
    pub after: Duration,
    /// When, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
    /// How often it was asked.
    pub attempts: u32,
}

/// The container did not become ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// It ended first.
    #[error("container exited with code {} before it was ready", exit.code)]
    Exited {
        /// How.
        exit: Exit,
        /// Its last lines.
        lines: Vec<String>,
    },
    /// Patience ran out.
    #[error("container was not ready after {} s without progress: {last}", patience.as_secs())]
    Stalled {
        /// How long nothing happened.
        patience: Duration,
        /// What the last attempt said.
        last: String,
        /// The container's last lines.
        lines: Vec<String>,
    },
    /// The probe needs something that the caller did not give.
    #[error("{probe} needs the container's {what}")]
    Unable {
        /// The probe.
        probe: String,
        /// `output`, or `handle`.
        what: &'static str,
    },
}

impl ReadyError {
    /// The container's last lines, oldest first.
    pub fn lines(&self) -> &[String] {
        match self {
            Self::Exited { lines, .. } | Self::Stalled { lines, .. } => lines,
            Self::Unable { .. } => &[],
        }
    }
}

impl Hinted for ReadyError {
    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Exited { exit, .. } if exit.out_of_memory() => {
                Some(Hint::new("it was killed for want of memory: raise its memory limit"))
            }
            Self::Exited { .. } => Some(Hint::new("its last lines of output tell why")),
            Self::Stalled { .. } => {
                Some(Hint::new("check the port and path of --ready, or give it more time"))
            }
            Self::Unable { .. } => None,
        }
    }
}

/// Waits until the probe says yes, the container ends, or patience does.
pub async fn wait(probe: &Probe, mut context: Context<'_>) -> Result<Readied, ReadyError> {
    let began = Instant::now();
    let mut patience = Patience::new(&context);
    let ready = |attempts| Readied { after: began.elapsed(), at_ns: now_ns(), attempts };
    if let Probe::Log(pattern) = probe {
        let Some(logs) = context.logs.clone() else {
            return Err(ReadyError::Unable { probe: probe.to_string(), what: "output" });
        };
        let mut matched = logs.matched(pattern);
        loop {
            tokio::select! {
                biased;
                Ok(()) = &mut matched => return Ok(ready(1)),
                exit = &mut context.alive => {
                    // Its last words may be the ones waited for, however long they are on their way: nothing of it is left that could
                    // keep its output open.
                    tokio::select! {
                        biased;
                        Ok(()) = &mut matched => return Ok(ready(1)),
                        () = logs.closed() => {}
                        () = tokio::time::sleep(context.patience) => {}
                    }
                    return if matched.try_recv().is_ok() { Ok(ready(1)) } else { Err(exited(exit, &context).await) };
                }
                () = tokio::time::sleep_until(patience.until()) => {
                    if patience.is_over(&context) {
                        return Err(patience.error("no line matched".to_owned(), &context));
                    }
                }
            }
        }
    }
    let mut pause = PAUSE_FIRST;
    for attempts in 1.. {
        let attempt = tokio::time::timeout(ATTEMPT, probe.attempt(&context.dialer, context.container));
        let last = tokio::select! {
            answer = attempt => match answer {
                Ok(Ok(())) => return Ok(ready(attempts)),
                Ok(Err(Refusal::Not(why))) => why,
                Ok(Err(Refusal::Unable(what))) => return Err(ReadyError::Unable { probe: probe.to_string(), what }),
                Err(_) => format!("no answer within {} s", ATTEMPT.as_secs()),
            },
            exit = &mut context.alive => return Err(exited(exit, &context).await),
        };
        if patience.is_over(&context) {
            return Err(patience.error(last, &context));
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            exit = &mut context.alive => return Err(exited(exit, &context).await),
        }
        pause = (pause * 5 / 4).min(PAUSE_LAST);
    }
    unreachable!("attempts are counted without end")
}

async fn exited(exit: Exit, context: &Context<'_>) -> ReadyError {
    if let Some(logs) = &context.logs {
        let _ = tokio::time::timeout(LAST_WORDS, logs.closed()).await;
    }
    ReadyError::Exited { exit, lines: tail(context) }
}

fn tail(context: &Context<'_>) -> Vec<String> {
    context.logs.as_ref().map(|logs| logs.tail(LINES_SHOWN)).unwrap_or_default()
}

/// How long to go on without progress.
struct Patience {
    moved: u64,
    since: Instant,
    allowed: Duration,
}

impl Patience {
    fn new(context: &Context<'_>) -> Self {
        Self { moved: (context.progress)(), since: Instant::now(), allowed: context.patience }
    }

    fn until(&self) -> Instant {
        self.since + self.allowed
    }

    fn is_over(&mut self, context: &Context<'_>) -> bool {
        let moved = (context.progress)();
        if moved != self.moved {
            (self.moved, self.since) = (moved, Instant::now());
        }
        Instant::now() >= self.until()
    }

    fn error(&self, last: String, context: &Context<'_>) -> ReadyError {
        ReadyError::Stalled { patience: self.allowed, last, lines: tail(context) }
    }
}

/// Why an attempt was not a yes.
enum Refusal {
    Not(String),
    Unable(&'static str),
}

impl Probe {
    /// Lets `logs` notice from now on the line that this waits for. Called before output is read, so that a line counts however many
    /// follow before [`wait`] asks for it.
    pub fn notice(&self, logs: &Logs) {
        if let Self::Log(pattern) = self {
            logs.notice(pattern);
        }
    }

    async fn attempt(&self, dialer: &Dialer, container: Option<&Container>) -> Result<(), Refusal> {
        let not = |what: String| move |e: std::io::Error| Refusal::Not(format!("{what}: {e}"));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        match self {
            Self::Http { address, port, path, host } => {
                let status =
                    http::get(dialer, *address, *port, host, path).await.map_err(not(self.to_string()))?;
                status_within(status, 200..400)
            }
            Self::V2 { port, model } => {
                let path = format!("/v2/models/{model}/ready");
                let host = format!("localhost:{port}");
                let status =
                    http::get(dialer, loopback, *port, &host, &path).await.map_err(not(self.to_string()))?;
                status_within(status, 200..201)
            }
            Self::Tcp(port) => {
                dialer.connect(loopback, *port).await.map(drop).map_err(not(format!("port {port}")))
            }
            Self::Exec(args) => {
                let container = container.ok_or(Refusal::Unable("handle"))?;
                match container.exec(args).await {
                    Ok(0) => Ok(()),
                    Ok(code) => Err(Refusal::Not(format!("the command ended with code {code}"))),
                    Err(e) => Err(Refusal::Not(format!("the command did not run: {e}"))),
                }
            }
            Self::Log(_) => Err(Refusal::Unable("output")),
        }
    }
}

fn status_within(status: u16, good: std::ops::Range<u16>) -> Result<(), Refusal> {
    if good.contains(&status) { Ok(()) } else { Err(Refusal::Not(format!("HTTP status {status}"))) }
}
