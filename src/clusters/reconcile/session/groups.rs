//! Which groups the data path may send, and what is written down of that.

use super::{Done, Session};
use crate::clusters::{
    manifest::{self, IMPERSONATOR_ROLE},
    reconcile::{
        content::Key,
        heard::{Wish, heard},
        watcher::Source,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Wait after the known roles could not be written down.
const NOTE_AGAIN: Duration = Duration::from_secs(5);

impl Session {
    /// The impersonator's rules, or the wanted groups, are others than they were.
    pub(super) fn groups_changed(&mut self, trust: Trust) {
        if !self.listed.contains_key(&Source::Roles) {
            return;
        }
        let now: BTreeSet<String> = self.book.groups().into_iter().map(str::to_owned).collect();
        let before = self.known.len();
        // What is gone is not sent any more, at once.
        self.known.retain(|group| now.contains(group));
        let new: BTreeSet<String> = now
            .into_iter()
            .filter(|group| !self.known.contains(group) && !self.hearing.contains(group))
            .collect();
        match trust {
            Trust::Known => {
                self.known.extend(new);
                return self.tell_groups();
            }
            Trust::Ask => {}
        }
        self.hearing.extend(new.iter().cloned());
        // Those of one object are heard of together; of several objects each for itself.
        let mut by_role: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for group in new {
            let role = manifest::holder_of(&group);
            by_role.entry(role).or_default().insert(group);
        }
        for groups in by_role.into_values() {
            let client = Arc::clone(&self.impersonator);
            self.work.spawn(async move {
                if let Some(group) = groups.last() {
                    heard(&client, Wish::Group(group)).await;
                }
                Done::Heard(groups)
            });
        }
        if self.known.len() != before {
            self.tell_groups();
        }
    }

    /// The authoriser takes these groups.
    pub(super) fn heard(&mut self, groups: BTreeSet<String>) {
        let still = self.book.groups();
        for group in groups {
            self.hearing.remove(&group);
            if still.contains(group.as_str()) {
                self.known.insert(group);
            }
        }
        self.tell_groups();
    }

    fn tell_groups(&mut self) {
        self.standing.groups().observe(&self.known);
        self.note_at = Some(Instant::now());
    }

    /// Writes down which cluster roles the cluster knows, for the time before it is looked at again, and that
    /// the impersonator's rules are those of today.
    pub(super) fn note(&mut self) {
        let now = Instant::now();
        if self.noting || self.note_at.is_none_or(|at| at > now) {
            return;
        }
        self.note_at = None;
        let key = Key::Role(IMPERSONATOR_ROLE.into());
        if !self.is_read(&key) || self.book.difference(&key).is_some() {
            return;
        }
        let roles = self.standing.roles();
        let Some(entry) = self.clusters.registry().entry(&self.cluster) else {
            return;
        };
        let status = &entry.cluster.status;
        if status.synced_roles == roles && status.synced_version == manifest::VERSION {
            return;
        }
        self.noting = true;
        let grown = status.synced_version != manifest::VERSION;
        let client = Arc::clone(&self.impersonator);
        let (clusters, cluster, uid) = (
            Arc::clone(&self.clusters),
            self.cluster.clone(),
            self.uid.clone(),
        );
        self.work.spawn(async move {
            if grown {
                heard(&client, Wish::Extras).await;
            }
            Done::Noted(clusters.note_roles(&cluster, &uid, &roles).await.is_ok())
        });
    }

    /// That was written, or not.
    pub(super) fn noted(&mut self, done: bool) {
        self.noting = false;
        if !done {
            self.note_at = Some(Instant::now() + NOTE_AGAIN);
        }
    }
}

/// Whether the authoriser has to be asked about new groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// They have just been written.
    Ask,
    /// They were there before.
    Known,
}
