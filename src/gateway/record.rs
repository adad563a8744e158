//! What is known of a request, and its one log line.
//!
//! Never in it: header values but the user agent, tokens, bodies, parameters that could hold a secret. The
//! line is written when the answer's body ends or is dropped, so that a stream's line says how long it lived
//! and how much it carried.

use super::{
    answer::{Fault, is_discovery},
    error::Error,
    measure::Measure,
};
use crate::{
    authn::Identity,
    authz::{Actor, Assumed, OwnPermit, Pace, Permit, RequestInfo},
    observe::metrics::{Meter, Metrics},
    proxy::upgrade::Carried,
    request::{Head, RequestId, Target, conn::ConnInfo},
};
use http::{Method, StatusCode, header};
use std::{net::IpAddr, sync::Arc, time::Instant};

mod target;
mod words;

use words::{Word, Words};

/// Collects what is told of a request.
pub(super) struct Record {
    pub(super) id: RequestId,
    pub(super) measure: Measure,
    began: Instant,
    peer: IpAddr,
    method: Method,
    words: Words,
    /// Parameters of the query that are not in [`Word::Target`].
    hidden: usize,
    who: Option<Identity>,
    /// Whom they act as, if not as themselves.
    acts_as: Option<Arc<Assumed>>,
    /// Name of the role that allowed it.
    allowed_by: Option<Arc<str>>,
    pace: Option<Pace>,
    /// None: the client went away before there was an answer.
    code: Option<StatusCode>,
    failure: Option<(Fault, String)>,
    pub(super) sent: u64,
    received: u64,
    /// Whether the answer's body came to its end.
    pub(super) ended: bool,
    /// Whether the path is one on which kubectl shows text alone.
    pub(super) discovery: bool,
}

/// What the log says for a client that left before its answer (a common convention).
const CLIENT_GONE: u16 = 499;
/// Longest user agent that is kept (bytes): kubectl's has 60.
const AGENT: usize = 256;

impl Record {
    pub(super) fn begin(conn: &ConnInfo, metrics: &Arc<Metrics>) -> Box<Self> {
        Box::new(Self {
            id: RequestId::new(),
            measure: Measure::begin(metrics),
            began: Instant::now(),
            peer: conn.peer.ip(),
            method: Method::GET,
            words: Words::default(),
            hidden: 0,
            who: None,
            acts_as: None,
            allowed_by: None,
            pace: None,
            code: None,
            failure: None,
            sent: 0,
            received: 0,
            ended: false,
            discovery: false,
        })
    }

    pub(super) fn head(&mut self, head: &Head, target: &Target, meter: Arc<Meter>) {
        self.measure.goes_to(target, meter);
        self.method = head.method().clone();
        let shown = target::shown(head.raw_target());
        self.words.keep(Word::Target, &shown.text);
        self.hidden = shown.hidden;
        let agent = head.headers().get(header::USER_AGENT);
        if let Some(agent) = agent.and_then(|agent| agent.to_str().ok()) {
            let agent = target::without_tokens(agent);
            self.words.keep(Word::Agent, words::cut(&agent, AGENT));
        }
        let mut rest = head.raw_target().into();
        if let Target::Cluster(cluster) = target {
            let name = target::without_tokens(&cluster.name);
            self.words.keep(Word::Cluster, &name);
            rest = cluster.rest(head);
        }
        self.discovery = is_discovery(rest.split('?').next().unwrap_or_default());
    }

    /// What the addressee will make of it.
    pub(super) fn asked(&mut self, info: &RequestInfo<'_>) {
        self.measure.asked(info);
        let parts = [
            (Word::Verb, &info.verb),
            (Word::Group, &info.api_group),
            (Word::Version, &info.api_version),
            (Word::Resource, &info.resource),
            (Word::Subresource, &info.subresource),
            (Word::Namespace, &info.namespace),
            (Word::Name, &info.name),
        ];
        for (word, text) in parts {
            self.words.keep(word, &target::without_tokens(text));
        }
    }

    pub(super) fn identify(&mut self, identity: &Identity) {
        self.measure.identified();
        self.who = Some(identity.clone());
    }

    pub(super) fn act(&mut self, actor: &Actor) {
        self.acts_as = actor.assumed().cloned();
    }

    pub(super) fn permit(&mut self, permit: &Permit) {
        self.measure.permitted(permit.pace());
        self.pace = Some(permit.pace());
        self.allowed_by = Some(Arc::clone(permit.allowed_by()));
    }

    pub(super) fn own_permit(&mut self, permit: &OwnPermit) {
        self.measure.permitted(Pace::Short);
        self.allowed_by = Some(Arc::clone(permit.allowed_by()));
    }

    pub(super) fn answered(&mut self, code: StatusCode) {
        self.measure.answered(code);
        self.code = Some(code);
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.measure.failed(error);
        // The text of a refusal may quote a name out of the target.
        let text = target::without_tokens(&error.for_log()).into_owned();
        self.failure = Some((error.fault(), text));
    }

    pub(super) fn carried(&mut self, carried: Carried) {
        self.ended = true;
        self.sent = carried.down;
        self.received = carried.up;
    }
}

impl Drop for Record {
    /// The end of the request, however it came.
    fn drop(&mut self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let word = |word| Some(self.words.get(word)).filter(|text| !text.is_empty());
        let user = self.who.as_ref().map_or("-", Identity::handle);
        let token = self.who.as_ref().map(Identity::token_id);
        let token = token.as_ref().map_or("", |id| id.as_str());
        let cluster = word(Word::Cluster).unwrap_or("-");
        let verb = word(Word::Verb).unwrap_or("-");
        let path = self
            .words
            .get(Word::Target)
            .split('?')
            .next()
            .unwrap_or_default();
        let acts_as = self.acts_as.as_ref().map_or("-", |other| other.handle());
        let role = self.allowed_by.as_deref().unwrap_or("-");
        let kind = self.pace.map_or("-", |pace| match pace {
            Pace::Short => "request",
            Pace::Bulk => "bulk",
            Pace::Trickle => "stream",
        });
        let (fault, error) = match &self.failure {
            Some((fault, error)) => (fault.as_str(), error.as_str()),
            None => ("-", ""),
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "palisade::request",
                    id = %self.id, peer = %self.peer, user, token, acts_as, cluster,
                    method = %self.method, path, verb, kind, role,
                    code = self.code.map_or(CLIENT_GONE, |code| code.as_u16()), ms = millis,
                    sent = self.sent, received = self.received, cut = !self.ended,
                    fault, error,
                    "request"
                )
            };
        }
        match &self.failure {
            Some((Fault::Gateway, _)) => line!(error),
            Some((Fault::Upstream, _)) => line!(warn),
            Some((Fault::Client, _)) | None => line!(info),
        }
    }
}
