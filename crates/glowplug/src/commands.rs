//! One module for each command.

mod doctor;
mod explain;
mod generate;
mod image;
mod peer;
mod run;
mod signals;
mod store;

use std::process::ExitCode;

use glowplug_base::Clock;

use crate::cli::{Cli, Command, ImageCommand, PeerCommand, TraceCommand};
use crate::output::Output;

/// Runs the command.
pub fn dispatch(cli: Cli, output: &Output, clock: Clock) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match cli.command {
        Command::Run(args) => run::run(&cli.global, &args, output, clock),
        Command::Explain(args) => explain::explain(&cli.global, &args, output, clock).map(done),
        Command::Image(ImageCommand::Index(args)) => image::index(&args, output).map(done),
        Command::Image(ImageCommand::Convert(args)) => image::convert(&cli.global, &args, output).map(done),
        Command::Image(ImageCommand::Optimize(args)) => image::optimize(&cli.global, *args, output, clock),
        Command::Image(ImageCommand::Diet(args)) => image::diet(&cli.global, &args, output, clock).map(done),
        Command::Image(ImageCommand::Inspect(args)) => image::inspect(&args, output).map(done),
        Command::Image(ImageCommand::Ls(args)) => image::ls(&cli.global, &args, output, clock).map(done),
        Command::Image(ImageCommand::Cat(args)) => image::cat(&cli.global, &args, output, clock).map(done),
        Command::Image(ImageCommand::Diff(args)) => Ok(image::diff(&cli.global, &args, output, clock)),
        Command::Store(command) => store::run(&cli.global, &command, output).map(done),
        Command::Peer(PeerCommand::Serve(args)) => peer::serve(&cli.global, &args, output, clock).map(done),
        Command::Trace(TraceCommand::Show { file, html }) => {
            crate::trace::show(&file, html.as_deref(), output.style()).map(done)
        }
        Command::Doctor(args) => doctor::doctor(&cli.global, &args, output),
        Command::Completions { shell } => {
            generate::completions(shell);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { dir } => generate::man(&dir).map(done),
    }
}

/// Exit code of a failed command: 125 as container tools use it, or what the container's creation says.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let creation = error.downcast_ref::<glowplug_sandbox::CreateError>();
    creation.and_then(|error| u8::try_from(error.exit_code()).ok()).unwrap_or(125)
}

/// A runtime for commands that talk to registries.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
