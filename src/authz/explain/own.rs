//! The grants of our own roles and bindings.

use super::{
    Explanation,
    grant::{Bar, Grant, Named, Words},
};
use crate::{
    authz::{
        question::Question,
        rules,
        source::{OwnSource, Sourced},
    },
    objects::{Binding, Role, RoleScope, SubjectKind, namespaces::Pattern},
};
use jiff::Timestamp;
use std::collections::BTreeSet;

/// Held at the gateway's own API by everyone who is logged in.
const AUTHENTICATED: &str = "authenticated";
/// Projects that a note names; more are not read.
const MOST_PLACES: usize = 5;
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
        let reach = reach(source, &binding.object, role, cluster, answer);
        let bar = bar(&binding.object, &reach, now, answer);
        holds_any |= match (&reach, &bar) {
            (Reach::Here, None) => true,
            // In a project of the cluster, which is something held there too.
            (Reach::OtherNamespaces(_), Some(Bar::Place(..))) => !has_ended(&binding.object, now),
            _ => false,
        };
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

/// A list over all namespaces is in no project's: says where the same is allowed, and how to ask there, as the gateway
/// does.
pub(super) fn say_where(
    source: &OwnSource,
    grants: &[Grant<'_>],
    now: Timestamp,
    answer: &mut Explanation,
) {
    let attrs = answer.attributes.matched();
    if !attrs.is_over_namespaces() {
        return;
    }
    let lasts = |grant: &Grant<'_>| {
        let binding = grant.binding.as_ref();
        let binding = binding.and_then(|named| source.bindings.get(&named.name));
        binding.is_some_and(|binding| !has_ended(&binding.object, now))
    };
    let mut places = BTreeSet::new();
    for grant in grants {
        if let Some(Bar::Place("namespace", place)) = &grant.bar
            && rules::allows(grant.rule, &attrs)
            && lasts(grant)
        {
            places.insert(place.clone());
        }
    }
    let notes = places.into_iter().take(MOST_PLACES);
    let notes = notes.map(|place| {
        format!("the same is allowed {place}: ask for one of them, with -n NAMESPACE")
    });
    answer.notes.extend(notes);
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

/// Where a binding is for, as seen from the place that is asked about.
enum Reach {
    Here,
    /// Another place; the text says which.
    Away(String),
    /// A project of the cluster that does not hold the namespace.
    OtherNamespaces(String),
    /// No change to the binding would bring a role of one scope into another.
    Never,
}

fn reach(
    source: &OwnSource,
    binding: &Binding,
    role: &Sourced<Role>,
    cluster: Option<&str>,
    answer: &Explanation,
) -> Reach {
    match (role.object.spec.scope, cluster) {
        (RoleScope::Global, None) => Reach::Here,
        (RoleScope::Project, None)
            if answer.attributes.matched().is_about_bindings()
                && source.projects.contains_key(&binding.spec.project) =>
        {
            Reach::Here
        }
        (RoleScope::Global, Some(_)) | (RoleScope::Cluster | RoleScope::Project, None) => {
            Reach::Never
        }
        (RoleScope::Cluster, Some(cluster)) if covers(source, binding, cluster) => Reach::Here,
        (RoleScope::Cluster, Some(_)) => Reach::Away(clusters(binding)),
        (RoleScope::Project, Some(cluster)) => {
            let Some(project) = source.projects.get(&binding.spec.project) else {
                return Reach::Never;
            };
            let spec = &project.object.spec;
            if spec.cluster != cluster {
                return Reach::Away(format!("on cluster {} alone", spec.cluster));
            }
            let namespace = &answer.attributes.namespace;
            if holder(source, cluster, namespace) == Some(binding.spec.project.as_str()) {
                return Reach::Here;
            }
            let listed = crate::authz::describe::list(&spec.namespaces);
            Reach::OtherNamespaces(format!("in the namespaces {listed} alone"))
        }
    }
}

/// The project that holds a namespace of a cluster.
fn holder<'a>(source: &'a OwnSource, cluster: &str, namespace: &str) -> Option<&'a str> {
    let mut projects = source.projects.iter();
    let holds = |entry: &String| Pattern::parse(entry).is_ok_and(|entry| entry.holds(namespace));
    let found = projects.find(|(_, project)| {
        let spec = &project.object.spec;
        spec.cluster == cluster && spec.namespaces.iter().any(holds)
    });
    found.map(|(name, _)| name.as_str())
}

fn has_ended(binding: &Binding, now: Timestamp) -> bool {
    binding.spec.expires_at.is_some_and(|end| end <= now)
}

fn bar(binding: &Binding, reach: &Reach, now: Timestamp, answer: &Explanation) -> Option<Bar> {
    let spec = &binding.spec;
    let is_subject = match spec.subject.kind {
        SubjectKind::User => spec.subject.name == answer.user,
        SubjectKind::Group => answer.groups.contains(&spec.subject.name),
    };
    // One bar is told: the one that matters most. A binding of others for another place is far away.
    match (is_subject, reach) {
        (_, Reach::Never) | (false, Reach::Away(_) | Reach::OtherNamespaces(_)) => {
            Some(Bar::Elsewhere)
        }
        (false, Reach::Here) => Some(Bar::Subject),
        (true, Reach::Away(place)) => Some(Bar::Place("cluster", place.clone())),
        (true, Reach::OtherNamespaces(place)) => Some(Bar::Place("namespace", place.clone())),
        (true, Reach::Here) => spec
            .expires_at
            .filter(|_| has_ended(binding, now))
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
        None => {
            answer.notes.push(
                "asked of the gateway's own API; name a cluster to ask about that one".to_owned(),
            );
            if answer.attributes.matched().is_about_bindings() && !source.projects.is_empty() {
                answer.notes.push(
                    "what a role of scope project allows here, it allows for bindings of its own project alone"
                        .to_owned(),
                );
            }
        }
        Some(cluster) => {
            let by_label =
                |binding: &Sourced<Binding>| !binding.object.spec.cluster_selector.is_empty();
            if !source.clusters.contains_key(cluster) && source.bindings.values().any(by_label) {
                answer.notes.push(format!(
                    "the policy has no Cluster {cluster:?}, so bindings by label pass it by"
                ));
            }
            let namespace = &answer.attributes.namespace;
            let mut projects = source.projects.values();
            if !namespace.is_empty()
                && projects.any(|project| project.object.spec.cluster == cluster)
            {
                let project = match holder(source, cluster, namespace) {
                    Some(project) => format!("project {project:?}"),
                    None => "no project".to_owned(),
                };
                answer
                    .notes
                    .push(format!("namespace {namespace:?} belongs to {project}"));
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
