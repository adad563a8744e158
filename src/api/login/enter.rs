//! From an account that has proven itself at its provider to a session: who may come, which user of ours that is, and
//! what is noted of it. One way for passwords and for browsers.

use super::{ATTEMPTS, Login, LoginError, Refused, Seen, Wanted, attempt::Done, error::NoHandle};
use crate::{
    api::users::tombstone,
    authn::{
        AuthnError, Device, Slot,
        Unknowable::{Loading, Unreadable},
        UserEntry,
        providers::{
            Account, Arrival, ArrivalError, Ids, Provider, Record, record_key, redirect::Failure,
        },
    },
    objects::{Kind as _, Member, Principal, Stored, User, UserPrivate, UserSpec, check_handle},
    status::clock,
    store::{StoreError, Txn},
};
use jiff::Timestamp;
use std::sync::Arc;

/// An account that has proven itself.
pub(super) struct Person<'a> {
    pub(super) provider: &'a Provider,
    pub(super) id: &'a str,
    /// What a new user's handle is made of.
    pub(super) handle: &'a str,
    pub(super) display_name: &'a str,
    /// What the provider says of it; the user in it does not count.
    pub(super) record: Record,
}

impl Login {
    /// The session that is wanted, for an account that a browser has just brought from its provider
    /// ([`Provider::finish`]).
    pub async fn enter_arrival(
        &self,
        provider: &Provider,
        arrival: Arrival,
        wanted: &Wanted,
        seen: &mut Seen,
    ) -> Result<Done, LoginError> {
        let known = self.index.account(&provider.name, &arrival.id);
        let tried = known
            .as_ref()
            .and_then(|known| self.user_of(&known.record.user));
        let work = self.arrive(provider, arrival, known, (wanted, &mut *seen));
        let done = Box::pin(work).await;
        self.note(tried, &done, seen);
        match done {
            // Who has just proven themselves typed no wrong password.
            Err(LoginError::Refused(Refused::Disabled)) => Err(LoginError::NotListed),
            done => done,
        }
    }

    async fn arrive(
        &self,
        provider: &Provider,
        arrival: Arrival,
        known: Option<Arc<Account>>,
        (wanted, seen): (&Wanted, &mut Seen),
    ) -> Result<Done, LoginError> {
        if !self.index.is_loaded() {
            return Err(AuthnError::Unavailable(Loading).into());
        }
        let now = clock::now();
        let key = record_key(&provider.name, &arrival.id);
        let grant = arrival
            .grant
            .as_ref()
            .map(|grant| grant.seal(&self.keyring, &key, provider))
            .transpose()?;
        let record =
            Record::new(Member::default(), &arrival.name, arrival.groups, now).granted(grant);
        let person = Person {
            provider,
            id: &arrival.id,
            handle: &arrival.handle,
            display_name: &arrival.display_name,
            record,
        };
        self.enter_as(&person, (known, None), wanted, (seen, now))
            .await
    }

    pub(super) async fn enter_as(
        &self,
        person: &Person<'_>,
        (mut known, device): (Option<Arc<Account>>, Option<Device>),
        wanted: &Wanted,
        (seen, now): (&mut Seen, Timestamp),
    ) -> Result<Done, LoginError> {
        let provider = person.provider;
        let (access, ids) = (&provider.config.access, Ids::of(&provider.config.source));
        if !person.record.is_listed(person.id, access, &ids) {
            return Err(LoginError::NotListed);
        }
        for _ in 0..ATTEMPTS {
            let user = match &known {
                Some(known) => self.bring_up_to_date(known, &person.record).await?,
                None => self.make_user(person).await?,
            };
            let Some(user) = user else {
                // Somebody wrote the same account at the same time: look again.
                known = self.index.account(&provider.name, person.id);
                continue;
            };
            if user.disabled {
                return Err(LoginError::Refused(Refused::Disabled));
            }
            let made = self.let_in(user, device, wanted, (&mut *seen, now)).await?;
            if let Some(done) = made {
                return Ok(done);
            }
            known = self.index.account(&provider.name, person.id);
        }
        Err(LoginError::Conflict)
    }

    /// Notes what the provider says of an account that was here before; gives its user. None: look again.
    async fn bring_up_to_date(
        &self,
        known: &Arc<Account>,
        record: &Record,
    ) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let member = &known.record.user;
        match self.index.user_slot(&member.name) {
            Some(Slot::Known(user)) if *user.uid == *member.uid => {}
            Some(Slot::Unreadable) => return Err(AuthnError::Unavailable(Unreadable).into()),
            // An account whose user was removed stays out: the handle is nobody's for ever.
            Some(Slot::Known(_)) | None => {
                return Err(LoginError::NoHandle(NoHandle::Removed(member.name.clone())));
            }
        }
        let record = record.of(member.clone()).after(&known.record);
        // Some give a token at the first login alone. The one that is there now: a refresh may have got another since.
        let kept = record.grant.clone().or_else(|| known.record.grant.clone());
        let record = record.granted(kept);
        if known.record.says_what(&record) && known.record.grant == record.grant {
            known.confirm(record.checked_at);
        } else {
            let key = record_key(known.provider(), &known.id);
            let txn = Txn::new().when(key.clone(), known.revision);
            match self.store.txn(txn.put(key.clone(), record.encode())).await {
                Ok(revision) => self.applied(revision).await,
                Err(StoreError::Conflict { .. }) => {
                    self.catch_up(&key).await?;
                    return Ok(None);
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(self.user_of(member))
    }

    /// The user of an account that is here for the first time. None: look again.
    async fn make_user(&self, person: &Person<'_>) -> Result<Option<Arc<UserEntry>>, LoginError> {
        let (provider, record) = (person.provider, &person.record);
        let handle = provider.handle(person.handle);
        if let Err(error) = check_handle(person.handle) {
            return Err(LoginError::NoHandle(NoHandle::Name(
                shown(person.handle),
                error,
            )));
        }
        let spec = UserSpec {
            display_name: shown(person.display_name),
            principals: vec![Principal {
                provider: provider.name.to_string(),
                id: person.id.to_owned(),
            }],
            ..UserSpec::default()
        };
        let mut user = User::new(handle.clone(), spec);
        user.metadata.uid = uuid::Uuid::new_v4().to_string();
        user.metadata.creation_timestamp = Some(clock::whole_seconds(record.checked_at));
        let member = Member {
            name: handle.clone(),
            uid: user.metadata.uid.clone(),
        };
        let record = record.of(member.clone());
        let (of_user, grave) = (User::key(&handle), tombstone(&handle));
        let of_account = record_key(&provider.name, person.id);
        let txn = Txn::new()
            .when(of_user.clone(), 0)
            .when(grave.clone(), 0)
            .when(of_account.clone(), 0)
            .put(of_account.clone(), record.encode())
            .put(
                of_user.clone(),
                Stored::new(user, UserPrivate::default()).encode(),
            );
        match self.store.txn(txn).await {
            Ok(revision) => {
                self.applied(revision).await;
                let provider = &*provider.name;
                tracing::info!(user = handle, provider, "a user came for the first time");
                Ok(self.user_of(&member))
            }
            Err(StoreError::Conflict { key }) if key == of_user => {
                // Also if the same account was quicker on another connection: then its record is there.
                match self.store.get(&of_account).await? {
                    Some(kv) => {
                        self.applied(kv.mod_revision).await;
                        Ok(None)
                    }
                    None => Err(LoginError::NoHandle(NoHandle::Taken(handle))),
                }
            }
            Err(StoreError::Conflict { key }) if key == grave => {
                Err(LoginError::NoHandle(NoHandle::Removed(handle)))
            }
            Err(StoreError::Conflict { key }) => {
                self.catch_up(&key).await?;
                Ok(None)
            }
            Err(other) => Err(other.into()),
        }
    }

    pub(super) fn user_of(&self, member: &Member) -> Option<Arc<UserEntry>> {
        let user = self.index.user(&member.name);
        user.filter(|user| *user.uid == *member.uid)
    }
}

/// A display name as the API takes it.
fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let good = text.chars().filter(|c| !c.is_control());
    good.take(LONGEST).collect()
}

impl From<ArrivalError> for LoginError {
    fn from(error: ArrivalError) -> Self {
        match error {
            ArrivalError::NotMember => Self::NotListed,
            error @ (ArrivalError::Callback(_)
            | ArrivalError::Denied { .. }
            | ArrivalError::Code(_)
            | ArrivalError::Token(_)
            | ArrivalError::Account(_)
            | ArrivalError::Failed(_)) => Self::Arrival(Box::new(error)),
        }
    }
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> Self {
        Self::from(ArrivalError::Failed(failure))
    }
}
