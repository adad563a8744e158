//! The last admin stays.
//!
//! Somebody who can log in must hold the role `admin` without an end, or nobody can repair anything
//! without the host. Every write that takes the role from somebody goes through [`guard`], which counts who
//! is left; two of them in one instant would each count the other's admin, so all of them write one key.

use super::draft::Draft;
use super::error::ApiError;
use super::error::ObjectRef;
use super::resource::Context;
use crate::authz::folder::Standing;
use crate::objects::{Binding, Group, Member, Stored, Subject, SubjectKind, User};

/// The built-in role that reaches everything on the own API.
pub(super) const ADMIN: &str = "admin";
/// Written by every transaction that takes the role from somebody.
const GUARD: &str = "/palisade/meta/admins";

const LAST: &str = "nobody would be left who holds the role \"admin\" without an end and can log in: bind it to somebody else, with a password, first";

/// A change that may take the role from somebody.
#[derive(Clone, Copy)]
pub(super) enum Loss<'a> {
    /// The user of this uid is disabled or removed.
    User(&'a str),
    /// The group of this uid has these members from now on.
    Members(&'a str, &'a [Member]),
    /// The binding of this name becomes this, or goes.
    Binding(&'a str, Option<&'a Binding>),
}

/// Refuses (409) the change that takes the role from the last one who holds it.
pub(super) async fn guard(
    cx: &Context<'_>,
    draft: &mut Draft,
    loss: &Loss<'_>,
    object: ObjectRef,
) -> Result<(), ApiError> {
    let revision = cx.caught_up(GUARD).await?;
    let mut concerned = false;
    let mut left = false;
    for binding in admin_bindings(cx).await? {
        let (touched, holds) = look(cx, &binding, loss).await?;
        concerned |= touched;
        left |= holds;
    }
    if !concerned {
        return Ok(());
    }
    if !left {
        return Err(ApiError::Conflict(object, LAST.to_owned()));
    }
    draft.put_raw(GUARD, b"{\"schema\":1}".to_vec(), revision);
    Ok(())
}

/// Whether the change touches what this binding gives, and whether somebody holds the role by it after
/// the change.
async fn look(
    cx: &Context<'_>,
    binding: &Binding,
    loss: &Loss<'_>,
) -> Result<(bool, bool), ApiError> {
    let subject = &binding.spec.subject;
    match loss {
        Loss::Binding(name, becomes) if *name == binding.metadata.name => {
            let Some(becomes) = becomes.filter(|b| gives_admin(b)) else {
                return Ok((true, false));
            };
            Ok((true, holds(cx, &becomes.spec.subject, None).await?))
        }
        Loss::User(uid) => {
            let left = holds(cx, subject, Some(uid)).await?;
            Ok((concerns(cx, subject, uid).await?, left))
        }
        Loss::Members(uid, members)
            if subject.kind == SubjectKind::Group && subject.uid == *uid =>
        {
            Ok((true, any_active(cx, members, None).await?))
        }
        Loss::Binding(..) | Loss::Members(..) => Ok((false, holds(cx, subject, None).await?)),
    }
}

fn gives_admin(binding: &Binding) -> bool {
    binding.spec.role == ADMIN && binding.spec.expires_at.is_none()
}

/// Whether anybody but `without` holds what is bound to `subject`.
async fn holds(
    cx: &Context<'_>,
    subject: &Subject,
    without: Option<&str>,
) -> Result<bool, ApiError> {
    match subject.kind {
        SubjectKind::User => {
            let member = Member {
                name: subject.name.clone(),
                uid: subject.uid.clone(),
            };
            any_active(cx, &[member], without).await
        }
        SubjectKind::Group => {
            let members = members_of(cx, subject).await?;
            any_active(cx, &members, without).await
        }
    }
}

/// Whether the user of this uid is, or is in, `subject`.
async fn concerns(cx: &Context<'_>, subject: &Subject, uid: &str) -> Result<bool, ApiError> {
    match subject.kind {
        SubjectKind::User => Ok(subject.uid == uid),
        SubjectKind::Group => Ok(members_of(cx, subject).await?.iter().any(|m| m.uid == uid)),
    }
}

async fn members_of(cx: &Context<'_>, subject: &Subject) -> Result<Vec<Member>, ApiError> {
    let group = cx.load::<Group>(&subject.name).await?;
    let group = group.filter(|(stored, _)| stored.object.metadata.uid == subject.uid);
    Ok(group.map_or_else(Vec::new, |(stored, _)| stored.object.spec.members))
}

async fn any_active(
    cx: &Context<'_>,
    members: &[Member],
    without: Option<&str>,
) -> Result<bool, ApiError> {
    for member in members.iter().filter(|m| without != Some(m.uid.as_str())) {
        let user = cx.load::<User>(&member.name).await?;
        let can_log_in = |user: &Stored<User>| {
            let (object, password) = (&user.object, &user.private.password);
            let spec = &object.spec;
            object.metadata.uid == member.uid
                && !spec.disabled
                && !spec.machine
                && password.is_some()
        };
        if user.is_some_and(|(stored, _)| can_log_in(&stored)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bindings of the role that do not end, those of the policy folder too. Which there are the policy in memory says: it
/// is as far as whatever took the role from somebody before. What they are is read anew, one by one. A binding that
/// the policy has not seen yet leaves one more than is counted.
async fn admin_bindings(cx: &Context<'_>) -> Result<Vec<Binding>, ApiError> {
    let policy = cx.api.authz.policy();
    let given = policy
        .global_bindings()
        .filter(|grant| grant.role() == ADMIN && grant.expires_at().is_none());
    let names: Vec<&str> = given.map(|grant| grant.name()).collect();
    let folder = cx.api.authz.folder();
    let mut bindings = Vec::new();
    for name in names {
        let binding = match folder.bindings.get(name) {
            Some(placed) => {
                matches!(placed.standing, Standing::Counts(_)).then(|| placed.binding.clone())
            }
            None => cx
                .load::<Binding>(name)
                .await?
                .map(|(stored, _)| stored.object),
        };
        bindings.extend(binding.filter(gives_admin));
    }
    Ok(bindings)
}
