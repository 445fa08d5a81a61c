//! What stands on the terminal at which moment.

use std::io;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use glowplug_base::ByteRange;
use glowplug_source::{MemorySource, RangeSource};
use glowplug_timeline::Cause;
use indicatif::{ProgressDrawTarget, TermLike};
use tokio::io::AsyncWriteExt as _;

use super::Progress;

/// Columns of the terminal.
const WIDTH: usize = 100;

/// A terminal: its lines, and where the cursor is.
#[derive(Debug, Clone, Default)]
struct Terminal(Arc<Mutex<Grid>>);

#[derive(Debug, Default)]
struct Grid {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Grid {
    fn write(&mut self, text: &str) {
        for character in text.chars() {
            // A terminal goes to the next line when the character behind the last column comes.
            if character == '\n' || self.column == WIDTH {
                (self.row, self.column) = (self.row + 1, 0);
            }
            if character == '\n' {
                continue;
            }
            if self.lines.len() <= self.row {
                self.lines.resize_with(self.row + 1, Vec::new);
            }
            let line = &mut self.lines[self.row];
            line.resize(line.len().max(self.column + 1), ' ');
            line[self.column] = character;
            self.column += 1;
        }
    }
}

impl Terminal {
    /// The program that shares the terminal writes.
    fn write(&self, text: &str) {
        self.0.lock().unwrap().write(text);
    }

    /// What a person sees.
    fn seen(&self) -> Vec<String> {
        let grid = self.0.lock().unwrap();
        let lines = grid.lines.iter().map(|line| String::from_iter(line).trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Grid)) -> io::Result<()> {
        change(&mut self.0.lock().unwrap());
        Ok(())
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        WIDTH as u16
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.change(|grid| grid.row = grid.row.saturating_sub(n))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.change(|grid| grid.row += n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.change(|grid| grid.column += n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.change(|grid| grid.column = grid.column.saturating_sub(n))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.change(|grid| grid.write(&format!("{text}\n")))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.change(|grid| grid.write(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.change(|grid| {
            let row = grid.row;
            grid.lines.get_mut(row).into_iter().for_each(Vec::clear);
            grid.column = 0;
        })
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn watched() -> (Terminal, Progress) {
    let terminal = Terminal::default();
    let progress = Progress::on(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
    (terminal, progress)
}

fn source(bytes: usize) -> Arc<dyn RangeSource> {
    Arc::new(MemorySource::new("layer", vec![7; bytes]))
}

#[tokio::test]
async fn a_layer_has_a_bar_while_it_streams_by() {
    let (terminal, progress) = watched();
    let layers = [progress.metered(0, source(3_000_000)), progress.metered(7, source(5_000_000))];
    assert_eq!(terminal.seen(), [""; 0], "nothing moves yet");
    let open = |layer: usize| layers[layer].open(ByteRange::new(0, layers[layer].size()), Cause::Metadata);
    let (mut first, second) = (open(0).await.unwrap(), open(1).await.unwrap());
    assert_eq!(terminal.seen().len(), 2, "a short one is seen, too");
    let mut came = 0;
    while let Some(piece) = first.next().await {
        came += piece.unwrap().len();
    }
    assert!(progress.frame());
    let seen = terminal.seen();
    assert!(seen.len() == 2 && seen[0].starts_with("layer 0") && seen[1].starts_with("layer 7"), "{seen:#?}");
    assert!(came == 3_000_000 && seen[0].contains("3.00 MB of 3.00 MB"), "{seen:#?}");
    assert!(seen[1].contains("0 B of 5.00 MB"), "{seen:#?}");
    drop(first);
    let seen = terminal.seen();
    assert!(seen.len() == 1 && seen[0].starts_with("layer 7"), "{seen:#?}");
    drop(second);
    assert_eq!(terminal.seen(), [""; 0]);
    assert!(!progress.frame(), "whoever draws can go home");
}

#[tokio::test]
async fn pieces_count_for_the_image() {
    let (terminal, progress) = watched();
    let layer = progress.metered(0, source(3_000_000));
    assert!(progress.arriving(0).is_none());
    let image = progress.arriving(2_000_000).unwrap();
    for (range, shown) in [
        (ByteRange::new(0, 1_000_000), "1.00 MB of 2.00 MB"),
        (ByteRange::new(1_000_000, 3_000_000), "2.00 MB of 2.00 MB"),
    ] {
        let stream = layer.open(range, Cause::Fault).await.unwrap();
        stream.for_each(|_| std::future::ready(())).await;
        assert!(progress.frame());
        let seen = terminal.seen();
        assert!(seen.len() == 1 && seen[0].starts_with("image") && seen[0].contains(shown), "{seen:#?}");
    }
    drop(image);
    assert_eq!(terminal.seen(), [""; 0]);
}

#[tokio::test]
async fn lines_beside_the_bars_stay_whole_and_stand_above_them() {
    let (terminal, progress) = watched();
    let image = progress.arriving(1000).unwrap();
    progress.frame();
    progress.aside(|| terminal.write("a note\n"));
    progress.frame();
    let seen = terminal.seen();
    assert!(seen.len() == 2 && seen[0] == "a note" && seen[1].starts_with("image"), "{seen:#?}");
    drop(image);
    assert_eq!(terminal.seen(), ["a note"]);
}

#[tokio::test]
async fn the_programs_first_byte_ends_every_bar_for_ever() {
    let (terminal, progress) = watched();
    let image = progress.arriving(1000).unwrap();
    assert_eq!(terminal.seen().len(), 1);
    // Standard output of the program, without a newline: nothing may be drawn behind it.
    let mut output = progress.yielding(Vec::new());
    output.write_all(b"loading").await.unwrap();
    assert_eq!(terminal.seen(), [""; 0], "gone before the bytes are written");
    terminal.write("loading");
    progress.frame();
    let later = progress.arriving(1000);
    progress.frame();
    progress.aside(|| terminal.write(" ... done\n"));
    drop((image, later));
    progress.end();
    assert_eq!(terminal.seen(), ["loading ... done"]);
    assert_eq!(output.inner, b"loading");
}

#[tokio::test]
async fn where_nobody_watches_nothing_is_drawn() {
    let progress = Progress::hidden();
    let layer = progress.metered(0, source(1000));
    let image = progress.arriving(1000);
    let mut stream = layer.open(ByteRange::new(0, 1000), Cause::Metadata).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().len(), 1000);
    assert!(!progress.frame());
    progress.end();
    drop(image);
}
