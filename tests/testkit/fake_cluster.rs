//! A small API server in memory, for what a real one will not do on demand: it keeps namespaces, roles and
//! bindings, lists them in pages, tells watchers of changes, and counts and times every request. It can be
//! away, forget its past (410), refuse what a test wants, and let others change things behind the gateway's
//! back.

use super::fake_api;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/";

/// One request of the gateway's own accounts.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) code: u16,
}

impl Call {
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.method, Method::PATCH | Method::DELETE | Method::PUT)
    }

    /// `clusterroles/palisade:cluster:x`, `namespaces/shop/rolebindings/palisade:project:x`.
    pub(crate) fn object(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        path.trim_start_matches(RBAC).trim_start_matches("/api/v1/")
    }
}

/// What a test says to a request: a status and a sentence, or nothing.
type Refuse = Box<dyn Fn(&Method, &str) -> Option<(u16, &'static str)> + Send>;

struct State {
    version: u64,
    /// Nothing from before this version is known any more.
    oldest: u64,
    objects: BTreeMap<String, Value>,
    log: Vec<(u64, &'static str, String, Value)>,
    calls: Vec<Call>,
    refuse: Option<Refuse>,
    /// Ends what is open now.
    cut: CancellationToken,
}

pub(crate) struct FakeCluster {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// The store at one time.
pub(crate) struct Copied {
    version: u64,
    objects: BTreeMap<String, Value>,
}

struct Shared {
    state: Mutex<State>,
    news: watch::Sender<u64>,
    away: AtomicBool,
    /// The authoriser has not heard of anything new.
    deaf: AtomicBool,
    /// Connections that are open now.
    open: AtomicUsize,
}

impl Drop for FakeCluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl FakeCluster {
    pub(crate) async fn start() -> Self {
        let (config, ca_pem) = fake_api::tls(&["h2", "http/1.1"]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                version: 1,
                oldest: 0,
                objects: BTreeMap::new(),
                log: Vec::new(),
                calls: Vec::new(),
                refuse: None,
                cut: CancellationToken::new(),
            }),
            news: watch::Sender::new(1),
            away: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
            open: AtomicUsize::new(0),
        });
        let fake = Self {
            address: listener.local_addr().unwrap(),
            ca_pem,
            shared,
            stop: CancellationToken::new(),
        };
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (shared, stop) = (Arc::clone(&fake.shared), fake.stop.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    () = stop.cancelled() => return,
                };
                let (acceptor, shared, stop) =
                    (acceptor.clone(), Arc::clone(&shared), stop.clone());
                let cut = shared.lock().cut.clone();
                tokio::spawn(async move {
                    if shared.away.load(SeqCst) {
                        return;
                    }
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    shared.open.fetch_add(1, SeqCst);
                    tokio::select! {
                        () = serve(stream, Arc::clone(&shared)) => {}
                        () = cut.cancelled() => {}
                        () = stop.cancelled() => {}
                    }
                    shared.open.fetch_sub(1, SeqCst);
                });
            }
        });
        for name in ["default", "kube-system", "palisade-system"] {
            fake.put_namespace(name);
        }
        fake
    }

    pub(crate) fn server(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// How many connections are open at the moment.
    pub(crate) fn connections(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Every request of the gateway's accounts, but for probes of its health.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let calls = self.shared.lock().calls.clone();
        calls
            .into_iter()
            .filter(|call| call.target != "/version")
            .collect()
    }

    /// The writes among them that were taken.
    pub(crate) fn writes(&self) -> Vec<Call> {
        let mut calls = self.calls();
        calls.retain(|call| call.is_write() && call.code < 300);
        calls
    }

    /// An object by its path below the API group: `clusterroles/x`, `namespaces/n/rolebindings/x`.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.shared.lock().objects.get(path).cloned()
    }

    /// Paths of all roles and bindings.
    pub(crate) fn paths(&self) -> Vec<String> {
        let state = self.shared.lock();
        let all = state.objects.keys().filter(|path| path.contains("role"));
        all.cloned().collect()
    }

    /// Somebody else writes an object.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.shared.lock().put(path, object);
        self.shared.tell();
    }

    /// Somebody else deletes an object.
    pub(crate) fn delete(&self, path: &str) {
        self.shared.lock().delete(path);
        self.shared.tell();
    }

    pub(crate) fn put_namespace(&self, name: &str) {
        self.put(
            &format!("namespaces/{name}"),
            json!({"metadata": {"name": name}}),
        );
    }

    /// A namespace is being deleted: nothing can be made in it any more.
    pub(crate) fn end_namespace(&self, name: &str) {
        self.put(
            &format!("namespaces/{name}"),
            json!({"metadata": {"name": name, "deletionTimestamp": "2026-11-26T12:00:00Z"}}),
        );
    }

    /// A namespace goes, with all that is in it.
    pub(crate) fn delete_namespace(&self, name: &str) {
        let inside = format!("namespaces/{name}/");
        let mut state = self.shared.lock();
        let all: Vec<String> = state
            .objects
            .keys()
            .filter(|it| it.starts_with(&inside))
            .cloned()
            .collect();
        for path in all {
            state.delete(&path);
        }
        state.delete(&format!("namespaces/{name}"));
        drop(state);
        self.shared.tell();
    }

    /// Whether the authoriser lags behind what is written.
    pub(crate) fn lag(&self, lags: bool) {
        self.shared.deaf.store(lags, SeqCst);
    }

    /// From now on these requests are refused.
    pub(crate) fn refuse(
        &self,
        refuse: impl Fn(&Method, &str) -> Option<(u16, &'static str)> + Send + 'static,
    ) {
        self.shared.lock().refuse = Some(Box::new(refuse));
    }

    /// Everything is taken again.
    pub(crate) fn refuse_nothing(&self) {
        self.shared.lock().refuse = None;
    }

    /// Forgets the past: what watched must list anew, and is told so.
    pub(crate) fn forget(&self) {
        {
            let mut state = self.shared.lock();
            state.oldest = state.version;
            state.log.clear();
        }
        self.cut();
    }

    /// Tells every open watch that its past is forgotten, by an event, as an API server does when it has compacted.
    pub(crate) fn expire(&self) {
        let mut state = self.shared.lock();
        state.version += 1;
        let version = state.version;
        state.oldest = version;
        state.log.clear();
        let status = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
        state.log.push((version, "ERROR", String::new(), status));
        drop(state);
        self.shared.tell();
    }

    /// A copy of the store, as a backup is one.
    pub(crate) fn copy(&self) -> Copied {
        let state = self.shared.lock();
        Copied {
            version: state.version,
            objects: state.objects.clone(),
        }
    }

    /// The store is put back from a copy: its objects are those of then, and its versions too, or they go on far
    /// above and nothing from before is known any more.
    pub(crate) fn put_back(&self, copied: Copied, counts_on: bool) {
        {
            let mut state = self.shared.lock();
            state.version = copied.version;
            if counts_on {
                state.version += 1_000_000_000;
                state.oldest = state.version;
            }
            state.objects = copied.objects;
            state.log.clear();
        }
        self.cut();
    }

    /// From now on every watch of a resource begins with an event that nobody can read.
    pub(crate) fn babble(&self, resource: &str) {
        let mut state = self.shared.lock();
        state.version += 1;
        let path = format!("namespaces/shop/{resource}/odd");
        let odd = (state.version, "MODIFIED", path, json!("an event"));
        state.log.push(odd);
        drop(state);
        self.shared.tell();
    }

    /// Ends every open connection.
    pub(crate) fn cut(&self) {
        let mut state = self.shared.lock();
        std::mem::take(&mut state.cut).cancel();
    }

    /// Away: connections end, and new ones are not answered.
    pub(crate) fn go_away(&self) {
        self.shared.away.store(true, SeqCst);
        self.cut();
    }

    pub(crate) fn come_back(&self) {
        self.shared.away.store(false, SeqCst);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn tell(&self) {
        let version = self.lock().version;
        self.news.send_replace(version);
    }
}

impl State {
    fn put(&mut self, path: &str, mut object: Value) -> Value {
        let known = self.objects.get(path);
        let uid = known.map_or_else(
            || json!(uuid::Uuid::new_v4().to_string()),
            |known| known["metadata"]["uid"].clone(),
        );
        object["metadata"]["uid"] = uid;
        if let Some(known) = known {
            object["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
            if *known == object {
                return object;
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        self.log
            .push((self.version, kind, path.to_owned(), object.clone()));
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn delete(&mut self, path: &str) -> Option<Value> {
        let mut object = self.objects.remove(path)?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.log
            .push((self.version, "DELETED", path.to_owned(), object.clone()));
        Some(object)
    }

    /// Events of a resource after a version, and the version that they lead to.
    fn events(&self, question: &Question, after: u64) -> (String, u64) {
        let mut text = String::new();
        for (version, kind, path, object) in &self.log {
            let is_about = resource_of(path) == question.resource || *kind == "ERROR";
            if *version <= after || !is_about {
                continue;
            }
            // As an API server does: what a selector no longer matches is gone for its watchers.
            let kind = if *kind == "ERROR" || question.selects(object) {
                *kind
            } else {
                "DELETED"
            };
            text.push_str(&json!({"type": kind, "object": object}).to_string());
            text.push('\n');
        }
        (text, self.version)
    }
}

/// `rolebindings` of `namespaces/shop/rolebindings/x`.
fn resource_of(path: &str) -> &str {
    path.rsplit('/').nth(1).unwrap_or_default()
}

/// A list or a watch.
struct Question {
    resource: String,
    labelled: bool,
    query: BTreeMap<String, String>,
}

impl Question {
    fn of(path: &str, query: &str) -> Self {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query: BTreeMap<String, String> = pairs
            .map(|(key, value)| (key.to_owned(), value.replace("%3A", ":")))
            .collect();
        Self {
            resource: path.to_owned(),
            labelled: query.contains_key("labelSelector"),
            query,
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.query.get(key)?.parse().ok()
    }

    fn selects(&self, object: &Value) -> bool {
        !self.labelled || object["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "palisade"
    }
}

type Stream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
type Body = BoxBody<Bytes, std::io::Error>;

async fn serve(stream: Stream, shared: Arc<Shared>) {
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(answer(request, &shared).await) }
    });
    let io = TokioIo::new(stream);
    if h2 {
        let executor = hyper_util::rt::TokioExecutor::new();
        let builder = hyper::server::conn::http2::Builder::new(executor);
        let _ = builder.serve_connection(io, service).await;
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        let _ = builder.serve_connection(io, service).await;
    }
}

async fn answer(request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(Collected::to_bytes)
        .unwrap_or_default();
    let target = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let path = parts
        .uri
        .path()
        .trim_start_matches(RBAC)
        .trim_start_matches("/api/v1/")
        .to_owned();
    if parts.headers.contains_key("impersonate-user") {
        return respond(StatusCode::OK, &json!({"kind": "Fake"}));
    }
    let refused = {
        let state = shared.lock();
        state
            .refuse
            .as_ref()
            .and_then(|refuse| refuse(&parts.method, &path))
    };
    let response = match refused {
        Some((code, message)) => status(code, message),
        None => judge(&parts, &path, &body, shared),
    };
    shared.lock().calls.push(Call {
        at: Instant::now(),
        method: parts.method,
        target,
        code: response.status().as_u16(),
    });
    shared.tell();
    response
}

fn judge(
    parts: &http::request::Parts,
    path: &str,
    body: &Bytes,
    shared: &Arc<Shared>,
) -> Response<Body> {
    let question = Question::of(path, parts.uri.query().unwrap_or_default());
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match parts.method {
        Method::GET if path == "/version" => {
            respond(StatusCode::OK, &json!({"gitVersion": "v1.36.0"}))
        }
        Method::GET if question.query.contains_key("watch") => watch(question, shared),
        Method::GET if path.contains('/') => match shared.lock().objects.get(path) {
            Some(object) => respond(StatusCode::OK, object),
            None => status(404, "not found"),
        },
        Method::GET => list(&question, &shared.lock()),
        Method::PATCH => {
            let mut state = shared.lock();
            let merges = parts
                .headers
                .get("content-type")
                .is_some_and(|it| it == "application/merge-patch+json");
            let mut object = body;
            if merges {
                let change = object;
                object = state.objects.get(path).cloned().unwrap_or_default();
                merge(&mut object, change);
            }
            respond(StatusCode::OK, &state.put(path, object))
        }
        Method::DELETE => {
            let mut state = shared.lock();
            let Some(known) = state.objects.get(path) else {
                return status(404, "not found");
            };
            let wanted = &body["preconditions"];
            for field in ["uid", "resourceVersion"] {
                if !wanted[field].is_null() && wanted[field] != known["metadata"][field] {
                    return status(409, "the object is another");
                }
            }
            state.delete(path);
            respond(
                StatusCode::OK,
                &json!({"kind": "Status", "status": "Success"}),
            )
        }
        Method::POST if path.ends_with("selfsubjectaccessreviews") => {
            let wish = &body["spec"]["resourceAttributes"];
            // A group by its name; an extra by the wildcard that stands for all of them.
            let name = match wish["resource"].as_str() {
                Some("groups") => &wish["name"],
                _ => &wish["group"],
            };
            let heard = !shared.deaf.load(SeqCst);
            let allowed = heard
                && shared.lock().objects.iter().any(|(path, object)| {
                    path.starts_with("clusterroles/palisade:impersonator")
                        && object.to_string().contains(&name.to_string())
                });
            respond(
                StatusCode::CREATED,
                &json!({"status": {"allowed": allowed}}),
            )
        }
        _ => status(405, "not here"),
    }
}

/// RFC 7396.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut into[&key], value);
        }
    }
}

fn list(question: &Question, state: &State) -> Response<Body> {
    let all = state.objects.iter().filter(|(path, object)| {
        resource_of(path) == question.resource && question.selects(object)
    });
    let all: Vec<&Value> = all.map(|(_, object)| object).collect();
    let skip = usize::try_from(question.number("continue").unwrap_or(0)).unwrap();
    let limit = usize::try_from(question.number("limit").unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    let page: Vec<&&Value> = all.iter().skip(skip).take(limit).collect();
    let end = skip + page.len();
    let more = if end < all.len() {
        end.to_string()
    } else {
        String::new()
    };
    respond(
        StatusCode::OK,
        &json!({
            "kind": "List", "apiVersion": "v1",
            "metadata": {"resourceVersion": state.version.to_string(), "continue": more},
            "items": page,
        }),
    )
}

fn watch(question: Question, shared: &Arc<Shared>) -> Response<Body> {
    let mut after = question.number("resourceVersion").unwrap_or(0);
    if after < shared.lock().oldest {
        return status(410, "too old resource version");
    }
    let (frames, answer) = mpsc::channel(16);
    let shared = Arc::clone(shared);
    let mut news = shared.news.subscribe();
    tokio::spawn(async move {
        loop {
            let (text, version) = shared.lock().events(&question, after);
            // One from a version that is still to come is silent until then, as an API server's is.
            after = after.max(version);
            if !text.is_empty() && frames.send(Ok(Frame::data(text.into()))).await.is_err() {
                return;
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return },
                () = frames.closed() => return,
            }
        }
    });
    let stream = channel(answer);
    Response::new(stream)
}

fn channel(mut receiver: mpsc::Receiver<Result<Frame<Bytes>, std::io::Error>>) -> Body {
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    StreamBody::new(stream).boxed()
}

fn status(code: u16, message: &str) -> Response<Body> {
    let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code});
    respond(StatusCode::from_u16(code).unwrap(), &body)
}

fn respond(code: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string()));
    let body = body.map_err(|never| match never {}).boxed();
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body)
        .unwrap()
}
