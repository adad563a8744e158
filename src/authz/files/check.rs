//! What a folder of our own kinds must keep, beyond the shape of each object.

use super::{Report, documents::Document};
use crate::{
    authz::source::OwnSource,
    objects::{Binding, Role, RoleScope, SubjectKind, check_label},
};
use std::collections::BTreeSet;

mod projects;
mod rules;

/// Held by everyone who is logged in. The API takes a bound role as leave to reach what is not one's own,
/// so a binding of this one would give everybody's tokens.
const AUTHENTICATED: &str = "authenticated";

/// The objects that are to be checked once all of them are known.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) roles: Vec<Document>,
    pub(super) bindings: Vec<Document>,
    pub(super) projects: Vec<Document>,
}

impl Checks {
    pub(super) fn run(&self, own: &OwnSource, report: &mut Report) {
        for document in &self.roles {
            if let Some(role) = own.roles.get(name_of(document)) {
                let mut check = Check {
                    document,
                    own,
                    report,
                };
                check.inherits(&role.object);
                check.rules(&role.object);
            }
        }
        for document in &self.bindings {
            if let Some(binding) = own.bindings.get(name_of(document)) {
                let mut check = Check {
                    document,
                    own,
                    report,
                };
                check.subject(&binding.object);
                check.binding(&binding.object);
            }
        }
        for document in &self.projects {
            if let Some(project) = own.projects.get(name_of(document)) {
                let mut check = Check {
                    document,
                    own,
                    report,
                };
                check.project(&project.object);
            }
        }
        projects::shared(&self.projects, own, report);
    }
}

fn name_of(document: &Document) -> &str {
    let metadata = document.node.get("metadata");
    metadata
        .and_then(|metadata| metadata.get("name"))
        .and_then(crate::config::yaml::Node::as_str)
        .unwrap_or_default()
}

struct Check<'a> {
    document: &'a Document,
    own: &'a OwnSource,
    report: &'a mut Report,
}

impl Check<'_> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        let mistake = self.document.mistake(path, message);
        self.report.mistake(&self.document.file, mistake);
    }

    fn odd(&mut self, path: &str, message: impl Into<String>) {
        let mistake = self.document.mistake(path, message);
        self.report.warning(&self.document.file, mistake);
    }

    fn inherits(&mut self, role: &Role) {
        let scope = role.spec.scope;
        let mut seen = BTreeSet::new();
        for (index, name) in role.spec.inherits.iter().enumerate() {
            let path = format!("spec.inherits[{index}]");
            if !seen.insert(name) {
                self.odd(&path, format!("{name:?} is named twice"));
            }
            if name == AUTHENTICATED {
                self.wrong(
                    &path,
                    "everyone who is logged in holds \"authenticated\"; it is not inherited",
                );
                continue;
            }
            match self.own.roles.get(name) {
                None => self.wrong(&path, self.unknown_role(name)),
                Some(parent) if parent.object.spec.scope != scope => {
                    let theirs = scope_name(parent.object.spec.scope);
                    let ours = scope_name(scope);
                    let message = format!(
                        "{name:?} has scope {theirs}, this role {ours}: a role inherits within its scope"
                    );
                    self.wrong(&path, message);
                }
                Some(_) => {}
            }
        }
        if let Some(circle) = circle(self.own, &role.metadata.name) {
            let message = format!("inherits from itself: {}", circle.join(" → "));
            self.wrong("spec.inherits", message);
        }
    }

    fn subject(&mut self, binding: &Binding) {
        let subject = &binding.spec.subject;
        if subject.name.is_empty() {
            self.wrong("spec.subject.name", "must name somebody");
        } else if subject.name == "*" {
            self.odd(
                "spec.subject.name",
                "\"*\" is a name like any other, not everybody",
            );
        } else if subject.kind == SubjectKind::User && subject.name.starts_with("system:") {
            self.odd(
                "spec.subject.name",
                "no user of the gateway has a name that starts with \"system:\"",
            );
        }
    }

    fn binding(&mut self, binding: &Binding) {
        let spec = &binding.spec;
        if let Some(end) = spec.expires_at
            && end <= crate::status::clock::now()
        {
            self.odd("spec.expiresAt", format!("has expired at {end}"));
        }
        self.clusters(binding);
        if spec.role.is_empty() {
            return self.wrong("spec.role", "must name a role");
        }
        if spec.role == AUTHENTICATED {
            return self.wrong(
                "spec.role",
                "everyone who is logged in holds \"authenticated\"; it is not bound",
            );
        }
        let Some(role) = self.own.roles.get(&spec.role) else {
            return self.wrong("spec.role", self.unknown_role(&spec.role));
        };
        let places = [
            ("allClusters", spec.all_clusters),
            ("clusters", !spec.clusters.is_empty()),
            ("clusterSelector", !spec.cluster_selector.is_empty()),
        ];
        let set: Vec<&str> = places
            .iter()
            .filter(|(_, set)| *set)
            .map(|(name, _)| *name)
            .collect();
        self.place(&spec.role, role.object.spec.scope, &set, &spec.project);
    }

    /// Whether a binding says where as its role's scope needs it.
    fn place(&mut self, role: &str, scope: RoleScope, clusters: &[&str], project: &str) {
        let ours = scope_name(scope);
        if scope != RoleScope::Project && !project.is_empty() {
            let message = format!("role {role:?} has scope {ours}: it is not held in a project");
            self.wrong("spec.project", message);
        }
        match (scope, clusters) {
            (RoleScope::Global, []) | (RoleScope::Cluster, [_]) => {}
            (RoleScope::Global, [first, ..]) => {
                let message = format!(
                    "role {role:?} has scope global: it applies to the gateway's own API, on no cluster"
                );
                self.wrong(&format!("spec.{first}"), message);
            }
            (RoleScope::Cluster, []) => self.wrong(
                "spec",
                "says no clusters; write one of allClusters: true, clusters or clusterSelector",
            ),
            (RoleScope::Cluster, [_, second, ..]) => self.wrong(
                &format!("spec.{second}"),
                "write one of allClusters, clusters and clusterSelector, not more",
            ),
            (RoleScope::Project, [first, ..]) => {
                let message = format!(
                    "role {role:?} has scope project: it is held in a project, and the project says where that is"
                );
                self.wrong(&format!("spec.{first}"), message);
            }
            (RoleScope::Project, []) if project.is_empty() => {
                self.wrong("spec", "says no project, and the role has scope project");
            }
            (RoleScope::Project, []) => {
                if !self.own.projects.contains_key(project) {
                    let message = Self::unknown("project", project, self.own.projects.keys());
                    self.wrong("spec.project", message);
                }
            }
        }
    }

    fn clusters(&mut self, binding: &Binding) {
        let mut seen = BTreeSet::new();
        for (index, name) in binding.spec.clusters.iter().enumerate() {
            let path = format!("spec.clusters[{index}]");
            if let Err(error) = check_label(name) {
                self.wrong(&path, format!("{name:?}: {error}"));
            } else if !seen.insert(name) {
                self.odd(&path, format!("{name:?} is named twice"));
            } else if !self.own.clusters.is_empty() && !self.own.clusters.contains_key(name) {
                self.odd(&path, format!("this folder has no Cluster {name:?}"));
            }
        }
    }

    fn unknown_role(&self, name: &str) -> String {
        let known = self
            .own
            .roles
            .keys()
            .filter(|known| *known != AUTHENTICATED);
        Self::unknown("role", name, known)
    }

    /// `there is no role "x"`, and what may be meant.
    fn unknown<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n String>) -> String {
        let near = known
            .map(|known| (distance(known, name), known))
            .filter(|(far, _)| *far <= 2)
            .min();
        match near {
            Some((_, known)) => format!("there is no {kind} {name:?}; is {known:?} meant?"),
            None => format!("there is no {kind} {name:?}"),
        }
    }
}

/// A way from `start` back to `start`, if there is one.
fn circle<'a>(own: &'a OwnSource, start: &'a str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![vec![start]];
    while let Some(way) = open.pop() {
        let role = way.last().and_then(|name| own.roles.get(*name))?;
        for next in &role.object.spec.inherits {
            if next == start {
                let mut circle = way.clone();
                circle.push(start);
                return Some(circle);
            }
            if own.roles.contains_key(next) && seen.insert(next.as_str()) {
                let mut longer = way.clone();
                longer.push(next);
                open.push(longer);
            }
        }
    }
    None
}

pub(super) fn scope_name(scope: RoleScope) -> &'static str {
    match scope {
        RoleScope::Global => "global",
        RoleScope::Cluster => "cluster",
        RoleScope::Project => "project",
    }
}

/// Letters to change, add or take away to make one name of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, a) in one.chars().enumerate() {
        let mut corner = above;
        let mut left = above + 1;
        let mut next = vec![left];
        for (b, up) in other.iter().zip(row.iter().skip(1)) {
            left = (corner + usize::from(a != *b)).min(left + 1).min(up + 1);
            corner = *up;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, far) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("cluster-viewer", "cluster-veiwer", 2),
            ("a", "", 1),
        ] {
            assert_eq!(super::distance(one, other), far, "{one} {other}");
            assert_eq!(super::distance(other, one), far, "{other} {one}");
        }
    }
}
