//! What a container says: passed on, its last lines kept, and lines waited for.
//!
//! One [`Logs`] may be fed from standard output and standard error at once. Memory is bounded: so many lines, each so long.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex::bytes::Regex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{oneshot, watch};

/// Lines kept for error messages, and for patterns that are asked for after the line came by and were not to be noticed.
const KEPT_LINES: usize = 200;
/// A line longer than this is taken for several.
const LINE_BYTES: usize = 16 << 10;

/// A container's output. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// How many streams are still being read.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Inner {
    kept: VecDeque<Vec<u8>>,
    waiting: Vec<(Regex, oneshot::Sender<()>)>,
    /// What is to be noticed when it comes by, and whether it did.
    noticed: Vec<(Regex, bool)>,
}

impl Logs {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads until the container closes its end, writing everything on to `sink` as it comes.
    ///
    /// A sink that fails is written to no more; reading goes on, for a container must not block because nobody wants its output.
    pub fn pump<R, W>(&self, from: R, sink: Option<W>) -> impl Future<Output = ()> + use<R, W>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        // Counted from here on, whenever the future is first polled.
        let open = Open::count(self.clone());
        async move { open.0.read_all(from, sink).await }
    }

    async fn read_all(&self, mut from: impl AsyncRead + Unpin, mut sink: Option<impl AsyncWrite + Unpin>) {
        let mut buffer = vec![0; 64 << 10];
        let mut partial = Vec::new();
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            // Whoever waits for a line does not wait for the sink.
            self.take(&mut partial, &buffer[..n]);
            if let Some(to) = &mut sink
                && (to.write_all(&buffer[..n]).await.is_err() || to.flush().await.is_err())
            {
                sink = None;
            }
        }
        if !partial.is_empty() {
            self.line(partial);
        }
    }

    /// Waits until every stream was read to its end.
    pub async fn closed(&self) {
        // The sender lives as long as this handle.
        let _ = self.0.open.subscribe().wait_for(|n| *n == 0).await;
    }

    /// Splits what came into lines; what has no end yet stays in `partial`.
    fn take(&self, partial: &mut Vec<u8>, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            partial.extend_from_slice(text);
            while partial.len() > LINE_BYTES {
                let rest = partial.split_off(LINE_BYTES);
                self.line(std::mem::replace(partial, rest));
            }
            if ended {
                self.line(std::mem::take(partial));
            }
        }
    }

    fn line(&self, mut line: Vec<u8>) {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let mut inner = self.lock();
        inner.noticed.iter_mut().for_each(|(pattern, seen)| *seen = *seen || pattern.is_match(&line));
        // Whoever stopped waiting is dropped too.
        let (matched, waiting) =
            std::mem::take(&mut inner.waiting).into_iter().partition(|(pattern, _)| pattern.is_match(&line));
        inner.waiting = waiting;
        inner.waiting.retain(|(_, waiter)| !waiter.is_closed());
        for (_, waiter) in Vec::from_iter::<Vec<(Regex, oneshot::Sender<()>)>>(matched) {
            let _ = waiter.send(());
        }
        if inner.kept.len() == KEPT_LINES {
            inner.kept.pop_front();
        }
        inner.kept.push_back(line);
    }

    /// Remembers from now on whether a line matched, also when it is no longer kept.
    pub fn notice(&self, pattern: &Regex) {
        self.lock().noticed.push((pattern.clone(), false));
    }

    /// Answers when a line matches, one of those from before that are kept or were to be noticed included. The answer is an error only if
    /// it never will be.
    pub(crate) fn matched(&self, pattern: &Regex) -> oneshot::Receiver<()> {
        let (send, receive) = oneshot::channel();
        let mut inner = self.lock();
        let noticed = inner.noticed.iter().any(|(of, seen)| *seen && of.as_str() == pattern.as_str());
        if noticed || inner.kept.iter().any(|line| pattern.is_match(line)) {
            let _ = send.send(());
        } else {
            inner.waiting.push((pattern.clone(), send));
        }
        receive
    }

    /// The last lines, at most so many, as text.
    pub fn tail(&self, lines: usize) -> Vec<String> {
        let inner = self.lock();
        let skipped = inner.kept.len().saturating_sub(lines);
        inner.kept.iter().skip(skipped).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is complete before anything that could panic.
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream being read.
struct Open(Logs);

impl Open {
    fn count(logs: Logs) -> Self {
        logs.0.open.send_modify(|n| *n += 1);
        Self(logs)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.send_modify(|n| *n -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(text in "[ab\n]{0,60}", cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let logs = Logs::new();
            let mut partial = Vec::new();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            for w in cuts.windows(2) {
                logs.take(&mut partial, &text.as_bytes()[w[0]..w[1]]);
            }
            let mut expected: Vec<&str> = text.split('\n').collect();
            expected.pop();
            prop_assert_eq!(logs.tail(usize::MAX), expected);
        }
    }

    #[tokio::test]
    async fn passes_on_keeps_and_matches() {
        let logs = Logs::new();
        let early = logs.matched(&Regex::new("^ready$").unwrap());
        let mut out = Vec::new();
        logs.pump(&b"one\r\nready\nno newline"[..], Some(&mut out)).await;
        assert_eq!(out, b"one\r\nready\nno newline");
        assert_eq!(logs.tail(2), ["ready", "no newline"]);
        early.await.unwrap();
        logs.matched(&Regex::new("^one$").unwrap()).await.unwrap();
        assert!(logs.matched(&Regex::new("never").unwrap()).try_recv().is_err());
    }

    #[tokio::test]
    async fn what_was_to_be_noticed_is_known_when_it_is_no_longer_kept() {
        let logs = Logs::new();
        let (first, last) = (Regex::new("^first$").unwrap(), Regex::new("^last$").unwrap());
        logs.notice(&first);
        let text = format!("first\n{}", "x\n".repeat(KEPT_LINES + 1));
        logs.pump(text.as_bytes(), None::<Vec<u8>>).await;
        logs.matched(&first).try_recv().unwrap();
        logs.notice(&last);
        assert!(logs.matched(&last).try_recv().is_err());
    }

    #[tokio::test]
    async fn a_line_without_end_is_bounded() {
        let logs = Logs::new();
        let huge = vec![b'x'; KEPT_LINES * LINE_BYTES * 2];
        logs.pump(&huge[..], None::<Vec<u8>>).await;
        assert!(logs.tail(usize::MAX).iter().map(String::len).sum::<usize>() <= KEPT_LINES * LINE_BYTES);
    }
}
