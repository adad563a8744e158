//! What policy wants of an object, and what is ours to take away.

use super::{Book, Phase, names_grant_group};
use crate::{
    clusters::{
        manifest::{self, RECONCILER_ROLE},
        reconcile::{
            content::{Content, Key, Seen, Who},
            plan::{ProjectRef, bound, role},
        },
    },
    objects::{grant_group, namespaces::can_be_held, rules::PolicyRule},
};

/// Names of objects to be taken away that the reconciler's own rule lists at a time: somebody who makes such
/// objects by the thousand does not make its rule grow without end.
pub(super) const NAMES_TO_REMOVE: usize = 100;

impl Book {
    /// Whether the reconciler's own rule lacks something, or only has names too many.
    pub(super) fn own_phase(&self) -> Phase {
        let key = Key::Role(RECONCILER_ROLE.into());
        let (Some(Content::Role { rules: wanted, .. }), Some(seen)) =
            (self.wanted(&key), self.seen.get(&key))
        else {
            return Phase::Grow;
        };
        let Content::Role {
            rules,
            aggregated: false,
        } = &seen.content
        else {
            return Phase::Grow;
        };
        let enough = |wanted: &PolicyRule| {
            rules.iter().any(|rule| {
                let names = &rule.resource_names;
                let same = PolicyRule {
                    resource_names: wanted.resource_names.clone(),
                    ..rule.clone()
                };
                same == *wanted
                    && names.is_empty() == wanted.resource_names.is_empty()
                    && wanted
                        .resource_names
                        .iter()
                        .all(|name| names.contains(name))
            })
        };
        if seen.labelled && wanted.iter().all(enough) {
            Phase::Tail
        } else {
            Phase::Grow
        }
    }

    /// What policy wants of an object.
    pub(super) fn wanted(&self, key: &Key) -> Option<Content> {
        match key {
            Key::Role(name) if **name == *RECONCILER_ROLE => Some(self.reconciler()),
            Key::Role(_) | Key::ClusterBinding(_) => self.objects.get(key).cloned(),
            Key::Binding(namespace, name) => {
                let (project, role) = self.granted(namespace, name)?;
                let group = manifest::project_group(&project.uid, role);
                Some(bound(name, Who::group(group), Some(&project.name)))
            }
        }
    }

    pub(super) fn is_wanted(&self, key: &Key) -> bool {
        match key {
            Key::Role(name) if **name == *RECONCILER_ROLE => true,
            Key::Role(_) | Key::ClusterBinding(_) => self.objects.contains_key(key),
            Key::Binding(namespace, name) => self.granted(namespace, name).is_some(),
        }
    }

    /// The project and the role that a RoleBinding is wanted for.
    fn granted<'n>(&self, namespace: &str, name: &'n str) -> Option<(&ProjectRef, &'n str)> {
        let here = self
            .namespaces
            .get(namespace)
            .filter(|it| !it.terminating)?;
        let project = here.project.as_deref()?;
        let role = name.strip_prefix(grant_group::PROJECT)?;
        let known = self.plan.roles.project.contains_key(role);
        known.then_some((project, role))
    }

    /// The reconciler's own rule: for what is wanted, and for what is to be taken away.
    fn reconciler(&self) -> Content {
        let mut names = self.plan.roles.names();
        let mut bindings = self.plan.roles.bindings();
        let (mut more, mut more_bindings) = (0, 0);
        for key in &self.leaving {
            let (set, count) = match key {
                Key::Role(_) | Key::ClusterBinding(_) => (&mut names, &mut more),
                Key::Binding(..) => (&mut bindings, &mut more_bindings),
            };
            if *count < NAMES_TO_REMOVE && set.insert(key.name().to_owned()) {
                *count += 1;
            }
        }
        role(manifest::reconciler_rules(&names, &bindings))
    }

    /// Whether something that is not wanted is ours to take away.
    pub(super) fn is_removable(&self, key: &Key, seen: &Seen) -> bool {
        if !key.is_ours() || seen.terminating {
            return false;
        }
        // What is in a namespace that is going, or not known yet, goes with it or is looked at again.
        if let Some(namespace) = key.namespace()
            && (!can_be_held(namespace)
                || self
                    .namespaces
                    .get(namespace)
                    .is_none_or(|it| it.terminating))
        {
            return false;
        }
        seen.labelled || names_grant_group(seen)
    }
}
