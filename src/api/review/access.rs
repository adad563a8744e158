//! `SelfSubjectAccessReview` and `SelfSubjectRulesReview`: what the caller may do on the own API
//! (`kubectl auth can-i`).
//!
//! An answer must be the one that the request itself would get (F3), so the same two judges are asked: the
//! policy, and what this API adds to it (`access`). About what is not the caller's own the answer is no
//! whether or not it is there.

use super::super::access::{self, Operation};
use super::super::{Api, ApiError, Caller, Reach, body};
use super::wire;
use crate::authz::{Attributes, policy::Who};
use crate::objects::{
    Binding, Cluster, GROUP, Group, Kind, Project, Role, Token, User, rules::PolicyRule,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Why the policy refuses, in the words of its refusals.
const NO_ROLE: &str = "no role of yours on the gateway's own API allows it";
/// What an allow is worth to those who hold no role.
const OWN_ALONE: &str = "what is your own alone";
/// What an allow of a write is worth to those who do not hold everything: what it gives shows with the object.
const AS_FAR: &str = ", as far as you hold yourself what the write gives";
/// What rules alone do not say of those who are no admins.
const INCOMPLETE: &str = "a write is refused, whatever these rules say, if it gives what you do not hold; and without a role of scope global you reach your own tokens and password, your own clusters and projects, and the bindings of projects whose members you manage";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Review {
    #[serde(default, rename = "apiVersion")]
    _api_version: Option<Value>,
    #[serde(default, rename = "kind")]
    _kind: Option<Value>,
    #[serde(default, rename = "metadata")]
    _metadata: Option<Value>,
    #[serde(default, rename = "status")]
    _status: Option<Value>,
    #[serde(default)]
    spec: Spec,
}

/// `authorization/v1` SelfSubjectAccessReviewSpec.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource_attributes: Option<AskedResource>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) non_resource_attributes: Option<AskedPath>,
}

/// `authorization/v1` ResourceAttributes. Rules know no selectors: they change no answer.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct AskedResource {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    pub(super) verb: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) version: String,
    pub(super) resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) subresource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) name: String,
    #[serde(skip_serializing)]
    pub(super) field_selector: Option<Value>,
    #[serde(skip_serializing)]
    pub(super) label_selector: Option<Value>,
}

/// `authorization/v1` NonResourceAttributes.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AskedPath {
    pub(super) path: String,
    pub(super) verb: String,
}

/// Whether the caller may do what the body asks about.
pub(in super::super) fn review(
    api: &Api,
    caller: &Caller,
    bytes: &[u8],
) -> Result<Value, ApiError> {
    let spec = if bytes.starts_with(b"k8s\0") {
        wire::spec(bytes)?
    } else {
        body::value::<Review>(bytes, "SelfSubjectAccessReview")?.spec
    };
    let attrs = match (&spec.resource_attributes, &spec.non_resource_attributes) {
        (Some(asked), None) => Attributes {
            namespace: &asked.namespace,
            api_version: &asked.version,
            subresource: &asked.subresource,
            name: &asked.name,
            ..Attributes::of_resource(&asked.verb, &asked.group, &asked.resource)
        },
        (None, Some(asked)) => Attributes::of_path(&asked.verb, &asked.path),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::BadRequest(
                "exactly one of spec.resourceAttributes and spec.nonResourceAttributes must be given"
                    .to_owned(),
            ));
        }
    };
    let (allowed, reason) = judge(api, caller, &attrs);
    Ok(json!({
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": spec,
        "status": {"allowed": allowed, "reason": reason},
    }))
}

fn judge(api: &Api, caller: &Caller, attrs: &Attributes<'_>) -> (bool, String) {
    let Some((reach, role)) = api.authz.reach(&who(caller), attrs) else {
        return (false, NO_ROLE.to_owned());
    };
    if attrs.is_resource && attrs.api_group == GROUP {
        let caller = caller.with_reach(reach);
        if let Err(refused) = beyond_policy(api, &caller, attrs) {
            return (false, refused.to_string());
        }
        if reach == Reach::Own {
            return (true, OWN_ALONE.to_owned());
        }
        if !matches!(attrs.verb, "get" | "list" | "watch") && !api.holds_everything(&caller) {
            return (true, format!("allowed by role {role:?}{AS_FAR}"));
        }
    }
    (true, format!("allowed by role {role:?}"))
}

/// What the API asks beyond the policy, of one of its kinds.
fn beyond_policy(api: &Api, caller: &Caller, attrs: &Attributes<'_>) -> Result<(), ApiError> {
    match attrs.resource {
        Binding::PLURAL => check::<Binding>(api, caller, attrs),
        Cluster::PLURAL => check::<Cluster>(api, caller, attrs),
        Group::PLURAL => check::<Group>(api, caller, attrs),
        Project::PLURAL => check::<Project>(api, caller, attrs),
        Role::PLURAL => check::<Role>(api, caller, attrs),
        Token::PLURAL => check::<Token>(api, caller, attrs),
        // "*" is users too, which are guarded best; of what there is not, the policy's word is all there is.
        _ => check::<User>(api, caller, attrs),
    }
}

fn check<K: Kind>(api: &Api, caller: &Caller, attrs: &Attributes<'_>) -> Result<(), ApiError> {
    let op = match (attrs.subresource, attrs.verb) {
        ("", "get") => Operation::Get(attrs.name),
        ("", "list" | "watch") => Operation::List,
        ("", "create") => Operation::Create,
        ("", "patch") => Operation::Patch(attrs.name),
        ("", "delete" | "deletecollection") => Operation::Delete(attrs.name),
        // Also "*" and verbs that there are not: what writes takes most.
        ("", _) => Operation::Update(attrs.name),
        (subresource, verb) => Operation::Sub(attrs.name, subresource, verb),
    };
    access::check::<K>(caller, &op)?;
    let foreign = caller.reach == Reach::Own
        && !attrs.name.is_empty()
        && match K::KIND {
            Token::KIND => !api
                .index
                .tokens_of(&caller.handle, &caller.user_uid)
                .iter()
                .any(|token| token.id.as_str() == attrs.name),
            Cluster::KIND => !api.holds_any(caller, attrs.name),
            Project::KIND => !api.is_in_named(caller, attrs.name),
            Binding::KIND => !api.manages_named(caller, attrs),
            _ => false,
        };
    if foreign {
        return Err(access::forbidden::<K>(caller, &op));
    }
    Ok(())
}

/// The rules that the caller's roles give here.
pub(in super::super) fn rules(api: &Api, caller: &Caller) -> Value {
    let rules = api.authz.own_rules(&who(caller));
    let (paths, resources): (Vec<&PolicyRule>, Vec<&PolicyRule>) = rules
        .iter()
        .partition(|rule| !rule.non_resource_urls.is_empty());
    let mut status = json!({
        "resourceRules": resources,
        "nonResourceRules": paths,
        "incomplete": false,
    });
    if !api.holds_everything(caller)
        && let Some(status) = status.as_object_mut()
    {
        status.insert("incomplete".to_owned(), true.into());
        status.insert("evaluationError".to_owned(), INCOMPLETE.into());
    }
    json!({
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": {},
        "status": status,
    })
}

fn who(caller: &Caller) -> Who<'_> {
    Who {
        user: &caller.user_uid,
        groups: &caller.groups,
        shared: None,
    }
}
