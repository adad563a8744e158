//! Discovery: which groups, versions, kinds and verbs there are, in the plain and in the aggregated form
//! (KEP-3352), and `/version`.

use super::answer::{self, JSON, MediaRange};
use super::route::{AUTHENTICATION, AUTHORIZATION, GROUPS, versions_of};
use super::{ApiError, Body};
use crate::objects::{Binding, Cluster, GROUP, Group, Kind, Project, Role, Token, User};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

/// A resource as discovery tells it.
struct Resource {
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    verbs: &'static [&'static str],
    subresources: &'static [Subresource],
}

/// A subresource: its name and verbs.
struct Subresource(&'static str, &'static [&'static str]);

/// Verbs of an ordinary kind.
const CRUD: &[&str] = &["create", "delete", "get", "list", "patch", "update"];

const fn resource<K: Kind>(subresources: &'static [Subresource]) -> Resource {
    Resource {
        plural: K::PLURAL,
        singular: K::SINGULAR,
        kind: K::KIND,
        short: K::SHORT,
        verbs: CRUD,
        subresources,
    }
}

const OWN: [Resource; 7] = [
    resource::<Binding>(&[]),
    resource::<Cluster>(&[
        Subresource("cleanup", &["create"]),
        Subresource("credential", &["update"]),
        Subresource("manifest", &["get"]),
        Subresource("sync", &["create"]),
    ]),
    resource::<Group>(&[]),
    resource::<Project>(&[]),
    resource::<Role>(&[]),
    resource::<Token>(&[]),
    resource::<User>(&[
        Subresource("password", &["update"]),
        Subresource("unlock", &["create"]),
    ]),
];

const fn review(plural: &'static str, singular: &'static str, kind: &'static str) -> Resource {
    Resource {
        plural,
        singular,
        kind,
        short: &[],
        verbs: &["create"],
        subresources: &[],
    }
}

const AUTHENTICATION_REVIEWS: [Resource; 1] = [review(
    "selfsubjectreviews",
    "selfsubjectreview",
    "SelfSubjectReview",
)];

const AUTHORIZATION_REVIEWS: [Resource; 2] = [
    review(
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "SelfSubjectAccessReview",
    ),
    review(
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "SelfSubjectRulesReview",
    ),
];

/// `/version`: the shape of `version.Info`, with the gateway's own version in it.
pub(super) fn version() -> Response<Body> {
    answer::ok(&json!({
        "major": env!("CARGO_PKG_VERSION_MAJOR"),
        "minor": env!("CARGO_PKG_VERSION_MINOR"),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    }))
}

/// `/api`: the core group, which the gateway does not have.
pub(super) fn api(headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let plain = || json!({"kind": "APIVersions", "versions": [], "serverAddressByClientCIDRs": []});
    negotiate(headers, plain, Vec::new)
}

/// `/apis`: every group.
pub(super) fn apis(headers: &HeaderMap) -> Result<Response<Body>, ApiError> {
    let plain = || {
        json!({
            "kind": "APIGroupList",
            "apiVersion": "v1",
            "groups": GROUPS.map(group_value),
        })
    };
    let aggregated = || GROUPS.map(aggregated_group).to_vec();
    negotiate(headers, plain, aggregated)
}

/// `/apis/GROUP`.
pub(super) fn group(group: &'static str) -> Response<Body> {
    let mut value = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(value), Value::Object(rest)) = (value.as_object_mut(), group_value(group)) {
        value.extend(rest);
    }
    answer::ok(&value)
}

/// `/apis/GROUP/VERSION`.
pub(super) fn group_version(group: &'static str, version: &str) -> Response<Body> {
    let mut resources = Vec::new();
    for one in resources_of(group) {
        resources.push(json!({
            "name": one.plural,
            "singularName": one.singular,
            "namespaced": false,
            "kind": one.kind,
            "verbs": one.verbs,
            "shortNames": one.short,
        }));
        for Subresource(name, verbs) in one.subresources {
            resources.push(json!({
                "name": format!("{}/{name}", one.plural),
                "singularName": "",
                "namespaced": false,
                "kind": one.kind,
                "verbs": verbs,
            }));
        }
    }
    answer::ok(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": format!("{group}/{version}"),
        "resources": resources,
    }))
}

fn resources_of(group: &str) -> &'static [Resource] {
    match group {
        GROUP => &OWN,
        AUTHENTICATION => &AUTHENTICATION_REVIEWS,
        AUTHORIZATION => &AUTHORIZATION_REVIEWS,
        _ => &[],
    }
}

fn group_value(group: &str) -> Value {
    let version = |v: &&str| json!({"groupVersion": format!("{group}/{v}"), "version": v});
    let versions: Vec<Value> = versions_of(group).iter().map(version).collect();
    json!({
        "name": group,
        "versions": versions,
        "preferredVersion": versions.first(),
    })
}

fn aggregated_group(group: &str) -> Value {
    let one = |version: &&str| {
        let resources: Vec<Value> = resources_of(group)
            .iter()
            .map(|r| aggregated_resource(group, version, r))
            .collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    };
    let versions: Vec<Value> = versions_of(group).iter().map(one).collect();
    json!({"metadata": {"name": group, "creationTimestamp": null}, "versions": versions})
}

fn aggregated_resource(group: &str, version: &str, one: &Resource) -> Value {
    let kind = json!({"group": group, "version": version, "kind": one.kind});
    let subresources: Vec<Value> = one
        .subresources
        .iter()
        .map(|Subresource(name, verbs)| {
            json!({"subresource": name, "responseKind": kind, "verbs": verbs})
        })
        .collect();
    json!({
        "resource": one.plural,
        "responseKind": kind,
        "scope": "Cluster",
        "singularResource": one.singular,
        "verbs": one.verbs,
        "shortNames": one.short,
        "subresources": subresources,
    })
}

/// Answers in the first form that the client accepts. The content type must name the form: a client that
/// asked for v2beta1 alone and got v2 believes that there are no resources at all.
fn negotiate(
    headers: &HeaderMap,
    plain: impl FnOnce() -> Value,
    items: impl FnOnce() -> Vec<Value>,
) -> Result<Response<Body>, ApiError> {
    for range in answer::accepted(headers) {
        if let Some((version, content_type)) = aggregated_form(&range) {
            let value = json!({
                "kind": "APIGroupDiscoveryList",
                "apiVersion": format!("apidiscovery.k8s.io/{version}"),
                "metadata": {},
                "items": items(),
            });
            return Ok(answer::json(StatusCode::OK, content_type, &value));
        }
        if range.takes_plain_json() {
            return Ok(answer::json(StatusCode::OK, JSON, &plain()));
        }
    }
    Err(ApiError::NotAcceptable(
        "application/json, application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ))
}

fn aggregated_form(range: &MediaRange<'_>) -> Option<(&'static str, &'static str)> {
    if range.mime != JSON
        || range.shape != Some("APIGroupDiscoveryList")
        || range.group != Some("apidiscovery.k8s.io")
    {
        return None;
    }
    match range.version {
        Some("v2") => Some((
            "v2",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        )),
        Some("v2beta1") => Some((
            "v2beta1",
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        )),
        _ => None,
    }
}
