//! A client: one question to a model server, asked until the right answer comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// For one try.
const TRY: Duration = Duration::from_secs(60);
/// No server here answers with more.
const ANSWER_LIMIT_BYTES: u64 = 1 << 20;

/// What the right answer looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// This text; case, spaces and punctuation do not matter.
    Text(String),
    /// This text somewhere in it, spaces aside.
    Containing(String),
    /// A JSON array of numbers with length 1 as a vector.
    UnitVector {
        /// How many numbers.
        dimensions: usize,
    },
}

impl Expected {
    /// Whether `answer` is right.
    pub fn accepts(&self, answer: &str) -> bool {
        let letters = |text: &str| -> String {
            text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
        };
        match self {
            Self::Text(text) => letters(answer) == letters(text),
            Self::Containing(text) => {
                let dense: String = answer.chars().filter(|c| !c.is_whitespace()).collect();
                dense.contains(text.as_str())
            }
            Self::UnitVector { dimensions } => serde_json::from_str::<Vec<f64>>(answer).is_ok_and(|vector| {
                let length: f64 = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
                vector.len() == *dimensions && (length - 1.0).abs() < 1e-3
            }),
        }
    }
}

/// One HTTP request with the answer that it should get.
#[derive(Debug, Clone)]
pub struct Question {
    method: &'static str,
    path: String,
    content_type: String,
    body: Vec<u8>,
    expected: Expected,
}

impl Question {
    /// A GET.
    pub fn get(path: &str, expected: Expected) -> Self {
        Self { method: "GET", path: path.to_owned(), content_type: String::new(), body: Vec::new(), expected }
    }

    /// A POST.
    pub fn post(path: &str, content_type: &str, body: Vec<u8>, expected: Expected) -> Self {
        Self { method: "POST", path: path.to_owned(), content_type: content_type.to_owned(), body, expected }
    }

    /// Asks every 20 ms until the right answer comes, and gives it. `alive` is asked between the tries and its error
    /// ends the asking; a wrong answer with status 200 does too.
    pub fn ask_until_right(
        &self,
        server: SocketAddr,
        deadline: Instant,
        mut alive: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<String> {
        loop {
            match self.ask(server) {
                Ok((200, answer)) if self.expected.accepts(&answer) => return Ok(answer),
                Ok((200, answer)) => bail!("the wrong answer came: {answer:?}"),
                // Not there yet, or there and not ready.
                Ok(_) | Err(_) => alive()?,
            }
            if Instant::now() > deadline {
                bail!("no answer before the deadline");
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn ask(&self, server: SocketAddr) -> anyhow::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&server, TRY)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TRY))?;
        let mut request =
            format!("{} {} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n", self.method, self.path);
        if self.method == "POST" {
            request +=
                &format!("Content-Type: {}\r\nContent-Length: {}\r\n", self.content_type, self.body.len());
        }
        request += "\r\n";
        stream.write_all(&[request.as_bytes(), &self.body].concat())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer)?;
        parse(&answer)
    }
}

/// Status and body of an answer that ended with its connection.
fn parse(answer: &[u8]) -> anyhow::Result<(u16, String)> {
    let text = std::str::from_utf8(answer)?;
    let (head, body) = text.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    let status = head.split(' ').nth(1).context("an answer without a status")?.parse()?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok((status, unchunk(body).context("a damaged chunked answer")?));
    }
    Ok((status, body.to_owned()))
}

fn unchunk(mut body: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole += rest.get(..size)?;
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_what_matters() {
        let text = Expected::Text("Cold start, warm heart".to_owned());
        assert!(text.accepts("COLD START\nwarm heart\n"));
        assert!(!text.accepts("cold start"));
        assert!(Expected::Containing("[3.0,8.0]".to_owned()).accepts("{\"data\":[3.0, 8.0]}"));
        let vector = Expected::UnitVector { dimensions: 2 };
        assert!(vector.accepts("[0.6, 0.8]"));
        assert!(!vector.accepts("[0.6, 0.9]"));
        assert!(!vector.accepts("[1.0]"));
    }

    #[test]
    fn an_answer_is_read_plain_or_in_chunks() {
        assert_eq!(parse(b"HTTP/1.1 503 Busy\r\nA: b\r\n\r\nwait").unwrap(), (503, "wait".to_owned()));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), (200, "abcde".to_owned()));
        assert!(parse(b"HTTP/1.1 200 OK").is_err());
    }
}
