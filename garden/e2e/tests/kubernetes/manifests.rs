//! `deploy/kubernetes/peers.yaml`, as a platform engineer applies it.

use std::path::Path;

use crate::NAMESPACE;
use crate::api::Api;

/// Has the server check every object, fields that it does not know included, and then makes them.
///
/// # Panics
/// The server refuses one.
pub async fn apply(api: &Api) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes/peers.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let mut objects = 0;
    for document in text.split("\n---\n") {
        let place = place(document);
        let strict = format!("{place}?fieldManager=test&fieldValidation=Strict");
        api.apply(&format!("{strict}&dryRun=All"), document).await.unwrap();
        api.apply(&strict, document).await.unwrap();
        objects += 1;
    }
    assert_eq!(objects, 6);
}

/// Where the object belongs in the API.
fn place(document: &str) -> String {
    let line = |begin: &str| document.lines().find_map(|line| line.strip_prefix(begin));
    let (kind, name) = (line("kind: ").unwrap(), line("  name: ").unwrap());
    let (group, plural) = match kind {
        "Namespace" => return format!("/api/v1/namespaces/{name}"),
        "ServiceAccount" => ("api/v1", "serviceaccounts"),
        "Service" => ("api/v1", "services"),
        "Role" => ("apis/rbac.authorization.k8s.io/v1", "roles"),
        "RoleBinding" => ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        "DaemonSet" => ("apis/apps/v1", "daemonsets"),
        other => panic!("no place for a {other}"),
    };
    assert_eq!(line("  namespace: "), Some(NAMESPACE), "{kind}");
    format!("/{group}/namespaces/{NAMESPACE}/{plural}/{name}")
}
