//! What a session makes of news: which objects are to be looked at, and what of them is to be done.

use super::Session;
use crate::clusters::{
    manifest::RECONCILER_ROLE,
    reconcile::{
        book::{Book, Life, Phase},
        content::Key,
        queue::Cause,
        session::groups::Trust,
        watcher::{Item, List, News, Source},
    },
    standing::Tally,
};
use std::collections::BTreeSet;
use tokio::time::Instant;

impl Session {
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Listed(list) => self.listed(list),
            News::There(Item::Namespace(name, ending)) => {
                let known = self.book.has_namespace(&name);
                let life = match (ending, known) {
                    (true, _) => Life::Ending,
                    (false, true) => Life::Old,
                    (false, false) => Life::New,
                };
                self.namespace(&name, life);
            }
            News::Gone(Item::Namespace(name, _)) => self.namespace_gone(&name),
            News::There(Item::Object(key, seen)) => {
                if self.book.see(&key, *seen) {
                    self.changed(&key, Cause::Drift);
                }
            }
            News::Gone(Item::Object(key, seen)) => {
                if self.book.gone(&key, &seen.version) {
                    self.changed(&key, Cause::Drift);
                }
            }
            News::Trouble(source, why) => {
                if self.troubles.insert(source, why.clone()).is_none() {
                    let (cluster, kind) = (&self.cluster, source.name());
                    tracing::warn!(%cluster, kind, why, "cannot read what a cluster has");
                }
            }
            News::Well(source) => {
                self.troubles.remove(&source);
            }
        }
    }

    /// A kind was read as a whole: what is not in it is gone.
    fn listed(&mut self, list: List) {
        let List {
            source,
            asked,
            version,
            back,
            items,
        } = list;
        Tally::count(&self.standing.tally.lists);
        self.troubles.remove(&source);
        let first = self.listed.insert(source, asked).is_none();
        let (life, cause) = if first {
            (Life::Old, Cause::Policy)
        } else {
            (Life::New, Cause::Drift)
        };
        let mut gone: BTreeSet<Key> = BTreeSet::new();
        if let Some(kind) = source.kind() {
            let of_kind = self.book.all_seen().filter(|(key, _)| key.kind() == kind);
            gone.extend(of_kind.map(|(key, _)| key.clone()));
            self.book.listed(kind, &version, back);
        }
        let mut left: BTreeSet<Box<str>> = BTreeSet::new();
        if source == Source::Namespaces {
            left.extend(self.book.namespaces().map(Into::into));
        }
        for item in items {
            match item {
                Item::Namespace(name, ending) => {
                    let known = left.remove(&name);
                    let life = match (ending, known) {
                        (true, _) => Life::Ending,
                        (false, true) => Life::Old,
                        (false, false) => life,
                    };
                    self.book.put_namespace(&name, life);
                }
                Item::Object(key, seen) => {
                    gone.remove(&key);
                    if self.book.see_listed(&key, *seen, &version) && !first {
                        self.changed(&key, cause);
                    }
                }
            }
        }
        for name in left {
            self.namespace_gone(&name);
        }
        for key in gone {
            if self.book.gone(&key, &version) {
                self.changed(&key, cause);
            }
        }
        if first || source == Source::Namespaces {
            self.look_at_everything(Cause::Policy);
            for name in self.book.fresh() {
                self.settle(&name);
            }
        }
        if source == Source::Roles {
            // What stands in a list was not written this very moment.
            self.groups_changed(Trust::Known);
        }
    }

    fn namespace(&mut self, name: &str, life: Life) {
        self.book.put_namespace(name, life);
        for key in self.book.keys_about(name) {
            self.look(&key, Cause::Policy);
        }
        self.settle(name);
    }

    fn namespace_gone(&mut self, name: &str) {
        for key in self.book.drop_namespace(name) {
            self.look(&key, Cause::Policy);
        }
    }

    /// An object is another than it was.
    pub(super) fn changed(&mut self, key: &Key, cause: Cause) {
        self.look(key, cause);
        if Book::is_about_groups(key) {
            self.groups_changed(Trust::Ask);
            self.note_at = Some(Instant::now());
        }
        self.look(&Key::Role(RECONCILER_ROLE.into()), Cause::Policy);
    }

    pub(super) fn look_at_everything(&mut self, cause: Cause) {
        for key in self.book.keys() {
            self.look(&key, cause);
        }
        // What waits and is neither wanted nor seen any more.
        let waiting: Vec<Key> = self.queue.waiting().map(|(key, _)| key.clone()).collect();
        for key in waiting {
            self.look(&key, cause);
        }
    }

    /// Looks whether something has to be done about an object.
    pub(super) fn look(&mut self, key: &Key, cause: Cause) {
        // It is looked at again when that is over.
        if self.queue.has_begun(key) || !self.is_read(key) {
            return;
        }
        let action = self.book.difference(key);
        let due = action.map(|action| self.book.phase(key, &action));
        match due {
            Some(Phase::Tail) if self.listed.len() < Source::ALL.len() => {}
            Some(phase) => {
                self.queue.want(key, phase, cause, Instant::now());
            }
            None => {
                self.queue.settle(key);
                if let Some(namespace) = key.namespace() {
                    self.settle(namespace);
                }
            }
        }
    }

    /// A new namespace is new until all its bindings are there; one that no project holds has none to wait for,
    /// and is as old as the others if a project comes to hold it.
    fn settle(&mut self, namespace: &str) {
        let mut keys = self.book.keys_in(namespace).into_iter();
        if !keys.any(|key| self.queue.has(&key)) {
            self.book.settle(namespace);
        }
    }

    /// Whether all was read that says something about an object, and the roles: among them is the one that lets the
    /// account write any other.
    pub(super) fn is_read(&self, key: &Key) -> bool {
        let listed = |source| self.listed.contains_key(&source);
        listed(Source::Roles)
            && listed(source_of(key))
            && (key.namespace().is_none() || listed(Source::Namespaces))
    }
}

fn source_of(key: &Key) -> Source {
    match key {
        Key::Role(_) => Source::Roles,
        Key::ClusterBinding(_) => Source::ClusterBindings,
        Key::Binding(..) => Source::Bindings,
    }
}
