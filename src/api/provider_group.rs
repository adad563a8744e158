//! A provider's group as the subject of a binding: `<provider>:<name>`, looked up at the provider once, when it is
//! written, and counted by its immutable id from then on.

use super::draft::Draft;
use super::error::{ApiError, Mistake};
use super::groups::fill_uid;
use super::login::LoginError;
use super::resource::Context;
use crate::authn::providers::{GroupRef, group_uid};
use crate::objects::Subject;

const FIELD: &str = "spec.subject.name";

/// Fills the subject's uid, and its name as the provider spells it.
pub(super) async fn resolve(
    subject: &mut Subject,
    cx: &Context<'_>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let Some((provider, name)) = subject.name.split_once(':') else {
        return Ok(());
    };
    let Some(provider) = cx.api.login.providers.get(provider) else {
        let detail = "there is no such provider, or it is disabled";
        draft.wrong(Mistake::invalid(FIELD, &subject.name, detail));
        return Ok(());
    };
    let found = Box::pin(provider.directory.groups_named(name)).await;
    let found = found.map_err(|failure| ApiError::Password(LoginError::from(failure)))?;
    match found.as_slice() {
        [] => draft.wrong(Mistake::not_found(FIELD, &subject.name)),
        [GroupRef { id, name }] => {
            let uid = group_uid(&provider.name, id);
            let spelt = format!("{}:{name}", provider.name);
            fill_uid(draft, "spec.subject.uid", &mut subject.uid, &uid);
            subject.name = spelt;
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|group| &*group.id).collect();
            let detail = format!(
                "several groups are called so; write the id of one in place of the name: {}",
                ids.join(", ")
            );
            draft.wrong(Mistake::invalid(FIELD, &subject.name, detail));
        }
    }
    Ok(())
}
