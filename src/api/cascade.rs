//! What hangs on an object goes with it.
//!
//! As much as fits goes in the transaction of the removal itself; the rest right after it, in a task that
//! goes on when the client hangs up. Nothing of the rest counts meanwhile: tokens, memberships and bindings
//! name uids, and no uid comes back. Names of clusters and roles do come back, and bindings and tokens name
//! those by name. So what still names a cluster or a role is taken away once more before the name is given
//! again (the gateway may have been killed in between), and each such write holds only while nothing has
//! the name: what was granted on the new object is never taken for what was left of the old one.

use super::Api;
use super::draft::Draft;
use super::error::ApiError;
use crate::authn::Index;
use crate::objects::{
    Binding, Cluster, Group, Kind, Project, Role, Stored, SubjectKind, Token, User,
};
use crate::store::{KeyValue, Revision, Store, StoreError, Txn, follow::Follower};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How long an answer waits for this replica's own index: far above what applying takes, below what a
/// person takes for a failure. Past it the write stands and the answer says that it may not be seen yet.
pub(super) const APPLY_WAIT: Duration = Duration::from_secs(5);
/// Keys read at once.
const PAGE: usize = 500;
/// Writes of one transaction: the store takes 128 operations and as many compares.
const MAX_WRITES: usize = 100;
/// Bytes of values of one transaction: the store takes 1.4 MB, and the removal itself wants some. A single
/// object is at most a request's body and what the gateway adds, so the first one always fits.
const MAX_BYTES: usize = 1_000_000;

/// What a removal works with, apart from its request: the request may end first.
#[derive(Clone)]
pub(super) struct Hands {
    store: Store,
    follower: Follower,
    index: Arc<Index>,
}

impl Hands {
    pub(super) fn of(api: &Api) -> Self {
        Self {
            store: api.store.clone(),
            follower: api.follower.clone(),
            index: Arc::clone(&api.index),
        }
    }

    /// Writes, and waits until this replica has seen it.
    pub(super) async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        let revision = self.store.txn(txn).await?;
        if let Err(behind) = self.follower.wait_for(revision, APPLY_WAIT).await {
            tracing::warn!(%behind, "a write is acknowledged before this replica's index has it");
        }
        Ok(revision)
    }
}

/// Writes that take away what hangs on an object.
#[derive(Default)]
pub(super) struct Leftovers {
    writes: Vec<(String, Revision, Option<Vec<u8>>)>,
    bytes: usize,
    /// Something was left for the next look.
    overflown: bool,
}

impl Leftovers {
    fn is_full(&self) -> bool {
        self.writes.len() >= MAX_WRITES || self.overflown
    }

    fn delete(&mut self, found: &KeyValue) {
        self.writes
            .push((found.key.clone(), found.mod_revision, None));
    }

    fn put<K: Kind>(&mut self, found: &KeyValue, stored: &Stored<K>) {
        let value = stored.encode();
        if self.bytes > 0 && self.bytes + value.len() > MAX_BYTES {
            self.overflown = true;
            return;
        }
        self.bytes += value.len();
        self.writes
            .push((found.key.clone(), found.mod_revision, Some(value)));
    }

    /// Adds the writes to the removal itself.
    pub(super) fn fill(self, draft: &mut Draft) {
        for (key, revision, value) in self.writes {
            match value {
                Some(value) => draft.put_raw(&key, value, revision),
                None => draft.delete(&key, revision),
            }
        }
    }

    /// Makes the writes in a transaction of their own, which holds only while there is nothing under
    /// `absent`; `false` if there is nothing (more) to do. What was changed in between is found again by
    /// the next look.
    pub(super) async fn write(self, hands: &Hands, absent: &str) -> Result<bool, ApiError> {
        if self.writes.is_empty() {
            return Ok(false);
        }
        let mut draft = Draft::default();
        draft.when(absent, 0);
        self.fill(&mut draft);
        match hands.commit(draft.txn).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict { key }) => Ok(key != absent),
            Err(other) => Err(other.into()),
        }
    }
}

/// Tokens, bindings and memberships of a user.
pub(super) async fn of_user(hands: &Hands, user: &User) -> Result<Leftovers, ApiError> {
    let (name, uid) = (&user.metadata.name, &user.metadata.uid);
    let mut left = Leftovers::default();
    for token in hands.index.tokens_of(name, uid) {
        if left.is_full() {
            return Ok(left);
        }
        if let Some(found) = hands.store.get(&Token::key(token.id.as_str())).await? {
            left.delete(&found);
        }
    }
    bindings(hands, &mut left, |b| {
        (b.spec.subject.kind == SubjectKind::User && b.spec.subject.uid == *uid)
            .then_some(Change::Remove)
    })
    .await?;
    each::<Group>(hands, &mut left, |group| {
        let before = group.spec.members.len();
        group.spec.members.retain(|m| m.uid != *uid);
        (group.spec.members.len() < before).then_some(Change::Keep)
    })
    .await?;
    Ok(left)
}

/// Bindings of a group.
pub(super) async fn of_group(hands: &Hands, group: &Group) -> Result<Leftovers, ApiError> {
    let mut left = Leftovers::default();
    bindings(hands, &mut left, |b| {
        let subject = &b.spec.subject;
        let is = subject.kind == SubjectKind::Group && subject.uid == group.metadata.uid;
        is.then_some(Change::Remove)
    })
    .await?;
    Ok(left)
}

/// Bindings of a role.
pub(super) async fn of_role(hands: &Hands, role: &Role) -> Result<Leftovers, ApiError> {
    let mut left = Leftovers::default();
    bindings(hands, &mut left, |b| {
        (b.spec.role == role.metadata.name).then_some(Change::Remove)
    })
    .await?;
    Ok(left)
}

/// Bindings in a project.
pub(super) async fn of_project(hands: &Hands, project: &Project) -> Result<Leftovers, ApiError> {
    let mut left = Leftovers::default();
    bindings(hands, &mut left, |b| {
        (b.spec.project_uid == project.metadata.uid).then_some(Change::Remove)
    })
    .await?;
    Ok(left)
}

/// A cluster's projects with all that is bound in them, and mentions of it in bindings and in the scope of tokens. What
/// would be left without any cluster is removed: an empty list means something else.
pub(super) async fn of_cluster(hands: &Hands, cluster: &Cluster) -> Result<Leftovers, ApiError> {
    let name = &cluster.metadata.name;
    let mut left = Leftovers::default();
    let mut projects = BTreeSet::new();
    each::<Project>(hands, &mut Leftovers::default(), |project| {
        if project.spec.cluster == *name {
            projects.insert(project.metadata.uid.clone());
        }
        None
    })
    .await?;
    bindings(hands, &mut left, |b| {
        let of_project = projects.contains(&b.spec.project_uid);
        let gone = of_project.then_some(Change::Remove);
        gone.or_else(|| without(&mut b.spec.clusters, name))
    })
    .await?;
    each::<Token>(hands, &mut left, |t| without(&mut t.spec.clusters, name)).await?;
    // Last: as long as a project is there, the next look finds what is bound in it.
    each::<Project>(hands, &mut left, |project| {
        (project.spec.cluster == *name).then_some(Change::Remove)
    })
    .await?;
    Ok(left)
}

/// What becomes of an object that something hung on.
enum Change {
    Remove,
    Keep,
}

fn without(names: &mut Vec<String>, name: &str) -> Option<Change> {
    let before = names.len();
    names.retain(|n| n != name);
    match (names.len() < before, names.is_empty()) {
        (false, _) => None,
        (true, true) => Some(Change::Remove),
        (true, false) => Some(Change::Keep),
    }
}

async fn bindings(
    hands: &Hands,
    left: &mut Leftovers,
    change: impl FnMut(&mut Binding) -> Option<Change> + Send,
) -> Result<(), ApiError> {
    each::<Binding>(hands, left, change).await
}

async fn each<K: Kind>(
    hands: &Hands,
    left: &mut Leftovers,
    mut change: impl FnMut(&mut K) -> Option<Change> + Send,
) -> Result<(), ApiError> {
    let mut after: Option<String> = None;
    loop {
        let listing = hands
            .store
            .list(&K::prefix(), PAGE, after.as_deref())
            .await?;
        for found in &listing.items {
            if left.is_full() {
                return Ok(());
            }
            let mut stored = Stored::<K>::decode(&found.key, &found.value, found.mod_revision)?;
            match change(&mut stored.object) {
                Some(Change::Remove) => left.delete(found),
                Some(Change::Keep) => left.put(found, &stored),
                None => {}
            }
        }
        after = listing.items.last().map(|found| found.key.clone());
        if !listing.more {
            return Ok(());
        }
    }
}
