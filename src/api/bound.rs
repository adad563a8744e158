//! What somebody is bound to, as one key for each user, group and project.
//!
//! Who gives away all that a group, a user or a project holds must hold it. The list of it is in memory, and a binding
//! that is made at the same moment, perhaps by another replica, is not in it. So every write of a binding writes the key
//! of its subject (and of its project), whatever was there: writers of bindings do not hinder each other. Whoever reads
//! the list waits until the memory has seen that key, and their write holds only while nobody has written it since.

use super::draft::Draft;
use super::error::ApiError;
use super::resource::Context;
use crate::authz::Policy;
use crate::objects::BindingSpec;
use std::sync::Arc;

fn key(uid: &str) -> String {
    format!("/palisade/meta/bound/{uid}")
}

/// A binding of this spec is written.
pub(super) fn touch(draft: &mut Draft, spec: &BindingSpec) {
    for uid in [&spec.subject.uid, &spec.project_uid] {
        if !uid.is_empty() {
            draft.put_over(&key(uid), b"{\"schema\":1}".to_vec());
        }
    }
}

/// The user, group or project of this uid goes, and the uid never comes back.
pub(super) fn forget(draft: &mut Draft, uid: &str) {
    draft.delete_over(&key(uid));
}

/// The policy with every binding of this uid in it; the write holds only while none is written.
pub(super) async fn settled(
    cx: &Context<'_>,
    draft: &mut Draft,
    uid: &str,
) -> Result<Arc<Policy>, ApiError> {
    let key = key(uid);
    let revision = cx.caught_up(&key).await?;
    draft.when(&key, revision);
    Ok(cx.api.authz.policy())
}
