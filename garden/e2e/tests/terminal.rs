//! What a person at a terminal sees of a start: bars while bytes come, and at the end only what was said.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use glowplug_e2e::{Glowplug, serve};
use glowplug_testkit::TestRegistry;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Columns of the terminal.
const WIDTH: usize = 120;

/// Runs a subcommand at a terminal of its own, to its end; gives what came to the terminal.
fn at_terminal(node: &Glowplug, args: &[&str]) -> String {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name =
        PathBuf::from(std::ffi::OsString::from_vec(ptsname(&master, Vec::new()).unwrap().into_bytes()));
    let terminal = File::options().read(true).write(true).open(name).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 50, ws_col: WIDTH as u16, ws_xpixel: 0, ws_ypixel: 0 })
        .unwrap();
    let mut command = node.command();
    command.args(args).env("TERM", "xterm").env("NO_COLOR", "1");
    command.stdout(terminal.try_clone().unwrap()).stderr(terminal);
    let mut child = command.spawn().unwrap();
    // Its ends of the terminal go with it; then reading ends.
    drop(command);
    let mut came = Vec::new();
    let mut master = File::from(master);
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = master.read(&mut buffer) {
        came.extend_from_slice(&buffer[..read]);
    }
    let came = String::from_utf8_lossy(&came).into_owned();
    assert!(child.wait().unwrap().success(), "{came}");
    came
}

/// The lines on the screen after `came`: enough of a terminal for what bars need.
fn screen(came: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::<char>::new()], 0_usize, 0_usize);
    let mut characters = came.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => column = 0,
            '\u{1b}' => {
                let sequence: String =
                    characters.as_str().chars().take_while(|c| !c.is_alphabetic()).collect();
                characters = characters.as_str()[sequence.len()..].chars();
                let number = sequence.trim_start_matches('[').parse().unwrap_or(1);
                match characters.next() {
                    Some('A') => row = row.saturating_sub(number),
                    Some('B') => row += number,
                    Some('K') => _ = lines.get_mut(row).map(Vec::clear),
                    other => panic!("nobody needs {sequence}{other:?}"),
                }
            }
            _ => {
                if character == '\n' || column == WIDTH {
                    row += 1;
                    if column == WIDTH {
                        column = 0;
                    }
                }
                lines.resize_with(lines.len().max(row + 1), Vec::new);
                if character != '\n' {
                    let line = &mut lines[row];
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = character;
                    column += 1;
                }
            }
        }
    }
    lines.iter().map(|line| String::from_iter(line).trim_end().to_owned()).collect()
}

#[test]
fn bars_come_and_go_and_the_programs_lines_stay_whole() {
    let registry = TestRegistry::start();
    serve(&registry, "tiny-gzip", "tiny:1");
    let image = registry.reference("tiny:1");
    let node = Glowplug::new();
    // Whole lines on one stream: two streams have no order between them, nor have the program and the waterfall.
    let program = ["/bin/sh", "-c", "echo one; echo two; echo three"];
    let run = [&["run", &image], &program[..]].concat();
    let came = at_terminal(&node, &run);
    for bar in ["layer 0", "layer 1", "layer 2"] {
        assert!(came.contains(&format!("{bar}   [")), "{bar} in\n{came}");
    }
    let seen = screen(&came);
    assert!(seen.iter().all(|line| !line.contains("   [")), "bars go: {seen:#?}");
    for line in ["one", "two", "three"] {
        assert_eq!(seen.iter().filter(|seen| *seen == line).count(), 1, "{line} in {seen:#?}");
    }
    assert!(seen.iter().any(|line| line.contains("ready in")), "{seen:#?}");

    // Lazy now: its bytes come while the container starts.
    node.succeed(&["store", "rm", "--data", "--all"]);
    let came = at_terminal(&node, &run);
    assert!(came.contains("image     ["), "{came}");
    assert!(screen(&came).iter().all(|line| !line.contains("   [")));
    let quiet = at_terminal(&Glowplug::new(), &[&["-q"], &run[..]].concat());
    assert!(!quiet.contains('\u{1b}'), "{quiet:?}");
}
