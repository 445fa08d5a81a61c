//! The `glowplug` command: flags (typed) -> settings (meant) -> one command each.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod diet;
mod node;
mod output;
mod page;
mod trace;

use std::process::ExitCode;

use clap::Parser as _;
use glowplug_base::Clock;

fn main() -> ExitCode {
    // A helper of the sandbox is this program again; it must not start threads first.
    glowplug_sandbox::init::main_if_invoked();
    let clock = Clock::system();
    let cli = cli::Cli::parse();
    let output = output::Output::new(&cli.global);
    match commands::dispatch(cli, &output, clock) {
        Ok(code) => code,
        Err(error) => {
            output.error(&error);
            ExitCode::from(commands::exit_code(&error))
        }
    }
}
