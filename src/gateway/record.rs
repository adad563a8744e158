//! What is known of a request, and its one log line.
//!
//! Never in it: the query string, header values, tokens, bodies. The line is written when the answer's
//! body ends or is dropped, so that a stream's line says how long it lived and how much it carried.

use super::answer::{Fault, is_discovery};
use crate::{
    authn::Identity,
    authz::{Pace, Permit},
    proxy::upgrade::Carried,
    request::{Head, RequestId, Target, conn::ConnInfo},
};
use http::{Method, StatusCode};
use std::{net::IpAddr, time::Instant};

/// Collects what the log line says.
pub(super) struct Record {
    pub(super) id: RequestId,
    began: Instant,
    peer: IpAddr,
    method: Method,
    path: Box<str>,
    cluster: Option<Box<str>>,
    who: Option<Identity>,
    verb: Option<&'static str>,
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
/// Longest path in a log line (bytes); names of Kubernetes objects stay far below it.
const LOGGED_PATH: usize = 1024;

impl Record {
    pub(super) fn begin(conn: &ConnInfo) -> Box<Self> {
        Box::new(Self {
            id: RequestId::new(),
            began: Instant::now(),
            peer: conn.peer.ip(),
            method: Method::GET,
            path: Box::default(),
            cluster: None,
            who: None,
            verb: None,
            code: None,
            failure: None,
            sent: 0,
            received: 0,
            ended: false,
            discovery: false,
        })
    }

    pub(super) fn head(&mut self, head: &Head, target: &Target) {
        self.method = head.method().clone();
        let path = head.raw_path();
        let end = (0..=LOGGED_PATH.min(path.len()))
            .rev()
            .find(|&at| path.is_char_boundary(at));
        self.path = path.get(..end.unwrap_or(0)).unwrap_or_default().into();
        let mut rest = head.raw_target().into();
        if let Target::Cluster(cluster) = target {
            self.cluster = Some(cluster.name.clone());
            rest = cluster.rest(head);
        }
        self.discovery = is_discovery(rest.split('?').next().unwrap_or_default());
    }

    pub(super) fn identify(&mut self, identity: &Identity) {
        self.who = Some(identity.clone());
    }

    pub(super) fn permit(&mut self, permit: &Permit) {
        self.verb = Some(match permit.pace() {
            Pace::Short => "request",
            Pace::Bulk => "bulk",
            Pace::Trickle => "stream",
        });
    }

    pub(super) fn answered(&mut self, code: StatusCode) {
        self.code = Some(code);
    }

    pub(super) fn fail(&mut self, fault: Fault, error: String) {
        self.failure = Some((fault, error));
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
        let user = self.who.as_ref().map_or("-", Identity::handle);
        let token = self
            .who
            .as_ref()
            .map(|who| who.token_id().to_string())
            .unwrap_or_default();
        let cluster = self.cluster.as_deref().unwrap_or("-");
        let (fault, error) = match &self.failure {
            Some((fault, error)) => (fault.as_str(), error.as_str()),
            None => ("-", ""),
        };
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "palisade::request",
                    id = %self.id, peer = %self.peer, user, token, cluster,
                    method = %self.method, path = %self.path, kind = self.verb.unwrap_or("-"),
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
