//! The grants of one cluster's RBAC objects, resolved as `pkg/registry/rbac/validation/rule.go` does it.

use super::{
    Explanation, MASTERS, Reason,
    grant::{Bar, Grant, Named, Words},
};
use crate::authz::{
    question::{Question, Subject},
    raw,
    source::{Origin, RawBinding, RawRole, RawSource, Sourced},
};

/// Every rule of every binding; those that do not reach the one who asks have a bar.
pub(super) fn grants<'a>(
    source: &'a RawSource,
    question: &Question,
    answer: &mut Explanation,
) -> Vec<Grant<'a>> {
    let subject = &question.subject;
    let mut grants = Vec::new();
    for binding in source.cluster_role_bindings.values() {
        let role = source.cluster_roles.get(&binding.object.role.name);
        take(binding, role, subject, None, &mut grants, answer);
    }
    let asked = answer.attributes.namespace.clone();
    for ((namespace, _), binding) in &source.role_bindings {
        let name = &binding.object.role.name;
        let role = if binding.object.is_of_cluster_role() {
            source.cluster_roles.get(name)
        } else {
            source.roles.get(&(namespace.clone(), name.clone()))
        };
        let bar = (*namespace != asked || !answer.attributes.is_resource)
            .then(|| Bar::Place("namespace", format!("in namespace {namespace:?} alone")));
        take(binding, role, subject, bar, &mut grants, answer);
    }
    grants
}

/// Whether the API server lets the subject do everything.
pub(super) fn masters(subject: &Subject) -> Option<Reason> {
    let is_master = subject.groups.iter().any(|group| group == MASTERS);
    is_master.then(|| Reason {
        text: format!(
            "an API server lets the group {MASTERS:?} do everything, whatever its RBAC says"
        ),
        binding: None,
        subject: format!("group {MASTERS:?}"),
        role: None,
        via: Vec::new(),
        rule: None,
    })
}

fn take<'a>(
    binding: &'a Sourced<RawBinding>,
    role: Option<&'a Sourced<RawRole>>,
    subject: &Subject,
    bar: Option<Bar>,
    grants: &mut Vec<Grant<'a>>,
    answer: &mut Explanation,
) {
    let object = &binding.object;
    let own = object.subjects.iter().find(|one| is(one, object, subject));
    let kind = if object.is_of_cluster_role() {
        "ClusterRole"
    } else {
        "Role"
    };
    let Some(role) = role else {
        if own.is_some() && bar.is_none() {
            // The API server's own words, but for their order.
            let text = format!(
                "{} {:?} refers to {kind} {:?}, which is not there",
                binding_kind(object),
                object.name,
                object.role.name
            );
            answer.notes.push(text);
        }
        return;
    };
    let (words, bar) = match own {
        Some(one) => (words(one, object), bar),
        None if bar.is_some() => return,
        None => (everybody(object), Some(Bar::Subject)),
    };
    for (index, rule) in role.object.rules.iter().enumerate() {
        grants.push(Grant {
            binding: Some(named(
                binding_kind(object),
                &object.name,
                &object.namespace,
                &binding.origin,
            )),
            subject: words.clone(),
            role: named(
                kind,
                &role.object.name,
                &role.object.namespace,
                &role.origin,
            ),
            via: Vec::new(),
            rule,
            index,
            spot: role.origin.rule(index),
            bar: bar.clone(),
            words: Words::Kubernetes,
        });
    }
}

fn binding_kind(binding: &RawBinding) -> &'static str {
    if binding.namespace.is_empty() {
        "ClusterRoleBinding"
    } else {
        "RoleBinding"
    }
}

fn named(kind: &'static str, name: &str, namespace: &str, origin: &Origin) -> Named {
    Named {
        kind,
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        spot: origin.spot(),
    }
}

fn is(one: &raw::Subject, binding: &RawBinding, subject: &Subject) -> bool {
    match one.kind.as_str() {
        "User" => one.name == subject.user,
        "Group" => subject.groups.contains(&one.name),
        _ => one
            .account(&binding.namespace)
            .is_some_and(|account| account == subject.user),
    }
}

/// As the API server words it: `User "jane"`, `ServiceAccount "name/namespace"`.
fn words(one: &raw::Subject, binding: &RawBinding) -> String {
    let raw::Subject {
        kind,
        name,
        namespace,
    } = one;
    if kind != "ServiceAccount" {
        return format!("{kind} {name:?}");
    }
    let namespace = if namespace.is_empty() {
        &binding.namespace
    } else {
        namespace
    };
    format!("{kind} {:?}", format!("{name}/{namespace}"))
}

fn everybody(binding: &RawBinding) -> String {
    let all: Vec<String> = binding
        .subjects
        .iter()
        .map(|one| words(one, binding))
        .collect();
    if all.is_empty() {
        "nobody".to_owned()
    } else {
        crate::authz::describe::list(&all)
    }
}
