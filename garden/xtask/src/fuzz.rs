//! `cargo xtask fuzz NAME|all [--seconds N]`: feeds a parser with inputs that libFuzzer invents.
//!
//! Targets are the files of `garden/fuzz/fuzz_targets`; each begins with the committed seeds of
//! `garden/fuzz/corpus/NAME` and keeps what it finds under `target/fuzz`, so a second run goes on where the first
//! ended. A crash fails the command and names the input that caused it; put that input into the seeds when it is
//! fixed, and `cargo xtask test` replays it for ever after.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::house::cargo;
use crate::{interrupt, paths, step};

const USAGE: &str = "usage: cargo xtask fuzz NAME|all [--seconds N]   (N is 60 unless given)";

/// How long one target runs unless told otherwise.
const DEFAULT_SECONDS: u64 = 60;
/// Pinned: its flags are part of what a finding means.
const CARGO_FUZZ_VERSION: &str = "0.13.2";
/// An input that takes longer than this is a finding: parsers are linear.
const MAX_SECONDS_PER_INPUT: u64 = 10;
/// Memory beyond this is a finding: parsers are bounded whatever the input claims.
const MAX_MEMORY_MIB: u64 = 1024;
/// Room for a zTOC with three windows of 32 KiB; longer inputs only slow the search down.
const MAX_INPUT_BYTES: u64 = 128 << 10;

/// Fuzzes one target or all, one after the other.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let folder = paths::workspace().join("garden/fuzz");
    let known = targets(&folder)?;
    let Some(request) = Request::parse(args)? else {
        println!("{USAGE}\n\ntargets: {}", known.join(", "));
        return Ok(());
    };
    let chosen: Vec<&String> =
        known.iter().filter(|target| request.target == "all" || request.target == **target).collect();
    if chosen.is_empty() {
        bail!("no target {}; there are {}", request.target, known.join(", "));
    }
    interrupt::watch()?;
    require_cxx_compiler()?;
    let tool = cargo_fuzz()?;
    let mut crashed = Vec::new();
    for target in chosen {
        if !fuzz(&tool, &folder, target, request.seconds)? {
            crashed.push(target.as_str());
        }
    }
    if !crashed.is_empty() {
        bail!("crashed: {}", crashed.join(", "));
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    target: String,
    seconds: u64,
}

impl Request {
    /// `None` where help is asked for.
    fn parse(args: &[String]) -> anyhow::Result<Option<Self>> {
        let mut target = None;
        let mut seconds = DEFAULT_SECONDS;
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                "--help" | "-h" => return Ok(None),
                "--seconds" => {
                    let value = args.next().context("--seconds wants a number")?;
                    seconds =
                        value.parse().with_context(|| format!("--seconds wants a number, not {value}"))?;
                }
                name if target.is_none() && !name.starts_with('-') => target = Some(name.to_owned()),
                other => bail!("{other}: not understood\n{USAGE}"),
            }
        }
        Ok(Some(Self { target: target.context(USAGE)?, seconds }))
    }
}

fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let folder = folder.join("fuzz_targets");
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// libFuzzer is C++.
fn require_cxx_compiler() -> anyhow::Result<()> {
    let probe = Command::new("c++").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        bail!("fuzzing needs a C++ compiler: apt-get install g++");
    }
    Ok(())
}

/// A cargo-fuzz that is installed, or our own under `target/tools`.
fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    let installed = Command::new("cargo-fuzz").arg("--version").stdout(Stdio::null()).status();
    if installed.is_ok_and(|status| status.success()) {
        return Ok(PathBuf::from("cargo-fuzz"));
    }
    let tools = paths::target().join("tools");
    let tool = tools.join("bin/cargo-fuzz");
    if !tool.exists() {
        step::say(format!("installing cargo-fuzz {CARGO_FUZZ_VERSION} into {}", tools.display()));
        let mut install = cargo();
        install
            .args(["install", "cargo-fuzz", "--version", CARGO_FUZZ_VERSION, "--locked", "--root"])
            .arg(&tools);
        let status = step::run_group(&mut install)?;
        if !status.success() {
            bail!("cannot install cargo-fuzz: {status}");
        }
    }
    Ok(tool)
}

/// Runs one target; false when it crashed.
fn fuzz(tool: &Path, folder: &Path, target: &str, seconds: u64) -> anyhow::Result<bool> {
    let place = paths::target().join("fuzz");
    let (found, crashes) = (place.join("corpus").join(target), place.join("crashes").join(target));
    for made in [&found, &crashes] {
        fs::create_dir_all(made).with_context(|| format!("cannot make {}", made.display()))?;
    }
    let log_path = place.join(format!("{target}.log"));
    let log = fs::File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    step::say(format!("fuzzing {target} for {seconds} s"));
    let began = Instant::now();
    let mut command = Command::new(tool);
    command.args(["run", "--fuzz-dir"]).arg(folder).arg("--target-dir").arg(place.join("build"));
    // The pinned toolchain is a stable one, and the sanitizer is behind an unstable flag.
    command
        .args(["--features", "libfuzzer", target])
        .arg(&found)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(folder);
    let seeds = folder.join("corpus").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={MAX_SECONDS_PER_INPUT}"));
    command.arg(format!("-rss_limit_mb={MAX_MEMORY_MIB}"));
    command.arg(format!("-max_len={MAX_INPUT_BYTES}"));
    command.arg(format!("-artifact_prefix={}/", crashes.display()));
    command.arg("-print_final_stats=1").stdout(Stdio::null()).stderr(log);
    let status = step::run_group(&mut command)?;
    // cargo-fuzz makes folders of its own for crashes, which stay empty: ours lie under `target/`.
    let unused = folder.join("artifacts");
    let _ = fs::remove_dir(unused.join(target)).and_then(|()| fs::remove_dir(unused));
    let log = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
    let took = began.elapsed().as_secs_f64();
    match (status.success(), executions(&log)) {
        (true, Some(count)) => {
            println!("{target}: {count} executions, no crash ({took:.0} s with its build)");
            Ok(true)
        }
        (_, Some(count)) => {
            println!("{}", tail(&log));
            println!("{target}: crashed after {count} executions, input under {}", crashes.display());
            Ok(false)
        }
        (_, None) => {
            println!("{}", tail(&log));
            bail!("{target} did not run: {status}, all of its output is in {}", log_path.display());
        }
    }
}

/// Number of inputs tried, from libFuzzer's final statistics.
fn executions(log: &str) -> Option<u64> {
    log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")?.trim().parse().ok())
}

/// Enough of a log's end to see a panic and its backtrace.
fn tail(log: &str) -> String {
    const LINES: usize = 60;
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> anyhow::Result<Option<Request>> {
        Request::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn requests_are_read_in_any_order() {
        let expected = Some(Request { target: "ztoc".to_owned(), seconds: 5 });
        assert_eq!(parse(&["ztoc", "--seconds", "5"]).unwrap(), expected);
        assert_eq!(parse(&["--seconds", "5", "ztoc"]).unwrap(), expected);
        assert_eq!(parse(&["all"]).unwrap().unwrap().seconds, DEFAULT_SECONDS);
        assert_eq!(parse(&["all", "--help"]).unwrap(), None);
    }

    #[test]
    fn requests_that_make_no_sense_are_errors() {
        for wrong in
            [&["ztoc", "--seconds"][..], &["ztoc", "--seconds", "x"], &["a", "b"], &["--fast", "a"], &[]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn executions_are_found_in_the_statistics() {
        let log = "Done 12 runs\nstat::number_of_executed_units: 1234\nstat::average_exec_per_sec:     9\n";
        assert_eq!(executions(log), Some(1234));
        assert_eq!(executions("error: could not compile"), None);
    }
}
