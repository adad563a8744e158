//! Accounts at providers in the index: whose they are, and which groups they bring.

use super::{Index, Member};
use crate::{
    authn::providers::{self, Account, Accounts, Record, Rules},
    objects::{DecodeError, LOCAL, Principal},
};
use jiff::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Where a user logs in.
#[derive(Clone)]
pub(super) enum Home {
    /// Here, or not at all.
    Local,
    /// At a provider, which last said this.
    Account(Arc<Account>),
    /// At a provider, and what it said is not there or cannot be read.
    Unknown(Principal),
    /// The user itself cannot be read.
    Unreadable,
}

impl Home {
    pub(super) fn of(principals: &[Principal]) -> Self {
        let foreign = principals.iter().find(|it| it.provider != LOCAL);
        foreign.map_or(Self::Local, |it| Self::Unknown(it.clone()))
    }

    /// Where the password is a provider's: what the provider last said of its age.
    pub(super) fn password_epoch(&self) -> Option<u64> {
        match self {
            Self::Account(account) => Some(account.record.password_epoch),
            Self::Local | Self::Unknown(_) | Self::Unreadable => None,
        }
    }

    /// With what the provider last said of the user's account; of no other account.
    pub(super) fn with(&self, account: Option<&Arc<Account>>) -> Self {
        let is = |account: &&Arc<Account>| match self {
            Self::Local | Self::Unreadable => false,
            Self::Account(own) => own.provider() == account.provider() && own.id == account.id,
            Self::Unknown(own) => own.provider == account.provider() && *own.id == *account.id,
        };
        match (account.filter(is), self) {
            (Some(account), _) => Self::Account(Arc::clone(account)),
            (None, Self::Local) => Self::Local,
            (None, Self::Unreadable) => Self::Unreadable,
            (None, Self::Unknown(own)) => Self::Unknown(own.clone()),
            (None, Self::Account(own)) => Self::Unknown(Principal {
                provider: own.provider().to_owned(),
                id: own.id.to_string(),
            }),
        }
    }
}

impl Index {
    /// The uid of the provider's group with this name, if the provider is there, some user is in the
    /// group, and no other is called so.
    pub fn foreign_group_uid(&self, name: &str) -> Option<Box<str>> {
        let (provider, _) = name.split_once(':')?;
        // What was bound to the groups of a provider that is gone is not there for anybody, however they come to it.
        if !self.accounts.has(provider) {
            return None;
        }
        self.foreign_uids.pin().get(name).cloned().flatten()
    }

    /// What is known of an account at a provider.
    pub fn account(&self, provider: &str, id: &str) -> Option<Arc<Account>> {
        let name = format!("{provider}/{id}");
        self.writer().accounts.get(&*name).cloned()
    }

    /// From now on these providers are there, and no others.
    pub fn set_providers(&self, rules: &HashMap<Box<str>, Arc<Rules>>) {
        let writer = self.writer();
        self.accounts.set_rules(rules);
        Accounts::look_up_rules(writer.accounts.values());
    }

    /// Accounts whose users hold a token that has not ended. Looks at every account.
    pub(in crate::authn) fn accounts_in_use(&self, now: Timestamp) -> Vec<Arc<Account>> {
        let writer = self.writer();
        let of_users = writer.account_of.iter();
        let in_use = of_users.filter(|(user, _)| {
            let mut ids = writer.owners.tokens_of(user);
            ids.any(|id| {
                let facts = self.tokens.facts(id);
                facts.is_some_and(|token| now < token.expires_at)
            })
        });
        in_use.map(|(_, account)| Arc::clone(account)).collect()
    }

    /// Accounts that have something to be read again with, and whose users hold no token. Looks at every account.
    pub(in crate::authn) fn grants_at_rest(&self, now: Timestamp) -> Vec<Arc<Account>> {
        let in_use = self.accounts_in_use(now);
        let in_use: BTreeSet<&Member> = in_use.iter().map(|it| &it.record.user).collect();
        let writer = self.writer();
        let granted = writer.accounts.values();
        let at_rest =
            granted.filter(|it| it.record.grant.is_some() && !in_use.contains(&it.record.user));
        at_rest.cloned().collect()
    }

    /// See [`Accounts`].
    pub(in crate::authn) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What cannot be read is not there: its user is then somebody of whom nothing can be told.
    pub(super) fn apply_account(
        &self,
        key: &str,
        name: &str,
        value: Option<(&[u8], u64)>,
    ) -> Result<(), DecodeError> {
        let Some((provider, id)) = name.split_once('/') else {
            return Ok(());
        };
        let decoded = value.map(|(bytes, at)| Ok((Record::decode(key, bytes)?, at)));
        let (new, failure) = match decoded.transpose() {
            Ok(new) => (new, None),
            Err(error) => (None, Some(error)),
        };
        let mut writer = self.writer();
        let old = writer.accounts.remove(name);
        if let Some(old) = &old {
            writer.account_of.remove(&old.record.user);
        }
        let mut touched: BTreeSet<Member> = old.iter().map(|it| it.record.user.clone()).collect();
        if let Some((record, at)) = new {
            self.name_groups(provider, &record);
            touched.insert(record.user.clone());
            let user = record.user.clone();
            let account = self
                .accounts
                .account((provider, id), record, at, old.as_ref());
            writer.account_of.insert(user, Arc::clone(&account));
            writer.accounts.insert(name.into(), account);
        }
        for user in touched {
            self.refresh_groups(&writer, &user);
        }
        failure.map_or(Ok(()), Err)
    }

    fn name_groups(&self, provider: &str, record: &Record) {
        let (names, uids) = (self.group_names.pin(), self.foreign_uids.pin());
        for group in &record.groups {
            let uid: Box<str> = providers::group_uid(provider, &group.id).into();
            let name: Box<str> = format!("{provider}:{}", group.name).into();
            let known = uids.get(&name);
            if known.is_none_or(|known| known.as_ref() != Some(&uid)) {
                uids.insert(name.clone(), known.is_none().then(|| uid.clone()));
            }
            if names.get(&uid) != Some(&name) {
                names.insert(uid, name);
            }
        }
    }
}
