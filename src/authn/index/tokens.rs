//! Tokens, and the way from a token to its user.
//!
//! A token's entry stands in the table itself and points to what is known of its user at this moment: no name is hashed,
//! compared or looked up for a request. What is told of a user is therefore told to each of their tokens. A token belongs
//! to a handle *and* a uid: who gets a handle later is never taken for who had it before.

use super::{Slot, UserEntry};
use crate::{
    authn::{
        token::{TokenId, from_hex},
        usage::LastUse,
    },
    objects::{Member, Stored, Token, TokenKind},
};
use arc_swap::{ArcSwapOption, Guard};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// A token, as far as authentication needs it; its id is its key. Two cache lines with the key, which is worth keeping: each
/// request reads one that no cache holds. No `Debug`: it holds the hash.
pub struct TokenEntry {
    /// SHA-256 of the secret.
    pub(in crate::authn) sha256: [u8; 32],
    /// What is known of its user now; none: there is no such user.
    user: ArcSwapOption<UserEntry>,
    /// Whose it is: their tokens share one.
    of: Arc<Member>,
    kind: TokenKind,
    is_final: bool,
    password_epoch: u64,
    expires_at: Timestamp,
    /// Clusters that it is good for; `None`: all.
    pub clusters: Option<Arc<[Box<str>]>>,
    /// When it was last used.
    pub last_use: LastUse,
}

/// What is told of a token.
#[derive(Clone, Copy)]
pub struct TokenFacts {
    /// Public id.
    pub id: TokenId,
    /// `pat` or `ses`.
    pub kind: TokenKind,
    /// The end of its life.
    pub expires_at: Timestamp,
    /// No renewal and no use moves that end.
    pub is_final: bool,
    /// Epoch of the user's password at the login (sessions).
    pub password_epoch: u64,
}

impl TokenEntry {
    /// What is told of it; `id` is its key.
    pub(in crate::authn) fn facts(&self, id: TokenId) -> TokenFacts {
        TokenFacts {
            id,
            kind: self.kind,
            expires_at: self.expires_at,
            is_final: self.is_final,
            password_epoch: self.password_epoch,
        }
    }

    /// What is known of its user now; none: there is no such user.
    pub(in crate::authn) fn user(&self) -> Guard<Option<Arc<UserEntry>>> {
        self.user.load()
    }
}

/// A token's user, and what is known of them.
pub(super) type Owner = (Arc<Member>, Option<Arc<UserEntry>>);

/// A token as it is stored, without what is known of its user.
pub(super) struct Read {
    pub(super) user: Member,
    sha256: [u8; 32],
    kind: TokenKind,
    expires_at: Timestamp,
    is_final: bool,
    password_epoch: u64,
    clusters: Option<Arc<[Box<str>]>>,
}

/// A token without an end or a hash is not one that the gateway wrote.
pub(super) fn read(stored: Stored<Token>) -> Slot<Read> {
    let spec = stored.object.spec;
    let (Some(expires_at), Some(sha256)) = (spec.expires_at, from_hex(&stored.private.sha256))
    else {
        return Slot::Unreadable;
    };
    let clusters: Vec<Box<str>> = spec.clusters.into_iter().map(Into::into).collect();
    Slot::Known(Read {
        user: spec.user,
        sha256,
        kind: spec.kind,
        expires_at,
        is_final: spec.renewable_until.is_none_or(|it| it <= expires_at),
        password_epoch: stored.private.password_epoch,
        clusters: (!clusters.is_empty()).then(|| clusters.into()),
    })
}

/// All tokens, by id.
#[derive(Default)]
pub(super) struct Tokens {
    all: papaya::HashMap<TokenId, Slot<TokenEntry>>,
}

impl Tokens {
    pub(super) fn get<R>(
        &self,
        id: TokenId,
        look: impl FnOnce(Option<&Slot<TokenEntry>>) -> R,
    ) -> R {
        look(self.all.pin().get(&id))
    }

    /// What is told of the token with this id, if it can be read.
    pub(super) fn facts(&self, id: TokenId) -> Option<TokenFacts> {
        self.get(id, |slot| match slot {
            Some(Slot::Known(token)) => Some(token.facts(id)),
            Some(Slot::Unreadable) | None => None,
        })
    }

    /// Puts a token in the place of what is there; gives the user whom the old one belonged to, if that is another.
    pub(super) fn put(&self, id: TokenId, new: Option<Slot<(Read, Owner)>>) -> Option<Arc<Member>> {
        let all = self.all.pin();
        let old = match all.get(&id) {
            Some(Slot::Known(old)) => Some(old),
            Some(Slot::Unreadable) | None => None,
        };
        let left = |stays: Option<&Arc<Member>>| {
            let left = old.filter(|old| stays.is_none_or(|owner| **owner != *old.of));
            left.map(|old| Arc::clone(&old.of))
        };
        match new {
            Some(Slot::Known((read, owner))) => {
                let left = left(Some(&owner.0));
                let entry = entry(read, owner);
                if let Some(old) = old {
                    entry.last_use.take_over(&old.last_use);
                }
                all.insert(id, Slot::Known(entry));
                left
            }
            Some(Slot::Unreadable) => {
                let left = left(None);
                all.insert(id, Slot::Unreadable);
                left
            }
            None => {
                let left = left(None);
                all.remove(&id);
                left
            }
        }
    }

    /// Says anew what is known of the user of these tokens, to those of them that are `of` this user.
    pub(super) fn tell(
        &self,
        of: &Arc<Member>,
        ids: &BTreeSet<TokenId>,
        user: Option<&Arc<UserEntry>>,
    ) {
        let all = self.all.pin();
        for id in ids {
            if let Some(Slot::Known(token)) = all.get(id)
                && Arc::ptr_eq(&token.of, of)
            {
                token.user.store(user.cloned());
            }
        }
    }

    pub(super) fn unsaved_uses(&self) -> Vec<(TokenId, u32)> {
        let all = self.all.pin();
        let unsaved = |(id, slot): (&TokenId, &Slot<TokenEntry>)| match slot {
            Slot::Known(token) => token.last_use.unsaved().map(|minute| (*id, minute)),
            Slot::Unreadable => None,
        };
        all.iter().filter_map(unsaved).collect()
    }
}

fn entry(read: Read, (of, user): Owner) -> TokenEntry {
    TokenEntry {
        sha256: read.sha256,
        user: ArcSwapOption::new(user),
        of,
        kind: read.kind,
        is_final: read.is_final,
        password_epoch: read.password_epoch,
        expires_at: read.expires_at,
        clusters: read.clusters,
        last_use: LastUse::default(),
    }
}

/// Which user has which tokens, for the writer. A user without a token has no place here, so what is here goes with the
/// tokens.
#[derive(Default)]
pub(super) struct Owners {
    all: BTreeMap<Arc<Member>, BTreeSet<TokenId>>,
}

impl Owners {
    /// The token is this user's now.
    pub(super) fn take(&mut self, user: &Member, id: TokenId) -> Arc<Member> {
        let known = self.all.get_key_value(user);
        let owner = known.map_or_else(|| Arc::new(user.clone()), |(owner, _)| Arc::clone(owner));
        self.all.entry(Arc::clone(&owner)).or_default().insert(id);
        owner
    }

    /// The token is the user's no more.
    pub(super) fn leave(&mut self, user: &Member, id: TokenId) {
        if let Some(tokens) = self.all.get_mut(user) {
            tokens.remove(&id);
            if tokens.is_empty() {
                self.all.remove(user);
            }
        }
    }

    /// Those of a handle, one for each uid that it ever had and that has tokens, with their tokens.
    pub(super) fn of_handle<'o>(
        &'o self,
        handle: &'o str,
    ) -> impl Iterator<Item = (&'o Arc<Member>, &'o BTreeSet<TokenId>)> {
        let first = super::member(handle, "");
        let from_first = self.all.range::<Member, _>(first..);
        from_first.take_while(move |(user, _)| user.name == handle)
    }

    /// Tokens of a user.
    pub(super) fn tokens_of(&self, user: &Member) -> impl Iterator<Item = TokenId> + '_ {
        self.all.get(user).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_its_key_is_two_cache_lines() {
        assert!(size_of::<(TokenId, Slot<TokenEntry>)>() <= 128);
    }
}
