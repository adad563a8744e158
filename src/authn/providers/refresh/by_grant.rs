//! Accounts that are read again each by itself, with what its login left here: a token of the person's, sealed in the
//! account's record.
//!
//! A provider may give another token with each answer, and take the old one no more. So the record is read from the
//! store, and not from this replica's memory, before its token is used; one replica alone asks ([`super::claim`]), until
//! it knows what became of the token ([`Fate`]); a new token is written at once, whatever else the answer said, by
//! compare-and-swap, or as soon as the store takes it ([`super::unsaved`]); and a stop waits for what was begun, as long
//! as stops may take ([`Refresher::run`]). A token that is lost all the same (a crash in between) ends the login: its
//! person logs in anew. It never opens anything.
//!
//! What nobody needs any more is not kept: the token of an account without a session or token of its user's goes after
//! a day. The next login leaves another one.

use super::{MAX_ALONE, Refresher, tell_number, unsaved::Rotated};
use crate::{
    authn::providers::{
        Account, Provider, Record, Standing, record_key,
        redirect::{Again, Failure, Fate, Grant, Reread},
    },
    status::clock,
};
use jiff::Timestamp;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// Accounts that are asked for at the same time: eight answers of a fifth of a second are some forty questions a second.
/// GitHub takes three for an account, at least: some four thousand accounts in the default interval. It counts a hundred
/// questions at once as an attack.
const AT_ONCE: usize = 8;

/// Between two looks at which tokens nobody needs.
const SWEEP: Duration = Duration::from_hours(1);
/// A login writes its token first, and its session then: for so long nobody can tell that it is not needed.
const UNNEEDED: Duration = Duration::from_hours(24);
/// Records that one look writes; the next takes more.
const MAX_SWEPT: usize = 500;

impl Refresher {
    /// Takes away what nobody needs, now and then.
    pub(super) async fn keep_swept(&self) {
        loop {
            sleep(SWEEP).await;
            self.sweep(clock::now()).await;
        }
    }

    pub(super) async fn sweep(&self, now: Timestamp) {
        let mut at_rest = self.index.grants_at_rest(now);
        at_rest.retain(|account| account.age(now) >= UNNEEDED);
        for account in at_rest.iter().take(MAX_SWEPT) {
            let key = record_key(account.provider(), &account.id);
            let record = account.record.clone().granted(None);
            // Not if a login has written it meanwhile.
            self.write(&key, account.revision, &record).await;
        }
    }

    /// Reads each, and says whether the provider answered. What has not begun at the end is left.
    pub(super) async fn read_each(
        &self,
        provider: &Arc<Provider>,
        accounts: &[Arc<Account>],
        end: &CancellationToken,
    ) -> bool {
        let mut reading = JoinSet::new();
        let mut by_task = HashMap::new();
        let mut waiting = accounts.iter();
        let mut alone = 0;
        let mut failed = None;
        loop {
            while reading.len() < AT_ONCE
                && failed.is_none()
                && alone < MAX_ALONE
                && !end.is_cancelled()
                && let Some(account) = waiting.next()
            {
                let (refresher, of_task) = (self.clone(), Arc::clone(account));
                let provider = Arc::clone(provider);
                let task = reading.spawn(async move {
                    Box::pin(refresher.read_by_grant(&provider, &of_task)).await
                });
                by_task.insert(task.id(), account);
            }
            let Some(done) = reading.join_next_with_id().await else {
                break;
            };
            let (task, failure) = match done {
                Ok((_, Ok(()))) => continue,
                Ok((task, Err(failure))) => (task, Ok(failure)),
                Err(lost) => (lost.id(), Err(lost)),
            };
            let Some(account) = by_task.get(&task) else {
                continue;
            };
            match failure {
                Ok(failure) if failure.is_of_one_account() => {
                    self.fail_alone(account, &failure.chain(), &mut alone);
                }
                Ok(failure) => {
                    // It may be this one that the provider is so slow with: the next round goes without it.
                    account.put_off();
                    failed = Some(failure);
                }
                Err(lost) => self.fail_alone(account, &lost.to_string(), &mut alone),
            }
        }
        tell_number(provider, alone);
        if let Some(failure) = &failed {
            self.fail_all(provider, &failure.chain());
        }
        failed.is_none() && alone < MAX_ALONE
    }

    async fn read_by_grant(
        &self,
        provider: &Provider,
        account: &Arc<Account>,
    ) -> Result<(), Failure> {
        if account.record.grant.is_none() {
            // It cannot be read again; how long its last word counts is decided where requests are judged.
            account.put_off();
            return Ok(());
        }
        let key = record_key(account.provider(), &account.id);
        if !self.save(&key).await {
            account.put_off();
            return Ok(());
        }
        let Some((known, revision)) = self.stored(&key).await else {
            return Ok(());
        };
        let Some(sealed) = &known.grant else {
            return Ok(());
        };
        let now = clock::now();
        if is_young(account, &known, now) {
            return Ok(());
        }
        let Some(grant) = Grant::open(&self.keyring, sealed, &key, provider) else {
            self.end_login(account, &known, revision).await;
            return Ok(());
        };
        let Some(claimed) = self.claim(provider, &key, (known, revision), now).await else {
            account.put_off();
            return Ok(());
        };
        Box::pin(self.ask(provider, account, &grant, claimed, now)).await
    }

    /// Asks, and writes what comes of it.
    async fn ask(
        &self,
        provider: &Provider,
        account: &Arc<Account>,
        grant: &Grant,
        (known, revision): (Record, u64),
        now: Timestamp,
    ) -> Result<(), Failure> {
        let key = record_key(account.provider(), &account.id);
        let Reread { outcome, fate } = Box::pin(provider.again(&account.id, grant)).await;
        let is_old = |sealed: &String| self.keyring.is_old(sealed);
        let new = match &fate {
            Fate::Replaced(new) => Some(new),
            Fate::GoesOn => known.grant.as_ref().is_some_and(is_old).then_some(grant),
            Fate::Unknown => None,
        };
        let kept = new
            .and_then(|new| self.seal(new, &key, provider))
            .or_else(|| known.grant.clone());
        let rotated = known.grant.clone().zip(kept.clone());
        let rotated = rotated.map(|(old, new)| Rotated { old, new });
        let rotated = rotated.filter(|it| it.old != it.new);
        let again = match (outcome, fate) {
            (Ok(again), _) => again,
            // The claim stays: the token may be on its way still, and another replica that sends it would be a thief.
            (Err(failure), Fate::Unknown) => return Err(failure),
            (Err(failure), Fate::GoesOn | Fate::Replaced(_)) => {
                let mut record = known.clone().granted(kept);
                record.asked_at = None;
                if record != known
                    && !self.write(&key, revision, &record).await
                    && let Some(rotated) = rotated
                {
                    self.keep(&key, rotated).await;
                }
                return Err(failure);
            }
        };
        let record = record_of(&known, again, kept, now);
        let goes_on = record.grant.is_some();
        let is_noted = self.note(account, revision, record, now).await;
        if let Some(rotated) = rotated.filter(|_| goes_on && !is_noted) {
            self.keep(&key, rotated).await;
        }
        Ok(())
    }

    /// Its grant does not open.
    async fn end_login(&self, account: &Arc<Account>, known: &Record, revision: u64) {
        let (provider, user) = (account.provider(), &*known.user.name);
        tracing::warn!(
            provider,
            user,
            "what a login left to ask its provider with does not open: the key file has changed, or the provider's address or client; the login ends"
        );
        let now = clock::now();
        let record = Record::new(known.user.clone(), &known.name, Vec::new(), now);
        let record = record.with(Standing::Ended);
        self.note(account, revision, record, now).await;
    }

    /// The record as it is now. None: it is not there any more, or cannot be read, and then it is left as it is.
    async fn stored(&self, key: &str) -> Option<(Record, u64)> {
        match self.store.get(key).await {
            Ok(found) => {
                let kv = found?;
                let record = Record::decode(key, &kv.value).ok()?;
                Some((record, kv.mod_revision))
            }
            Err(error) => {
                tracing::warn!(%error, "what is known of an account cannot be read; it is tried again");
                None
            }
        }
    }

    fn seal(&self, grant: &Grant, key: &str, provider: &Provider) -> Option<String> {
        match grant.seal(&self.keyring, key, provider) {
            Ok(sealed) => Some(sealed),
            Err(error) => {
                tracing::error!(%error, "what an account is read again with cannot be sealed");
                None
            }
        }
    }
}

/// What was said, with what it is read again with next time.
fn record_of(known: &Record, again: Again, grant: Option<String>, now: Timestamp) -> Record {
    let name = again.name.as_deref().unwrap_or(&known.name);
    let record = Record::new(known.user.clone(), name, again.groups, now).with(again.standing);
    match again.standing {
        Standing::Active => record.granted(grant),
        // What is of no use is not kept.
        Standing::Disabled
        | Standing::Locked
        | Standing::Expired
        | Standing::MustChange
        | Standing::Gone
        | Standing::Ended => record,
    }
}

/// Whether the provider's word is so young that nobody needs another one: it may have come between the queue and now,
/// or to another replica.
fn is_young(account: &Account, known: &Record, now: Timestamp) -> bool {
    let Some(rules) = account.rules() else {
        return false;
    };
    let said = now.duration_since(known.checked_at);
    // A time that is yet to come says nothing.
    let mut age = Duration::try_from(said).unwrap_or(Duration::MAX);
    if known.says_what(&account.record) {
        account.confirm(known.checked_at);
        age = age.min(account.age(now));
    }
    age < rules.interval / 2
}

#[cfg(test)]
mod tests;
