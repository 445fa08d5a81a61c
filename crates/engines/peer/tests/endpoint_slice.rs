//! Members from Kubernetes, against a server that speaks as much of its API as is used.
#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use glowplug_base::Clock;
use glowplug_peer::{ApiServer, EndpointSlices, Node, Patience, Security, Settings};
use glowplug_registry::{Client, Options};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The server: what it lists each time, and the watches that it answers, one after the other.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    lists: VecDeque<Value>,
    watches: VecDeque<mpsc::UnboundedReceiver<Bytes>>,
    /// The answer to watches that are not in the script, where it is not that the server has too much to do.
    refusal: Option<u16>,
    asked: Vec<(String, Option<String>)>,
}

impl Api {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async { axum::serve(listener, router).await });
        url
    }

    fn list(&self, version: &str, slices: &[Value]) {
        let list =
            json!({"kind": "EndpointSliceList", "metadata": {"resourceVersion": version}, "items": slices});
        self.0.lock().unwrap().lists.push_back(list);
    }

    fn watch(&self) -> mpsc::UnboundedSender<Bytes> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.0.lock().unwrap().watches.push_back(receiver);
        sender
    }
}

async fn answer(State(api): State<Api>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let token = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let mut script = api.0.lock().unwrap();
    script.asked.push((format!("{}?{query}", request.uri().path()), token));
    let watches = query.contains("watch=1");
    let body = if watches {
        script.watches.pop_front().map(|events| {
            Body::from_stream(futures::stream::unfold(events, |mut events| async {
                events.recv().await.map(|event| (Ok::<_, std::io::Error>(event), events))
            }))
        })
    } else {
        script.lists.pop_front().map(|list| Body::from(list.to_string()))
    };
    let mut response = Response::new(Body::empty());
    match body {
        Some(body) => *response.body_mut() = body,
        None => {
            let refusal = script.refusal.filter(|_| watches).unwrap_or(503);
            *response.status_mut() = axum::http::StatusCode::from_u16(refusal).unwrap();
        }
    }
    response
}

fn slice(name: &str, endpoints: &[Value]) -> Value {
    json!({"metadata": {"name": name}, "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "metrics", "port": 9090}, {"name": "peer", "port": 5377, "protocol": "TCP"}]})
}

fn ready(address: &str) -> Value {
    json!({"addresses": [address], "conditions": {"ready": true}})
}

/// The same object as of a moment.
fn at(version: &str, mut object: Value) -> Value {
    object["metadata"]["resourceVersion"] = version.into();
    object
}

fn bookmark(version: &str) -> Bytes {
    event("BOOKMARK", &json!({"metadata": {"resourceVersion": version}}))
}

fn event(kind: &str, object: &Value) -> Bytes {
    format!("{}\n", json!({"type": kind, "object": object})).into()
}

fn node(dir: &tempfile::TempDir) -> Node {
    let settings = Settings {
        own: "http://10.0.0.1:5377".to_owned(),
        peers: Vec::new(),
        cache_dir: dir.path().to_owned(),
        cache_quota_bytes: 1 << 20,
        copies: 1,
        patience: Patience::default(),
        security: Security::None,
        trust_indexes: false,
    };
    Node::open(&settings, Client::new(Options::default()).unwrap(), Clock::system()).unwrap()
}

/// Waits until the node has so many members.
async fn members(node: &Node, count: u64) {
    let reached = async {
        while node.stats().members != count {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), reached).await;
    assert!(waited.is_ok(), "{} members instead of {count}", node.stats().members);
}

#[tokio::test]
async fn members_follow_the_slices() {
    let api = Api::default();
    let unready = json!({"addresses": ["10.0.0.9"], "conditions": {"ready": false}});
    let unsaid = json!({"addresses": ["10.0.0.3"]});
    // This node itself is among them; who is not ready is not.
    api.list("7", &[slice("a", &[ready("10.0.0.1"), ready("10.0.0.2"), unready, unsaid])]);
    let events = api.watch();
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "first\n").unwrap();
    let server = ApiServer { url: api.start().await, ca_file: None, token_file: Some(token_file.clone()) };
    let node = node(&dir);
    let slices = EndpointSlices::new(&server, "models", "glowplug", false).unwrap();
    let following = tokio::spawn({
        let node = node.clone();
        async move { slices.follow(&node).await }
    });
    members(&node, 3).await;

    // In two parts, as a network may deliver it, and beside it what a later release may send.
    let added = event("ADDED", &slice("b", &[ready("10.0.0.4"), ready("2001:db8::5")]));
    events.send(added.slice(..20)).unwrap();
    events.send(added.slice(20..)).unwrap();
    events.send(bookmark("8")).unwrap();
    members(&node, 5).await;
    events.send(event("DELETED", &slice("a", &[]))).unwrap();
    members(&node, 3).await;
    events.send(event("MODIFIED", &slice("b", &[]))).unwrap();
    members(&node, 1).await;

    // The version is too old: everything is listed again, and a token that was replaced meanwhile is the new one.
    std::fs::write(&token_file, "second").unwrap();
    api.list("9", &[slice("c", &[ready("10.0.0.6")])]);
    let _second = api.watch();
    events.send(event("ERROR", &json!({"code": 410, "message": "too old resource version"}))).unwrap();
    members(&node, 2).await;

    following.abort();
    let asked = std::mem::take(&mut api.0.lock().unwrap().asked);
    let path = "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices";
    let selector = "labelSelector=kubernetes.io%2Fservice-name%3Dglowplug";
    assert_eq!(asked[0], (format!("{path}?{selector}"), Some("Bearer first".to_owned())));
    let watch =
        format!("{path}?{selector}&watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=");
    let seconds: u32 = asked[1].0.strip_prefix(&watch).unwrap().parse().unwrap();
    assert!((300..=600).contains(&seconds), "{seconds}");
    assert_eq!(asked[2], (format!("{path}?{selector}"), Some("Bearer second".to_owned())));
}

#[tokio::test]
async fn while_the_server_is_away_the_members_stay() {
    let api = Api::default();
    api.list("1", &[slice("a", &[json!({"addresses": ["10.0.0.2"]})])]);
    drop(api.watch());
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer { url: api.start().await, ca_file: None, token_file: None };
    let node = node(&dir);
    let slices = EndpointSlices::new(&server, "models", "glowplug", false).unwrap();
    let mut following = std::pin::pin!(slices.follow(&node));
    // The watch ends at once, and then there is nothing but failures.
    let failed = async {
        while api.0.lock().unwrap().asked.len() < 4 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = &mut following => unreachable!("it follows for ever"),
        waited = tokio::time::timeout(Duration::from_secs(20), failed) => waited.unwrap(),
    }
    assert_eq!(node.stats().members, 2);
}

/// What the server was asked: `list`, or the version that was watched from.
fn verbs(api: &Api) -> Vec<String> {
    let version = |(asked, _): &(String, Option<String>)| {
        let from = asked.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
        from.unwrap_or("list").to_owned()
    };
    api.0.lock().unwrap().asked.iter().map(version).collect()
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_from_what_was_seen_last() {
    let api = Api::default();
    api.list("7", &[slice("a", &[ready("10.0.0.2")])]);
    let watches = [api.watch(), api.watch(), api.watch()];
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer { url: api.start().await, ca_file: None, token_file: None };
    let node = node(&dir);
    let slices = EndpointSlices::new(&server, "models", "glowplug", false).unwrap();
    let following = tokio::spawn({
        let node = node.clone();
        async move { slices.follow(&node).await }
    });
    let [first, second, third] = watches;
    first.send(event("ADDED", &at("9", slice("b", &[ready("10.0.0.3")])))).unwrap();
    members(&node, 3).await;
    drop(first);
    second.send(bookmark("12")).unwrap();
    drop(second);
    third.send(event("DELETED", &at("13", slice("a", &[])))).unwrap();
    members(&node, 2).await;
    following.abort();
    assert_eq!(verbs(&api), ["list", "7", "9", "12"]);
}

#[tokio::test]
async fn who_may_list_but_not_watch_still_sees_who_comes() {
    let api = Api::default();
    api.0.lock().unwrap().refusal = Some(403);
    api.list("7", &[slice("a", &[ready("10.0.0.2")])]);
    api.list("9", &[slice("a", &[ready("10.0.0.2"), ready("10.0.0.3")])]);
    let dir = tempfile::tempdir().unwrap();
    let server = ApiServer { url: api.start().await, ca_file: None, token_file: None };
    let node = node(&dir);
    let slices = EndpointSlices::new(&server, "models", "glowplug", false).unwrap();
    let following = tokio::spawn({
        let node = node.clone();
        async move { slices.follow(&node).await }
    });
    members(&node, 3).await;
    following.abort();
    // A server that has just begun refuses everybody for a moment, so it is asked once more.
    assert_eq!(verbs(&api)[..4], ["list", "7", "7", "list"]);
}
