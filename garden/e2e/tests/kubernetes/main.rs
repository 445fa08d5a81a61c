//! Members of the peer tier from a real Kubernetes API server: `cargo xtask kubernetes` builds one and runs this.
//!
//! It needs namespaces of its own, for a pod's files lie in fixed places, and three variables that the command sets:
//! `GLOWPLUG_BIN`, `GLOWPLUG_KUBE_APISERVER` and `GLOWPLUG_ETCD`, the programs. No controller runs: what the one for
//! EndpointSlices would write is written here, the same objects through the same API.
#![allow(clippy::unwrap_used, reason = "clippy does not take the functions beside the tests for tests")]

mod api;
mod audit;
mod forwarder;
mod manifests;
mod pod;
mod server;
mod slices;

use std::time::Instant;

use api::Api;
use forwarder::Forwarder;
use pod::{Pod, Volume};
use serde_json::json;
use server::Server;
use slices::{Slices, endpoint};

/// As in `deploy/kubernetes/peers.yaml`.
const NAMESPACE: &str = "glowplug";
const SERVICE: &str = "glowplug-peers";
const ACCOUNT: &str = "glowplug-peers";

/// A cluster of one API server, to which the manifests were applied.
struct World {
    server: Server,
    api: Api,
    slices: Slices,
}

impl World {
    async fn new() -> Self {
        glowplug_linux::netns::loopback_up().expect("cargo xtask kubernetes makes a network of its own");
        let server = Server::start();
        let api = server.api().await;
        manifests::apply(&api).await;
        let slices = Slices::new(api.clone());
        Self { server, api, slices }
    }

    /// Does something that changes the members as `pod` sees them, and says how long it took until it did.
    async fn seen(&self, pod: &mut Pod, what: &str, change: impl Future<Output = ()>, members: usize) {
        let began = Instant::now();
        change.await;
        pod.members(members);
        eprintln!("{what}: seen after {:.3} s", began.elapsed().as_secs_f64());
    }
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: cargo xtask kubernetes"]
async fn members_come_and_go_with_the_slices_of_a_real_server() {
    let world = World::new().await;
    let (api, slices) = (&world.api, &world.slices);
    let volume = Volume::new(&world.server, &api.token(NAMESPACE, ACCOUNT, None).await);
    let ready = |host: u8| endpoint(host, true);
    slices.write("a", [ready(1), ready(2), endpoint(3, false)]).await;
    let mut pod = Pod::start(&volume, world.server.port());
    pod.members(2);

    let became_ready = slices.write("a", [ready(1), ready(2), ready(3)]);
    world.seen(&mut pod, "an endpoint became ready", became_ready, 3).await;
    world.seen(&mut pod, "a slice came", slices.write("b", [ready(4), ready(5)]), 5).await;
    // What is on its way out is not ready.
    let ends = slices.write("b", [endpoint(4, false), ready(5)]);
    world.seen(&mut pod, "an endpoint is about to end", ends, 4).await;
    world.seen(&mut pod, "a slice went", slices.delete("b"), 3).await;
    // Another service's are none of ours.
    slices.write_for("elsewhere", "c", [ready(7)]).await;
    world.seen(&mut pod, "an endpoint went", slices.write("a", [ready(1), ready(2)]), 2).await;

    // All of that by one watch.
    audit::expect(&world.server, ACCOUNT, &["list 200", "watch 200"]);
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: cargo xtask kubernetes"]
async fn a_watch_goes_on_where_it_was_and_the_slices_are_listed_again_where_it_cannot() {
    let mut world = World::new().await;
    let volume = Volume::new(&world.server, &world.api.token(NAMESPACE, ACCOUNT, None).await);
    let ready = |host: u8| endpoint(host, true);
    world.slices.write("a", [ready(1), ready(2)]).await;
    let forwarder = Forwarder::start(world.server.port());
    let mut pod = Pod::start(&volume, forwarder.port());
    pod.members(2);
    audit::until_asked(&world.server, ACCOUNT, "watch 200");

    forwarder.cut();
    pod.waits_for("the last ones stay");
    // Nobody tells the node of this one.
    world.slices.write("a", [ready(1), ready(2), ready(3)]).await;
    let began = Instant::now();
    forwarder.mend();
    pod.members(3);
    eprintln!("a connection that was cut: caught up after {:.3} s", began.elapsed().as_secs_f64());
    // Nothing is listed again.
    audit::expect(&world.server, ACCOUNT, &["list 200", "watch 200", "watch 200"]);

    // As after a crash. Nothing else was written meanwhile, so that the server knows what the node does not.
    world.server.kill();
    pod.waits_for("the last ones stay");
    let began = Instant::now();
    world.server.restart();
    world.api.ready().await;
    let up = began.elapsed();
    world.slices.write("b", [ready(4)]).await;
    pod.members(4);
    let (up, caught_up) = (up.as_secs_f64(), began.elapsed().as_secs_f64());
    eprintln!("a server that was killed: up after {up:.3} s, caught up after {caught_up:.3} s");
    assert!(!pod.heard("members changed members=1"), "members stay while the server is away");
    let asked = audit::asked_by(&world.server, ACCOUNT);
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("list")).count(), 1, "{asked:?}");

    // Now something was, and what the server knew of that moment is gone with it: 410, said inside a watch.
    world.slices.write_for("elsewhere", "c", [ready(7)]).await;
    world.slices.write_for("elsewhere", "c", [ready(8)]).await;
    world.server.kill();
    let began = Instant::now();
    world.server.restart();
    pod.waits_for("listing the members again");
    assert!(pod.heard("too old resource version"), "{}", pod.all());
    world.api.ready().await;
    world.slices.write("b", [ready(4), ready(5)]).await;
    pod.members(5);
    eprintln!("a moment that is too long ago: caught up after {:.3} s", began.elapsed().as_secs_f64());
    let asked = audit::asked_by(&world.server, ACCOUNT);
    assert_eq!(asked.iter().filter(|asked| asked.starts_with("list")).count(), 2, "{asked:?}");
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: cargo xtask kubernetes"]
async fn a_token_that_was_replaced_is_used_and_one_that_is_over_is_told() {
    let world = World::new().await;
    let api = &world.api;
    for name in ["first", "second"] {
        api.create(&format!("/api/v1/namespaces/{NAMESPACE}/secrets"), &json!({"metadata": {"name": name}}))
            .await;
    }
    // Tokens that are over when their secret is.
    let first = api.token(NAMESPACE, ACCOUNT, Some("first")).await;
    let volume = Volume::new(&world.server, &first);
    world.slices.write("a", [endpoint(1, true), endpoint(2, true)]).await;
    let forwarder = Forwarder::start(world.server.port());
    let mut pod = Pod::start(&volume, forwarder.port());
    pod.members(2);

    forwarder.cut();
    api.delete(&format!("/api/v1/namespaces/{NAMESPACE}/secrets/first")).await;
    // The server believes for some seconds what it found out before.
    api.until_refused(&first, 401).await;
    forwarder.mend();
    pod.waits_for("does not take the token in /var/run/secrets/kubernetes.io/serviceaccount/token");
    volume.replace_token(&api.token(NAMESPACE, ACCOUNT, Some("second")).await);
    let came = world.slices.write("b", [endpoint(3, true)]);
    world.seen(&mut pod, "with a token that was replaced", came, 3).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver: cargo xtask kubernetes"]
async fn a_role_that_does_not_allow_it_is_named_and_mended_while_the_node_runs() {
    let world = World::new().await;
    let api = &world.api;
    let account = "without-role";
    api.create(
        &format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"),
        &json!({"metadata": {"name": account}}),
    )
    .await;
    let volume = Volume::new(&world.server, &api.token(NAMESPACE, account, None).await);
    world.slices.write("a", [endpoint(1, true), endpoint(2, true)]).await;
    let mut pod = Pod::start(&volume, world.server.port());
    pod.waits_for("does not let this service account list EndpointSlices");
    for words in [
        "User \"system:serviceaccount:glowplug:without-role\" cannot list resource \"endpointslices\"",
        "verbs list and watch on endpointslices of discovery.k8s.io in namespace glowplug",
    ] {
        assert!(pod.heard(words), "{words}\n{}", pod.all());
    }

    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}");
    let rules = |verbs: &[&str]| {
        json!({"metadata": {"name": account}, "rules":
            [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs}]})
    };
    api.create(&format!("{rbac}/roles"), &rules(&["list"])).await;
    let binding = json!({"metadata": {"name": account},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]});
    api.create(&format!("{rbac}/rolebindings"), &binding).await;
    pod.members(2);
    pod.waits_for("does not let this service account watch EndpointSlices");
    // Who may not watch is told all the same, later.
    let came = world.slices.write("b", [endpoint(3, true)]);
    world.seen(&mut pod, "with a role that allows no watch", came, 3).await;
    api.merge(&format!("{rbac}/roles/{account}"), &rules(&["list", "watch"])).await;
    audit::until_asked(&world.server, account, "watch 200");
    let came = world.slices.write("c", [endpoint(4, true)]);
    world.seen(&mut pod, "with a role that was mended", came, 4).await;
}
