//! Our own kinds: read strictly, then checked as a whole.

use super::{Report, check, documents::Document, documents::Documents};
use crate::{
    authz::source::{OwnSource, Sourced},
    config::yaml,
    objects::{Binding, Cluster, Group, Kind, Project, Role},
};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, LazyLock},
};

/// The kinds of our own that a policy folder may hold.
pub(super) const KINDS: [&str; 5] = [
    Role::KIND,
    Binding::KIND,
    Cluster::KIND,
    Project::KIND,
    Group::KIND,
];

/// `policies/default.yaml`, as it was when the program was built.
const BUILT_IN: &str = include_str!("../../../policies/default.yaml");
/// What places in it are called.
pub(super) const BUILT_IN_NAME: &str = "policies/default.yaml";

static BUILT_IN_ROLES: LazyLock<OwnSource> = LazyLock::new(|| {
    let mut documents = Documents::default();
    documents.read(&Arc::from(BUILT_IN_NAME), BUILT_IN);
    // The text is part of the program; a test reads it and asserts that nothing is wrong with it.
    let mut report = Report::default();
    collect(&OwnSource::default(), documents.own(), &mut report)
});

/// The built-in roles alone.
pub(super) fn built_in() -> &'static OwnSource {
    &BUILT_IN_ROLES
}

/// Everything of our own, by name, on top of `base`.
pub(super) fn collect(base: &OwnSource, documents: &[Document], report: &mut Report) -> OwnSource {
    let mut own = base.clone();
    let mut checks = check::Checks::default();
    for document in documents {
        match document.kind.as_str() {
            Role::KIND => {
                if let Some(role) = object::<Role>(document, report) {
                    put_role(base, &mut own, document, role, &mut checks, report);
                }
            }
            Binding::KIND => {
                if let Some(binding) = object::<Binding>(document, report)
                    && put(&mut own.bindings, document, binding, report)
                {
                    checks.bindings.push(document.clone());
                }
            }
            Cluster::KIND => {
                if let Some(cluster) = object::<Cluster>(document, report) {
                    put(&mut own.clusters, document, cluster, report);
                }
            }
            Project::KIND => {
                if let Some(project) = object::<Project>(document, report)
                    && put(&mut own.projects, document, project, report)
                {
                    checks.projects.push(document.clone());
                }
            }
            _ => {
                if let Some(group) = object::<Group>(document, report) {
                    put(&mut own.groups, document, group, report);
                }
            }
        }
    }
    checks.run(&own, report);
    name_by_uid(&mut own);
    own
}

/// A binding counts by its project's uid, if the project has one; what names it by name alone is given it.
fn name_by_uid(own: &mut OwnSource) {
    for binding in own.bindings.values_mut() {
        let spec = &mut binding.object.spec;
        if let Some(project) = own.projects.get(&spec.project)
            && spec.project_uid.is_empty()
        {
            spec.project_uid.clone_from(&project.object.metadata.uid);
        }
    }
}

/// Reads an object and checks what all kinds have in common.
fn object<K: Kind>(document: &Document, report: &mut Report) -> Option<K> {
    let object = match yaml::load::<K>(&document.node) {
        Ok(object) => object,
        Err(mistakes) => {
            for mistake in mistakes {
                report.mistake(&document.file, mistake);
            }
            return None;
        }
    };
    let mut sound = true;
    if let Err(error) = crate::objects::check_label(&object.meta().name) {
        let name = &object.meta().name;
        let mistake = document.mistake("metadata.name", format!("{name:?}: {error}"));
        report.mistake(&document.file, mistake);
        sound = false;
    }
    if document.node.get("spec").is_none() {
        let mistake = document.mistake("", format!("a {} needs a spec", K::KIND));
        report.mistake(&document.file, mistake);
        sound = false;
    }
    sound.then_some(object)
}

/// A role of a folder may stand for a built-in one only if it says the same.
fn put_role(
    base: &OwnSource,
    own: &mut OwnSource,
    document: &Document,
    role: Role,
    checks: &mut check::Checks,
    report: &mut Report,
) {
    let name = role.metadata.name.clone();
    if let Some(built_in) = base.roles.get(&name) {
        if built_in.object.spec != role.spec {
            let message = format!(
                "{name:?} is a built-in role and cannot be changed; give yours another name"
            );
            let mistake = document.mistake("metadata.name", message);
            report.mistake(&document.file, mistake);
        }
        return;
    }
    if put(&mut own.roles, document, role, report) {
        checks.roles.push(document.clone());
    }
}

/// Adds an object; the second of a name is a mistake.
fn put<K: Kind>(
    map: &mut BTreeMap<String, Sourced<K>>,
    document: &Document,
    object: K,
    report: &mut Report,
) -> bool {
    let rules = document.node.get("spec").and_then(|spec| spec.get("rules"));
    match map.entry(object.meta().name.clone()) {
        Entry::Vacant(free) => {
            free.insert(Sourced {
                object,
                origin: document.origin(rules),
            });
            true
        }
        Entry::Occupied(first) => {
            let place = first.get().origin.spot();
            let message = format!("{} {:?} is also at {place}", K::KIND, first.key());
            let mistake = document.mistake("metadata.name", message);
            report.mistake(&document.file, mistake);
            false
        }
    }
}
