//! What is wanted of a cluster, what is seen there, and the difference: pure.
//!
//! Guarantees: an object is written only if policy wants it, and removed only if it is ours (see
//! [`Book::difference`]); doing what the differences say leads to a cluster without differences; nothing is
//! ever written into a namespace that no project can hold
//! ([`crate::objects::namespaces::RESERVED`]), or into one that is not there.
//!
//! What could go wrong: an object of somebody else that is taken for ours. Ours is what carries a name that
//! only policy makes *and* our label, or, for a binding, a grant group among its subjects: a binding under
//! our name that lets our groups in is ours to put right whoever made it. What only names our groups is
//! reported and left alone.

use super::{
    content::{Content, Key, Seen, Version},
    history::History,
    plan::{Plan, ProjectRef},
};
use crate::{
    clusters::{
        manifest::{IMPERSONATOR_ROLE, RECONCILER_ROLE},
        object::ObjectKind,
    },
    objects::grant_group::project_cluster_role,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

mod wanted;

/// What to do with one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Write it by server-side apply.
    Apply(Content),
    /// Write it, and take an aggregation rule away that somebody put there.
    Overwrite(Content),
    /// Remove the very object that was seen.
    Remove(Box<str>, Version),
}

/// What a cluster made of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It was done, or something came of it that was not there before.
    Taken,
    /// It was done, and somebody else has changed the object since.
    Overtaken,
    /// The object is not what was written, and that is no news: it would be written without end.
    Otherwise,
}

/// In which order things are done; a phase before the last two waits for those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// The reconciler's own rule grows: without it nothing else can be written.
    Grow,
    /// Rules of roles, and who holds them on the whole cluster.
    Roles,
    /// The groups that requests may carry: after the roles, so that a group means something once it is
    /// sent, and before anything is removed, so that nobody comes in by a group on its way out.
    Groups,
    /// Bindings in a namespace that is new: somebody waits for it.
    Fresh,
    /// Bindings that nobody wants any more.
    Away,
    /// All other bindings.
    Rest,
    /// Roles that nobody wants any more, and the names of what is gone from the reconciler's own rule.
    Tail,
}

/// A namespace of the cluster.
struct Namespace {
    project: Option<Arc<ProjectRef>>,
    fresh: bool,
    terminating: bool,
}

/// What is wanted and what is seen.
pub(super) struct Book {
    plan: Plan,
    objects: BTreeMap<Key, Content>,
    groups: HashSet<String>,
    namespaces: HashMap<Box<str>, Namespace>,
    /// Ordered, so that the objects of one namespace stand together.
    seen: BTreeMap<Key, Seen>,
    /// Up to where the watchers have told of each kind.
    history: History,
    /// What is being written, and as of when it was told meanwhile that it is gone.
    writing: BTreeMap<Key, Option<Version>>,
    /// Ours, and wanted no more.
    leaving: BTreeSet<Key>,
    /// Bindings of others that name a group of ours.
    foreign: BTreeSet<Key>,
}

impl Book {
    /// Nothing was seen yet.
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            objects: plan.objects(),
            groups: plan.groups().collect(),
            plan,
            namespaces: HashMap::new(),
            seen: BTreeMap::new(),
            history: History::default(),
            writing: BTreeMap::new(),
            leaving: BTreeSet::new(),
            foreign: BTreeSet::new(),
        }
    }

    /// What is wanted.
    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Policy has changed: all [`Book::keys`] are to be looked at.
    pub(super) fn replan(&mut self, plan: Plan) {
        self.objects = plan.objects();
        self.groups = plan.groups().collect();
        for (name, namespace) in &mut self.namespaces {
            namespace.project = plan.project_of(name);
        }
        self.plan = plan;
        let seen: Vec<Key> = self.seen.keys().cloned().collect();
        for key in seen {
            self.sort(&key);
        }
    }

    /// Whether a namespace is taken for another project's than it is now: it was looked up between two plans that are
    /// the same.
    pub(super) fn has_moved(&self) -> bool {
        let mut all = self.namespaces.iter();
        all.any(|(name, namespace)| namespace.project != self.plan.project_of(name))
    }

    /// A namespace is there: its [`Book::keys_in`] are to be looked at.
    pub(super) fn put_namespace(&mut self, name: &str, life: Life) {
        let fresh = life == Life::New || self.is_fresh(name);
        let namespace = Namespace {
            project: self.plan.project_of(name),
            fresh,
            terminating: life == Life::Ending,
        };
        self.namespaces.insert(name.into(), namespace);
        for key in self.seen_in(name) {
            self.sort(&key);
        }
    }

    /// A namespace is gone, and all that was in it: the keys of that are to be looked at.
    pub(super) fn drop_namespace(&mut self, name: &str) -> Vec<Key> {
        self.namespaces.remove(name);
        let seen = self.seen_in(name);
        for key in &seen {
            self.lose(key);
        }
        seen
    }

    /// Names of the known namespaces.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.namespaces.keys().map(|name| &**name)
    }

    /// Whether a namespace is known.
    pub(super) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }

    fn is_fresh(&self, namespace: &str) -> bool {
        self.namespaces.get(namespace).is_some_and(|it| it.fresh)
    }

    /// Names of the new namespaces.
    pub(super) fn fresh(&self) -> Vec<Box<str>> {
        let fresh = self.namespaces.iter().filter(|(_, it)| it.fresh);
        fresh.map(|(name, _)| name.clone()).collect()
    }

    /// All of a new namespace's bindings are there.
    pub(super) fn settle(&mut self, namespace: &str) {
        if let Some(namespace) = self.namespaces.get_mut(namespace) {
            namespace.fresh = false;
        }
    }

    /// All objects of a kind were listed, as they were at `version`: [`Book::see_listed`] and [`Book::gone`] follow for
    /// each that is there and each that is not. `back`: the cluster's versions begin again.
    pub(super) fn listed(&mut self, kind: ObjectKind, version: &Version, back: bool) {
        if back || self.history.goes_back(kind, version) {
            // The cluster's store was put back from a copy: what is known of it is not newer because it says so.
            let of_kind = self.seen.iter_mut().filter(|(key, _)| key.kind() == kind);
            for (_, seen) in of_kind {
                seen.version = Version::default();
            }
        }
        self.history.set(kind, version);
    }

    /// A list of `version` shows an object. Whether that is news: all that was known up to then is as the list says, also
    /// if it was changed later than the object in the list (a store that was put back from a copy and counts on).
    pub(super) fn see_listed(&mut self, key: &Key, seen: Seen, version: &Version) -> bool {
        if let Some(known) = self.seen.get(key)
            && (version.is_before(&known.version) || *known == seen)
        {
            return false;
        }
        self.put(key, seen)
    }

    /// A watcher tells of an object. Whether that is news; what is older than what is known is none.
    pub(super) fn see(&mut self, key: &Key, seen: Seen) -> bool {
        self.history.goes_on(key.kind(), &seen.version);
        self.take(key, seen)
    }

    /// A watcher tells that an object was not there at `version`. Whether that is news; an answer may have told of one
    /// that was made since.
    pub(super) fn gone(&mut self, key: &Key, version: &Version) -> bool {
        self.history.goes_on(key.kind(), version);
        if let Some(gone) = self.writing.get_mut(key) {
            *gone = Some(version.clone());
        }
        let known = self.seen.get(key);
        let newer = known.is_some_and(|known| version.is_before(&known.version));
        !newer && self.lose(key)
    }

    fn take(&mut self, key: &Key, seen: Seen) -> bool {
        if let Some(known) = self.seen.get(key)
            && known.uid == seen.uid
            && (seen.version.is_before(&known.version) || *known == seen)
        {
            return false;
        }
        self.put(key, seen)
    }

    fn put(&mut self, key: &Key, seen: Seen) -> bool {
        self.seen.insert(key.clone(), seen);
        self.sort(key);
        true
    }

    /// An action on an object is on its way; [`Book::wrote`] or [`Book::refused`] ends it.
    pub(super) fn begin(&mut self, key: &Key) {
        self.writing.insert(key.clone(), None);
    }

    /// An action came to nothing.
    pub(super) fn refused(&mut self, key: &Key) {
        self.writing.remove(key);
    }

    /// A cluster's answer to an action: what the object is then, or that it is gone. A watch may have told of it
    /// before, and of what came after it: something else has come in its place since, or nothing has. And policy may
    /// want something else by now.
    pub(super) fn wrote(&mut self, key: &Key, action: &Action, seen: Option<Seen>) -> Wrote {
        let gone = self.writing.remove(key).flatten();
        let Some(seen) = seen else {
            let another = |uid: &str| self.seen.get(key).is_some_and(|seen| *seen.uid != *uid);
            // Whoever made it anew at once is not forgotten with what was removed.
            if !matches!(action, Action::Remove(uid, _) if another(uid)) {
                self.lose(key);
            }
            return Wrote::Taken;
        };
        let version = seen.version.clone();
        let as_written = match action {
            Action::Apply(content) | Action::Overwrite(content) => seen.is(content),
            Action::Remove(..) => false,
        };
        let late = match (self.seen.get(key), gone) {
            (Some(known), _) => version.is_before(&known.version),
            (None, Some(gone)) => version == gone || version.is_before(&gone),
            (None, None) => false,
        };
        if !late && self.take(key, seen) {
            return Wrote::Taken;
        }
        let known = self.seen.get(key).map(|known| &known.version);
        match (as_written, known == Some(&version)) {
            (true, true) => Wrote::Taken,
            (true, false) => Wrote::Overtaken,
            (false, _) => Wrote::Otherwise,
        }
    }

    /// An object is not there any more. Whether it was.
    fn lose(&mut self, key: &Key) -> bool {
        self.leaving.remove(key);
        self.foreign.remove(key);
        self.seen.remove(key).is_some()
    }

    /// The objects that are seen.
    pub(super) fn all_seen(&self) -> impl Iterator<Item = (&Key, &Seen)> {
        self.seen.iter()
    }

    /// Bindings of others that name a group of ours.
    pub(super) fn foreign(&self) -> &BTreeSet<Key> {
        &self.foreign
    }

    /// Says of an object that is seen whether it is leaving, or foreign.
    fn sort(&mut self, key: &Key) {
        self.leaving.remove(key);
        self.foreign.remove(key);
        let Some(seen) = self.seen.get(key) else {
            return;
        };
        if self.is_wanted(key) {
            return;
        }
        if self.is_removable(key, seen) {
            self.leaving.insert(key.clone());
        } else if names_grant_group(seen) {
            self.foreign.insert(key.clone());
        }
    }

    fn seen_in(&self, namespace: &str) -> Vec<Key> {
        let first = Key::Binding(namespace.into(), "".into());
        let after = self.seen.range(first..);
        let here = after.take_while(|(key, _)| key.namespace() == Some(namespace));
        here.map(|(key, _)| key.clone()).collect()
    }

    /// The RoleBindings that a namespace may have.
    pub(super) fn keys_in(&self, namespace: &str) -> Vec<Key> {
        let roles = self.plan.roles.project.keys();
        roles
            .map(|role| Key::Binding(namespace.into(), project_cluster_role(role).into()))
            .collect()
    }

    /// The objects that a namespace may have or has.
    pub(super) fn keys_about(&self, namespace: &str) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> = self.seen_in(namespace).into_iter().collect();
        keys.extend(self.keys_in(namespace));
        keys
    }

    /// Every object that is wanted or seen.
    pub(super) fn keys(&self) -> BTreeSet<Key> {
        let held = self
            .namespaces
            .iter()
            .filter(|(_, it)| it.project.is_some());
        let held = held.flat_map(|(name, _)| self.keys_in(name));
        let own = Key::Role(RECONCILER_ROLE.into());
        let known = self.objects.keys().chain(self.seen.keys()).cloned();
        known.chain(held).chain([own]).collect()
    }

    /// What has to be done with an object.
    pub(super) fn difference(&self, key: &Key) -> Option<Action> {
        let seen = self.seen.get(key);
        let Some(wanted) = self.wanted(key) else {
            let seen = seen.filter(|seen| self.is_removable(key, seen))?;
            return Some(Action::Remove(seen.uid.clone(), seen.version.clone()));
        };
        match seen {
            Some(seen) if seen.is(&wanted) => None,
            Some(seen) => Some(rewrite(seen, wanted)),
            None => Some(Action::Apply(wanted)),
        }
    }

    /// When an action on an object is due.
    pub(super) fn phase(&self, key: &Key, action: &Action) -> Phase {
        let removes = matches!(action, Action::Remove(..));
        match key {
            Key::Role(name) if **name == *RECONCILER_ROLE => self.own_phase(),
            Key::Role(_) if removes => Phase::Tail,
            Key::Role(name) | Key::ClusterBinding(name) if name.starts_with(IMPERSONATOR_ROLE) => {
                Phase::Groups
            }
            // The binding of another role under a wanted name goes before it is written anew.
            Key::Role(_) | Key::ClusterBinding(_) if !removes || self.is_wanted(key) => {
                Phase::Roles
            }
            Key::Binding(namespace, _) if self.is_fresh(namespace) => Phase::Fresh,
            Key::Role(_) | Key::ClusterBinding(_) | Key::Binding(..) if removes => Phase::Away,
            Key::Role(_) | Key::ClusterBinding(_) | Key::Binding(..) => Phase::Rest,
        }
    }

    /// Whether the groups that the cluster takes may have changed with this object.
    pub(super) fn is_about_groups(key: &Key) -> bool {
        matches!(key, Key::Role(name) if name.starts_with(IMPERSONATOR_ROLE))
    }

    /// The wanted groups that the impersonator may use, as the cluster has it.
    pub(super) fn groups(&self) -> BTreeSet<&str> {
        let roles = self
            .seen
            .iter()
            .filter(|(key, _)| Self::is_about_groups(key));
        let all = roles.flat_map(|(_, seen)| match &seen.content {
            Content::Role { rules, .. } => rules.as_slice(),
            Content::Binding(_) | Content::Unreadable => &[],
        });
        all.flat_map(|rule| &rule.resource_names)
            .filter_map(|name| self.groups.get(name).map(String::as_str))
            .collect()
    }
}

/// How a namespace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It was there before anybody looked.
    Old,
    /// It has just been made.
    New,
    /// It is being deleted: nothing can be made in it.
    Ending,
}

pub(super) fn names_grant_group(seen: &Seen) -> bool {
    matches!(&seen.content, Content::Binding(bound) if bound.names_grant_group())
}

fn rewrite(seen: &Seen, wanted: Content) -> Action {
    match (&seen.content, &wanted) {
        // What role a binding is of can never be changed.
        (Content::Binding(old), Content::Binding(new)) if old.role != new.role => {
            Action::Remove(seen.uid.clone(), seen.version.clone())
        }
        (
            Content::Role {
                aggregated: true, ..
            },
            _,
        ) => Action::Overwrite(wanted),
        _ => Action::Apply(wanted),
    }
}

#[cfg(test)]
mod tests;
