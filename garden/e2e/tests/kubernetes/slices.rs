//! EndpointSlices as the controller writes them for a headless service.

use serde_json::{Value, json};

use crate::api::Api;
use crate::{NAMESPACE, SERVICE};

/// The slices of the namespace.
#[derive(Debug)]
pub struct Slices {
    api: Api,
}

/// The endpoint of the node 10.0.0.`host`.
pub fn endpoint(host: u8, ready: bool) -> Value {
    json!({"addresses": [format!("10.0.0.{host}")], "nodeName": format!("node-{host}"),
        "conditions": {"ready": ready, "serving": true, "terminating": !ready}})
}

impl Slices {
    /// None yet.
    pub fn new(api: Api) -> Self {
        Self { api }
    }

    /// Makes or changes a slice of the service.
    pub async fn write(&self, name: &str, endpoints: impl Into<Vec<Value>>) {
        self.write_for(SERVICE, name, endpoints).await;
    }

    /// The same of another service.
    pub async fn write_for(&self, service: &str, name: &str, endpoints: impl Into<Vec<Value>>) {
        let endpoints: Vec<Value> = endpoints.into();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            }},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "peer", "port": 5378, "protocol": "TCP"}],
        });
        let place = format!("{}?fieldManager=test&force=true", self.place(name));
        self.api.apply(&place, &slice.to_string()).await.unwrap();
    }

    /// Removes a slice.
    pub async fn delete(&self, name: &str) {
        self.api.delete(&self.place(name)).await;
    }

    fn place(&self, name: &str) -> String {
        format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices/{name}")
    }
}
