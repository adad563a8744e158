//! A provider's group as the subject of a binding: `<provider>:<name>`, looked up once, when it is written, and counted by
//! its immutable id from then on.
//!
//! A directory is asked. GitHub tells groups to their members alone: one is known by name as soon as somebody who is in
//! it has logged in, and before that by its id. An OpenID provider's groups are names and ids at once.

use super::draft::Draft;
use super::error::{ApiError, Mistake};
use super::groups::fill_uid;
use super::login::LoginError;
use super::resource::Context;
use crate::authn::providers::{GroupRef, Source, github, group_uid};
use crate::objects::Subject;

const FIELD: &str = "spec.subject.name";
const UNKNOWN: &str =
    "nobody who is in it has logged in yet: write its id, org-<number> or team-<number>";

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
    let found = match &provider.source {
        Source::Ldap(directory) => {
            let found = Box::pin(directory.groups_named(name)).await;
            found.map_err(|failure| ApiError::Password(LoginError::from(failure)))?
        }
        Source::Github(_) => known_at_github(&provider.name, name, cx),
        Source::Oidc(_) if name.trim().is_empty() => Vec::new(),
        Source::Oidc(_) => vec![GroupRef {
            id: name.into(),
            name: name.into(),
        }],
    };
    match found.as_slice() {
        [] if matches!(provider.source, Source::Github(_)) => {
            draft.wrong(Mistake::invalid(FIELD, &subject.name, UNKNOWN));
        }
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

/// A group by its id, called as it was called last; or by its name, if somebody is in it and no other is called so.
fn known_at_github(provider: &str, name: &str, cx: &Context<'_>) -> Vec<GroupRef> {
    let index = &cx.api.login.index;
    let prefix = format!("{provider}:");
    let bare = |text: &str| Box::<str>::from(text.strip_prefix(&prefix).unwrap_or(text));
    let id: Option<Box<str>> = if github::is_group_id(name) {
        Some(name.into())
    } else {
        let uid = index.foreign_group_uid(&format!("{prefix}{name}"));
        uid.map(|uid| bare(&uid))
    };
    let group = id.map(|id| {
        let shown = index.group_name(&group_uid(provider, &id));
        let name = shown.map_or_else(|| id.clone(), |shown| bare(&shown));
        GroupRef { id, name }
    });
    group.into_iter().collect()
}
