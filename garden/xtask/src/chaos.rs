//! `cargo xtask chaos NAME`: breaks things on purpose, many times, and judges what is left.

mod store;

use anyhow::bail;

/// The command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    match args.split_first() {
        Some((name, _)) if matches!(&**name, "help" | "-h" | "--help") => {
            println!("usage: cargo xtask chaos store");
            Ok(())
        }
        Some((name, rest)) if name == "store" => store::run(rest),
        Some((name, _)) => bail!("no chaos `{name}`: there is store"),
        None => bail!("which one? there is store"),
    }
}
