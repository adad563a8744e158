//! Projects: namespaces of one cluster, by name and by glob.
//!
//! What could go wrong: two projects that hold one namespace, made one by one or in the same instant (every write of a
//! project's namespaces writes one key, and is refused if an entry has a namespace in common with another project's); a
//! namespace that is added to give its project's members more than whoever adds it holds (`authority`).

use super::authority::{Authority, Ground, Lasts};
use super::cascade::{self, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::resource::{Context, Fixed, Resource};
use super::table::{self, Column};
use super::{Api, Caller, bound, roles};
use crate::objects::{
    Cluster, Kind, Project, ProjectSpec, Stored,
    namespaces::{self, Pattern},
};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Names and globs of one project: far above what people write; past it a glob is the better tool.
const MAX_NAMESPACES: usize = 500;
/// Written by every write of a project's namespaces.
const GUARD: &str = "/palisade/meta/projects";
/// Keys read at once.
const PAGE: usize = 500;

impl Resource for Project {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The project's name"),
        Column::shown("Cluster", "Where its namespaces are"),
        Column::shown("Namespaces", "By name and by glob"),
        Column::shown("Age", "Time since the project was made"),
        Column::wide("Description", "For people to read"),
        Column::wide("Uid", "What its grant groups are named by"),
        Column::wide("Origin", "store, or the place in the policy folder"),
    ];

    const FIELDS: &'static [&'static str] = &["spec.cluster"];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.cluster" => (&self.spec.cluster).into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            self.metadata.name.as_str().into(),
            self.spec.cluster.as_str().into(),
            table::joined(self.spec.namespaces.iter().map(String::as_str)),
            table::age(self, now),
            table::or_none(&self.spec.description),
            self.metadata.uid.as_str().into(),
            roles::origin(&self.metadata).into(),
        ]
    }

    fn fixed(api: &Api, name: &str) -> Option<Fixed<Self>> {
        let folder = api.authz.folder();
        let project = folder.projects.get(name)?.clone();
        let place = folder.place::<Self>(name).unwrap_or_default();
        Some(Fixed::Folder(project, place.to_owned()))
    }

    fn all_fixed(api: &Api) -> Vec<Self> {
        api.authz.folder().projects.values().cloned().collect()
    }

    fn is_own(&self, api: &Api, caller: &Caller) -> bool {
        api.is_in(caller, self)
    }

    fn own_names(api: &Api, caller: &Caller) -> Option<Vec<String>> {
        Some(api.projects_of(caller))
    }

    async fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        draft.check_text("spec.description", &self.spec.description);
        if self.spec.cluster.is_empty() {
            let detail = "a project is on one cluster";
            draft.wrong(Mistake::required("spec.cluster", detail));
        } else {
            match cx.load::<Cluster>(&self.spec.cluster).await? {
                Some((_, found)) => draft.prove(&found),
                None => draft.wrong(Mistake::not_found("spec.cluster", &self.spec.cluster)),
            }
        }
        self.check_namespaces(cx, draft).await?;
        Ok(Self::Private::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        let was = &old.object.spec;
        draft.check_text("spec.description", &self.spec.description);
        draft.same("spec.cluster", &was.cluster, &self.spec.cluster);
        if self.spec.namespaces != was.namespaces {
            let authority = Authority::of(cx, ObjectRef::of::<Self>(&self.metadata.name));
            let cluster = Ground::Cluster(was.cluster.clone());
            authority
                .must_hold_all_in(draft, &old.object, (&cluster, Lasts::ForGood))
                .await?;
            self.check_namespaces(cx, draft).await?;
        }
        Ok(Self::Private::default())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        let (name, uid) = (&self.metadata.name, &self.metadata.uid);
        let authority = Authority::of(cx, ObjectRef::of::<Self>(name));
        let ground = Ground::Project {
            name: name.clone(),
            uid: uid.clone(),
            cluster: self.spec.cluster.clone(),
        };
        authority
            .must_hold_all_in(draft, self, (&ground, Lasts::Now))
            .await?;
        bound::forget(draft, uid);
        cascade::of_project(&Hands::of(cx.api), self)
            .await?
            .fill(draft);
        Ok(())
    }

    async fn sweep(&self, hands: &Hands) -> Result<(), ApiError> {
        let key = Self::key(&self.metadata.name);
        while cascade::of_project(hands, self)
            .await?
            .write(hands, &key)
            .await?
        {}
        Ok(())
    }
}

impl Project {
    /// Checks each entry, and that no other project of the cluster holds a namespace that this one holds.
    async fn check_namespaces(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        let entries = &self.spec.namespaces;
        if entries.len() > MAX_NAMESPACES {
            let mistake = Mistake::too_many("spec.namespaces", entries.len(), MAX_NAMESPACES);
            draft.wrong(mistake);
            return Ok(());
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut patterns = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let field = format!("spec.namespaces[{index}]");
            match Pattern::parse(entry) {
                Err(error) => draft.wrong(Mistake::invalid(field, entry, error)),
                Ok(_) if !seen.insert(entry) => draft.wrong(Mistake::duplicate(field, entry)),
                Ok(pattern) => patterns.push((field, pattern)),
            }
        }
        let found = cx.api.store.get(GUARD).await?;
        let others = others(cx, self).await?;
        for (field, pattern) in &patterns {
            if let Some(shared) = shared_with(&others, (&self.metadata.name, pattern)) {
                let detail = format!("{shared}, and a namespace belongs to one project");
                draft.wrong(Mistake::invalid(field, &pattern.to_string(), detail));
            }
        }
        let revision = found.map_or(0, |found| found.mod_revision);
        draft.put_raw(GUARD, b"{\"schema\":1}".to_vec(), revision);
        Ok(())
    }
}

/// The project of this name, whatever its origin; the write holds only while a stored one is as it is.
pub(super) async fn find(
    cx: &Context<'_>,
    name: &str,
    draft: &mut Draft,
) -> Result<Option<Project>, ApiError> {
    if let Some(fixed) = Project::fixed(cx.api, name) {
        return Ok(Some(fixed.into_object()));
    }
    let Some((stored, found)) = cx.load::<Project>(name).await? else {
        return Ok(None);
    };
    draft.prove(&found);
    Ok(Some(stored.object))
}

/// The entries of the cluster's other projects: the folder's, and the stored ones.
async fn others(cx: &Context<'_>, project: &Project) -> Result<Vec<(String, Pattern)>, ApiError> {
    let folder = cx.api.authz.folder();
    let mut entries = Vec::new();
    let mut add = |name: &str, spec: &ProjectSpec| {
        if spec.cluster == project.spec.cluster && *name != project.metadata.name {
            let patterns = spec.namespaces.iter();
            let patterns = patterns.filter_map(|entry| Pattern::parse(entry).ok());
            entries.extend(patterns.map(|pattern| (name.to_owned(), pattern)));
        }
    };
    for (name, found) in &folder.projects {
        add(name, &found.spec);
    }
    let mut after: Option<String> = None;
    loop {
        let listing = cx
            .api
            .store
            .list(&Project::prefix(), PAGE, after.as_deref())
            .await?;
        for found in &listing.items {
            let stored = Stored::<Project>::decode(&found.key, &found.value, found.mod_revision)?;
            // Also what the folder hides: it comes back when the folder lets go of the name.
            add(&stored.object.metadata.name, &stored.object.spec);
        }
        after = listing.items.last().map(|found| found.key.clone());
        if !listing.more {
            return Ok(entries);
        }
    }
}

/// The first entry of another project that holds a namespace which this one holds.
fn shared_with(others: &[(String, Pattern)], this: (&str, &Pattern)) -> Option<namespaces::Shared> {
    let mut others = others.iter();
    others.find_map(|(name, pattern)| namespaces::conflict(this, (name, pattern)))
}
