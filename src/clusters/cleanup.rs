//! Takes away what Palisade made in a cluster: by the gateway's own account, or by an operator.
//!
//! The gateway's loop (`reconcile`) first removes what comes and goes with policy; what is left, the
//! accounts and their rules, goes here. An operator's credential does it all in one go.
//!
//! What could go wrong: a rule that was just written is not yet known to the API server that judges the
//! next request (its informer lags by milliseconds; of several API servers by more), so a 403 is tried
//! again for a bounded time; a clean-up that dies half-way (every step can be repeated, the next one ends
//! it); a gateway that puts back what an operator takes away (its account loses its rights first).

use super::{
    client::{Client, ClientError},
    kube,
    manifest::{IMPERSONATOR_ROLE, RECONCILER_ROLE},
    object::ObjectKind,
    reconcile::Key,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a 403 is taken for an authoriser that has not heard yet.
pub const PROPAGATION: Duration = Duration::from_secs(5);
/// Wait between two tries within [`PROPAGATION`].
const RETRY: Duration = Duration::from_millis(100);
/// Looks for what is left, after an operator's clean-up: a gateway may have written a last object meanwhile.
const LOOKS: usize = 5;

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

/// The accounts and their rules, when nothing else is left: by the reconciler, itself last.
///
/// Its binding and its role cannot both be deleted by itself: without the one it may not delete the other.
/// So the role is made a dependent of the binding, and the cluster's garbage collector removes it after
/// the binding is gone (without a binding it grants nothing to anybody).
pub async fn clean_up(client: &Client) -> Result<Vec<String>, StepError> {
    let mut removed = Vec::new();
    for kind in [ObjectKind::ClusterRoleBinding, ObjectKind::ClusterRole] {
        remove(client, kind, IMPERSONATOR_ROLE).await?;
        removed.push(format!("{kind} {IMPERSONATOR_ROLE}"));
    }
    hang_on_binding(client).await?;
    remove(client, ObjectKind::Namespace, super::NAMESPACE).await?;
    removed.push(format!("Namespace {}", super::NAMESPACE));
    remove(client, ObjectKind::ClusterRoleBinding, RECONCILER_ROLE).await?;
    removed.push(format!("ClusterRoleBinding {RECONCILER_ROLE}"));
    removed.push(format!("ClusterRole {RECONCILER_ROLE}"));
    Ok(removed)
}

/// Everything, by somebody who may do everything: object by object.
pub async fn clean_up_as_operator(client: &Client) -> Result<Vec<String>, StepError> {
    // From here on the gateway's account writes nothing any more.
    let account = Key::ClusterBinding(RECONCILER_ROLE.into());
    remove_key(client, &account).await?;
    let mut removed = vec![account.to_string()];
    for _ in 0..LOOKS {
        let left = kube::list_ours(client).await;
        let left = left.map_err(StepError::new("list what is there"))?;
        if left.is_empty() {
            break;
        }
        for key in left {
            remove_key(client, &key).await?;
            removed.push(key.to_string());
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

async fn remove(client: &Client, kind: ObjectKind, name: &str) -> Result<(), StepError> {
    let path = format!("{}/{name}", kind.collection());
    patiently(|| kube::delete(client, &path))
        .await
        .map_err(StepError::new(format!("remove {kind} {name}")))
}

async fn remove_key(client: &Client, key: &Key) -> Result<(), StepError> {
    kube::delete(client, &key.path())
        .await
        .map_err(StepError::new(format!("remove {key}")))
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
