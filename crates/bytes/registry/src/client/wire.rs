//! One request to one endpoint with everything around it: credentials, and TLS where plain HTTP makes no sense.

use glowplug_source::{Kind, SourceError};
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};

use crate::auth::{Access, Authenticator};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::http::{Answer, Call, Http, drain};
use crate::{Error, Options, Via};

/// What all repositories share.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) options: Options,
    pub(crate) http: Http,
    auth: Authenticator,
}

impl Wire {
    pub(crate) fn new(options: Options, credentials: Credentials) -> Result<Self, Error> {
        let auth = Authenticator::new(credentials, options.clock.clone());
        Ok(Self { http: Http::new(options.clone())?, options, auth })
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.options.clock.now_ns()
    }

    /// Sends what `make` makes for `endpoint`. An answer of any status is an answer.
    pub(crate) async fn send(
        &self,
        name: &str,
        endpoint: &Endpoint,
        access: &Access,
        make: &(dyn Fn(&Endpoint) -> Call + Send + Sync),
    ) -> Result<Answer, SourceError> {
        let make = |endpoint: &Endpoint| self.named(make(endpoint));
        let first = self.attempt(name, access, &make(endpoint)).await;
        if !endpoint.may_switch_to_tls() {
            return first;
        }
        let may_be_tls = match &first {
            Ok(answer) => answer.response.status() == StatusCode::BAD_REQUEST,
            Err(error) => {
                matches!(&error.kind, Kind::Connection(why) if !why.contains("refused") && why != "timed out")
            }
        };
        if !may_be_tls {
            if first.is_ok() {
                endpoint.settle();
            }
            return first;
        }
        endpoint.switch_to_tls(true);
        match self.attempt(name, access, &make(endpoint)).await {
            Err(SourceError { kind: Kind::Connection(_), .. }) => {
                endpoint.switch_to_tls(false);
                first
            }
            other => {
                tracing::debug!(host = endpoint.host, "speaks TLS on loopback");
                other
            }
        }
    }

    /// The request with the names of the nodes that it comes through.
    fn named(&self, mut call: Call) -> Call {
        let list = self.options.via.as_ref().and_then(|via| HeaderValue::from_str(&via.list()).ok());
        if let Some(list) = list {
            call.headers.insert(HeaderName::from_static(Via::HEADER), list);
        }
        call
    }

    /// Once, and once more with what a refusal asks for.
    async fn attempt(&self, name: &str, access: &Access, call: &Call) -> Result<Answer, SourceError> {
        let sent = self.auth.header(&self.http, access, &call.url).await?;
        let answer = self.http.exchange(name, call, sent.as_ref()).await?;
        let status = answer.response.status();
        // Somebody else's refusal, behind a redirect, is not about our credentials.
        if answer.url.origin() != call.url.origin() {
            return Ok(answer);
        }
        let fresh = match status {
            StatusCode::UNAUTHORIZED => {
                let headers = answer.response.headers();
                Some(self.auth.answer(&self.http, access, &call.url, sent.as_ref(), headers).await?)
            }
            // Some registries say 403 when what they were sent has expired.
            StatusCode::FORBIDDEN if sent.is_some() => {
                self.auth.renew(&self.http, access, &call.url, sent.as_ref()).await?
            }
            _ => None,
        };
        match fresh {
            Some(fresh) => {
                drain(answer.response).await;
                self.http.exchange(name, call, Some(&fresh)).await
            }
            None => Ok(answer),
        }
    }
}
