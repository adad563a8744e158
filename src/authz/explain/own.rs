//! The grants of our own roles and bindings.

use super::{
    Explanation,
    grant::{Bar, Grant, Named, Words},
};
use crate::{
    authz::{
        question::Question,
        source::{OwnSource, Sourced},
    },
    objects::{Binding, Role, RoleScope, SubjectKind},
};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Held at the gateway's own API by everyone who is logged in.
const AUTHENTICATED: &str = "authenticated";
/// Held on a cluster by whoever holds any other role there.
const BASIC: &str = "basic";

/// Every rule of every binding; those that do not reach the one who asks have a bar.
pub(super) fn grants<'a>(
    source: &'a OwnSource,
    question: &Question,
    cluster: Option<&str>,
    now: Timestamp,
    answer: &mut Explanation,
) -> Vec<Grant<'a>> {
    answer.groups = with_memberships(source, question);
    let mut grants = Vec::new();
    let mut holds_any = false;
    for binding in source.bindings.values() {
        let Some(role) = source.roles.get(&binding.object.spec.role) else {
            continue;
        };
        let bar = bar(source, binding, role, cluster, now, answer);
        holds_any |= bar.is_none();
        let held = Held {
            binding: Some(named("Binding", &binding.object.metadata.name, binding)),
            subject: words(&binding.object),
            bar,
        };
        held.rules(source, role, &mut grants);
    }
    let given = match cluster {
        None => Some((AUTHENTICATED, "everyone who is logged in")),
        Some(_) if holds_any => Some((BASIC, "whoever holds any role on the cluster")),
        Some(_) => None,
    };
    if let Some((name, subject)) = given
        && let Some(role) = source.roles.get(name)
    {
        let held = Held {
            binding: None,
            subject: subject.to_owned(),
            bar: None,
        };
        held.rules(source, role, &mut grants);
    }
    note(source, cluster, holds_any, answer);
    grants
}

/// The groups of the question, and those of the folder that the user is a member of.
fn with_memberships(source: &OwnSource, question: &Question) -> Vec<String> {
    let mut groups = question.subject.groups.clone();
    for (name, group) in &source.groups {
        let mut members = group.object.spec.members.iter();
        if !groups.contains(name) && members.any(|member| member.name == question.subject.user) {
            groups.push(name.clone());
        }
    }
    groups
}

fn bar(
    source: &OwnSource,
    binding: &Sourced<Binding>,
    role: &Sourced<Role>,
    cluster: Option<&str>,
    now: Timestamp,
    answer: &Explanation,
) -> Option<Bar> {
    let spec = &binding.object.spec;
    let is_subject = match spec.subject.kind {
        SubjectKind::User => spec.subject.name == answer.user,
        SubjectKind::Group => answer.groups.contains(&spec.subject.name),
    };
    let place = match (role.object.spec.scope, cluster) {
        (RoleScope::Global, None) => None,
        // No change to the binding would bring a role of one scope into another.
        (RoleScope::Global, Some(_)) | (RoleScope::Cluster, None) | (RoleScope::Project, _) => {
            return Some(Bar::Elsewhere);
        }
        (RoleScope::Cluster, Some(cluster)) => {
            (!covers(source, &binding.object, cluster)).then(|| clusters(&binding.object))
        }
    };
    // One bar is told: the one that matters most. A binding of others for another place is far away.
    match (is_subject, place) {
        (false, None) => Some(Bar::Subject),
        (false, Some(_)) => Some(Bar::Elsewhere),
        (true, Some(place)) => Some(Bar::Place(place)),
        (true, None) => spec
            .expires_at
            .filter(|end| *end <= now)
            .map(|end| Bar::Expired(end.to_string())),
    }
}

fn covers(source: &OwnSource, binding: &Binding, cluster: &str) -> bool {
    let spec = &binding.spec;
    if spec.all_clusters || spec.clusters.iter().any(|name| name == cluster) {
        return true;
    }
    !spec.cluster_selector.is_empty()
        && source.clusters.get(cluster).is_some_and(|known| {
            let labels = &known.object.metadata.labels;
            spec.cluster_selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
        })
}

/// `on clusters a, b alone`, `on clusters with env=prod alone`.
fn clusters(binding: &Binding) -> String {
    let spec = &binding.spec;
    if spec.cluster_selector.is_empty() {
        return format!(
            "on clusters {} alone",
            crate::authz::describe::list(&spec.clusters)
        );
    }
    let labels: Vec<String> = spec
        .cluster_selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("on clusters with {} alone", labels.join(", "))
}

fn words(binding: &Binding) -> String {
    let subject = &binding.spec.subject;
    match subject.kind {
        SubjectKind::User => format!("user {:?}", subject.name),
        SubjectKind::Group => format!("group {:?}", subject.name),
    }
}

fn named<T>(kind: &'static str, name: &str, written: &Sourced<T>) -> Named {
    Named {
        kind,
        name: name.to_owned(),
        namespace: String::new(),
        spot: written.origin.spot(),
    }
}

/// A role as somebody holds it.
struct Held {
    binding: Option<Named>,
    subject: String,
    bar: Option<Bar>,
}

impl Held {
    /// The rules of the role and of all that it inherits, each role once.
    fn rules<'a>(
        &self,
        source: &'a OwnSource,
        role: &'a Sourced<Role>,
        grants: &mut Vec<Grant<'a>>,
    ) {
        let bound = named("Role", &role.object.metadata.name, role);
        let mut seen = BTreeSet::from([bound.name.as_str()]);
        let mut open = vec![(role, vec![bound.name.clone()])];
        while let Some((role, way)) = open.pop() {
            for (index, rule) in role.object.spec.rules.iter().enumerate() {
                grants.push(Grant {
                    binding: self.binding.clone(),
                    subject: self.subject.clone(),
                    role: bound.clone(),
                    via: if way.len() > 1 {
                        way.clone()
                    } else {
                        Vec::new()
                    },
                    rule,
                    index,
                    spot: role.origin.rule(index),
                    bar: self.bar.clone(),
                    words: Words::Ours,
                });
            }
            for parent in role.object.spec.inherits.iter().rev() {
                if let Some(next) = source.roles.get(parent)
                    && seen.insert(parent)
                {
                    let mut longer = way.clone();
                    longer.push(parent.clone());
                    open.push((next, longer));
                }
            }
        }
    }
}

fn note(source: &OwnSource, cluster: Option<&str>, holds_any: bool, answer: &mut Explanation) {
    match cluster {
        None => answer.notes.push(
            "asked of the gateway's own API; name a cluster to ask about that one".to_owned(),
        ),
        Some(cluster) => {
            let by_label =
                |binding: &Sourced<Binding>| !binding.object.spec.cluster_selector.is_empty();
            if !source.clusters.contains_key(cluster) && source.bindings.values().any(by_label) {
                answer.notes.push(format!(
                    "the policy has no Cluster {cluster:?}, so bindings by label pass it by"
                ));
            }
            if !holds_any {
                let who = if answer.user.is_empty() {
                    "nobody"
                } else {
                    &answer.user
                };
                answer
                    .notes
                    .push(format!("{who} holds no role on cluster {cluster:?}"));
            }
        }
    }
}
