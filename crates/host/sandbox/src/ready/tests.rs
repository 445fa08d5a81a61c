//! Probes as they are written, and against servers that take their time; the patience that bytes buy.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NO_PROGRESS: &(dyn Fn() -> u64 + Send + Sync) = &|| 0;

fn context<'a>(progress: &'a (dyn Fn() -> u64 + Send + Sync), patience: Duration) -> Context<'a> {
    let alive = Box::pin(std::future::pending());
    Context { dialer: Dialer::host(), logs: None, container: None, alive, progress, patience }
}

/// A server that answers each connection with the next status, the last for ever.
async fn server(statuses: &'static [u16]) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        for i in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.unwrap();
            assert!(request[..n].starts_with(b"GET /v2/models/m/ready HTTP/1.1\r\nHost: "));
            let status = statuses[i.min(statuses.len() - 1)];
            let _ = stream
                .write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes())
                .await;
        }
    });
    (port, task)
}

#[test]
fn texts_of_probes() {
    let shown = |text| Probe::parse(text).map(|p| p.to_string()).map_err(|e| e.to_string());
    assert_eq!(shown("http://:8080/healthz"), Ok("http://localhost:8080/healthz".into()));
    assert_eq!(shown("http://localhost"), Ok("http://localhost:80/".into()));
    assert_eq!(shown("http://[::1]:80/a?b=c#d"), Ok("http://[::1]:80/a?b=c".into()));
    assert_eq!(shown("tcp:80"), Ok("tcp:80".into()));
    assert_eq!(shown("v2:bert"), Ok("v2:8000/bert".into()));
    assert_eq!(shown("v2:9000/bert"), Ok("v2:9000/bert".into()));
    assert_eq!(shown("log:^Uvicorn running"), Ok("log:^Uvicorn running".into()));
    assert_eq!(shown("exec:test -f /ok"), Ok("exec:/bin/sh -c test -f /ok".into()));
    assert_eq!(shown("exec:[\"/probe\",\"x\"]"), Ok("exec:/probe x".into()));
    for wrong in [
        "",
        "tcp",
        "tcp:",
        "tcp:0",
        "tcp:70000",
        "https://x",
        "http://example.com/",
        "http://:x/",
        "log:(",
        "v2:8000/",
        "udp:1",
    ] {
        assert!(Probe::parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(http://|v2:|exec:|)\\PC{0,30}") {
        let _ = Probe::parse(&text);
    }
}

#[tokio::test]
async fn http_waits_for_a_good_status() {
    let (port, server) = server(&[503, 404, 302]).await;
    let probe = Probe::parse(&format!("http://:{port}/v2/models/m/ready")).unwrap();
    let readied = wait(&probe, context(NO_PROGRESS, Duration::from_secs(10))).await.unwrap();
    assert_eq!(readied.attempts, 3);
    server.abort();
}

#[tokio::test]
async fn v2_wants_exactly_200() {
    let (port, server) = server(&[302, 400, 200]).await;
    let probe = Probe::parse(&format!("v2:{port}/m")).unwrap();
    let readied = wait(&probe, context(NO_PROGRESS, Duration::from_secs(10))).await.unwrap();
    assert_eq!(readied.attempts, 3);
    server.abort();
}

#[tokio::test]
async fn tcp_waits_for_the_port() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let probe = Probe::Tcp(port);
    let opened = async {
        tokio::task::yield_now().await;
        TcpListener::bind(("127.0.0.1", port)).await.unwrap()
    };
    let (readied, _listener) =
        tokio::join!(wait(&probe, context(NO_PROGRESS, Duration::from_secs(10))), opened);
    readied.unwrap();
}

#[tokio::test(start_paused = true)]
async fn patience_starts_again_while_bytes_move() {
    // Moves for the first 500 looks, then no more.
    let looks = AtomicU64::new(0);
    let progress = || looks.fetch_add(1, Ordering::Relaxed).min(500);
    let probe = Probe::Exec(vec!["x".into()]);
    // An exec probe without a container cannot be asked at all, which is another error than being stalled.
    let unable = wait(&probe, context(NO_PROGRESS, Duration::from_secs(1))).await;
    assert!(matches!(unable, Err(ReadyError::Unable { .. })));

    let logs = Logs::new();
    let patient = Context { logs: Some(logs), ..context(&progress, Duration::from_secs(2)) };
    let began = Instant::now();
    let error = wait(&Probe::parse("log:never").unwrap(), patient).await.unwrap_err();
    assert!(matches!(error, ReadyError::Stalled { .. }));
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(900) && waited < Duration::from_secs(1100), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_ended_container_is_an_error_with_its_last_lines() {
    let logs = Logs::new();
    logs.pump(&b"starting\nno such model\n"[..], None::<Vec<u8>>).await;
    for text in ["log:ready", "exec:true", "tcp:1"] {
        let alive = Box::pin(std::future::ready(Exit::from_code(3)));
        let context =
            Context { logs: Some(logs.clone()), alive, ..context(NO_PROGRESS, Duration::from_secs(1)) };
        let error = wait(&Probe::parse(text).unwrap(), context).await;
        if text == "exec:true" {
            continue;
        }
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "container exited with code 3 before it was ready");
        assert_eq!(error.lines(), ["starting", "no such model"]);
    }
}

#[tokio::test]
async fn a_line_that_came_before_the_question_counts() {
    let logs = Logs::new();
    logs.pump(&b"Uvicorn running on http://0.0.0.0:80\n"[..], None::<Vec<u8>>).await;
    let context = Context { logs: Some(logs), ..context(NO_PROGRESS, Duration::from_secs(1)) };
    wait(&Probe::parse("log:Uvicorn running").unwrap(), context).await.unwrap();
}

/// The context of a container that has ended by now.
fn ended(logs: &Logs) -> Context<'static> {
    let alive = Box::pin(std::future::ready(Exit::from_code(0)));
    Context { logs: Some(logs.clone()), alive, ..context(NO_PROGRESS, Duration::from_secs(60)) }
}

#[tokio::test(start_paused = true)]
async fn the_last_words_of_an_ended_container_may_take_their_time() {
    let logs = Logs::new();
    let (from, mut to) = tokio::io::duplex(64);
    tokio::spawn(logs.pump(from, None::<Vec<u8>>));
    let probe = Probe::parse("log:^up$").unwrap();
    let late = async {
        tokio::time::advance(Duration::from_secs(30)).await;
        to.write_all(b"up").await.unwrap();
        drop(to);
    };
    let (readied, ()) = tokio::join!(wait(&probe, ended(&logs)), late);
    readied.unwrap();

    // Output that says something else is waited for as long, and then it is over.
    let (from, mut to) = tokio::io::duplex(64);
    tokio::spawn(logs.pump(from, None::<Vec<u8>>));
    let never = Probe::parse("log:never").unwrap();
    let late = async {
        tokio::time::advance(Duration::from_secs(30)).await;
        to.write_all(b"last").await.unwrap();
        drop(to);
    };
    let (error, ()) = tokio::join!(wait(&never, ended(&logs)), late);
    assert_eq!(error.unwrap_err().lines(), ["up", "last"]);
}

#[tokio::test(start_paused = true)]
async fn a_line_counts_though_nobody_reads_what_is_passed_on() {
    let logs = Logs::new();
    let (sink, _unread) = tokio::io::duplex(1);
    tokio::spawn(logs.pump(&b"up\n"[..], Some(sink)));
    wait(&Probe::parse("log:^up$").unwrap(), ended(&logs)).await.unwrap();
}
