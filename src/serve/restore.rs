//! Putting a backup in the store's place.
//!
//! The backup is copied beside the store, looked into with the gateway's own keys, and only then takes the
//! store's place ([`store::copy`](crate::store::copy)). What it cannot know is what was taken back since it
//! was made: a session that was ended and a token that was revoked would be good again. Sessions are
//! therefore ended, all of them: people log in once more. Tokens are kept unless the operator says
//! otherwise, since machines cannot log in.

use super::state::{self, StateError};
use crate::{
    config,
    objects::{DecodeError, Kind as _, Stored, Token, TokenKind},
    status::clock,
    store::{
        OpenError, Revision, Store, StoreError, Txn,
        copy::{self, CopyError, Facts, Progress, Restore},
    },
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};
use tokio::task::{JoinError, spawn_blocking};

/// Deletions in one transaction: below the store's bound of 128.
const AT_ONCE: usize = 100;

/// Why nothing was restored. The store is as it was, whichever it is.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Reading the backup, or writing beside the store.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The copy cannot be opened.
    #[error("the backup cannot be opened as a store")]
    Open(#[from] OpenError),
    /// The key file does not fit, or the content cannot be read.
    #[error("the backup does not fit this configuration")]
    State(#[from] StateError),
    /// What would be lost.
    #[error(
        "{} is at revision {there}, the backup at {backup}: what was written since would be lost; \
         --discard-newer does that, and keeps the old file",
        store.display()
    )]
    Newer {
        /// The store.
        store: PathBuf,
        /// Its revision.
        there: Revision,
        /// The backup's.
        backup: Revision,
    },
    /// Revisions that cannot be compared.
    #[error(
        "the backup is of a store that was itself restored from a backup, and {} is not: nobody can say what would be \
         lost; --discard-newer replaces it, and keeps the old file",
        .0.display()
    )]
    OtherHistory(PathBuf),
    /// There is something that nobody can tell the worth of.
    #[error(
        "{} cannot be read, so nobody can say what would be lost; --discard-newer replaces it, and keeps the \
         old file",
        .0.display()
    )]
    Unreadable(PathBuf),
    /// The copy as a store.
    #[error("cannot change the copy")]
    Store(#[from] StoreError),
    /// An object of it.
    #[error("a token of the backup cannot be read")]
    Token(#[from] DecodeError),
    /// A thread was lost.
    #[error("the copying ended early")]
    Thread(#[from] JoinError),
}

/// What becomes of a store that has what the backup has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newer {
    /// Nothing is restored.
    Keep,
    /// It is put aside.
    Discard,
}

/// What becomes of the tokens in the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// They are good again, also those that were revoked since.
    Keep,
    /// They are removed.
    Revoke,
}

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// Of the backup.
    pub facts: Facts,
    /// From which the store goes on.
    pub revision: Revision,
    /// Where the old store is, if there was one.
    pub aside: Option<PathBuf>,
    /// Sessions that were ended.
    pub sessions: usize,
    /// Tokens that were removed.
    pub revoked: usize,
    /// Tokens that are good again.
    pub tokens: usize,
}

/// Puts `backup` in the place of the configured store, which no gateway may have open.
pub async fn restore(
    backup: &Path,
    config: &config::State,
    (newer, tokens): (Newer, Tokens),
    progress: impl FnMut(Progress) + Send + 'static,
) -> Result<Restored, RestoreError> {
    let (from, store) = (backup.to_owned(), config.store.clone());
    let begun = spawn_blocking(move || Restore::begin(&from, &store, progress)).await??;
    if newer == Newer::Keep {
        refuse_loss(&begun, &config.store)?;
    }
    let copy = Store::open_sqlite(begun.copy())?;
    let changed = change(&copy, config, tokens).await;
    copy.close().await;
    drop(copy);
    let (sessions, revoked, kept) = changed?;
    let aside = aside(&config.store);
    let (facts, had_old) = (begun.facts, begun.old.is_some() || begun.old_is_damaged);
    let there = aside.clone();
    let revision = spawn_blocking(move || begun.finish(&there)).await??;
    Ok(Restored {
        facts,
        revision,
        aside: had_old.then_some(aside),
        sessions,
        revoked,
        tokens: kept,
    })
}

fn refuse_loss(begun: &Restore, store: &Path) -> Result<(), RestoreError> {
    if begun.old_is_damaged {
        return Err(RestoreError::Unreadable(store.to_owned()));
    }
    match begun.old {
        // A store that was put back once is far ahead of one that never was, whatever either holds.
        Some(old) if begun.facts.revision.saturating_sub(old.revision) >= copy::AHEAD => {
            Err(RestoreError::OtherHistory(store.to_owned()))
        }
        Some(old) if old.revision > begun.facts.revision => Err(RestoreError::Newer {
            store: store.to_owned(),
            there: old.revision,
            backup: begun.facts.revision,
        }),
        Some(_) | None => Ok(()),
    }
}

/// Looks into the copy with the configured keys, and ends what may have been ended since; how many
/// sessions, how many tokens, and how many tokens are left.
async fn change(
    copy: &Store,
    config: &config::State,
    tokens: Tokens,
) -> Result<(usize, usize, usize), RestoreError> {
    state::fits(copy, config).await?;
    let (mut sessions, mut revoked, mut kept) = (0, 0, 0);
    let mut ended = Vec::new();
    let mut scan = copy.scan(&Token::prefix()).await?;
    while let Some(page) = scan.next().await {
        for item in page? {
            let stored = Stored::<Token>::decode(&item.key, &item.value, item.mod_revision)?;
            match (stored.object.spec.kind, tokens) {
                (TokenKind::Ses | TokenKind::Web, _) => sessions += 1,
                (TokenKind::Pat, Tokens::Revoke) => revoked += 1,
                (TokenKind::Pat, Tokens::Keep) => {
                    kept += 1;
                    continue;
                }
            }
            ended.push(item.key);
        }
    }
    for keys in ended.chunks(AT_ONCE) {
        let txn = keys.iter().fold(Txn::new(), Txn::delete);
        copy.txn(txn).await?;
    }
    Ok((sessions, revoked, kept))
}

/// A name that says when, beside the store.
fn aside(store: &Path) -> PathBuf {
    let mut name = OsString::from(store);
    let now = clock::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    name.push(format!(".replaced-{now}"));
    PathBuf::from(name)
}
