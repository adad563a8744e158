//! `SelfSubjectReview`: who the gateway takes the caller for (`kubectl auth whoami`).
//!
//! The body is not read: it says nothing, and kubectl sends it as protobuf.

use super::Api;
use super::caller::Caller;
use super::error::ApiError;
use super::route::AUTHENTICATION;
use crate::objects::{Group, Kind as _, Stored, TokenKind};
use crate::status::clock;
use serde_json::{Map, Value, json};

/// Keys read at once.
const PAGE: usize = 500;

/// The review of the caller.
pub(super) async fn review(api: &Api, caller: &Caller, version: &str) -> Result<Value, ApiError> {
    let mut extra = Map::new();
    let mut tell = |key: &str, values: Vec<String>| {
        extra.insert(format!("palisade.dev/{key}"), values.into());
    };
    tell("token-id", vec![caller.token_id.to_string()]);
    let kind = match caller.token_kind {
        TokenKind::Pat => "pat",
        TokenKind::Ses => "ses",
    };
    tell("token-kind", vec![kind.to_owned()]);
    let end = clock::whole_seconds(caller.token_expires_at);
    tell("token-expires-at", vec![end.to_string()]);
    if let Some(clusters) = &caller.token_clusters {
        tell(
            "token-clusters",
            clusters.iter().map(ToString::to_string).collect(),
        );
    }
    Ok(json!({
        "kind": "SelfSubjectReview",
        "apiVersion": format!("{AUTHENTICATION}/{version}"),
        "metadata": {"creationTimestamp": clock::whole_seconds(clock::now())},
        "status": {"userInfo": {
            "username": caller.handle,
            "uid": caller.user_uid,
            "groups": group_names(api, caller).await?,
            "extra": extra,
        }},
    }))
}

/// Names of the caller's groups, which people know; uids count everywhere else.
async fn group_names(api: &Api, caller: &Caller) -> Result<Vec<String>, ApiError> {
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    while names.len() < caller.groups.len() {
        let listing = api
            .store
            .list(&Group::prefix(), PAGE, after.as_deref())
            .await?;
        for found in &listing.items {
            let group = Stored::<Group>::decode(&found.key, &found.value, found.mod_revision)?;
            let meta = group.object.metadata;
            if caller.groups.iter().any(|uid| **uid == *meta.uid) {
                names.push(meta.name);
            }
        }
        after = listing.items.last().map(|found| found.key.clone());
        if !listing.more {
            break;
        }
    }
    Ok(names)
}
