//! Users: people and machine users.

use super::admins::{self, Loss};
use super::authority::{Authority, Lasts};
use super::bound;
use super::cascade::{self, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::resource::{Context, Resource};
use super::table::{self, Column};
use super::{Api, Caller};
use crate::objects::{
    Kind, LOCAL, NameError, Principal, Stored, User, UserPrivate, UserStatus, check_handle,
    tombstones,
};
use crate::status::clock;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Where it stands that a handle belonged to a removed user: whatever still names the handle (a binding of
/// an older gateway, an audit line, a cluster's own RoleBinding) must not mean somebody else one day.
pub fn tombstone(handle: &str) -> String {
    format!("{}{handle}", tombstones(User::PLURAL))
}

impl Resource for User {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The user's handle"),
        Column::shown("Display Name", "For people to read"),
        Column::shown("State", "Active or Disabled"),
        Column::shown("Kind", "Person or Machine"),
        Column::shown("Age", "Time since the user was made"),
        Column::wide("Password", "Whether a password is set"),
        Column::wide(
            "Logins",
            "Whether strangers are refused after too many wrong passwords",
        ),
        Column::wide("Uid", "What bindings name the user by"),
    ];

    const FIELDS: &'static [&'static str] = &["spec.disabled", "spec.machine"];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.disabled" => self.spec.disabled.to_string().into(),
            "spec.machine" => self.spec.machine.to_string().into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let pick = |yes: bool, a: &str, b: &str| Value::from(if yes { a } else { b });
        vec![
            self.metadata.name.as_str().into(),
            table::or_none(&self.spec.display_name),
            pick(self.spec.disabled, "Disabled", "Active"),
            pick(self.spec.machine, "Machine", "Person"),
            table::age(self, now),
            pick(self.status.has_password, "set", "<none>"),
            logins(self.status.throttled_until, now),
            self.metadata.uid.as_str().into(),
        ]
    }

    fn check_name(name: &str) -> Result<(), NameError> {
        check_handle(name)
    }

    fn show(&mut self, api: &Api, _: &Caller) {
        let known = api.index.user(&self.metadata.name);
        let known = known.filter(|user| *user.uid == *self.metadata.uid);
        let wait = known.and_then(|user| api.login.kept_from(&user));
        self.status.throttled_until = wait.and_then(|wait| clock::now().checked_add(wait).ok());
    }

    async fn admit_new(
        &mut self,
        _: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<UserPrivate, ApiError> {
        draft.check_text("spec.displayName", &self.spec.display_name);
        if !self.spec.principals.is_empty() {
            draft.wrong(filled("spec.principals"));
        }
        self.spec.principals = vec![Principal {
            provider: LOCAL.to_owned(),
            id: self.metadata.uid.clone(),
        }];
        self.status = UserStatus::default();
        draft.when(&tombstone(&self.metadata.name), 0);
        Ok(UserPrivate::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<UserPrivate, ApiError> {
        let was = &old.object.spec;
        draft.check_text("spec.displayName", &self.spec.display_name);
        draft.same("spec.machine", &was.machine, &self.spec.machine);
        if self.spec.principals.is_empty() {
            self.spec.principals.clone_from(&was.principals);
        }
        if self.spec.principals != was.principals {
            draft.wrong(filled("spec.principals"));
        }
        self.status = old.object.status.clone();
        let lasts = if was.disabled && !self.spec.disabled {
            Lasts::ForGood
        } else {
            Lasts::Now
        };
        self.guard(cx, draft, lasts).await?;
        if self.spec.disabled && !was.disabled {
            let object = ObjectRef::of::<Self>(&self.metadata.name);
            admins::guard(cx, draft, &Loss::User(&old.object.metadata.uid), object).await?;
        }
        Ok(old.private.clone())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        self.guard(cx, draft, Lasts::Now).await?;
        bound::forget(draft, &self.metadata.uid);
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        admins::guard(cx, draft, &Loss::User(&self.metadata.uid), object).await?;
        cx.bury(self, draft).await?;
        cascade::of_user(&Hands::of(cx.api), self)
            .await?
            .fill(draft);
        Ok(())
    }

    async fn sweep(&self, hands: &Hands) -> Result<(), ApiError> {
        let key = Self::key(&self.metadata.name);
        while cascade::of_user(hands, self)
            .await?
            .write(hands, &key)
            .await?
        {}
        Ok(())
    }
}

/// `open`, or for how long strangers are refused.
fn logins(throttled_until: Option<Timestamp>, now: Timestamp) -> Value {
    match throttled_until {
        Some(until) if until > now => {
            let wait = table::until(Some(until), now);
            format!("throttled {}", wait.as_str().unwrap_or_default()).into()
        }
        Some(_) | None => "open".into(),
    }
}

impl User {
    /// Nobody writes a user who holds more than they do themselves: who lets somebody in again gives what they hold,
    /// and who shuts them out takes it (CVE-2025-23391).
    async fn guard(
        &self,
        cx: &Context<'_>,
        draft: &mut Draft,
        lasts: Lasts,
    ) -> Result<(), ApiError> {
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        let authority = Authority::of(cx, object);
        authority.must_hold_all_of_user(draft, self, lasts).await
    }
}

/// A field that the gateway fills.
fn filled(field: &str) -> Mistake {
    Mistake::forbidden(field, "the gateway fills this field")
}
