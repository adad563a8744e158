//! What is done with a cluster beside reading and writing its object: `clusters/NAME/manifest`,
//! `credential`, `sync`, `cleanup`.

use super::authority::{Authority, Ground};
use super::body;
use super::draft::Draft;
use super::error::{ApiError, ObjectRef};
use super::query::DryRun;
use super::resource::Context;
use crate::clusters::HandedOver;
use crate::objects::Cluster;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credential {
    reconciler: String,
    #[serde(default)]
    impersonator: Option<String>,
}

/// What an operator applies to a cluster, also to one that is not registered yet.
pub(super) fn manifest(cx: &Context<'_>, name: &str) -> Result<Value, ApiError> {
    let items = cx.api.clusters.manifest(name)?;
    Ok(json!({"kind": "List", "apiVersion": "v1", "items": items}))
}

/// Hands over the tokens of the two accounts.
pub(super) async fn credential(
    cx: &Context<'_>,
    name: &str,
    bytes: &[u8],
) -> Result<Value, ApiError> {
    refuse_dry_run(cx)?;
    must_own(cx, name).await?;
    let given: Credential = body::secret(bytes)?;
    let tokens = HandedOver {
        reconciler: Zeroizing::new(given.reconciler),
        impersonator: given.impersonator.map(Zeroizing::new),
    };
    Ok(json!(cx.api.clusters.hand_over(name, tokens).await?))
}

/// Has the gateway look at a whole cluster, and says how it stands then.
pub(super) async fn sync(cx: &Context<'_>, name: &str) -> Result<Value, ApiError> {
    refuse_dry_run(cx)?;
    must_own(cx, name).await?;
    Ok(json!(cx.api.clusters.sync(name).await?))
}

/// Takes everything of ours away from a cluster.
pub(super) async fn clean_up(cx: &Context<'_>, name: &str) -> Result<Value, ApiError> {
    refuse_dry_run(cx)?;
    must_own(cx, name).await?;
    Ok(json!(cx.api.clusters.clean_up(name).await?))
}

/// Whoever acts on a cluster with the gateway's own accounts must hold everything there.
async fn must_own(cx: &Context<'_>, name: &str) -> Result<(), ApiError> {
    let authority = Authority::of(cx, ObjectRef::of::<Cluster>(name));
    let ground = Ground::Cluster(name.to_owned());
    // These are no writes of one transaction: the right is looked at once, as for any request to a cluster.
    authority.must_own(&mut Draft::default(), &ground).await
}

/// What happens on a cluster cannot be tried without happening.
fn refuse_dry_run(cx: &Context<'_>) -> Result<(), ApiError> {
    match cx.dry_run {
        DryRun::No => Ok(()),
        DryRun::Yes => Err(ApiError::BadRequest(
            "this cannot be done with dryRun".to_owned(),
        )),
    }
}
