//! The client against a registry that misbehaves, and against images in files.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod auth;
mod local;
mod mirrors;
mod pull;
mod push;
mod ranges;

use std::sync::Arc;
use std::time::Duration;

use glowplug_base::ByteRange;
use glowplug_oci::{Limits, Platform, Source};
use glowplug_registry::{Client, Error, Options, Repository, ResolvedImage, resolve};
use glowplug_source::{RangeSource, RetryPolicy, SourceError, read_all};
use glowplug_testkit::TestRegistry;
use glowplug_timeline::Cause;

/// Patient in attempts, not in time.
const QUICK: RetryPolicy = RetryPolicy {
    attempts: 4,
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
    stall: Duration::from_secs(10),
};

/// For tests in which silence must end.
const IMPATIENT: RetryPolicy = RetryPolicy { stall: Duration::from_millis(200), ..QUICK };

/// Options that see nothing of the machine the tests run on.
fn options() -> Options {
    Options { docker_config: Some("/nonexistent/config.json".into()), retry: QUICK, ..Options::default() }
}

fn client(options: Options) -> Client {
    Client::new(options).unwrap()
}

fn source(registry: &TestRegistry, name: &str) -> Source {
    registry.reference(name).parse().unwrap()
}

async fn open(client: &Client, registry: &TestRegistry, name: &str) -> Arc<dyn Repository> {
    client.open(&source(registry, name)).await.unwrap()
}

/// Resolves `source` for `linux/amd64`.
async fn resolved(client: &Client, source: &Source) -> Result<ResolvedImage, Error> {
    let repository = client.open(source).await?;
    resolve(&*repository, source, &amd64(), &Limits::default()).await
}

fn amd64() -> Platform {
    Platform::new("linux", "amd64")
}

async fn read(source: &dyn RangeSource, start: u64, end: u64) -> Result<Vec<u8>, SourceError> {
    read_all(source, ByteRange::new(start, end), Cause::Fault).await
}

/// Bytes that differ wherever they are read from.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}
