//! Steps of a command: what is being done, said plainly, and programs of the system, run to their end.
//!
//! Every program is a process group that is known to [`interrupt`] while it runs, so that Ctrl-C leaves nothing behind.

use std::io::{IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, bail};

use crate::interrupt;

/// Says what happens now.
pub fn say(text: impl AsRef<str>) {
    let text = text.as_ref();
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        println!("\x1b[1m==> {text}\x1b[0m");
    } else {
        println!("==> {text}");
    }
}

/// Runs a program to its end with the output going where ours goes; an error unless it succeeds.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = run_group(command)?;
    if !status.success() {
        bail!("{} failed: {status}", name_of(command));
    }
    Ok(())
}

/// Runs a program to its end and gives back what it wrote to standard output; what it wrote to standard error is
/// shown only when it fails.
pub fn read(command: &mut Command) -> anyhow::Result<String> {
    let name = name_of(command);
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = finish(child)?;
    if !output.status.success() {
        bail!("{name} failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} wrote something that is not UTF-8"))
}

/// Runs a program to its end with the output going where ours goes, and says how it ended.
pub fn run_group(command: &mut Command) -> anyhow::Result<std::process::ExitStatus> {
    let name = name_of(command);
    let mut child = command
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let known = interrupt::Known::group(child.id());
    let status = child.wait();
    drop(known);
    interrupt::stop_here_if_interrupted();
    status.with_context(|| format!("cannot wait for {name}"))
}

fn finish(mut child: Child) -> anyhow::Result<Output> {
    let known = interrupt::Known::group(child.id());
    // Standard error is drained beside standard output: a program that fills one pipe must not wait for the other.
    let stderr = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })
    });
    let output = child.wait_with_output();
    drop(known);
    interrupt::stop_here_if_interrupted();
    let mut output = output?;
    if let Some(Ok(Ok(bytes))) = stderr.map(std::thread::JoinHandle::join) {
        output.stderr = bytes;
    }
    Ok(output)
}

fn name_of(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_leads_a_process_group_that_can_be_ended_whole() {
        let ids = read(Command::new("cut").args(["-d", " ", "-f", "1,5", "/proc/self/stat"])).unwrap();
        let (process, group) = ids.trim_end().split_once(' ').unwrap();
        assert_eq!(process, group);
    }
}
