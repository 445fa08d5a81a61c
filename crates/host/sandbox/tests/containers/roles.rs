//! What this binary is when it is run inside a container, or as the glowplug that dies.

use std::io::{Read, Write};

/// Plays the part the first argument names, and does not return; returns if it names none.
pub fn play_if_invoked() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("__serve") => serve(args[2].parse().unwrap()),
        Some("__eat") => eat(args[2].parse().unwrap()),
        Some("__hold") => crate::rig::hold(),
        _ => {}
    }
}

/// An HTTP server on loopback that is not ready the first two times.
fn serve(port: u16) -> ! {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("listening on {port}");
    for i in 0.. {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        if stream.read(&mut request).unwrap_or(0) > 0 {
            let status = if i < 2 { "503 Not Yet" } else { "200 OK" };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi");
        }
    }
    unreachable!()
}

/// Takes so many MiB of memory and keeps them.
fn eat(mib: usize) -> ! {
    let mut eaten = Vec::new();
    for _ in 0..mib {
        eaten.push(vec![1u8; 1 << 20]);
    }
    println!("ate {}", eaten.len());
    std::process::exit(0)
}
