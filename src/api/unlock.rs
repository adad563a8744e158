//! `POST users/NAME/unlock`: an account's wrong passwords are forgotten, and an address may be vouched for.
//!
//! `{"from": "203.0.113.7"}`: for an hour whoever tries from there is no stranger to the account, so that the
//! person gets in while somebody else goes on trying. It hands out nothing: the password is needed all the
//! same, and the tries are bounded all the same. So it does not take the role `admin`, only a rule for
//! `create` on `users/unlock`: a help desk can be given that alone.

use super::{
    ApiError, body,
    error::{Mistake, ObjectRef},
    resource::{self, Context},
};
use crate::{
    objects::{Kind as _, User, VouchedSource},
    status::clock,
    store::{StoreError, Txn},
};
use serde::Deserialize;
use std::{net::IpAddr, time::Duration};

/// Enough for the person to sit down and log in; then their device is known.
const VOUCHED: Duration = Duration::from_hours(1);
/// How often an unlock is tried anew because the user was changed in between.
const ATTEMPTS: usize = 4;

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unlock {
    #[serde(default)]
    from: Option<String>,
}

/// Unlocks a user, and shows them.
pub(super) async fn unlock(cx: &Context<'_>, name: &str, bytes: &[u8]) -> Result<User, ApiError> {
    let wanted: Unlock = match bytes {
        [] => Unlock::default(),
        bytes => body::value(bytes, "unlock")?,
    };
    let from = wanted
        .from
        .map(|text| address(cx, name, &text))
        .transpose()?;
    for _ in 0..ATTEMPTS {
        let Some((mut user, found)) = cx.load::<User>(name).await? else {
            return Err(ApiError::NotFound(ObjectRef::of::<User>(name)));
        };
        user.private.unlocks += 1;
        user.private.vouched = from.and_then(|address| {
            let until = clock::whole_seconds(clock::now())
                .checked_add(VOUCHED)
                .ok()?;
            Some(VouchedSource { address, until })
        });
        let key = User::key(name);
        let txn = Txn::new().when(key.clone(), found.mod_revision);
        match cx.commit(txn.put(key, user.encode())).await {
            Ok(revision) => {
                let by = &*cx.caller.handle;
                if revision.is_some() {
                    let from = from.map(|it| it.to_string()).unwrap_or_default();
                    tracing::info!(user = name, by, from, "login unlocked");
                }
                return Ok(resource::shown(cx, user.object, revision));
            }
            Err(StoreError::Conflict { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(resource::busy::<User>(name))
}

fn address(cx: &Context<'_>, name: &str, text: &str) -> Result<IpAddr, ApiError> {
    let wrong = |mistake| ApiError::Invalid(ObjectRef::of::<User>(name), vec![mistake]);
    if !cx.api.login.tells_sources_apart() {
        let why = "this gateway does not tell addresses apart (login.source_tries is 0)";
        return Err(wrong(Mistake::forbidden("from", why)));
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| wrong(Mistake::invalid("from", text, "must be an IP address")))?;
    Ok(address.to_canonical())
}
