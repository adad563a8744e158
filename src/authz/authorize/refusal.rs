//! Refusals in words: what Kubernetes would say, and then why, and where the same is allowed.
//!
//! Nothing here is asked on the way to an allow. What could go wrong: a sentence that tells somebody of a namespace or
//! a project that is not theirs, by naming it or by sounding different where there is one.

use super::super::{
    Actor, Attributes, AuthzError, RequestInfo, describe,
    policy::{Place, Policy, Who},
};
use crate::status::Details;
use jiff::Timestamp;
use std::fmt::Write as _;

/// Why a request to a cluster is refused. Nothing here is asked on the way to an allow.
pub(super) fn refusal(
    policy: &Policy,
    actor: &Actor,
    cluster: &str,
    info: &RequestInfo<'_>,
    now: Timestamp,
) -> AuthzError {
    let who = actor.who();
    if !policy.holds_any(&who, cluster, now) {
        return AuthzError::no_grant(actor.handle(), cluster);
    }
    // Of several checks (exec by GET) the first that fails is the one to speak of.
    let place = Place::Cluster(cluster);
    let failed = info
        .checks()
        .find(|attrs| !policy.decide(&who, place, attrs, now).allowed())
        .unwrap_or_else(|| info.attributes());
    let mut why = format!(
        "no role of {} on cluster {cluster:?} allows it",
        whose(actor)
    );
    if failed.is_resource {
        elsewhere(policy, &who, cluster, &failed, now, &mut why);
    }
    denied(actor.handle(), &failed, &why)
}

/// Says in which namespaces the same would be allowed, and how to ask there: a list over all namespaces is never
/// cut down to those of one's projects (F1). Names nothing but what the asker's own projects hold, in the same words
/// whether or not the namespace that was asked for is there.
fn elsewhere(
    policy: &Policy,
    who: &Who<'_>,
    cluster: &str,
    attrs: &Attributes<'_>,
    now: Timestamp,
    why: &mut String,
) {
    let there = if attrs.is_over_namespaces() || !attrs.namespace.is_empty() {
        policy.namespaces_of(who, cluster, Some(attrs), now)
    } else {
        Vec::new()
    };
    let list = |namespaces: &[String]| describe::list(namespaces);
    // Writing to a String cannot fail.
    if !there.is_empty() {
        let _ = match attrs.namespace {
            "" => write!(
                why,
                " in all namespaces; in these it is allowed: {}. Ask for one of them, with -n NAMESPACE",
                list(&there)
            ),
            _ => write!(
                why,
                " there; in these namespaces it is allowed: {}",
                list(&there)
            ),
        };
    } else if policy.cluster_roles(who, cluster, now).is_empty() {
        let held = policy.namespaces_of(who, cluster, None, now);
        let _ = write!(
            why,
            "; what is held there is held in the namespaces of projects alone: {}",
            if held.is_empty() {
                "none yet".to_owned()
            } else {
                list(&held)
            }
        );
    }
}

/// Whose roles a refusal speaks of.
pub(super) fn whose(actor: &Actor) -> String {
    match actor.assumed() {
        Some(assumed) => format!("{:?}", assumed.handle()),
        None => "yours".to_owned(),
    }
}

/// Kubernetes' own words (apiserver `responsewriters/errors.go`), then the gateway's reason.
pub(in super::super) fn denied(user: &str, attrs: &Attributes<'_>, why: &str) -> AuthzError {
    let mut message = String::new();
    let mut details = Details::default();
    // Writing to a String cannot fail.
    if attrs.is_resource {
        let resource = attrs.combined_resource();
        let of_group = if attrs.api_group.is_empty() { "" } else { "." };
        let _ = write!(message, "{resource}{of_group}{}", attrs.api_group);
        if !attrs.name.is_empty() {
            let _ = write!(message, " {:?}", attrs.name);
        }
        let _ = write!(
            message,
            " is forbidden: User {user:?} cannot {} resource {resource:?} in API group {:?} ",
            attrs.verb, attrs.api_group
        );
        let _ = match attrs.namespace {
            "" => write!(message, "at the cluster scope"),
            namespace => write!(message, "in the namespace {namespace:?}"),
        };
        attrs.name.clone_into(&mut details.name);
        attrs.api_group.clone_into(&mut details.group);
        attrs.resource.clone_into(&mut details.kind);
    } else {
        let _ = write!(
            message,
            "forbidden: User {user:?} cannot {} path {:?}",
            attrs.verb, attrs.path
        );
    }
    let _ = write!(message, ": {why}");
    AuthzError::Denied {
        message,
        details: Box::new(details),
    }
}
