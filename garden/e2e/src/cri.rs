//! As much of the kubelet's interface as pulling an image takes: one gRPC call to containerd's socket.
//!
//! It is the way in which a Kubernetes node pulls, and the only one that reads `config_path`. Its two messages are put
//! together by hand: of protocol buffers they need texts and messages in messages.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::handshake;
use http::{HeaderMap, Request};

/// How long a pull may take, and the interface to come up.
const PATIENCE: Duration = Duration::from_secs(120);
/// What containerd says as long as it is coming up.
const COMING_UP: &str = "not initialized yet";

/// Who pulls, where the registry asks.
#[derive(Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Pulls an image; gives its id.
pub(crate) fn pull(socket: &Path, reference: &str, login: Option<&Login>) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    // PullImageRequest: 1 is the image, of which 1 is the name; 2 is who pulls, of which 1 and 2 are name and password.
    let mut request = field(1, &field(1, reference.as_bytes()));
    if let Some(Login { user, password }) = login {
        request.extend(field(2, &[field(1, user.as_bytes()), field(2, password.as_bytes())].concat()));
    }
    let began = Instant::now();
    loop {
        let asked = call(socket, "/runtime.v1.ImageService/PullImage", &request);
        let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, asked).await });
        let answer = answer.map_err(|_| "containerd does not answer".to_owned())?;
        match answer {
            Err(error) if error.contains(COMING_UP) && began.elapsed() < PATIENCE => std::thread::yield_now(),
            // PullImageResponse: 1 is the image's id.
            answer => {
                let message = answer?;
                let id = message.strip_prefix(&[10]).and_then(|rest| rest.get(1..));
                return Ok(String::from_utf8_lossy(id.unwrap_or_default()).into_owned());
            }
        }
    }
}

/// A text or a message as the field `number` of a message.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    const LENGTH_DELIMITED: u8 = 2;
    let mut bytes = vec![number << 3 | LENGTH_DELIMITED];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend_from_slice(content);
    bytes
}

/// One call with one message each way.
async fn call(socket: &Path, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|error| text(&error))?;
    let (client, connection) = handshake(stream).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| text(&error))?;
    let mut client = client.ready().await.map_err(|error| text(&error))?;
    let (answer, mut sender) = client.send_request(request, false).map_err(|error| text(&error))?;
    // Not compressed, and how long it is.
    let head = [&[0], &(message.len() as u32).to_be_bytes()[..]].concat();
    sender.send_data(Bytes::from([&head, message].concat()), true).map_err(|error| text(&error))?;
    let (head, mut body) = answer.await.map_err(|error| text(&error))?.into_parts();
    let mut bytes = Vec::new();
    while let Some(more) = body.data().await {
        bytes.extend_from_slice(&more.map_err(|error| text(&error))?);
    }
    let trailers = body.trailers().await.map_err(|error| text(&error))?.unwrap_or(head.headers);
    match value(&trailers, "grpc-status") {
        "0" => Ok(bytes.split_off(bytes.len().min(5))),
        status => Err(format!("{} (status {status})", value(&trailers, "grpc-message"))),
    }
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
