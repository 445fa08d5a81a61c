//! Doors that are leant on.

use std::time::Duration;

use glowplug_mirror::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{DEADLINE, Plan, Running, http};

/// A whole request, after which the connection stays.
const REQUEST: &[u8] = b"GET /v2/ HTTP/1.1\r\nhost: node\r\n\r\n";

async fn connect(node: &Running) -> TcpStream {
    TcpStream::connect(node.local.trim_start_matches("http://")).await.unwrap()
}

/// Waits for an answer to [`REQUEST`].
async fn answer(connection: &mut TcpStream) {
    let (mut said, mut more) = (Vec::new(), [0; 1024]);
    while !said.ends_with(b"\r\n\r\n{}") {
        let read = timeout(DEADLINE, connection.read(&mut more)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&more[..read]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_connection_and_says_nothing_is_shown_out() {
    let limits = Limits { header: Duration::from_millis(50), ..Limits::default() };
    let node = Running::start(Plan { limits, ..Plan::default() }).await;
    for beginning in [&b""[..], b"GET /v2/ HT", b"GET /v2/ HTTP/1.1\r\nhost: node\r\nx-more: "] {
        let mut connection = connect(&node).await;
        connection.write_all(beginning).await.unwrap();
        let mut said = Vec::new();
        // Its end is what is waited for; a reset is one, too.
        let _ = timeout(DEADLINE, connection.read_to_end(&mut said)).await.expect("it is closed");
        assert!(!said.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&said));
    }
    // And so is who goes on saying nothing after an answer.
    let mut connection = connect(&node).await;
    connection.write_all(REQUEST).await.unwrap();
    answer(&mut connection).await;
    let _ = timeout(DEADLINE, connection.read_to_end(&mut Vec::new())).await.expect("it is closed");
    let stats = http().get(format!("{}/glowplug/peer/1/stats", node.local)).send().await.unwrap();
    assert_eq!(stats.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_the_door_is_full_waits_until_somebody_has_gone() {
    let limits = Limits { connections: 1, header: DEADLINE };
    let node = Running::start(Plan { limits, ..Plan::default() }).await;
    let mut first = connect(&node).await;
    first.write_all(REQUEST).await.unwrap();
    answer(&mut first).await;
    let mut second = connect(&node).await;
    second.write_all(REQUEST).await.unwrap();
    // By now the second would have its answer many times over.
    for _ in 0..100 {
        first.write_all(REQUEST).await.unwrap();
        answer(&mut first).await;
    }
    let early = second.try_read(&mut [0; 16]);
    assert_eq!(early.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    answer(&mut second).await;
}
