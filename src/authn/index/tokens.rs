//! Tokens, and the way from a token to its user.
//!
//! A token's entry stands in the table itself and points to its user's [`Seat`], which points to what is known of the user
//! at this moment: no name is hashed, compared or looked up for a request. A seat belongs to a handle *and* a uid: who gets
//! a handle later never sits in the seat of who had it before.

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

/// A token, as far as authentication needs it. No `Debug`: it holds the hash.
pub struct TokenEntry {
    /// SHA-256 of the secret.
    pub(in crate::authn) sha256: [u8; 32],
    /// Its user's.
    seat: Arc<Seat>,
    /// What is told of it.
    pub facts: TokenFacts,
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
    /// What is known of its user now; none: there is no such user.
    pub(in crate::authn) fn user(&self) -> Guard<Option<Arc<UserEntry>>> {
        self.seat.user.load()
    }
}

/// Where a user's tokens find what is known of the user.
pub(super) struct Seat {
    of: Member,
    user: ArcSwapOption<UserEntry>,
}

/// A token as it is stored, without its user's seat.
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
            Some(Slot::Known(token)) => Some(token.facts),
            Some(Slot::Unreadable) | None => None,
        })
    }

    /// Puts a token in the place of what is there; gives the user whom the old one belonged to, if that is another.
    pub(super) fn put(&self, id: TokenId, new: Option<Slot<(Read, Arc<Seat>)>>) -> Option<Member> {
        let all = self.all.pin();
        let old = match all.get(&id) {
            Some(Slot::Known(old)) => Some(old),
            Some(Slot::Unreadable) | None => None,
        };
        let left = |stays: Option<&Arc<Seat>>| {
            let left = old.filter(|old| stays.is_none_or(|seat| !Arc::ptr_eq(seat, &old.seat)));
            left.map(|old| old.seat.of.clone())
        };
        match new {
            Some(Slot::Known((read, seat))) => {
                let left = left(Some(&seat));
                let entry = entry(id, read, seat);
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

    pub(super) fn unsaved_uses(&self) -> Vec<(TokenId, u32)> {
        let all = self.all.pin();
        let unsaved = |(id, slot): (&TokenId, &Slot<TokenEntry>)| match slot {
            Slot::Known(token) => token.last_use.unsaved().map(|minute| (*id, minute)),
            Slot::Unreadable => None,
        };
        all.iter().filter_map(unsaved).collect()
    }
}

fn entry(id: TokenId, read: Read, seat: Arc<Seat>) -> TokenEntry {
    TokenEntry {
        sha256: read.sha256,
        seat,
        facts: TokenFacts {
            id,
            kind: read.kind,
            expires_at: read.expires_at,
            is_final: read.is_final,
            password_epoch: read.password_epoch,
        },
        clusters: read.clusters,
        last_use: LastUse::default(),
    }
}

/// The users who have tokens, for the writer. A user without a token has none, so what is here goes with the tokens.
#[derive(Default)]
pub(super) struct Seats {
    all: BTreeMap<Member, (Arc<Seat>, BTreeSet<TokenId>)>,
}

impl Seats {
    /// The seat of a token's user; `find` looks for what is known of them if they have had no token.
    pub(super) fn take(
        &mut self,
        user: &Member,
        id: TokenId,
        find: impl FnOnce(&Member) -> Option<Arc<UserEntry>>,
    ) -> Arc<Seat> {
        let new = || {
            let seat = Seat {
                of: user.clone(),
                user: ArcSwapOption::new(find(user)),
            };
            (Arc::new(seat), BTreeSet::new())
        };
        let (seat, tokens) = self.all.entry(user.clone()).or_insert_with(new);
        tokens.insert(id);
        Arc::clone(seat)
    }

    /// The token is the user's no more.
    pub(super) fn leave(&mut self, user: &Member, id: TokenId) {
        if let Some((_, tokens)) = self.all.get_mut(user) {
            tokens.remove(&id);
            if tokens.is_empty() {
                self.all.remove(user);
            }
        }
    }

    /// Says anew who sits in the seats of a handle: one for each uid that it ever had and that has tokens.
    pub(super) fn fill(&self, handle: &str, who: impl Fn(&Member) -> Option<Arc<UserEntry>>) {
        let first = super::member(handle, "");
        let of_handle = self.all.range(first..).map(|(_, (seat, _))| seat);
        for seat in of_handle.take_while(|seat| seat.of.name == handle) {
            seat.user.store(who(&seat.of));
        }
    }

    /// Tokens of a user.
    pub(super) fn tokens_of(&self, user: &Member) -> impl Iterator<Item = TokenId> + '_ {
        let tokens = self.all.get(user).map(|(_, tokens)| tokens);
        tokens.into_iter().flatten().copied()
    }
}
