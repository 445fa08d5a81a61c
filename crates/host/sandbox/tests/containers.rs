//! Containers end to end: needs root. The host's own programs, bound into an empty root, are the image.
//!
//! Without a test harness, because this binary must be able to be its own helper (`main_if_invoked` comes first), its own server inside
//! a container, and the glowplug that gets killed.

#![allow(clippy::unwrap_used, reason = "clippy takes only annotated functions for tests")]

use std::time::{Duration, Instant};

#[path = "containers/cases.rs"]
mod cases;
#[path = "containers/rig.rs"]
mod rig;
#[path = "containers/roles.rs"]
mod roles;

fn main() {
    glowplug_sandbox::init::main_if_invoked();
    roles::play_if_invoked();
    if !rustix::process::geteuid().is_root() {
        if std::env::var_os("CI").is_some() {
            eprintln!("containers: these tests need root");
            std::process::exit(1);
        }
        println!("containers: skipped, these tests need root");
        return;
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let (mut passed, mut failed) = (0, 0);
    for (name, case) in cases::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|w| name.contains(w.as_str())) {
            continue;
        }
        let began = Instant::now();
        // A thread of its own: a panic is a failure of this case only.
        let outcome = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let limited =
                async { tokio::time::timeout(Duration::from_secs(60), case()).await.expect("hangs") };
            runtime.block_on(limited);
        })
        .join();
        let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {verdict} ({} ms)", began.elapsed().as_millis());
        if outcome.is_ok() { passed += 1 } else { failed += 1 }
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}
