//! One cluster as the data path sees it, and the only function that sends anything to it.
//!
//! [`Upstream::send`] takes an [`Outbound`], which only a permit can become. Nothing follows a redirect,
//! nothing decompresses, nothing collects a body.
//!
//! An upgrade that is answered with anything but 101 is relayed as an ordinary answer, and both
//! connections are closed: bytes that the client sent too early can never become a second request on the
//! cluster's side (P8, CVE-2018-1002105).

use super::{
    ProxyError,
    body::{RequestBody, UpstreamBody},
    endpoint::Endpoint,
    exit::Peek,
    groups::Groups,
    headers, limits,
    outbound::{Class, Outbound},
    pool::{Lane, Lease, Pool},
    upgrade,
};
use crate::observe::metrics::{Meter, Times, meter::Stream};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

/// Upgraded streams to one cluster at a time; each is two connections.
const UPGRADES: usize = 4096;

/// What a cluster may be sent: its user prefix and the grant groups that it takes.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// What user names start with there.
    pub user_prefix: Box<str>,
    /// The groups; the set changes with the cluster.
    pub groups: Arc<Groups>,
    /// Whether it lets the gateway say that somebody acts as another.
    pub acting: bool,
}

/// One cluster: where it is, what it may be sent, its connections, and whether it is known to be down.
pub struct Upstream {
    endpoint: Endpoint,
    facts: Facts,
    pool: Arc<Pool>,
    state: Arc<State>,
    upgrades: Arc<Semaphore>,
}

/// Whether a cluster is known to be away. Shared by the generations of one cluster's upstream.
#[derive(Default)]
pub struct State {
    down: AtomicBool,
    why: ArcSwap<String>,
    failed: tokio::sync::Notify,
}

impl State {
    /// Known to be away: requests are answered 503 at once.
    pub fn set_down(&self, why: &str) {
        self.why.store(Arc::new(why.to_owned()));
        self.down.store(true, Relaxed);
    }

    /// Reachable again.
    pub fn set_up(&self) {
        self.down.store(false, Relaxed);
    }

    /// Why it is away, if it is.
    pub fn down(&self) -> Option<Arc<String>> {
        self.down.load(Relaxed).then(|| self.why.load_full())
    }

    /// Waits until a request could not reach the cluster: time to look.
    pub async fn failed(&self) {
        self.failed.notified().await;
    }
}

impl Upstream {
    /// A cluster's data path. Connections and what is known of its health are taken over from `previous`
    /// where the target is the same one. `meter` is the cluster's.
    pub fn new(
        endpoint: Endpoint,
        facts: Facts,
        meter: Arc<Meter>,
        previous: Option<&Self>,
    ) -> Self {
        match previous {
            Some(before) if before.endpoint.same_target(&endpoint) => Self {
                endpoint,
                facts,
                pool: Arc::clone(&before.pool),
                state: Arc::clone(&before.state),
                upgrades: Arc::clone(&before.upgrades),
            },
            Some(_) | None => Self {
                pool: Arc::new(Pool::new(Arc::clone(endpoint.target()), meter)),
                endpoint,
                facts,
                state: Arc::default(),
                upgrades: Arc::new(Semaphore::new(UPGRADES)),
            },
        }
    }

    /// Where it is and with which credential it is spoken to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What it may be sent.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether it is known to be away.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Sends a permitted request with the client's body, and answers with the cluster's.
    ///
    /// ```compile_fail
    /// # use palisade::proxy::Upstream;
    /// # async fn f(upstream: &Upstream, bare: http::Request<hyper::body::Incoming>) {
    /// // A bare request has no permit: it is no Outbound.
    /// let (parts, body) = bare.into_parts();
    /// upstream.send(http::Request::from_parts(parts, ()), body).await;
    /// # }
    /// ```
    pub async fn send(
        &self,
        outbound: Box<Outbound>,
        body: Incoming,
        times: &mut Times,
    ) -> Result<Answer, ProxyError> {
        if let Some(why) = self.state.down() {
            return Err(ProxyError::Down(why));
        }
        let sent = match outbound.class() {
            Class::Upgrade => Box::pin(self.send_upgrade(outbound, times)).await,
            Class::Short | Class::Bulk | Class::Stream => {
                self.send_plain(outbound, body, times).await
            }
        };
        if let Err(ProxyError::Dial(_) | ProxyError::DialTimeout) = &sent {
            self.state.failed.notify_one();
        }
        sent
    }

    async fn send_plain(
        &self,
        outbound: Box<Outbound>,
        body: Incoming,
        times: &mut Times,
    ) -> Result<Answer, ProxyError> {
        let (lane, answer) = match outbound.class() {
            Class::Short => (Lane::Short, limits::ANSWER),
            Class::Bulk => (Lane::Bulk, limits::ANSWER_STREAM),
            Class::Stream | Class::Upgrade => (Lane::Stream, limits::ANSWER_STREAM),
        };
        let proxied = outbound.is_proxied();
        let body = if body.is_end_stream() {
            UpstreamBody::Empty
        } else {
            UpstreamBody::Client(RequestBody::new(body))
        };
        let authorization = self.endpoint.authorization();
        let (request, sent) = outbound.into_request(body, authorization);
        let again = || sent.again(&self.facts, authorization);
        let (response, lease) = timeout(answer, self.pool.send(lane, request, &again, times))
            .await
            .map_err(|_| ProxyError::Timeout)??;
        let (mut parts, incoming) = response.into_parts();
        // The gateway's own credential was refused: that is not the client's 401 (exec plugins act on
        // those). An application behind a proxy subresource may ask for its own login; which of the two
        // it was there, the next probe tells.
        if parts.status == StatusCode::UNAUTHORIZED {
            self.state.failed.notify_one();
            if !proxied {
                return Err(ProxyError::CredentialRefused);
            }
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ProxyError::OtherProtocol);
        }
        headers::prune_answer(&mut parts.headers, proxied);
        parts.extensions.clear();
        let body = AnswerBody {
            incoming,
            _lease: Some(lease),
        };
        Ok(Answer {
            response: Response::from_parts(parts, body),
            session: None,
        })
    }

    async fn send_upgrade(
        &self,
        outbound: Box<Outbound>,
        times: &mut Times,
    ) -> Result<Answer, ProxyError> {
        let place = Arc::clone(&self.upgrades)
            .try_acquire_owned()
            .map_err(|_| ProxyError::Busy)?;
        let (proxied, command) = (outbound.is_proxied(), outbound.is_command());
        let (request, sent) =
            outbound.into_request(UpstreamBody::Empty, self.endpoint.authorization());
        let switch = sent.into_switch();
        let asked = request.headers().get(header::UPGRADE).cloned();
        let mut response = self
            .pool
            .send_upgrade(request, limits::ANSWER_STREAM, times)
            .await?;
        if response.status() == StatusCode::UNAUTHORIZED && !proxied {
            self.state.failed.notify_one();
            return Err(ProxyError::CredentialRefused);
        }
        let (Some(switch), StatusCode::SWITCHING_PROTOCOLS) = (switch, response.status()) else {
            return Ok(refused_upgrade(response, proxied));
        };
        let cluster = hyper::upgrade::on(&mut response);
        let (parts, incoming) = response.into_parts();
        let same =
            |a: &HeaderValue, b: &HeaderValue| a.as_bytes().eq_ignore_ascii_case(b.as_bytes());
        let got = parts.headers.get(header::UPGRADE);
        if !asked
            .as_ref()
            .zip(got)
            .is_some_and(|(asked, got)| same(asked, got))
        {
            return Err(ProxyError::OtherProtocol);
        }
        let mut answer = Response::new(AnswerBody {
            incoming,
            _lease: None,
        });
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *answer.headers_mut() = switching(&parts.headers);
        let session = Session {
            client: switch.on,
            cluster,
            peek: if command {
                Peek::at_command(&parts.headers)
            } else {
                Peek::Nothing
            },
            _place: place,
        };
        Ok(Answer {
            response: answer,
            session: Some(session),
        })
    }
}

/// The cluster's refusal goes to the client as it is; both connections end.
fn refused_upgrade(response: Response<Incoming>, proxied: bool) -> Answer {
    let (mut parts, incoming) = response.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        parts.status = StatusCode::BAD_GATEWAY;
    }
    headers::prune_answer(&mut parts.headers, proxied);
    parts
        .headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    parts.extensions.clear();
    let body = AnswerBody {
        incoming,
        _lease: None,
    };
    Answer {
        response: Response::from_parts(parts, body),
        session: None,
    }
}

/// The headers of a 101 that the client needs to speak the protocol.
fn switching(from: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(8);
    out.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    for name in [
        header::UPGRADE,
        header::SEC_WEBSOCKET_ACCEPT,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
        http::HeaderName::from_static("x-stream-protocol-version"),
    ] {
        for value in from.get_all(&name) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

/// A cluster's answer; for a 101 also the stream that is to be carried.
pub struct Answer {
    /// Head and body.
    pub response: Response<AnswerBody>,
    /// Only with status 101.
    pub session: Option<Session>,
}

/// Both sides of an upgraded stream, before the client's 101 went out.
pub struct Session {
    client: hyper::upgrade::OnUpgrade,
    cluster: hyper::upgrade::OnUpgrade,
    peek: Peek,
    _place: tokio::sync::OwnedSemaphorePermit,
}

impl Session {
    /// Carries the stream to its end, and counts its bytes as they go.
    pub async fn run(self, counted: Option<&Stream>, cut: &CancellationToken) -> upgrade::Carried {
        let both = async { tokio::try_join!(self.client, self.cluster) };
        match cut.run_until_cancelled(timeout(limits::ANSWER, both)).await {
            Some(Ok(Ok((client, cluster)))) => {
                upgrade::join(client, cluster, counted, self.peek, cut).await
            }
            Some(Ok(Err(_)) | Err(_)) | None => upgrade::Carried {
                exit: self.peek.exit(),
                cut: cut.is_cancelled(),
                ..upgrade::Carried::default()
            },
        }
    }
}

/// The body of a cluster's answer; holds its place on the connection until it ends or is dropped.
pub struct AnswerBody {
    incoming: Incoming,
    _lease: Option<Lease>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.incoming).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
