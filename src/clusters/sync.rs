//! Brings the cluster roles to a cluster, and takes away what is no longer wanted.
//!
//! It works on the whole set, not on differences: what carries our label and a grant group's name and is
//! not wanted goes (CVE-2026-44947: a role that shrank must shrink on the cluster). The reconciler's own
//! ClusterRole is extended before anything else is written and narrowed after everything else is removed,
//! so that it never holds more names than a sync needs.
//!
//! What could go wrong: a rule that was just written is not yet known to the API server that judges the
//! next request (its informer lags by milliseconds; of several API servers by more), so a 403 is tried
//! again for a bounded time; a sync that dies half-way (every step can be repeated, the next sync ends
//! it).

use super::{
    client::{Client, ClientError},
    kube,
    manifest::{self, IMPERSONATOR_ROLE, RECONCILER_ROLE},
    object::{Object, ObjectKind},
};
use crate::objects::{grant_group, rules::PolicyRule};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long a 403 is taken for an authoriser that has not heard yet.
pub const PROPAGATION: Duration = Duration::from_secs(5);
/// Wait between two tries within [`PROPAGATION`].
const RETRY: Duration = Duration::from_millis(100);

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncReport {
    /// The roles whose grant groups the cluster knows now.
    pub roles: Vec<String>,
    /// Names of the ClusterRoles and ClusterRoleBindings that were taken away.
    pub removed: Vec<String>,
}

/// A step on a cluster that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct StepError {
    /// `write ClusterRole palisade:reconciler`
    pub step: String,
    /// Why.
    pub source: ClientError,
}

impl StepError {
    fn new(step: impl Into<String>) -> impl FnOnce(ClientError) -> Self {
        let step = step.into();
        |source| Self { step, source }
    }

    /// The step and the reason, in one line.
    pub fn chain(&self) -> String {
        format!("{self}: {}", self.source.chain())
    }
}

/// Makes the cluster's roles what `roles` says. `client` speaks as the reconciler.
pub async fn sync(
    client: &Client,
    roles: &BTreeMap<String, Vec<PolicyRule>>,
) -> Result<SyncReport, StepError> {
    let groups: BTreeSet<String> = roles
        .keys()
        .map(|role| manifest::grant_group(role))
        .collect();
    let old_roles = unwanted(client, ObjectKind::ClusterRole, &groups).await?;
    let old_bindings = unwanted(client, ObjectKind::ClusterRoleBinding, &groups).await?;
    let names: BTreeSet<String> = groups
        .iter()
        .chain(&old_roles)
        .chain(&old_bindings)
        .cloned()
        .collect();
    write(client, &manifest::reconciler(&names)).await?;
    for (role, rules) in roles {
        for object in manifest::grant(role, rules) {
            write(client, &object).await?;
        }
    }
    // Before the groups' roles go: from here on nobody comes in by a group that is on its way out.
    write(client, &manifest::impersonator(&groups)).await?;
    let mut removed = Vec::new();
    for (kind, old) in [
        (ObjectKind::ClusterRoleBinding, old_bindings),
        (ObjectKind::ClusterRole, old_roles),
    ] {
        for name in old {
            remove(client, kind, &name).await?;
            removed.push(format!("{kind} {name}"));
        }
    }
    if !removed.is_empty() {
        write(client, &manifest::reconciler(&groups)).await?;
    }
    Ok(SyncReport {
        roles: roles.keys().cloned().collect(),
        removed,
    })
}

/// Everything of ours that the reconciler can take away, itself last.
///
/// Its binding and its role cannot both be deleted by itself: without the one it may not delete the other.
/// So the role is made a dependent of the binding, and the cluster's garbage collector removes it after
/// the binding is gone (without a binding it grants nothing to anybody).
pub async fn clean_up(client: &Client) -> Result<Vec<String>, StepError> {
    let none = BTreeSet::new();
    let mut names = Vec::new();
    for kind in [ObjectKind::ClusterRoleBinding, ObjectKind::ClusterRole] {
        names.push((kind, unwanted(client, kind, &none).await?));
    }
    let all = names.iter().flat_map(|(_, names)| names).cloned().collect();
    write(client, &manifest::reconciler(&all)).await?;
    let mut removed = Vec::new();
    for (kind, names) in names {
        let ours = std::iter::once(IMPERSONATOR_ROLE.to_owned());
        for name in names.into_iter().chain(ours) {
            remove(client, kind, &name).await?;
            removed.push(format!("{kind} {name}"));
        }
    }
    hang_on_binding(client).await?;
    remove(client, ObjectKind::Namespace, super::NAMESPACE).await?;
    removed.push(format!("Namespace {}", super::NAMESPACE));
    remove(client, ObjectKind::ClusterRoleBinding, RECONCILER_ROLE).await?;
    removed.push(format!("ClusterRoleBinding {RECONCILER_ROLE}"));
    removed.push(format!("ClusterRole {RECONCILER_ROLE}"));
    Ok(removed)
}

/// The same by somebody who may do everything: object by object.
pub async fn clean_up_as_operator(client: &Client) -> Result<Vec<String>, StepError> {
    let mut removed = Vec::new();
    for kind in [ObjectKind::ClusterRoleBinding, ObjectKind::ClusterRole] {
        let ours = kube::list_ours(client, kind).await;
        for name in ours.map_err(StepError::new(format!("list {kind}s")))? {
            remove(client, kind, &name).await?;
            removed.push(format!("{kind} {name}"));
        }
    }
    for kind in [ObjectKind::RoleBinding, ObjectKind::Role] {
        remove(client, kind, RECONCILER_ROLE).await?;
    }
    for account in [super::IMPERSONATOR, super::RECONCILER] {
        remove(client, ObjectKind::ServiceAccount, account).await?;
    }
    remove(client, ObjectKind::Namespace, super::NAMESPACE).await?;
    removed.push(format!("Namespace {}", super::NAMESPACE));
    Ok(removed)
}

/// Makes the reconciler's ClusterRole a dependent of its ClusterRoleBinding.
async fn hang_on_binding(client: &Client) -> Result<(), StepError> {
    let kind = ObjectKind::ClusterRoleBinding;
    let path = format!("{}/{RECONCILER_ROLE}", kind.collection());
    let binding: Value = client
        .get(&path)
        .await
        .map_err(StepError::new(format!("read {kind} {RECONCILER_ROLE}")))?;
    let uid = binding.pointer("/metadata/uid").and_then(Value::as_str);
    let owner = json!({ "metadata": { "ownerReferences": [{
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "name": RECONCILER_ROLE,
        "uid": uid.unwrap_or_default(),
    }] } });
    let step = || {
        StepError::new(format!(
            "prepare the removal of ClusterRole {RECONCILER_ROLE}"
        ))
    };
    let body = client.write(&owner).map_err(step())?;
    let path = format!("{}/{RECONCILER_ROLE}", ObjectKind::ClusterRole.collection());
    let merge = Some(("application/merge-patch+json", body));
    let sent = client.send(http::Method::PATCH, &path, merge).await;
    sent.map(drop).map_err(step())
}

/// Names of grant groups' objects on the cluster that are not in `groups`.
async fn unwanted(
    client: &Client,
    kind: ObjectKind,
    groups: &BTreeSet<String>,
) -> Result<Vec<String>, StepError> {
    let ours = kube::list_ours(client, kind).await;
    let mut ours = ours.map_err(StepError::new(format!("list {kind}s")))?;
    ours.retain(|name| name.starts_with(grant_group::CLUSTER) && !groups.contains(name));
    Ok(ours)
}

async fn write(client: &Client, object: &Object) -> Result<(), StepError> {
    patiently(|| kube::apply(client, object))
        .await
        .map_err(StepError::new(format!("write {object}")))
}

async fn remove(client: &Client, kind: ObjectKind, name: &str) -> Result<(), StepError> {
    patiently(|| kube::delete(client, kind, name))
        .await
        .map_err(StepError::new(format!("remove {kind} {name}")))
}

/// Tries again while the answer is 403: the authoriser may not have heard of the rule yet.
pub(super) async fn patiently<T, F>(attempt: impl Fn() -> F) -> Result<T, ClientError>
where
    F: Future<Output = Result<T, ClientError>>,
{
    let end = Instant::now() + PROPAGATION;
    loop {
        match attempt().await {
            Err(error) if error.code() == Some(StatusCode::FORBIDDEN) && Instant::now() < end => {
                sleep(RETRY).await;
            }
            other => return other,
        }
    }
}
