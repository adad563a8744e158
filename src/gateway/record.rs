//! What is known of a request, its one log line and its audit events.
//!
//! Never in them: header values but the user agent, tokens, bodies, parameters that could hold a secret.
//! Line and event are written when the answer's body ends or is dropped, so that a stream's say how long it
//! lived and how much it carried; a stream has an event at its start as well.

use super::{
    answer::{Answer, Fault, Shape},
    error::Error,
    measure::Measure,
};
use crate::{
    api::login::Seen,
    authn::Identity,
    authz::{Actor, Assumed, OwnPermit, Pace, Permit, RequestInfo},
    observe::{
        audit::{Audit, event::Stage},
        metrics::{Meter, Metrics},
        trace::{About, Trace},
    },
    proxy::{Exit, upgrade::Carried},
    request::{Head, RequestId, Target, conn::ConnInfo},
    status::{Reason, clock},
};
use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use std::{mem, net::IpAddr, sync::Arc, time::Instant};

mod entry;
mod notes;
mod target;
mod words;

pub use entry::Entry;

use words::{Word, Words};

/// Collects what is told of a request.
pub(super) struct Record {
    pub(super) id: RequestId,
    /// The same as a header's value: the cluster and the client are told.
    pub(super) id_value: HeaderValue,
    pub(super) measure: Measure,
    audit: Arc<Audit<Entry>>,
    began: Instant,
    arrived: Timestamp,
    peer: IpAddr,
    method: Method,
    words: Words,
    /// Parameters of the query that are not in [`Word::Target`].
    hidden: usize,
    who: Option<Identity>,
    /// What a login came to.
    pub(super) login: Seen,
    /// Whom they act as, if not as themselves.
    acts_as: Option<Arc<Assumed>>,
    /// Name of the role that allowed it.
    allowed_by: Option<Arc<str>>,
    pace: Option<Pace>,
    /// Whether its answer stays open once it was begun.
    stream: bool,
    /// None: the client went away before there was an answer.
    code: Option<StatusCode>,
    failure: Option<Failure>,
    pub(super) sent: u64,
    received: u64,
    /// How a command ended.
    exit: Option<Exit>,
    /// Whether the answer's body came to its end.
    pub(super) ended: bool,
    /// Who reads what went wrong.
    pub(super) shape: Shape,
}

/// The gateway's own refusal or failure.
#[derive(Clone, Debug)]
struct Failure {
    kind: FailureKind,
    fault: Fault,
    reason: Option<Reason>,
    text: String,
}

/// What a failure says of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FailureKind {
    /// The policy, or the own API's rules beyond it, refused it.
    Forbidden,
    /// It could not have been recorded, so it was not begun; now it cannot either.
    NotAudited,
    /// Anything else.
    Other,
}

/// What the log says for a client that left before its answer (a common convention).
const CLIENT_GONE: u16 = 499;
/// Longest user agent that is kept (bytes): kubectl's has 60.
const AGENT: usize = 256;

impl Record {
    pub(super) fn begin(
        conn: &ConnInfo,
        metrics: &Arc<Metrics>,
        audit: &Arc<Audit<Entry>>,
        trace: Option<Box<Trace>>,
    ) -> Box<Self> {
        let id = RequestId::new();
        Box::new(Self {
            id,
            id_value: id.header_value(),
            measure: Measure::begin(metrics, trace),
            audit: Arc::clone(audit),
            began: Instant::now(),
            arrived: clock::now(),
            peer: conn.peer.ip(),
            method: Method::GET,
            words: Words::default(),
            hidden: 0,
            who: None,
            login: Seen::default(),
            acts_as: None,
            allowed_by: None,
            pace: None,
            stream: false,
            code: None,
            failure: None,
            sent: 0,
            received: 0,
            exit: None,
            ended: false,
            shape: Shape::Status,
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
        self.shape = Shape::of(head, target, rest.split('?').next().unwrap_or_default());
    }

    /// What the addressee will make of it.
    pub(super) fn asked(&mut self, info: &RequestInfo<'_>) {
        self.measure.asked(info);
        self.stream = info.is_long_running();
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
        if self.stream && self.who.is_some() && self.failure.is_none() && code.as_u16() < 400 {
            self.audit.record(self.start());
        }
    }

    pub(super) fn fail(&mut self, error: &Error, answer: &Answer) {
        self.measure.failed(error);
        let kind = match error {
            Error::Audit(_) => FailureKind::NotAudited,
            Error::Authz(_) | Error::Api(_) if answer.code == StatusCode::FORBIDDEN => {
                FailureKind::Forbidden
            }
            Error::Head(_)
            | Error::Target(_)
            | Error::Impersonation(_)
            | Error::Authn(_)
            | Error::Authz(_)
            | Error::Cluster(_)
            | Error::Proxy(_)
            | Error::Api(_)
            | Error::Login(_)
            | Error::Web(_) => FailureKind::Other,
        };
        self.failure = Some(Failure {
            kind,
            fault: error.fault(),
            reason: answer.reason,
            // The text of a refusal may quote a name out of the target.
            text: target::without_tokens(&error.for_log()).into_owned(),
        });
    }

    pub(super) fn carried(&mut self, carried: Carried) {
        self.ended = !carried.cut;
        self.sent = carried.down;
        self.received = carried.up;
        self.exit = carried.exit;
    }
}

impl Record {
    fn write_log_line(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let word = |word| Some(self.words.get(word)).filter(|text| !text.is_empty());
        let login = self.login.who.as_ref();
        let user = self.who.as_ref().map(Identity::handle);
        let user = user.or(login.map(|(user, _)| &*user.handle)).unwrap_or("-");
        let token = self.who.as_ref().map(Identity::token_id);
        let token = token.or(login.map(|(_, token)| *token));
        let token = token.as_ref().map_or("", |id| id.as_str());
        let cluster = word(Word::Cluster).unwrap_or("-");
        let verb = word(Word::Verb).unwrap_or("-");
        let path = self.words.get(Word::Target).split('?').next();
        let path = path.unwrap_or_default();
        let acts_as = self.acts_as.as_ref().map_or("-", |other| other.handle());
        let role = self.allowed_by.as_deref().unwrap_or("-");
        let kind = self.pace.map_or("-", |pace| match pace {
            Pace::Short => "request",
            Pace::Bulk => "bulk",
            Pace::Trickle => "stream",
        });
        let (fault, error) = match &self.failure {
            Some(failure) => (failure.fault.as_str(), failure.text.as_str()),
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
        match self.failure.as_ref().map(|failure| failure.fault) {
            Some(Fault::Gateway) => line!(error),
            Some(Fault::Upstream) => line!(warn),
            Some(Fault::Client) | None => line!(info),
        }
    }

    fn tell_trace(&mut self) {
        if let Some(trace) = self.measure.times.take_trace() {
            trace.finish(self.about());
        }
    }

    fn write_audit_event(&mut self) {
        let refused = |failure: &Failure| failure.kind == FailureKind::NotAudited;
        if !self.audit.is_on() || self.failure.as_ref().is_some_and(refused) {
            return;
        }
        let entry = self.end();
        if entry.who.is_some() || entry.login.who.is_some() || entry.login.deed.is_some() {
            self.audit.record(entry);
        } else {
            self.audit
                .record_stranger(|left_out| Entry { left_out, ..entry });
        }
    }

    /// What a trace tells. Of strangers' requests no text that they chose.
    fn about(&self) -> About {
        let words = Some(&self.words).filter(|_| self.who.is_some());
        let word = |word| words.map_or(String::new(), |words| words.get(word).to_owned());
        About {
            request_id: self.id.to_string(),
            route: self.measure.route(),
            cluster: word(Word::Cluster),
            verb: word(Word::Verb),
            resource: word(Word::Resource),
            code: self.code.map(|code| code.as_u16()),
            fault: self.failure.as_ref().map(|failure| failure.fault.as_str()),
            cut: !self.ended,
        }
    }

    /// The event of a stream's start: what is known now, and goes on being known.
    fn start(&self) -> Entry {
        Entry {
            words: self.words.clone(),
            who: self.who.clone(),
            acts_as: self.acts_as.clone(),
            allowed_by: self.allowed_by.clone(),
            ..self.common(Stage::ResponseStarted)
        }
    }

    /// The event of the end, which takes all that there is.
    fn end(&mut self) -> Entry {
        let stage = if std::thread::panicking() {
            Stage::Panic
        } else {
            Stage::ResponseComplete
        };
        let common = self.common(stage);
        Entry {
            words: mem::take(&mut self.words),
            who: self.who.take(),
            login: mem::take(&mut self.login),
            acts_as: self.acts_as.take(),
            allowed_by: self.allowed_by.take(),
            failure: self.failure.take(),
            ..common
        }
    }

    /// What costs nothing to tell.
    fn common(&self, stage: Stage) -> Entry {
        Entry {
            id: self.id,
            stage,
            arrived: self.arrived,
            at: clock::now(),
            took: self.began.elapsed(),
            peer: self.peer,
            method: self.method.clone(),
            words: Words::default(),
            hidden: self.hidden,
            who: None,
            login: Seen::default(),
            acts_as: None,
            allowed_by: None,
            code: self.code.map_or(CLIENT_GONE, |code| code.as_u16()),
            failure: None,
            sent: self.sent,
            received: self.received,
            exit: self.exit,
            ended: self.ended,
            left_out: 0,
        }
    }
}

impl Drop for Record {
    /// The end of the request, however it came.
    fn drop(&mut self) {
        self.write_log_line();
        self.tell_trace();
        // Takes all that there is, so it comes last.
        self.write_audit_event();
    }
}
