//! Writes are judged by the policy of the moment.
//!
//! The gateway judged the request by what this replica knew when it came. Another replica may have taken the right away
//! a moment before. So whatever the store has is waited for before a write, and the request is judged once more: by a
//! policy in which everything is that was acknowledged before the request came, and so is its token. What changes after that is compared in
//! the write's own transaction (`authority`). A replica that cannot follow the store writes nothing (503).

use super::access::Operation;
use super::authority::Authority;
use super::cascade::APPLY_WAIT;
use super::draft::Draft;
use super::error::{ApiError, ObjectRef};
use super::resource::Context;
use super::{Api, Caller, Reach, access, grants};
use crate::authn::{Authn, AuthnError, TokenId};
use crate::authz::RequestInfo;
use crate::objects::Kind;
use crate::status::clock;
use http::request::Parts;
use std::sync::Arc;

/// The caller of a write, as the policy of this moment lets them through.
pub(super) async fn caller<K: Kind>(
    api: &Api,
    caller: &Caller,
    head: &Parts,
    op: &Operation<'_>,
) -> Result<Caller, ApiError> {
    let revision = api.store.revision().await?;
    if api.follower.wait_for(revision, APPLY_WAIT).await.is_err() {
        return Err(ApiError::Behind);
    }
    // A body may come slowly, and who was shown out meanwhile writes nothing more. Whoever acts as somebody else has
    // their own token.
    let still = TokenId::parse(&caller.token_id).map(|id| {
        let authn = Authn::new(Arc::clone(&api.index));
        authn.still(id, clock::now())
    });
    match still {
        Some(Ok(())) => {}
        Some(Err(AuthnError::Unavailable(_))) => return Err(ApiError::Behind),
        Some(Err(AuthnError::Refused(_) | AuthnError::Ambiguous(_))) | None => {
            return Err(access::forbidden::<K>(caller, op));
        }
    }
    let target = head.uri.path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let info = RequestInfo::parse(head.method.as_str(), target, false);
    let info = info.map_err(|refusal| ApiError::BadRequest(refusal.to_string()))?;
    let judged = api.authz.reach(&grants::who(caller), &info.attributes());
    match judged {
        // What the permit does not say is not taken, should the policy have become wider.
        Some((Reach::All, _)) => Ok(caller.clone()),
        Some((Reach::Own, _)) => Ok(caller.with_reach(Reach::Own)),
        None => Err(access::forbidden::<K>(caller, op)),
    }
}

/// What lets the caller write this kind at all is compared in the write's transaction: a role that they lose in the
/// same instant is lost. Whoever reaches their own alone needs no role.
pub(super) async fn prove<K: Kind>(
    cx: &Context<'_>,
    draft: &mut Draft,
    op: &Operation<'_>,
) -> Result<(), ApiError> {
    if cx.caller.reach == Reach::Own {
        return Ok(());
    }
    let authority = Authority::of(cx, ObjectRef::of::<K>(op.name().unwrap_or_default()));
    if authority.may::<K>(draft, op).await? {
        return Ok(());
    }
    Err(access::forbidden::<K>(cx.caller, op))
}
