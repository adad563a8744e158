//! Reviews of oneself. `SelfSubjectReview`: who the gateway takes the caller for (`kubectl auth whoami`). Its
//! body is not read: it says nothing, and kubectl sends it as protobuf.

use super::Api;
use super::caller::Caller;
use super::route::AUTHENTICATION;
use crate::status::clock;
use serde_json::{Map, Value, json};

mod access;
mod wire;

pub(super) use access::{review as access, rules};

/// The review of the caller.
pub(super) fn review(api: &Api, caller: &Caller, version: &str) -> Value {
    let mut extra = Map::new();
    let mut tell = |key: &str, values: Vec<String>| {
        extra.insert(format!("palisade.dev/{key}"), values.into());
    };
    if let Some(acting) = &caller.acting {
        tell("acting-user", vec![acting.to_string()]);
    }
    tell("token-id", vec![caller.token_id.to_string()]);
    let kind = caller.token_kind.as_str();
    tell("token-kind", vec![kind.to_owned()]);
    let end = clock::whole_seconds(caller.token_expires_at);
    tell("token-expires-at", vec![end.to_string()]);
    if let Some(clusters) = &caller.token_clusters {
        tell(
            "token-clusters",
            clusters.iter().map(ToString::to_string).collect(),
        );
    }
    json!({
        "kind": "SelfSubjectReview",
        "apiVersion": format!("{AUTHENTICATION}/{version}"),
        "metadata": {"creationTimestamp": clock::whole_seconds(clock::now())},
        "status": {"userInfo": {
            "username": caller.handle,
            "uid": caller.user_uid,
            "groups": group_names(api, caller),
            "extra": extra,
        }},
    })
}

/// Names of the caller's groups, which people know; uids count everywhere else. From memory: anybody may
/// ask this at any time, and kubectl does.
fn group_names(api: &Api, caller: &Caller) -> Vec<Box<str>> {
    let uids = caller.groups.iter();
    let mut names: Vec<Box<str>> = uids.filter_map(|uid| api.index.group_name(uid)).collect();
    names.sort();
    names
}
