//! A collector of traces that decodes what comes, and that can be in a bad mood.

use super::fake_api;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message as _;
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    fmt::Write as _,
    future,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

/// What the collector does with a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// Reads it and never answers.
    Hangs,
    /// Answers so, with `Retry-After: 0`, and keeps nothing.
    Answers(StatusCode),
    /// Takes it, less so many spans.
    TakesLess(i64),
}

#[derive(Default)]
struct State {
    /// Messages as they came, with all that was taken.
    taken: Mutex<Vec<Bytes>>,
    /// How many messages came.
    tries: Mutex<usize>,
    moods: Mutex<VecDeque<Mood>>,
    always: Mutex<Option<Mood>>,
}

pub(crate) struct Collector {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    came: Arc<tokio::sync::Notify>,
    stop: CancellationToken,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Collector {
    /// One that speaks plain HTTP on a free port of this machine.
    pub(crate) async fn start() -> Self {
        Self::run(None).await
    }

    /// One that speaks TLS; its authority is written into that file.
    pub(crate) async fn start_tls(ca_file: &Path) -> Self {
        let (config, ca_pem) = fake_api::tls(&[]);
        std::fs::write(ca_file, ca_pem).unwrap();
        Self::run(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn run(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            scheme: if tls.is_some() { "https" } else { "http" },
            state: Arc::default(),
            came: Arc::default(),
            stop: CancellationToken::new(),
        };
        let (state, came) = (Arc::clone(&collector.state), Arc::clone(&collector.came));
        let stop = collector.stop.clone();
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, came, tls) = (Arc::clone(&state), Arc::clone(&came), tls.clone());
                let service = service_fn(move |request| {
                    let (state, came) = (Arc::clone(&state), Arc::clone(&came));
                    async move { Ok::<_, Infallible>(answer(request, &state, &came).await) }
                });
                tokio::spawn(async move {
                    let http = http1::Builder::new();
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                http.serve_connection(TokioIo::new(stream), service).await
                            }
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        }));
        collector
    }

    /// The value of `tracing.otlp.endpoint`.
    pub(crate) fn endpoint(&self) -> String {
        let name = match self.scheme {
            "https" => "localhost".to_owned(),
            _ => self.address.ip().to_string(),
        };
        format!("{}://{name}:{}", self.scheme, self.address.port())
    }

    /// What it does with the next messages, in order.
    pub(crate) fn script(&self, moods: impl IntoIterator<Item = Mood>) {
        self.state.moods.lock().unwrap().extend(moods);
    }

    /// What it does with every message from now on.
    pub(crate) fn always(&self, mood: Mood) {
        *self.state.always.lock().unwrap() = Some(mood);
    }

    /// How many messages came, taken or not.
    pub(crate) fn tries(&self) -> usize {
        *self.state.tries.lock().unwrap()
    }

    /// All bytes that it took.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.taken.lock().unwrap().concat()
    }

    /// All spans that it took so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let taken = self.state.taken.lock().unwrap();
        taken.iter().flat_map(decode).collect()
    }

    /// The same, as soon as there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Seen> {
        let there = timeout(PATIENCE, async {
            loop {
                let came = self.came.notified();
                let spans = self.spans();
                if spans.len() >= count {
                    return spans;
                }
                came.await;
            }
        });
        let there = there.await;
        there.unwrap_or_else(|_| panic!("not {count} spans: {:#?}", self.spans()))
    }

    /// Waits for a message, taken or not.
    pub(crate) async fn tried(&self) {
        let tried = timeout(PATIENCE, async {
            loop {
                let came = self.came.notified();
                if self.tries() > 0 {
                    return;
                }
                came.await;
            }
        });
        tried.await.expect("a message");
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &State,
    came: &tokio::sync::Notify,
) -> Response<Full<Bytes>> {
    assert_eq!(request.uri().path(), "/v1/traces");
    let kind = &request.headers()[header::CONTENT_TYPE];
    assert_eq!(kind, "application/x-protobuf");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    *state.tries.lock().unwrap() += 1;
    let next = state.moods.lock().unwrap().pop_front();
    let mood = next.or(*state.always.lock().unwrap());
    let mut less = 0;
    match mood {
        None => {}
        Some(Mood::TakesLess(spans)) => less = spans,
        Some(Mood::Hangs) => {
            came.notify_waiters();
            future::pending::<()>().await;
        }
        Some(Mood::Answers(status)) => {
            came.notify_waiters();
            let answer = Response::builder().status(status);
            let answer = answer.header(header::RETRY_AFTER, "0");
            return answer.body(Full::default()).unwrap();
        }
    }
    state.taken.lock().unwrap().push(message);
    came.notify_waiters();
    let answer = ExportTraceServiceResponse {
        partial_success: (less > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: less,
            error_message: "as the test says".to_owned(),
        }),
    };
    Response::new(Full::new(answer.encode_to_vec().into()))
}

/// A span as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) span: Span,
    pub(crate) attributes: BTreeMap<String, String>,
    /// What it says of the gateway.
    pub(crate) resource: BTreeMap<String, String>,
}

impl Seen {
    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// Whether it is marked as an error.
    pub(crate) fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|s| s.code == 2)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn decode(message: &Bytes) -> Vec<Seen> {
    let message = ExportTraceServiceRequest::decode(message.clone()).unwrap();
    let mut seen = Vec::new();
    for of_resource in message.resource_spans {
        let Resource { attributes, .. } = of_resource.resource.unwrap();
        let resource = read(&attributes);
        for span in of_resource.scope_spans.into_iter().flat_map(|s| s.spans) {
            seen.push(Seen {
                attributes: read(&span.attributes),
                span,
                resource: resource.clone(),
            });
        }
    }
    seen
}

fn read(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let one = |attribute: &KeyValue| {
        let value = attribute.value.clone().unwrap().value.unwrap();
        let value = match value {
            Value::StringValue(text) => text,
            Value::IntValue(number) => number.to_string(),
            Value::BoolValue(yes) => yes.to_string(),
            Value::DoubleValue(_)
            | Value::ArrayValue(_)
            | Value::KvlistValue(_)
            | Value::BytesValue(_)
            | Value::StringValueStrindex(_) => panic!("{value:?}"),
        };
        (attribute.key.clone(), value)
    };
    let read: BTreeMap<_, _> = attributes.iter().map(one).collect();
    assert_eq!(read.len(), attributes.len(), "no key twice");
    read
}
