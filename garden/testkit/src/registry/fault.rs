//! Which requests go wrong, and how.

use std::time::Duration;

/// How a request goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and no content.
    Status(u16),
    /// Answered with 429 and, if given, this Retry-After.
    Throttle(Option<String>),
    /// The connection breaks after so many bytes of the body.
    ResetAfter(u64),
    /// A correct answer of only so many bytes, fewer than were asked for.
    Short(u64),
    /// The Range header is not seen: 200 and the whole content.
    IgnoreRange,
    /// 206 with a range that begins one byte later.
    WrongRange,
    /// Nothing more comes after so many bytes of the body.
    Hang(u64),
    /// No answer ever.
    Silent,
    /// The first byte of the body is wrong.
    WrongBytes,
    /// Of what is sent only so many bytes arrive, and the answer is the 502 of a proxy that lost its registry.
    TakeOnly(u64),
    /// The answer comes later.
    Delay(Duration),
}

/// A fault and the requests it hits.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    path: String,
    method: Option<&'static str>,
    skip: u64,
    times: u64,
}

impl Rule {
    /// Hits every request.
    pub fn any(fault: Fault) -> Self {
        Self { fault, path: String::new(), method: None, skip: 0, times: u64::MAX }
    }

    /// Hits blob requests, also behind presigned URLs.
    pub fn blobs(fault: Fault) -> Self {
        Self::any(fault).on("/blobs/").method("GET")
    }

    /// Hits requests for manifests and indexes.
    pub fn manifests(fault: Fault) -> Self {
        Self::any(fault).on("/manifests/").method("GET")
    }

    /// Hits only paths that contain `part`.
    #[must_use]
    pub fn on(mut self, part: &str) -> Self {
        self.path = part.to_owned();
        self
    }

    /// Hits only this method.
    #[must_use]
    pub fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, requests: u64) -> Self {
        self.skip = requests;
        self
    }

    /// Hits so many requests and no more.
    #[must_use]
    pub fn times(mut self, requests: u64) -> Self {
        self.times = requests;
        self
    }

    /// The fault for this request, if it is hit.
    pub(super) fn hit(&mut self, method: &str, path: &str) -> Option<Fault> {
        if !path.contains(&self.path) || self.method.is_some_and(|only| only != method) || self.times == 0 {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.fault.clone())
    }
}
