//! What a benchmark measured, for machines: `--json FILE`.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// The machine that it was measured on.
#[derive(Serialize)]
struct Machine {
    kernel: String,
    processors: usize,
}

#[derive(Serialize)]
struct Document<'a, T> {
    machine: Machine,
    #[serde(flatten)]
    report: &'a T,
}

/// Writes a report and what machine it is from.
pub fn write<T: Serialize>(path: &Path, report: &T) -> anyhow::Result<()> {
    let machine = Machine {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        processors: std::thread::available_parallelism()?.get(),
    };
    let text = serde_json::to_vec_pretty(&Document { machine, report })?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
