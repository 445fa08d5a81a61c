//! Requests and answers: connections by kind, redirects by hand, and what an answer that is no success means.
//!
//! Redirects are followed here and not by the HTTP library, because an Authorization header must not travel to another
//! host and because the address at the end (a presigned URL) is worth keeping.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::StreamExt as _;
use glowplug_base::ByteRange;
use glowplug_source::{Kind, RangeSource as _, SourceError};
use glowplug_timeline::Cause;
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};

use crate::endpoint::{host_of, is_loopback};
use crate::local::FileSource;
use crate::{Error, Options};

/// Redirects in a row; registries need one or two.
const MAX_REDIRECTS: usize = 5;
/// What is read of an error's text.
const MAX_ERROR_BYTES: usize = 16 * 1024;
/// How long a registry may think about an upload whose last byte it has: some read the whole blob again for its digest.
const UPLOAD_ANSWER: Duration = Duration::from_secs(300);

/// One request, ready to be sent as often as it takes.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// Sent instead of a body in memory: a piece of a file. Such a request may take as long as bytes move.
    pub(crate) upload: Option<(FileSource, ByteRange)>,
}

impl Call {
    pub(crate) fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: None, upload: None }
    }
}

/// An answer and where it came from in the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: reqwest::Response,
    pub(crate) url: Url,
}

/// HTTP clients, each made when it is first needed: reading the system's certificates takes longer than a manifest.
#[derive(Debug)]
pub(crate) struct Http {
    options: Options,
    certificates: Vec<reqwest::Certificate>,
    clients: [OnceLock<reqwest::Client>; 12],
}

impl Http {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        for path in &options.ca_files {
            let file = |source| Error::File { path: path.clone(), source };
            let bytes = std::fs::read(path).map_err(file)?;
            let bundle = reqwest::Certificate::from_pem_bundle(&bytes)
                .ok()
                .filter(|bundle| !bundle.is_empty())
                .ok_or_else(|| Error::Local {
                    path: path.clone(),
                    what: "no certificates in PEM form".to_owned(),
                })?;
            certificates.extend(bundle);
        }
        Ok(Self { options, certificates, clients: Default::default() })
    }

    /// The client for `url`. One for uploads knows no silence: there is no answer before the last byte was sent.
    fn client(&self, url: &Url, uploads: bool) -> Result<&reqwest::Client, SourceError> {
        let loopback = is_loopback(url);
        let host = host_of(url);
        let with_port = format!("{host}:{}", url.port_or_known_default().unwrap_or_default());
        let unchecked = self.options.insecure.iter().any(|named| *named == host || *named == with_port);
        let security = match url.scheme() {
            "https" if unchecked => 2,
            "https" => 1,
            _ => 0,
        };
        let slot = &self.clients[security * 4 + usize::from(loopback) * 2 + usize::from(uploads)];
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(self.options.connect_timeout)
            .user_agent(&self.options.user_agent);
        if !uploads {
            builder = builder.read_timeout(self.options.idle_timeout);
        }
        builder = match security {
            0 => builder.tls_certs_only([]),
            1 => builder.tls_certs_merge(self.certificates.iter().cloned()),
            _ => builder.tls_danger_accept_invalid_certs(true),
        };
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            SourceError::new(
                host_of(url),
                Kind::Protocol(format!("setting up TLS certificates: {}", root(&error))),
            )
        })?;
        Ok(slot.get_or_init(|| client))
    }

    /// Sends `call` and follows redirects; `authorization` goes to the first host only.
    pub(crate) async fn exchange(
        &self,
        name: &str,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, SourceError> {
        let mut url = call.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let client = self.client(&url, call.upload.is_some())?;
            let mut request = client.request(call.method.clone(), url.clone()).headers(call.headers.clone());
            if let Some(authorization) = authorization.filter(|_| url.origin() == call.url.origin()) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            if let Some(body) = &call.body {
                request = request.body(body.clone());
            }
            let response = match &call.upload {
                Some((file, range)) => self.upload(name, request, file, *range).await?,
                None => request.send().await.map_err(|error| failed(name, error))?,
            };
            let Some(next) = self.redirect(name, call, &url, &response)? else {
                return Ok(Answer { response, url });
            };
            drain(response).await;
            url = next;
        }
        Err(SourceError::new(name, Kind::Protocol("too many redirects".to_owned())))
    }

    /// Sends `range` of `file` as the body of `request`, for as long as bytes move.
    async fn upload(
        &self,
        name: &str,
        request: reqwest::RequestBuilder,
        file: &FileSource,
        range: ByteRange,
    ) -> Result<reqwest::Response, SourceError> {
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        let pieces = file.open(range, Cause::Metadata).await?.inspect(move |piece| {
            let bytes = piece.as_ref().map_or(0, Bytes::len);
            count.fetch_add(bytes as u64, Ordering::Relaxed);
        });
        let request = request.header(header::CONTENT_LENGTH, range.len());
        let mut answer = std::pin::pin!(request.body(reqwest::Body::wrap_stream(pieces)).send());
        let mut seen = 0;
        loop {
            let patience = if seen == range.len() { UPLOAD_ANSWER } else { self.options.idle_timeout };
            if let Ok(answer) = tokio::time::timeout(patience, &mut answer).await {
                return answer.map_err(|error| failed(name, error));
            }
            let now = sent.load(Ordering::Relaxed);
            if now == seen {
                return Err(SourceError::new(name, Kind::Stalled(patience)));
            }
            seen = now;
        }
    }

    fn redirect(
        &self,
        name: &str,
        call: &Call,
        url: &Url,
        response: &reqwest::Response,
    ) -> Result<Option<Url>, SourceError> {
        let reading = matches!(call.method, Method::GET | Method::HEAD);
        match response.status().as_u16() {
            301..=303 if reading => {}
            307 | 308 => {}
            _ => return Ok(None),
        }
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        let next = next_hop(url, location, self.options.plain_http);
        next.map(Some).map_err(|what| SourceError::new(name, Kind::Protocol(what.to_owned())))
    }
}

/// Where a redirect leads. What came over TLS is not continued without: a manifest by tag would be anybody's.
fn next_hop(url: &Url, location: Option<&str>, plain_http: bool) -> Result<Url, &'static str> {
    let location = location.ok_or("redirect without a location")?;
    let next = url.join(location).map_err(|_| "redirect to a malformed location")?;
    match next.scheme() {
        "https" => Ok(next),
        "http" if plain_http || url.scheme() == "http" => Ok(next),
        "http" => Err("redirect from https to http"),
        _ => Err("redirect to something else than http"),
    }
}

/// The reason at the bottom: the library's own layers say little, and its address may hold a signature.
fn root(error: &reqwest::Error) -> String {
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    if error.source().is_some() { deepest.to_string() } else { "request failed".to_owned() }
}

/// What a failed exchange means.
pub(crate) fn failed(name: &str, error: reqwest::Error) -> SourceError {
    let error = error.without_url();
    let reason = root(&error);
    let kind = if reason.contains("invalid peer certificate") {
        Kind::Protocol(reason)
    } else if error.is_builder() {
        Kind::Protocol(format!("request cannot be sent: {reason}"))
    } else if error.is_timeout() {
        Kind::Connection("timed out".to_owned())
    } else {
        Kind::Connection(reason)
    };
    SourceError::new(name, kind).caused_by(error)
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read(name: &str, mut response: reqwest::Response, limit: usize) -> Result<Bytes, Error> {
    let too_big = || Error::TooBig { name: name.to_owned(), limit: limit as u64 };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_big());
    }
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| failed(name, error))? {
        if bytes.len() + piece.len() > limit {
            return Err(too_big());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

/// Reads what is left of a small body so that the connection can be used again.
pub(crate) async fn drain(response: reqwest::Response) {
    let _ = read("", response, MAX_ERROR_BYTES).await;
}

/// What the other side says about an error.
#[derive(Debug, thiserror::Error)]
#[error("status {status}: {message}")]
struct Refusal {
    status: StatusCode,
    message: String,
}

/// What an answer that is no success means.
pub(crate) async fn refused(name: &str, response: reqwest::Response) -> SourceError {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|value| pause(value, SystemTime::now()));
    let body = read(name, response, MAX_ERROR_BYTES).await.unwrap_or_default();
    let message = message(&body);
    let kind = match status.as_u16() {
        401 | 403 => Kind::Denied(if message.is_empty() { status.to_string() } else { message.clone() }),
        404 | 410 => Kind::NotFound,
        429 => Kind::Throttled { retry_after },
        503 if retry_after.is_some() => Kind::Throttled { retry_after },
        408 | 500.. => Kind::Server(status.as_u16()),
        _ if message.is_empty() => Kind::Protocol(format!("unexpected status {status}")),
        _ => Kind::Protocol(format!("unexpected status {status}: {message}")),
    };
    let error = SourceError::new(name, kind);
    if message.is_empty() { error } else { error.caused_by(Refusal { status, message }) }
}

/// The messages of an error body as the distribution specification has it; nothing of any other body.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: Option<String>,
    }
    let entries = serde_json::from_slice::<Body>(body).map(|body| body.errors).unwrap_or_default();
    let texts =
        entries.into_iter().map(|entry| entry.message.filter(|text| !text.is_empty()).unwrap_or(entry.code));
    let printable = |text: String| text.chars().filter(|c| !c.is_control()).take(300).collect::<String>();
    texts.take(3).map(printable).collect::<Vec<_>>().join("; ")
}

/// A Retry-After header: seconds or a date.
fn pause(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let seconds = |value| pause(value, now).map(|pause| pause.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:27 GMT"), Some(0));
        assert_eq!(seconds("soon"), None);
        assert_eq!(seconds("-5"), None);
    }

    #[test]
    fn redirects_keep_their_protection() {
        let url = |text| Url::parse(text).unwrap();
        let (tls, plain) = (url("https://a.example/v2/x"), url("http://a.example/v2/x"));
        assert_eq!(next_hop(&tls, Some("/y?z=1"), false), Ok(url("https://a.example/y?z=1")));
        assert_eq!(next_hop(&tls, Some("https://b.example/y"), false), Ok(url("https://b.example/y")));
        assert_eq!(next_hop(&plain, Some("http://b.example/y"), false), Ok(url("http://b.example/y")));
        assert_eq!(next_hop(&tls, Some("http://b.example/y"), false), Err("redirect from https to http"));
        assert_eq!(next_hop(&tls, Some("http://b.example/y"), true), Ok(url("http://b.example/y")));
        assert!(next_hop(&tls, Some("file:///etc/passwd"), true).is_err());
        assert!(next_hop(&tls, Some("https://[broken"), true).is_err());
        assert!(next_hop(&tls, None, true).is_err());
    }

    #[test]
    fn error_bodies_are_read_with_care() {
        assert_eq!(
            message(br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"},{"code":"X"}]}"#),
            "no[31m; X"
        );
        assert_eq!(message(b"<html>"), "");
        assert_eq!(message(br#"{"errors":[{"code":"DENIED","message":null}]}"#), "DENIED");
    }
}
