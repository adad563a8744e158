//! Removing objects.

use super::access::Operation;
use super::body;
use super::draft::Draft;
use super::error::{ApiError, ObjectRef, shown};
use super::query::DryRun;
use super::resource::{ATTEMPTS, Context, Fixed, Resource, busy, refuse_fixed, to_write};
use super::{Reach, settle};
use crate::objects::Kind;
use crate::store::StoreError;
use serde::Deserialize;
use serde_json::Value;

/// `metav1.DeleteOptions`. Nothing has finalizers or dependents of its own, so most of it means nothing here;
/// a field that it does not have may be a misspelt precondition, and is refused (F7).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteOptions {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default, rename = "apiVersion")]
    _api_version: Option<Value>,
    #[serde(default, rename = "gracePeriodSeconds")]
    _grace_period_seconds: Option<Value>,
    #[serde(default, rename = "propagationPolicy")]
    _propagation_policy: Option<Value>,
    #[serde(default, rename = "orphanDependents")]
    _orphan_dependents: Option<Value>,
    #[serde(default, rename = "ignoreStoreReadErrorWithClusterBreakingPotential")]
    _ignore_store_read_error: Option<Value>,
    #[serde(default)]
    preconditions: Option<Preconditions>,
    #[serde(default)]
    dry_run: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Preconditions {
    #[serde(default)]
    uid: Option<String>,
    #[serde(default)]
    resource_version: Option<String>,
}

/// Removes an object and what hangs on it; gives the object as it was.
pub(super) async fn delete<K: Resource>(
    cx: &Context<'_>,
    name: &str,
    bytes: &[u8],
) -> Result<K, ApiError> {
    let options: DeleteOptions = match bytes {
        [] => DeleteOptions::default(),
        bytes => body::value(bytes, "DeleteOptions")?,
    };
    if let Some(kind) = options.kind.filter(|kind| kind != "DeleteOptions") {
        return Err(ApiError::BadRequest(format!(
            "the kind in the data ({}) does not match the expected kind (DeleteOptions)",
            shown(&kind)
        )));
    }
    let preconditions = options.preconditions.unwrap_or_default();
    let tried = options.dry_run.is_some_and(|values| !values.is_empty());
    let cx = &Context {
        dry_run: if tried { DryRun::Yes } else { cx.dry_run },
        ..*cx
    };
    // What is stored under a name of the folder does not count, and can go.
    let hidden = match K::fixed(cx.api, name) {
        // Nothing proves here what the stored one gave: it is for those who reach all of the kind.
        Some(Fixed::Folder(..)) => {
            cx.caller.reach == Reach::All && cx.load::<K>(name).await?.is_some()
        }
        Some(Fixed::BuiltIn(_)) | None => false,
    };
    if !hidden {
        refuse_fixed::<K>(cx, name)?;
    }
    for _ in 0..ATTEMPTS {
        let (stored, found) = to_write::<K>(cx, name, &Operation::Delete(name)).await?;
        check_preconditions(&stored.object, &preconditions)?;
        let mut draft = Draft::default();
        settle::prove::<K>(cx, &mut draft, &Operation::Delete(name)).await?;
        draft.delete(&found.key, found.mod_revision);
        let removed = if hidden {
            cx.commit(draft.finish::<K>(name)?).await.map(drop)
        } else {
            stored.object.admit_removal(cx, &mut draft).await?;
            cx.remove(draft.finish::<K>(name)?, &stored.object).await
        };
        match removed {
            Ok(()) => return Ok(stored.object),
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(busy::<K>(name))
}

fn check_preconditions<K: Kind>(object: &K, wanted: &Preconditions) -> Result<(), ApiError> {
    let meta = object.meta();
    let differs = |field: &str, wanted: &str, found: &str| {
        let text = format!(
            "Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {found}"
        );
        ApiError::Conflict(ObjectRef::of::<K>(&meta.name), text)
    };
    if let Some(uid) = wanted.uid.as_ref().filter(|uid| **uid != meta.uid) {
        return Err(differs("UID", uid, &meta.uid));
    }
    let version = wanted.resource_version.as_ref();
    if let Some(version) = version.filter(|v| **v != meta.resource_version) {
        return Err(differs("ResourceVersion", version, &meta.resource_version));
    }
    Ok(())
}
