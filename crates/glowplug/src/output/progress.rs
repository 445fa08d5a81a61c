//! Bars on a terminal: one for each layer that streams by, then one for the bytes that come while the container starts.
//!
//! Whoever moves bytes only counts them; one task draws. Whatever else is written to the terminal meanwhile goes through
//! [`Progress::aside`], which takes the bars away, or begins with [`Progress::end`], after which nothing is drawn any
//! more: a program's own output is never mixed with bars. Where nobody watches, nothing is drawn, and counting costs an
//! addition.

mod metered;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use glowplug_source::RangeSource;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::io::AsyncWrite;

use metered::Metered;

/// Between two drawings: as fast as an eye follows, and nothing beside what decoding costs.
const FRAME: Duration = Duration::from_millis(100);
/// Drawings in a second that are let through; each bar of a frame is one.
const DRAWINGS_HZ: u8 = 100;
/// What a bar looks like; sizes in decimal units, as everywhere in the output.
const BAR: &str =
    "{prefix:9} [{bar:30}] {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec:>12}";

/// The bars of a command. Clones share them.
#[derive(Debug, Clone)]
pub struct Progress(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    screen: Mutex<Screen>,
    /// Bytes that came in pieces, for [`Progress::arriving`].
    arrived: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Screen {
    /// Without it nothing is drawn, now and for ever.
    drawn: Option<MultiProgress>,
    bars: Vec<Bar>,
    next: u64,
}

#[derive(Debug)]
struct Bar {
    number: u64,
    bar: ProgressBar,
    count: Arc<AtomicU64>,
}

impl Progress {
    /// Draws on standard error, if it is a terminal that can move its cursor.
    pub fn on_terminal() -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(DRAWINGS_HZ))
    }

    /// Draws nothing.
    pub fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let drawn = (!target.is_hidden()).then(|| MultiProgress::with_draw_target(target));
        let screen = Mutex::new(Screen { drawn, bars: Vec::new(), next: 0 });
        Self(Arc::new(Shared { screen, arrived: Arc::default() }))
    }

    /// The layer `number` from `inner`, with a bar of its own while it streams by as a whole. Pieces of it count for
    /// [`Self::arriving`].
    pub fn metered(&self, number: usize, inner: Arc<dyn RangeSource>) -> Arc<dyn RangeSource> {
        Arc::new(Metered::new(self.clone(), number, inner))
    }

    /// A bar for the pieces of layers that come from now on, of which `total_bytes` are missing. It goes with the
    /// meter; there is none for nothing.
    pub fn arriving(&self, total_bytes: u64) -> Option<Meter> {
        self.0.arrived.store(0, Ordering::Relaxed);
        (total_bytes > 0).then(|| self.add("image", total_bytes, self.0.arrived.clone()))
    }

    /// Lets `write` write to the terminal; bars stand below what it wrote. It must not use the bars itself.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.lock().drawn {
            Some(drawn) => drawn.suspend(write),
            None => write(),
        }
    }

    /// Takes the bars away. When it returns, the terminal is as if there had been none, and stays so.
    pub fn end(&self) {
        let mut screen = self.lock();
        let Some(drawn) = screen.drawn.take() else { return };
        for bar in screen.bars.drain(..) {
            bar.bar.finish_and_clear();
            drawn.remove(&bar.bar);
        }
        let _ = drawn.clear();
    }

    /// `inner`, but for its first byte all bars end.
    pub fn yielding<W>(&self, inner: W) -> Yielding<W> {
        Yielding { inner, progress: Some(self.clone()) }
    }

    fn add(&self, name: &str, total_bytes: u64, count: Arc<AtomicU64>) -> Meter {
        let mut screen = self.lock();
        let number = screen.next;
        screen.next += 1;
        let Some(drawn) = &screen.drawn else { return Meter { progress: self.clone(), number, count } };
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::hidden().with_style(style.progress_chars("=> ")).with_prefix(name.to_owned());
        bar.set_length(total_bytes);
        let bar = drawn.add(bar);
        bar.tick();
        let first = screen.bars.is_empty();
        screen.bars.push(Bar { number, bar, count: count.clone() });
        drop(screen);
        if first && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(draw(self.clone()));
        }
        Meter { progress: self.clone(), number, count }
    }

    /// Draws once, and says whether there is anything to draw.
    fn frame(&self) -> bool {
        let screen = self.lock();
        for bar in &screen.bars {
            // What streams by again counts again; a bar is full at most.
            let length = bar.bar.length().unwrap_or(u64::MAX);
            bar.bar.set_position(bar.count.load(Ordering::Relaxed).min(length));
        }
        !screen.bars.is_empty()
    }

    fn remove(&self, number: u64) {
        let mut screen = self.lock();
        let Some(at) = screen.bars.iter().position(|bar| bar.number == number) else { return };
        let gone = screen.bars.swap_remove(at);
        gone.bar.finish_and_clear();
        if let Some(drawn) = &screen.drawn {
            drawn.remove(&gone.bar);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        // Every change is complete before anything that could panic.
        self.0.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Draws until there are no bars.
async fn draw(progress: Progress) {
    while progress.frame() {
        tokio::time::sleep(FRAME).await;
    }
}

/// Counts for one bar, which is gone when this is.
#[derive(Debug)]
pub struct Meter {
    progress: Progress,
    number: u64,
    count: Arc<AtomicU64>,
}

impl Meter {
    fn count(&self, bytes: u64) {
        self.count.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.progress.remove(self.number);
    }
}

/// A terminal that belongs to the bars until something is written to it.
#[derive(Debug)]
pub struct Yielding<W> {
    inner: W,
    progress: Option<Progress>,
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Yielding<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if let Some(progress) = self.progress.take() {
            progress.end();
        }
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
