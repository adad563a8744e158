//! The order of the checks, on one screen.

use super::{
    body::Body,
    error::Error,
    record::{Entry, Record},
};
use crate::{
    api::{Api, Caller, login::Login},
    authn::{Authn, Credential, WebSocket},
    authz::{Asked, Authz, OwnPermit, Permitted, Purpose, RequestInfo},
    clusters::Registry,
    observe::{
        audit::Audit,
        metrics::{Meter, Metrics},
        trace::{Step, Tracer},
    },
    proxy::{Hop, Outbound, Session, Upstream},
    request::{
        Head, HeadError, Impersonation, ImpersonationError, Router, Target, Upgrade, conn::ConnInfo,
    },
    status::clock,
    web::Web,
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, header};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use std::sync::Arc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// In every answer, so that a person can quote it.
const REQUEST_ID: HeaderName = HeaderName::from_static("palisade-request-id");

/// What can be reloaded, as one view.
pub struct Snapshot {
    /// Which hosts and paths are clusters.
    pub router: Router,
}

/// An answer; for a 101 also the stream that is to be carried.
type Served = (Response<Body>, Option<Session>);

/// Where a request goes: the outbound request has eaten the permit, and only an outbound request can be sent.
enum Way {
    Web(Box<Request<Incoming>>),
    Login(Box<Request<Incoming>>),
    Own(Box<OwnPermit>, Box<Request<Incoming>>),
    Cluster(Arc<Upstream>, Box<Outbound>, Incoming),
}

/// What a gateway is made of.
pub struct Parts {
    /// Who is asking.
    pub authn: Authn,
    /// Whether they may.
    pub authz: Arc<Authz>,
    /// Where clusters are.
    pub clusters: Arc<Registry>,
    /// The gateway's own API.
    pub api: Api,
    /// Logging in.
    pub login: Arc<Login>,
    /// The pages.
    pub web: Web,
    /// Upgraded streams that still run; a stop waits for them.
    pub streams: TaskTracker,
    /// Ends those that the stop does not wait for any longer.
    pub cut: CancellationToken,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
    /// Where events go, and whether they can.
    pub audit: Arc<Audit<Entry>>,
    /// What decides which requests are traced, if any are.
    pub tracer: Option<Arc<Tracer>>,
}

/// One gateway.
pub struct Gateway {
    parts: Parts,
    snapshot: ArcSwap<Snapshot>,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: Parts, snapshot: Snapshot) -> Self {
        Self {
            parts,
            snapshot: ArcSwap::from_pointee(snapshot),
        }
    }

    /// From the next request on, this view counts.
    pub fn replace(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Answers every request: the one place where an error becomes HTTP.
    pub async fn handle(&self, conn: &ConnInfo, request: Request<Incoming>) -> Response<Body> {
        let Parts { tracer, .. } = &self.parts;
        let trace = tracer.as_ref();
        let trace = trace.and_then(|tracer| tracer.begin(request.method(), request.headers()));
        let mut record = Record::begin(conn, &self.parts.metrics, &self.parts.audit, trace);
        let id = record.id;
        let head_only = *request.method() == Method::HEAD;
        let (mut response, session) = match self.serve(conn, request, &mut record).await {
            Ok(served) => served,
            Err(error) => {
                let answer = error.answer();
                record.fail(&error, &answer);
                (answer.into_response(id, record.shape), None)
            }
        };
        let quoted = record.id_value.clone();
        response.headers_mut().insert(REQUEST_ID, quoted);
        record.answered(response.status());
        match session {
            // The record is written when the stream ends …
            Some(session) => {
                let cut = self.parts.cut.clone();
                self.parts.streams.spawn(async move {
                    record.carried(session.run(record.measure.stream(), &cut).await);
                });
                response
            }
            // … or when the body does, or is dropped.
            None if head_only => without_body(response, record),
            None => response.map(|body| body.with_record(record)),
        }
    }

    /// Carries a request to where it goes. What is rare is boxed: a request's future is as large as its largest branch, and
    /// every stream of HTTP/2 holds one.
    async fn serve(
        &self,
        conn: &ConnInfo,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Served, Error> {
        match self.judge(conn, request, record)? {
            Way::Web(request) => {
                let page = self
                    .parts
                    .web
                    .handle(conn.peer.ip(), *request, &mut record.login);
                served(Box::pin(page).await)
            }
            Way::Login(request) => {
                let login = self
                    .parts
                    .login
                    .handle(conn.peer.ip(), *request, &mut record.login);
                served(Box::pin(login).await)
            }
            Way::Own(permit, request) => {
                let caller = Caller::permitted(&permit);
                served(Box::pin(self.parts.api.handle(&caller, *request)).await)
            }
            Way::Cluster(upstream, outbound, body) => {
                let times = &mut record.measure.times;
                let answer = upstream.send(outbound, body, times).await?; // 502, 503, 504
                Ok((answer.response.map(Body::cluster), answer.session))
            }
        }
    }

    /// Whether a request may go on, and where. Each step's output is the next step's proof. Nothing here waits, so a
    /// request's future keeps nothing of it.
    fn judge(
        &self,
        conn: &ConnInfo,
        request: Request<Incoming>,
        record: &mut Record,
    ) -> Result<Way, Error> {
        let snapshot = self.snapshot.load(); // one view of all that can be reloaded
        let (head, body) = Head::split(request)?; // 400: two hosts, no path; 405
        if head.upgrade().is_some() && !body.is_end_stream() {
            return Err(HeadError::Upgrade.into()); // a body would be lost on the way
        }
        let target = snapshot.router.route(&head); // refuses nothing: strangers learn no cluster's name
        record.head(&head, &target, self.meter(&target));
        let impersonation = Impersonation::read(head.headers())?; // 400: headers that nobody can obey
        let purpose = match target {
            Target::Web | Target::Login if impersonation.is_some() => {
                return Err(ImpersonationError::NotHere.into());
            }
            // Pages and logins are for anybody and carry no permit: what they may do is their own affair. A browser's
            // session counts nowhere else.
            Target::Web => {
                self.parts.audit.admit()?; // 503: what cannot be recorded is not begun
                return Ok(Way::Web(whole(head, body)));
            }
            Target::Login => {
                self.parts.audit.admit()?; // 503: what cannot be recorded is not begun
                return Ok(Way::Login(whole(head, body)));
            }
            Target::Cluster(cluster) => Purpose::Cluster(cluster),
            Target::Own => Purpose::Own,
        };
        let rest = purpose.rest(&head);
        let upgrade = head.upgrade().is_some();
        let info = RequestInfo::parse(head.method().as_str(), &rest, upgrade)?; // 400: two readings
        record.asked(&info);
        record.measure.times.step(Step::Authentication);
        let credential = Credential::extract(head.headers(), websocket(&head))?; // 401; 400: two of them
        let identity = self.parts.authn.authenticate(&credential, clock::now())?; // 401; 503: could not tell
        record.identify(&identity);
        self.parts.audit.admit()?; // 503: what cannot be recorded is not begun
        let Parts { authn, authz, .. } = &self.parts;
        record.measure.times.step(Step::Authorization);
        let actor = authz.act(identity, impersonation, &purpose, authn)?; // 403: not as somebody else
        record.act(&actor);
        let asked = Asked {
            purpose,
            info,
            follows: rest
                .split_once('?')
                .is_some_and(|(_, query)| query.contains("follow=")),
        };
        // 403, also for an unknown cluster; the only maker of permits.
        match authz.authorize(actor, asked)? {
            Permitted::Own(permit) => {
                record.own_permit(&permit);
                Ok(Way::Own(Box::new(permit), whole(head, body)))
            }
            Permitted::Cluster(permit) => {
                record.permit(&permit);
                let hop = Hop {
                    id: record.id_value.clone(),
                    peer: conn.peer_value.clone(),
                    trace: record.measure.times.onward(),
                };
                let upstream = self.parts.clusters.upstream(permit.cluster())?; // 503: no credential yet
                let outbound = Outbound::build(head, permit, upstream.facts(), hop)?; // an allowlist, identity last
                Ok(Way::Cluster(upstream, outbound, body))
            }
        }
    }

    /// Where a request is counted, by where it goes.
    fn meter(&self, target: &Target) -> Arc<Meter> {
        match target {
            Target::Cluster(cluster) => self.parts.clusters.meter(&cluster.name),
            Target::Own | Target::Login | Target::Web => {
                Arc::clone(&self.parts.metrics.meters.gateway)
            }
        }
    }
}

/// An answer of the gateway's own.
fn served<E>(answered: Result<Response<Full<Bytes>>, E>) -> Result<Served, Error>
where
    Error: From<E>,
{
    Ok((answered?.map(Body::own), None))
}

/// A HEAD's answer says how long the body would be, and has none. HTTP/2 servers do not see to it by
/// themselves, and a client takes a body there for a broken connection.
fn without_body(response: Response<Body>, record: Box<Record>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = http_body::Body::size_hint(&body)
        .exact()
        .filter(|&length| length > 0)
    {
        parts
            .headers
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
    Response::from_parts(parts, Body::empty().with_record(record))
}

/// The message again, for a handler of the gateway's own.
fn whole(head: Head, body: Incoming) -> Box<Request<Incoming>> {
    let parts = head.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.target.into();
    *request.headers_mut() = parts.headers;
    Box::new(request)
}

fn websocket(head: &Head) -> WebSocket {
    if head.upgrade() == Some(Upgrade::WebSocket) {
        WebSocket::Asked
    } else {
        WebSocket::No
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future>(
        _: impl Fn(&'a Gateway, &'a ConnInfo, Request<Incoming>) -> F,
        _: &'a (),
    ) -> usize {
        size_of::<F>()
    }

    // Every stream of HTTP/2 holds one for as long as it runs, and a request is copied with it.
    #[test]
    fn what_carries_a_request_is_small() {
        let bytes = size(Gateway::handle, &());
        assert!(bytes <= 3 << 10, "{bytes}");
    }
}
