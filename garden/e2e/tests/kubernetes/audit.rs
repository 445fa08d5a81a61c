//! What service accounts asked the server for, as it wrote it down.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::NAMESPACE;
use crate::server::Server;

/// How long something may take to be asked.
const PATIENCE: Duration = Duration::from_secs(90);

/// Verbs and the statuses that answered them, in order.
pub fn asked_by(server: &Server, account: &str) -> Vec<String> {
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let log = server.audit_log();
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = events.filter(|event| event["user"]["username"] == user.as_str());
    // A watch is written down when it begins and once more when it ends.
    let begun =
        ours.filter(|event| event["verb"] != "watch" || event["stage"] == "ResponseStarted" || failed(event));
    begun
        .map(|event| {
            format!("{} {}", event["verb"].as_str().unwrap_or_default(), event["responseStatus"]["code"])
        })
        .collect()
}

fn failed(event: &Value) -> bool {
    event["responseStatus"]["code"] != 200
}

/// Returns once the account asked so often, and fails if it asked anything else.
///
/// # Panics
/// It did not.
pub fn expect(server: &Server, account: &str, expected: &[&str]) {
    // It is written down when the answer is under way already.
    until(server, account, |asked| asked.len() >= expected.len());
    assert_eq!(asked_by(server, account), expected);
}

/// Returns once the account asked and was answered so.
///
/// # Panics
/// It does not.
pub fn until_asked(server: &Server, account: &str, what: &str) {
    until(server, account, |asked| asked.iter().any(|asked| asked == what));
}

fn until(server: &Server, account: &str, holds: impl Fn(&[String]) -> bool) {
    let began = Instant::now();
    while !holds(&asked_by(server, account)) {
        assert!(began.elapsed() < PATIENCE, "{:?}", asked_by(server, account));
        std::thread::yield_now();
    }
}
