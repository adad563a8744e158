//! The request as a cluster will see it. Made of a head and a permit, of nothing less.
//!
//! The order is the guarantee: an empty map, then what the allowlist lets through, then what the gateway
//! says about the person, last. Nothing the client sent can remove or double what is written last (H1 to
//! H7, H13 to H15).

use super::{ProxyError, body::UpstreamBody, headers, upstream::Facts};
use crate::{
    authz::{Pace, Permit},
    observe::trace::Onward,
    request::{Head, head::Switch},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::PathAndQuery};

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATE_UID: HeaderName = HeaderName::from_static("impersonate-uid");
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");
/// `palisade.dev/token-id`, escaped as client-go escapes keys (`transport/round_trippers.go`).
const IMPERSONATE_TOKEN: HeaderName =
    HeaderName::from_static("impersonate-extra-palisade.dev%2ftoken-id");
/// `palisade.dev/acting-user`: the handle of the one who acts as the user.
const IMPERSONATE_ACTING: HeaderName =
    HeaderName::from_static("impersonate-extra-palisade.dev%2facting-user");
const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Ends by itself.
    Short,
    /// May be long and large.
    Bulk,
    /// Stays open and trickles.
    Stream,
    /// Becomes a stream of bytes.
    Upgrade,
}

/// A request that may be sent. No `Debug`: it holds the gateway's credential.
///
/// ```compile_fail
/// # use palisade::{proxy::{Outbound, Facts}, request::Head};
/// # fn f(head: Head, facts: &Facts) {
/// // There is no way to make one without a permit.
/// let _ = Outbound::build(head, facts);
/// # }
/// ```
pub struct Outbound {
    origin: Origin,
    target: PathAndQuery,
    headers: HeaderMap,
    class: Class,
    switch: Option<Switch>,
}

/// What a request is made of, kept until it is answered: one that has to be sent again is made again. A copy
/// of each, for the few that need it, would cost more than the policy's decision.
struct Origin {
    method: Method,
    target: PathAndQuery,
    client: HeaderMap,
    permit: Permit,
    hop: Hop,
}

impl Origin {
    fn headers(&self, facts: &Facts, upgrade: bool) -> Result<HeaderMap, ProxyError> {
        let mut headers = if self.permit.is_proxied() {
            headers::for_proxied_app(&self.client, upgrade)
        } else {
            headers::for_api(&self.client, upgrade)
        };
        if upgrade && let Some(protocol) = self.client.get(header::UPGRADE) {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, protocol.clone());
        }
        headers.insert(AUDIT_ID, self.hop.id.clone());
        headers.insert(FORWARDED_FOR, self.hop.peer.clone());
        if let Some(trace) = &self.hop.trace {
            headers.insert(TRACEPARENT, trace.traceparent.clone());
            if !trace.is_clients {
                headers.remove(TRACESTATE);
            }
        }
        write_identity(&mut headers, &self.permit, facts)?;
        Ok(headers)
    }

    fn again(
        &self,
        facts: &Facts,
        authorization: &HeaderValue,
    ) -> Result<Request<UpstreamBody>, ProxyError> {
        let headers = self.headers(facts, false)?;
        let target = cut_target(&self.target, self.permit.cut())?;
        let method = self.method.clone();
        Ok(request(
            method,
            target,
            headers,
            UpstreamBody::Empty,
            authorization,
        ))
    }
}

impl Outbound {
    /// Builds the request for the cluster that the permit names; `facts` are that cluster's. In a box, because it goes by
    /// value through what carries the request, and each step of that would have room for two.
    ///
    /// # Errors
    /// [`ProxyError::Identity`] if the identity does not fit into headers,
    /// [`ProxyError::ActingNotSynced`], [`ProxyError::NotRead`].
    pub fn build(
        head: Head,
        permit: Permit,
        facts: &Facts,
        hop: Hop,
    ) -> Result<Box<Self>, ProxyError> {
        let parts = head.into_parts();
        let class = match (&parts.upgrade, permit.pace()) {
            (Some(_), _) => Class::Upgrade,
            (None, Pace::Short) => Class::Short,
            (None, Pace::Bulk) => Class::Bulk,
            (None, Pace::Trickle) => Class::Stream,
        };
        let origin = Origin {
            method: parts.method,
            target: parts.target,
            client: parts.headers,
            permit,
            hop,
        };
        Ok(Box::new(Self {
            headers: origin.headers(facts, class == Class::Upgrade)?,
            target: cut_target(&origin.target, origin.permit.cut())?,
            class,
            switch: parts.upgrade,
            origin,
        }))
    }

    /// How it travels.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Whether it goes to an application under a `proxy` subresource.
    pub fn is_proxied(&self) -> bool {
        self.origin.permit.is_proxied()
    }

    /// Whether it runs a command in a Pod, or joins one.
    pub fn is_command(&self) -> bool {
        self.origin.permit.is_command()
    }

    /// The HTTP request; the gateway's own credential is written here, last of all.
    pub(super) fn into_request(
        mut self: Box<Self>,
        body: UpstreamBody,
        authorization: &HeaderValue,
    ) -> (Request<UpstreamBody>, Sent) {
        let method = self.origin.method.clone();
        // Moved out: the first copy of a fresh text takes an allocation.
        let target = std::mem::replace(&mut self.target, PathAndQuery::from_static("/"));
        let headers = std::mem::take(&mut self.headers);
        let request = request(method, target, headers, body, authorization);
        (request, Sent(self))
    }
}

/// What is left of a request that was made; the same box, with no way to take the request out of it once more.
pub(super) struct Sent(Box<Outbound>);

impl Sent {
    /// The same request once more, for one that has no body.
    pub(super) fn again(
        &self,
        facts: &Facts,
        authorization: &HeaderValue,
    ) -> Result<Request<UpstreamBody>, ProxyError> {
        self.0.origin.again(facts, authorization)
    }

    /// The client's side of an upgrade.
    pub(super) fn into_switch(self) -> Option<Switch> {
        self.0.switch
    }
}

fn request(
    method: Method,
    target: PathAndQuery,
    mut headers: HeaderMap,
    body: UpstreamBody,
    authorization: &HeaderValue,
) -> Request<UpstreamBody> {
    headers.insert(header::AUTHORIZATION, authorization.clone());
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(target);
    *request.headers_mut() = headers;
    request
}

/// What an outbound request says of the way it came.
#[derive(Clone, Debug)]
pub struct Hop {
    /// The request's id, for the cluster's audit log.
    pub id: HeaderValue,
    /// The client's address, for the cluster's audit log (`sourceIPs`).
    pub peer: HeaderValue,
    /// The gateway's own trace of it, which takes the place of the client's; `None`: it is not traced, and
    /// what the client says of a trace goes on as it is.
    pub trace: Option<Onward>,
}

/// Who the cluster shall take the caller for. `insert` and not `append`: these are ours alone.
fn write_identity(
    headers: &mut HeaderMap,
    permit: &Permit,
    facts: &Facts,
) -> Result<(), ProxyError> {
    let actor = permit.actor();
    let caller = actor.caller();
    // From bytes: names and values may be any UTF-8.
    let value =
        |text: &str| HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ProxyError::Identity);
    if let Some(assumed) = actor.assumed() {
        if !facts.acting {
            return Err(ProxyError::ActingNotSynced(permit.cluster().into()));
        }
        // The authoriser lets nobody set a key of ours; what is ours is written after these.
        for extra in assumed.extras() {
            headers.append(extra.header.clone(), value(&extra.value)?);
        }
        headers.insert(IMPERSONATE_ACTING, value(caller.handle())?);
    }
    let name = actor.sent_name(&facts.user_prefix);
    headers.insert(IMPERSONATE_USER, name.ok_or(ProxyError::Identity)?);
    let uid = actor.sent_uid();
    headers.insert(IMPERSONATE_UID, uid.ok_or(ProxyError::Identity)?);
    headers.insert(IMPERSONATE_TOKEN, value(caller.token_id().as_str())?);
    headers.remove(IMPERSONATE_GROUP);
    let known = facts.groups.known();
    for grant in permit.grants() {
        match known.of(grant.group()) {
            Some(group) => {
                headers.append(IMPERSONATE_GROUP, group.clone());
            }
            // Cluster roles are written down, projects' groups are too many for that: right after a start nobody
            // knows, and a refusal by the cluster would be a wrong answer.
            None if grant.project.is_some() && !known.is_observed() => {
                return Err(ProxyError::NotRead(permit.cluster().into()));
            }
            // A role that the cluster was not told of yet: naming its group would have the cluster refuse the
            // whole impersonation.
            None => {}
        }
    }
    Ok(())
}

/// The raw bytes after the cluster prefix; `` and `?query` get the `/` that HTTP wants.
fn cut_target(raw: &PathAndQuery, cut: usize) -> Result<PathAndQuery, ProxyError> {
    if cut == 0 {
        return Ok(raw.clone());
    }
    let rest = raw.as_str().get(cut..).ok_or(ProxyError::Target)?;
    let parsed = if rest.starts_with('/') {
        rest.parse()
    } else {
        format!("/{rest}").parse()
    };
    parsed.map_err(|_| ProxyError::Target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_cut_and_otherwise_untouched() {
        let cut = |raw: &str, at| cut_target(&raw.parse().unwrap(), at).unwrap().to_string();
        assert_eq!(
            cut("/k8s/clusters/a/api/v1/%2e?x=%2F;y", 15),
            "/api/v1/%2e?x=%2F;y"
        );
        assert_eq!(cut("/k8s/clusters/a", 15), "/");
        assert_eq!(cut("/k8s/clusters/a?x", 15), "/?x");
        assert_eq!(cut("/api//x", 0), "/api//x");
    }
}
