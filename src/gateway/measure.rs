//! What metrics are told of a request.
//!
//! Begun with the request's record and dropped with it, so that every request is counted exactly once,
//! however it ends. Whatever it counts in was found or made before: nothing here allocates or takes a lock.
//!
//! What could go wrong: a gauge that does not come back to 0 (what goes up here goes down in `Drop`), a label
//! that a client chooses (all of them are enums; a cluster that is not registered has no meter of its own).

use super::{answer::Fault, error::Error};
use crate::{
    authn::{AuthnError, Refusal, Unknowable},
    authz::{AuthzError, Pace, RequestInfo},
    observe::{
        metrics::{
            Meter, Metrics, Times,
            labels::{
                Authentication, Authorization, Blame, Direction, Route, StreamKind,
                UpstreamFailure, Verb,
            },
            meter::Stream,
        },
        trace::Trace,
    },
    proxy::ProxyError,
    request::Target,
};
use http::StatusCode;
use std::sync::Arc;

/// What is counted for a client that left before its answer; as in the log.
const CLIENT_GONE: u16 = 499;

/// One request's metrics.
pub(super) struct Measure {
    metrics: Arc<Metrics>,
    meter: Arc<Meter>,
    /// Where its time goes, and its trace; told by whoever sends it on.
    pub(super) times: Times,
    route: Route,
    verb: Verb,
    /// What it will be if its answer is a success.
    opens: Option<StreamKind>,
    stream: Option<Stream>,
    in_flight: bool,
    code: Option<StatusCode>,
    blame: Blame,
}

impl Measure {
    pub(super) fn begin(metrics: &Arc<Metrics>, trace: Option<Box<Trace>>) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            meter: Arc::clone(&metrics.meters.gateway),
            times: Times::begin(trace),
            route: Route::Other,
            verb: Verb::None,
            opens: None,
            stream: None,
            in_flight: false,
            code: None,
            blame: Blame::None,
        }
    }

    /// Where it goes, and the meter of that cluster.
    pub(super) fn goes_to(&mut self, target: &Target, meter: Arc<Meter>) {
        meter.in_flight.inc();
        self.meter = meter;
        self.in_flight = true;
        self.route = match target {
            Target::Cluster(_) => Route::Cluster,
            Target::Own => Route::OwnApi,
            Target::Login => Route::Login,
            Target::Web => Route::Web,
        };
        if self.route == Route::Login {
            self.verb = Verb::Login;
        }
    }

    pub(super) fn asked(&mut self, info: &RequestInfo<'_>) {
        self.verb = verb(info);
        self.opens = opens(info);
    }

    pub(super) fn identified(&mut self) {
        self.times.end_step();
        self.times.known_client();
        self.metrics.authentications.inc(Authentication::Accepted);
    }

    /// `pace` tells a followed log from one that ends.
    pub(super) fn permitted(&mut self, pace: Pace) {
        self.times.end_step();
        self.metrics.authorizations.inc(Authorization::Allowed);
        if self.opens == Some(StreamKind::Log) && pace != Pace::Trickle {
            self.opens = None;
        }
    }

    pub(super) fn failed(&mut self, error: &Error) {
        self.times.failed();
        self.blame = match error.fault() {
            Fault::Client => Blame::Client,
            Fault::Gateway => Blame::Gateway,
            Fault::Upstream => Blame::Upstream,
        };
        match error {
            Error::Authn(error) => self.metrics.authentications.inc(authentication(error)),
            Error::Authz(error) => self.metrics.authorizations.inc(authorization(error)),
            Error::Proxy(error) => self.meter.failures.inc(upstream_failure(error)),
            Error::Cluster(_) => self.meter.failures.inc(UpstreamFailure::NotReady),
            Error::Head(_)
            | Error::Target(_)
            | Error::Impersonation(_)
            | Error::Audit(_)
            | Error::Api(_)
            | Error::Login(_)
            | Error::Web(_) => {}
        }
    }

    /// The head of the answer is there.
    pub(super) fn answered(&mut self, code: StatusCode) {
        self.settle();
        self.code = Some(code);
        let success = code.is_success() || code == StatusCode::SWITCHING_PROTOCOLS;
        if let Some(kind) = self.opens.take_if(|_| success) {
            self.stream = Some(Stream::open(Arc::clone(&self.meter), kind));
            self.land();
        }
    }

    /// Where it went, as a word.
    pub(super) fn route(&self) -> &'static str {
        self.route.into()
    }

    /// The stream that it became.
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// So many bytes of the answer's body went out.
    pub(super) fn sent(&self, bytes: u64) {
        if let Some(stream) = &self.stream {
            stream.carried(Direction::ToClient, bytes);
        }
    }

    /// Notes where the time went, up to the head of the answer.
    fn settle(&mut self) {
        let own = self.times.own();
        if let Some(share) = self.metrics.own_share.at(self.route) {
            share.0.observe(own);
        }
        if let Some(waited) = self.times.connection() {
            self.meter.waits.observe(waited);
        }
        if let Some(took) = self.times.response() {
            self.meter.responded(self.verb, took);
        }
    }

    fn land(&mut self) {
        if std::mem::take(&mut self.in_flight) {
            self.meter.in_flight.dec();
        }
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        if self.code.is_none() {
            self.settle();
        }
        self.land();
        let (code, blame) = match self.code {
            Some(code) => (code.as_u16(), self.blame),
            None => (CLIENT_GONE, Blame::Client),
        };
        self.meter.ended(self.verb, code, blame);
    }
}

fn verb(info: &RequestInfo<'_>) -> Verb {
    if !info.is_resource {
        return Verb::Path;
    }
    match (&*info.subresource, &*info.verb) {
        ("exec" | "attach" | "portforward" | "proxy", _) | (_, "proxy") => Verb::Connect,
        (_, "get") => Verb::Get,
        (_, "list") => Verb::List,
        (_, "watch") => Verb::Watch,
        (_, "create") => Verb::Create,
        (_, "update") => Verb::Update,
        (_, "patch") => Verb::Patch,
        (_, "delete" | "deletecollection") => Verb::Delete,
        (_, _) => Verb::None,
    }
}

/// What stays open if the answer is a success. A log may be one that is followed or not.
fn opens(info: &RequestInfo<'_>) -> Option<StreamKind> {
    match (&*info.subresource, &*info.verb) {
        ("proxy", _) | (_, "proxy") => Some(StreamKind::Proxy),
        (_, "watch") => Some(StreamKind::Watch),
        ("log", _) => Some(StreamKind::Log),
        ("exec", _) if info.upgrade => Some(StreamKind::Exec),
        ("attach", _) if info.upgrade => Some(StreamKind::Attach),
        ("portforward", _) if info.upgrade => Some(StreamKind::Portforward),
        (_, _) => info.upgrade.then_some(StreamKind::Other),
    }
}

fn authentication(error: &AuthnError) -> Authentication {
    match error {
        AuthnError::Ambiguous(_) => Authentication::Ambiguous,
        AuthnError::Refused(refusal) => match refusal {
            Refusal::Missing => Authentication::Missing,
            Refusal::Scheme | Refusal::OfABrowser => Authentication::Scheme,
            Refusal::Malformed => Authentication::Malformed,
            Refusal::UnknownToken => Authentication::UnknownToken,
            Refusal::WrongSecret => Authentication::WrongSecret,
            Refusal::Expired => Authentication::Expired,
            Refusal::NoUser => Authentication::NoUser,
            Refusal::Disabled => Authentication::Disabled,
            Refusal::PasswordChanged => Authentication::PasswordChanged,
            Refusal::NoProvider => Authentication::NoProvider,
            Refusal::AccountDisabled
            | Refusal::AccountLocked
            | Refusal::AccountExpired
            | Refusal::AccountMustChange
            | Refusal::AccountGone
            | Refusal::LoginEnded => Authentication::Account,
            Refusal::NotListed => Authentication::NotListed,
        },
        AuthnError::Unavailable(Unknowable::Loading) => Authentication::Loading,
        AuthnError::Unavailable(Unknowable::Unreadable) => Authentication::Unreadable,
        AuthnError::Unavailable(Unknowable::Stale) => Authentication::Stale,
    }
}

fn authorization(error: &AuthzError) -> Authorization {
    match error {
        AuthzError::NoGrant { .. } => Authorization::NoGrant,
        AuthzError::Denied { .. } => Authorization::Denied,
        AuthzError::TooManyGrants { .. } => Authorization::TooManyGrants,
        AuthzError::TokenScope { .. } | AuthzError::TokenNotForOwn => Authorization::TokenScope,
        AuthzError::Acting(_) => Authorization::Acting,
    }
}

fn upstream_failure(error: &ProxyError) -> UpstreamFailure {
    match error {
        ProxyError::Down(_) => UpstreamFailure::Down,
        ProxyError::Dial(_) | ProxyError::DialTimeout => UpstreamFailure::Unreachable,
        ProxyError::Busy => UpstreamFailure::Busy,
        ProxyError::Lost(_) => UpstreamFailure::Lost,
        ProxyError::Timeout => UpstreamFailure::TimedOut,
        ProxyError::CredentialRefused => UpstreamFailure::CredentialRefused,
        ProxyError::OtherProtocol => UpstreamFailure::OtherProtocol,
        ProxyError::NotRead(_) => UpstreamFailure::NotReady,
        ProxyError::ActingNotSynced(_) | ProxyError::Identity | ProxyError::Target => {
            UpstreamFailure::NotSent
        }
    }
}
