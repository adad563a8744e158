//! `PUT users/NAME/password`: `{"password": "…", "current": "…"}`.
//!
//! Changing one's own takes the current password too, so that a stolen token cannot turn itself into a
//! login. Who sets somebody else's becomes them, so they must hold all that the other holds: an admin's password
//! is for admins to set (CVE-2025-23391).

use super::access::Operation;
use super::authority::{Authority, Lasts};
use super::body;
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::login::{LoginError, Proof};
use super::query::DryRun;
use super::resource::{Context, get_any};
use super::settle;
use crate::objects::User;
use crate::store::Compare;
use serde::Deserialize;
use zeroize::Zeroizing;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    password: String,
    #[serde(default)]
    current: Option<String>,
}

/// Sets a password, and shows the user.
pub(super) async fn set(cx: &Context<'_>, name: &str, bytes: &[u8]) -> Result<User, ApiError> {
    let change: Change = body::secret(bytes)?;
    let password = Zeroizing::new(change.password);
    let current = change.current.map(Zeroizing::new);
    if cx.dry_run == DryRun::Yes {
        return Err(ApiError::BadRequest(
            "a password cannot be set with dryRun".to_owned(),
        ));
    }
    let own = *name == *cx.caller.handle;
    let proof = match (own, current) {
        (true, Some(current)) => Proof::Current(current),
        (true, None) => {
            let missing = Mistake::required(
                "current",
                "changing your own password takes the current one",
            );
            return Err(ApiError::Invalid(
                ObjectRef::of::<User>(name),
                vec![missing],
            ));
        }
        (false, _) => Proof::Administrator(may_become(cx, name).await?),
    };
    let changed = cx.api.login.change_password(name, proof, password).await;
    match changed {
        Ok(_) => get_any::<User>(cx, name).await,
        Err(LoginError::NoUser) => Err(ApiError::NotFound(ObjectRef::of::<User>(name))),
        Err(LoginError::Conflict) => Err(super::resource::modified::<User>(name)),
        Err(error) => Err(ApiError::Password(error)),
    }
}

/// What must still be when the password is written: the caller holds all that the user holds.
async fn may_become(cx: &Context<'_>, name: &str) -> Result<Vec<Compare>, ApiError> {
    let object = ObjectRef::of::<User>(name);
    let Some((user, _)) = cx.load::<User>(name).await? else {
        return Err(ApiError::NotFound(object));
    };
    let mut draft = Draft::default();
    let op = Operation::Sub(name, "password", "update");
    settle::prove::<User>(cx, &mut draft, &op).await?;
    let authority = Authority::of(cx, object);
    authority
        .must_hold_all_of_user(&mut draft, &user.object, Lasts::ForGood)
        .await?;
    Ok(draft.txn.compares)
}
