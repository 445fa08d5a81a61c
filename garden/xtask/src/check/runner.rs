//! Runs one command as a process group that ends with us; tests additionally in namespaces of their own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

use super::tally::Tally;
use crate::{interrupt, paths, step};

/// Runs a command with its output shown; an error unless it succeeds.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = step::run_group(command)?;
    if !status.success() {
        bail!("{} failed: {status}", describe(command));
    }
    Ok(())
}

/// Runs `cargo test` with its output shown and counted.
///
/// A run that fails without a failed test, as by a crash, counts as one failure.
pub fn run_tests(command: &mut Command) -> anyhow::Result<Tally> {
    let scratch = Scratch::new()?;
    let mut command = in_namespaces(command);
    command.env("TMPDIR", &scratch.0);
    let mut tally = Tally::default();
    let status = each_line(&mut command, |line| {
        if let Some(counted) = Tally::parse(line) {
            tally += counted;
        }
    })?;
    if !status.success() && tally.failed == 0 {
        println!("{} failed: {status}", describe(&command));
        tally += Tally::FAILURE;
    }
    Ok(tally)
}

/// Temporary files of the tests, which are gone afterwards, also those of an earlier run that was killed.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        // Short, because sockets are made below it and their names end at 108 bytes.
        let folder = paths::target().join("tmp-test");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Wraps a command so that its mounts and processes vanish with it.
///
/// The kernel ends the namespaces' first process with `unshare`, and `unshare` with us, however we end. Without the
/// rights for that the command runs as it is: then the tests that mount are not run either.
fn in_namespaces(command: &Command) -> Command {
    const WRAPPER: [&str; 10] = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
    ];
    let allowed = Command::new(WRAPPER[0])
        .args(&WRAPPER[1..])
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut wrapped = if allowed {
        let mut wrapped = Command::new(WRAPPER[0]);
        wrapped.args(&WRAPPER[1..]).arg(command.get_program());
        wrapped
    } else {
        println!("no namespaces here (not root?): tests run without them");
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

/// Runs a command as a process group, showing its standard output line by line as it comes.
fn each_line(command: &mut Command, mut look: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    let name = describe(command);
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let known = interrupt::Known::group(child.id());
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("cannot read what {name} says"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            look(&line);
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {name}"));
    drop(known);
    interrupt::stop_here_if_interrupted();
    status
}

fn describe(command: &Command) -> String {
    let words = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    let program = command.get_program().to_string_lossy().into_owned();
    let program = program.rsplit('/').next().unwrap_or(&program).to_owned();
    std::iter::once(program).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn results_of_several_test_programs_are_summed() {
        let mut command = shell(
            "echo 'test result: ok. 3 passed; 0 failed; 0 ignored'; echo 'noise';
             echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101",
        );
        let mut tally = Tally::default();
        let status = each_line(&mut command, |line| {
            if let Some(counted) = Tally::parse(line) {
                tally += counted;
            }
        })
        .unwrap();
        assert!(!status.success());
        assert_eq!(tally, Tally { passed: 4, failed: 2 });
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run(&mut shell("exit 3")).unwrap_err().to_string();
        assert!(error.contains("sh -c exit 3"), "{error}");
        run(&mut shell("true")).unwrap();
    }

    #[test]
    fn a_wrapped_command_keeps_its_folder_and_environment() {
        let mut command = shell("pwd; echo \"$GLOWPLUG_PROBE\"");
        command.current_dir("/usr").env("GLOWPLUG_PROBE", "seen");
        let mut lines = Vec::new();
        let status = each_line(&mut in_namespaces(&command), |line| lines.push(line.to_owned())).unwrap();
        assert!(status.success());
        assert_eq!(lines, ["/usr", "seen"]);
    }

    /// Whether this machine lets us make namespaces; the two tests below mean nothing where it does not.
    fn namespaces_are_allowed() -> bool {
        in_namespaces(&shell("true")).get_program() == "setpriv"
    }

    #[test]
    fn what_a_wrapped_command_mounts_is_gone_with_it() {
        if !namespaces_are_allowed() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = shell("mount -t tmpfs probe . && touch inside && ls");
        command.current_dir(folder.path());
        let mut lines = Vec::new();
        let status = each_line(&mut in_namespaces(&command), |line| lines.push(line.to_owned())).unwrap();
        // A shell's own folder stays the one below the mount, so it lists what it made there.
        assert!(status.success() && lines == ["inside"], "{lines:?}");
        fs::remove_file(folder.path().join("inside")).unwrap();
        fs::remove_dir(folder.path()).expect("nothing is mounted there");
    }

    #[test]
    fn what_a_wrapped_command_started_ends_with_it() {
        if !namespaces_are_allowed() {
            return;
        }
        let mut command = in_namespaces(&shell("setsid sleep 1000 & echo ready; wait"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        child.kill().unwrap();
        child.wait().unwrap();
        // The pipe ends only when its last holder, the sleep, has ended.
        line.clear();
        assert_eq!(output.read_line(&mut line).unwrap(), 0);
    }
}
