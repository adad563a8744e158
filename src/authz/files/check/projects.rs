//! What the projects of a folder must keep, each by itself and all together.

use super::{Check, Report, name_of};
use crate::{
    authz::{files::documents::Document, source::OwnSource},
    objects::{
        Project, check_label,
        namespaces::{self, Pattern},
    },
};
use std::collections::{BTreeMap, BTreeSet};

impl Check<'_> {
    pub(super) fn project(&mut self, project: &Project) {
        let spec = &project.spec;
        if let Err(error) = check_label(&spec.cluster) {
            self.wrong("spec.cluster", format!("{:?}: {error}", spec.cluster));
        } else if !self.own.clusters.is_empty() && !self.own.clusters.contains_key(&spec.cluster) {
            let message = format!("this folder has no Cluster {:?}", spec.cluster);
            self.odd("spec.cluster", message);
        }
        let mut seen = BTreeSet::new();
        for (index, entry) in spec.namespaces.iter().enumerate() {
            let path = format!("spec.namespaces[{index}]");
            if let Err(error) = Pattern::parse(entry) {
                self.wrong(&path, format!("{entry:?} {error}"));
            } else if !seen.insert(entry) {
                self.odd(&path, format!("{entry:?} is named twice"));
            }
        }
        if spec.namespaces.is_empty() {
            self.odd("spec.namespaces", "holds no namespace");
        }
    }
}

/// A namespace belongs to at most one project of its cluster: two that hold one are a mistake of the later one.
pub(super) fn shared(documents: &[Document], own: &OwnSource, report: &mut Report) {
    let mut clusters: BTreeMap<&str, Vec<(&str, Pattern)>> = BTreeMap::new();
    for (name, project) in &own.projects {
        let spec = &project.object.spec;
        let entries = spec.namespaces.iter();
        let entries = entries.filter_map(|entry| Pattern::parse(entry).ok());
        let claims = clusters.entry(&spec.cluster).or_default();
        claims.extend(entries.map(|entry| (name.as_str(), entry)));
    }
    for claims in clusters.values() {
        let claims: Vec<(&str, &Pattern)> =
            claims.iter().map(|(name, entry)| (*name, entry)).collect();
        for shared in namespaces::shared(&claims) {
            tell(documents, own, &shared, report);
        }
    }
}

fn tell(documents: &[Document], own: &OwnSource, shared: &namespaces::Shared, report: &mut Report) {
    // The later one in the order of reading; of a file of cases the other one may stand in the folder.
    let place = |name: &String| {
        documents
            .iter()
            .rposition(|document| name_of(document) == name)
    };
    let [one, other] = &shared.projects;
    let (at, first) = match (place(one), place(other)) {
        (Some(one_at), Some(other_at)) if one_at > other_at => (one_at, other),
        (_, Some(other_at)) => (other_at, one),
        (Some(one_at), None) => (one_at, other),
        // Both stand in the folder, which was told already.
        (None, None) => return,
    };
    let Some(document) = documents.get(at) else {
        return;
    };
    let spot = own.projects.get(first).map(|project| project.origin.spot());
    let spot = spot
        .map(|spot| format!("; {first:?} is at {spot}"))
        .unwrap_or_default();
    let mistake = document.mistake("spec.namespaces", format!("{shared}{spot}"));
    report.mistake(&document.file, mistake);
}
