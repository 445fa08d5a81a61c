//! Whether a registry takes pushes, asked before the work that makes what is pushed.
//!
//! What pushing a blob begins with is done, and undone: a place for an upload is asked for and given back (OCI distribution
//! specification 1.1, "Pushing a blob in chunks" and "Cancel a blob upload"). Only a plain refusal counts. Any other
//! trouble may be over when something is pushed, or not be in its way; a registry that cannot give a place back forgets it
//! in time.

use bytes::Bytes;
use reqwest::Method;

use super::push::upload_place;
use super::upstream::Upstream;
use crate::Error;
use crate::endpoint::Endpoint;
use crate::http::Call;

impl Upstream {
    pub(super) async fn check_push(&self) -> Result<(), Error> {
        let path = format!("{}/blobs/uploads/", self.repository);
        let begin = |endpoint: &Endpoint| Call {
            method: Method::POST,
            body: Some(Bytes::new()),
            ..Call::get(endpoint.url(&path, &[]))
        };
        let headers = match self.ask(&self.name, &begin).await {
            Ok(headers) => headers,
            Err(error) if error.is_denied() || error.is_not_found() => return Err(error),
            Err(error) => {
                tracing::debug!(repository = self.name, %error, "cannot tell whether it takes pushes");
                return Ok(());
            }
        };
        let Ok(place) = upload_place(&self.name, &self.origin().url(&path, &[]), &headers) else {
            return Ok(());
        };
        let cancel = |_: &Endpoint| Call { method: Method::DELETE, ..Call::get(place.clone()) };
        if let Err(error) = self.ask(&self.name, &cancel).await {
            tracing::debug!(repository = self.name, %error, "the place for an upload cannot be given back");
        }
        Ok(())
    }
}
