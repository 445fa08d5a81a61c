//! The house's commands: `cargo xtask COMMAND`.
//!
//! Everything that is checked, built, shown or measured around Glowplug starts here, so that a person needs Rust and
//! nothing else to begin with. What a command brings in stays under `target/`. This file only finds the module that
//! does the work; each module has one `run` that takes the arguments after the command's name.
#![forbid(unsafe_code)]

mod bench;
mod chaos;
mod check;
mod demo;
mod example;
mod fuzz;
mod house;
mod images;
mod interrupt;
mod kubernetes;
mod packages;
mod paths;
mod peers;
mod question;
mod rig;
mod roundtrip;
mod step;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test                     run every check
  house                    check the floors, walls, sizes and names of the house
  image NAME               make a test image: tiny, ocr, torch, triton
  demo                     show a cold start of a real model server, beside containerd's
  roundtrip                read our images by the libraries of others, and theirs by ours
  kubernetes               follow a cluster's members through a real Kubernetes API server
  peers [NAME...]          build the loaders to measure against: stargz, soci, nydus
  bench cold-start         measure cold starts against containerd, other loaders and everything local
  bench convert            measure how fast images are made over and indexed, against the Go tools
  bench decode             measure how fast a layer with checkpoints is decoded, against rapidgzip and pigz
  bench index              measure how fast a layer is indexed, against gunzip and pigz
  bench peers              measure cold starts on the nodes of one cluster at once
  bench read               measure reads of an image through its doors, against overlayfs
  fuzz NAME                fuzz a parser
  chaos store              kill the process that fills the byte store, 500 times

Each command says more with --help.";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let outcome = match command.as_str() {
        "test" => check::run(&rest),
        "house" => house::run(&rest),
        "image" => images::run(&rest),
        "demo" => demo::run(&rest),
        "bench" => bench::run(&rest),
        "peers" => peers::run(&rest),
        "roundtrip" => roundtrip::run(&rest),
        "kubernetes" => kubernetes::run(&rest),
        "fuzz" => fuzz::run(&rest),
        "chaos" => chaos::run(&rest),
        "" | "help" | "-h" | "--help" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprintln!("no command `{other}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
