//! An administrator's side of the API: objects are made, changed and removed, and tokens given out.

use std::time::{Duration, Instant};

use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

/// How long the server may take to come up, or to find something out.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks: the server tells nobody when it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A client with a token.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    url: String,
    token: String,
}

impl Api {
    /// Of the server at `port` of loopback.
    pub fn new(port: u16, ca_pem: &str, token: &str) -> Self {
        let ca = Certificate::from_pem(ca_pem.as_bytes()).unwrap();
        let client = Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
        Self { client, url: format!("https://127.0.0.1:{port}"), token: token.to_owned() }
    }

    /// Returns once the server takes requests.
    ///
    /// # Panics
    /// It does not.
    pub async fn ready(&self) {
        self.until(&self.token, "/readyz", 200).await;
    }

    /// Returns once the server answers with this status to whoever has `token`.
    ///
    /// # Panics
    /// It does not.
    pub async fn until_refused(&self, token: &str, status: u16) {
        self.until(token, "/apis/discovery.k8s.io/v1/namespaces/glowplug/endpointslices", status).await;
    }

    async fn until(&self, token: &str, path: &str, status: u16) {
        let began = Instant::now();
        loop {
            let answer = self.client.get(format!("{}{path}", self.url)).bearer_auth(token).send().await;
            let answer = answer.map(|answer| answer.status().as_u16());
            if answer.as_ref().is_ok_and(|found| *found == status) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{path}: {answer:?} instead of {status}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Asks; what is refused is an error with the server's sentence.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        (media_type, body): (&str, String),
    ) -> Result<Value, String> {
        let request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        let answer = request.header("content-type", media_type).body(body).send().await.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        match status.is_success() {
            true => Ok(serde_json::from_slice(&body).unwrap()),
            false => Err(format!("{path}: {status}: {}", String::from_utf8_lossy(&body))),
        }
    }

    /// Makes an object in a collection.
    ///
    /// # Panics
    /// It is refused, as everywhere below.
    pub async fn create(&self, path: &str, object: &Value) -> Value {
        self.ask(Method::POST, path, ("application/json", object.to_string())).await.unwrap()
    }

    /// Changes an object.
    pub async fn merge(&self, path: &str, change: &Value) {
        self.ask(Method::PATCH, path, ("application/merge-patch+json", change.to_string())).await.unwrap();
    }

    /// Makes or changes an object as its whole text says.
    pub async fn apply(&self, path: &str, text: &str) -> Result<Value, String> {
        self.ask(Method::PATCH, path, ("application/apply-patch+yaml", text.to_owned())).await
    }

    /// Removes an object.
    pub async fn delete(&self, path: &str) {
        self.ask(Method::DELETE, path, ("application/json", String::new())).await.unwrap();
    }

    /// A token of a service account as pods get it; one of a secret is over when the secret is removed.
    pub async fn token(&self, namespace: &str, account: &str, secret: Option<&str>) -> String {
        let mut spec = json!({"expirationSeconds": 3600});
        if let Some(secret) = secret {
            spec["boundObjectRef"] = json!({"kind": "Secret", "apiVersion": "v1", "name": secret});
        }
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let answer = self.create(&path, &json!({"spec": spec})).await;
        answer["status"]["token"].as_str().unwrap().to_owned()
    }
}
