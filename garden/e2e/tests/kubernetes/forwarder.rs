//! A way to the server that can be cut, with TLS inside it left alone.

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Forwards connections to the server. Its thread stays for as long as the test runs.
#[derive(Debug)]
pub struct Forwarder {
    port: u16,
    way: Arc<Mutex<Way>>,
}

#[derive(Debug, Default)]
struct Way {
    is_cut: bool,
    open: Vec<TcpStream>,
}

impl Forwarder {
    /// To a port of loopback.
    pub fn start(to: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let forwarder = Self { port: listener.local_addr().unwrap().port(), way: Arc::default() };
        let way = forwarder.way.clone();
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let mut way = way.lock().unwrap();
                // One that is dropped is closed.
                if way.is_cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
                for (reader, writer) in [(&from, &server), (&server, &from)] {
                    let (mut reader, mut writer) = (reader.try_clone().unwrap(), writer.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut reader, &mut writer);
                        let _ = writer.shutdown(Shutdown::Write);
                    });
                }
                way.open.extend([from, server]);
            }
        });
        forwarder
    }

    /// Where it listens, on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends every connection, and takes none until it is mended.
    pub fn cut(&self) {
        let mut way = self.way.lock().unwrap();
        way.is_cut = true;
        for stream in way.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.way.lock().unwrap().is_cut = false;
    }
}
