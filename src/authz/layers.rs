//! The folder's objects above the stored ones.
//!
//! Both form one policy. A name is one object's: where the folder and the store have the same, the folder's
//! counts, because it was reviewed, and the stored one is kept aside and told of; it counts again when the
//! folder lets go of the name. Built-in roles stand above both.
//!
//! A binding of the folder names its subject, and a policy counts uids. The name is looked up when the
//! folder is read and whenever somebody comes or goes. A name that another had before (a tombstone is left
//! of every user and group) stands for nobody until the file says which uid is meant: whoever is given a
//! name that was free must not find rights waiting that were meant for somebody else.
//!
//! A namespace that a project of the folder and a stored one both hold is in neither: whoever writes the later of
//! the two is refused ([`Layers::clashes`], and the API asks what the folder holds), and if both were written in the
//! same instant the policy counts neither and the folder's view says so.

use super::{
    authorize::Edit,
    folder::{self, FolderView, Placed, PolicyFolder, Standing, Sum},
    policy::{GrantView, Policy, ScopeView},
    source::Sourced,
};
use crate::{
    authn::Index,
    objects::{
        Binding, BindingSpec, Group, Kind, Project, Role, RoleSpec, Subject, SubjectKind, User,
        namespaces::{self, Pattern, Shared},
        tombstones,
    },
    store::follow::{Batch, Change},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What stands where.
#[derive(Default)]
pub(super) struct Layers {
    folder: PolicyFolder,
    /// Every stored role, so that one can come back from under the folder's.
    roles: BTreeMap<String, RoleSpec>,
    /// Every stored project, for the same reason.
    projects: BTreeMap<String, Project>,
    /// Stored bindings of which the folder has the name.
    hidden: BTreeMap<String, Binding>,
    /// How the subject of each of the folder's bindings was found.
    standings: BTreeMap<String, Standing>,
    /// Uids of removed users and groups by their names.
    graves: HashMap<(SubjectKind, Box<str>), Box<str>>,
}

impl Layers {
    /// What a change in the store does to the policy; nothing if the folder has the name.
    pub(super) fn stored(&mut self, edit: Edit) -> Option<Edit> {
        match &edit {
            Edit::Role(name, role) => {
                match role {
                    Some(role) => self.roles.insert(name.clone(), role.spec.clone()),
                    None => self.roles.remove(name),
                };
                (!self.folder.roles.contains_key(name)).then_some(edit)
            }
            Edit::Binding(name, binding) => {
                if !self.folder.bindings.contains_key(name) {
                    return Some(edit);
                }
                match binding {
                    Some(binding) => self.hidden.insert(name.clone(), binding.clone()),
                    None => self.hidden.remove(name),
                };
                None
            }
            Edit::Project(name, project) => {
                match project {
                    Some(project) => self.projects.insert(name.clone(), project.clone()),
                    None => self.projects.remove(name),
                };
                (!self.folder.projects.contains_key(name)).then_some(edit)
            }
            Edit::Cluster(..) => Some(edit),
        }
    }

    /// What people see of the folder hangs on this change too: which namespaces it shares with stored projects.
    pub(super) fn concerns_view(&self, edit: &Edit) -> bool {
        matches!(edit, Edit::Project(..)) && !self.folder.projects.is_empty()
    }

    /// Why a folder cannot be taken beside what is stored: a line for each namespace that one of its projects and a
    /// stored one both hold.
    pub(super) fn clashes(&self, folder: &PolicyFolder) -> Vec<String> {
        let shared = shared(folder, &self.projects).into_iter();
        let lines = shared.map(|(shared, found)| {
            format!(
                "{}: spec.namespaces: {shared}, and a namespace belongs to one project; {:?} is a stored one",
                found.origin.spot(),
                shared.projects[1]
            )
        });
        lines.collect()
    }

    /// Puts another folder in place; what that does to the policy.
    pub(super) fn replace(
        &mut self,
        folder: PolicyFolder,
        policy: &Policy,
        people: &Index,
    ) -> Vec<Edit> {
        let old = std::mem::replace(&mut self.folder, folder);
        let mut edits = Vec::new();
        for name in old.roles.keys() {
            if !self.folder.roles.contains_key(name) {
                let stored = self.roles.get(name);
                edits.push(Edit::Role(name.clone(), stored.map(role)));
            }
        }
        for (name, found) in &self.folder.roles {
            let same = |old: &Sourced<Role>| old.object.spec == found.object.spec;
            if !old.roles.get(name).is_some_and(same) {
                edits.push(Edit::Role(name.clone(), Some(found.object.clone())));
            }
        }
        edits.extend(self.replace_projects(&old));
        for name in old.bindings.keys() {
            if !self.folder.bindings.contains_key(name) {
                self.standings.remove(name);
                edits.push(Edit::Binding(name.clone(), self.hidden.remove(name)));
            }
        }
        let new = self.folder.bindings.keys();
        for name in new.filter(|name| !old.bindings.contains_key(*name)) {
            if let Some(grant) = policy.binding(name) {
                self.hidden.insert(name.clone(), taken_aside(&grant));
            }
        }
        edits.extend(self.bind_all(&old, people));
        edits
    }

    fn replace_projects(&self, old: &PolicyFolder) -> Vec<Edit> {
        let new = &self.folder.projects;
        let gone = old.projects.keys().filter(|name| !new.contains_key(*name));
        let gone = gone.map(|name| Edit::Project(name.clone(), self.projects.get(name).cloned()));
        let same = |name: &String, found: &Sourced<Project>| {
            let old = old.projects.get(name);
            old.is_some_and(|old| old.object.spec == found.object.spec)
        };
        let put = new.iter().filter(|(name, found)| !same(name, found));
        let put = put.map(|(name, found)| Edit::Project(name.clone(), Some(found.object.clone())));
        gone.chain(put).collect()
    }

    /// Looks every subject up anew.
    fn bind_all(&mut self, old: &PolicyFolder, people: &Index) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (name, found) in &self.folder.bindings {
            let binding = &found.object;
            let standing = self.look_up(&binding.spec.subject, people);
            let before = self.standings.insert(name.clone(), standing.clone());
            let same_spec = old
                .bindings
                .get(name)
                .is_some_and(|old| old.object.spec == binding.spec);
            if !same_spec || before.as_ref() != Some(&standing) {
                edits.push(Edit::Binding(name.clone(), counting(binding, &standing)));
            }
        }
        edits
    }

    /// People came or went; what that does to the policy.
    pub(super) fn people(&mut self, batch: &Batch, people: &Index) -> Vec<Edit> {
        let mut concerned = BTreeSet::new();
        for change in &batch.changes {
            self.note_grave(change);
            concerned.extend(person(change.key()));
        }
        if concerned.is_empty() || self.folder.bindings.is_empty() {
            return Vec::new();
        }
        let mut edits = Vec::new();
        for (name, found) in &self.folder.bindings {
            let subject = &found.object.spec.subject;
            if !concerned.contains(&(subject.kind, subject.name.as_str())) {
                continue;
            }
            let standing = self.look_up(subject, people);
            let before = self.standings.insert(name.clone(), standing.clone());
            if before.as_ref() != Some(&standing) {
                edits.push(Edit::Binding(
                    name.clone(),
                    counting(&found.object, &standing),
                ));
            }
        }
        edits
    }

    fn note_grave(&mut self, change: &Change) {
        let kinds = [
            (SubjectKind::User, User::PLURAL),
            (SubjectKind::Group, Group::PLURAL),
        ];
        for (kind, plural) in kinds {
            let Some(name) = change.key().strip_prefix(&tombstones(plural)) else {
                continue;
            };
            match change {
                // Whoever it was: another than the one who has the name now.
                Change::Put(kv) => {
                    let value: serde_json::Value =
                        serde_json::from_slice(&kv.value).unwrap_or_default();
                    let uid = value.get("uid").and_then(serde_json::Value::as_str);
                    self.graves
                        .insert((kind, name.into()), uid.unwrap_or("unknown").into());
                }
                Change::Delete { .. } => {
                    self.graves.remove(&(kind, name.into()));
                }
            }
        }
    }

    fn look_up(&self, subject: &Subject, people: &Index) -> Standing {
        let name = subject.name.as_str();
        let now: Option<Box<str>> = match subject.kind {
            SubjectKind::User => people.user(name).map(|user| (*user.uid).into()),
            SubjectKind::Group => people.group_uid(name),
        };
        let given = (!subject.uid.is_empty()).then_some(subject.uid.as_str());
        let grave = self.graves.get(&(subject.kind, name.into()));
        match (given, now) {
            (Some(uid), Some(now)) if *uid != *now => Standing::Another {
                now,
                was: uid.into(),
            },
            // A provider's group, whose id no name here leads to.
            (Some(uid), _) => Standing::Counts(uid.into()),
            (None, None) => Standing::Nobody,
            (None, Some(now)) => match grave {
                Some(was) if *was != now => Standing::Another {
                    now,
                    was: was.clone(),
                },
                Some(_) | None => Standing::Counts(now),
            },
        }
    }

    /// Of the folder that counts.
    pub(super) fn sum(&self) -> Sum {
        self.folder.sum()
    }

    /// What people see.
    pub(super) fn view(&self) -> FolderView {
        let folder = &self.folder;
        let roles = folder.roles.iter();
        let hidden_roles = folder
            .roles
            .keys()
            .filter(|name| self.roles.contains_key(*name));
        let hidden_projects = folder
            .projects
            .keys()
            .filter(|name| self.projects.contains_key(*name));
        let shared = shared(folder, &self.projects).into_iter();
        let shared = shared.map(|(shared, found)| {
            let spot = found.origin.spot();
            format!("{spot}: {shared}: until that is mended it is in no project")
        });
        FolderView {
            roles: roles
                .map(|(name, found)| (name.clone(), folder::shown(found)))
                .collect(),
            projects: (folder.projects.iter())
                .map(|(name, found)| (name.clone(), folder::shown(found)))
                .collect(),
            hidden_projects: hidden_projects.cloned().collect(),
            shared: shared.collect(),
            bindings: (folder.bindings.iter())
                .map(|(name, found)| (name.clone(), self.placed(name, found)))
                .collect(),
            hidden_roles: hidden_roles.cloned().collect(),
            hidden_bindings: self.hidden.keys().cloned().collect(),
            warnings: folder.warnings.clone(),
        }
    }

    fn placed(&self, name: &str, found: &Sourced<Binding>) -> Placed {
        let mut binding = folder::shown(found);
        let standing = self.standings.get(name).cloned();
        let standing = standing.unwrap_or(Standing::Nobody);
        if let Standing::Counts(uid) = &standing {
            (**uid).clone_into(&mut binding.spec.subject.uid);
        }
        Placed { binding, standing }
    }
}

/// The namespaces that a project of the folder, the first of each pair, and a stored one both hold. A stored project
/// of which the folder has the name does not count.
fn shared<'f>(
    folder: &'f PolicyFolder,
    stored: &BTreeMap<String, Project>,
) -> Vec<(Shared, &'f Sourced<Project>)> {
    let mut found = Vec::new();
    let stored: Vec<(&String, &str, Pattern)> = stored
        .iter()
        .filter(|(name, _)| !folder.projects.contains_key(*name))
        .flat_map(|(name, project)| {
            let spec = &project.spec;
            patterns(project).map(move |pattern| (name, spec.cluster.as_str(), pattern))
        })
        .collect();
    for (name, project) in &folder.projects {
        let cluster = &project.object.spec.cluster;
        for own in patterns(&project.object) {
            let others = stored.iter().filter(|(_, at, _)| at == cluster);
            let mut clashing = others.filter_map(|(other, _, pattern)| {
                namespaces::conflict((name, &own), (other, pattern))
            });
            // One of each entry is enough to mend it.
            found.extend(clashing.next().map(|shared| (shared, project)));
        }
    }
    found
}

fn patterns(project: &Project) -> impl Iterator<Item = Pattern> {
    let entries = project.spec.namespaces.iter();
    entries.filter_map(|entry| Pattern::parse(entry).ok())
}

fn role(spec: &RoleSpec) -> Role {
    Role::new("", spec.clone())
}

/// The binding as the policy takes it: with the subject's uid, or not at all. A subject without a uid would
/// count by its name.
fn counting(binding: &Binding, standing: &Standing) -> Option<Binding> {
    let Standing::Counts(uid) = standing else {
        return None;
    };
    let mut binding = binding.clone();
    (**uid).clone_into(&mut binding.spec.subject.uid);
    Some(binding)
}

/// Kind and name of the user or group that a key is about, also if it is a tombstone.
fn person(key: &str) -> Option<(SubjectKind, &str)> {
    let user = key
        .strip_prefix(&User::prefix())
        .or_else(|| key.strip_prefix(&tombstones(User::PLURAL)));
    let group = || {
        key.strip_prefix(&Group::prefix())
            .or_else(|| key.strip_prefix(&tombstones(Group::PLURAL)))
    };
    let user = user.map(|name| (SubjectKind::User, name));
    user.or_else(|| Some((SubjectKind::Group, group()?)))
}

/// A stored binding as the policy has it: the policy keeps the uid alone of a subject.
fn taken_aside(grant: &GrantView<'_>) -> Binding {
    let (kind, uid) = grant.subject();
    let mut spec = BindingSpec {
        role: grant.role().to_owned(),
        subject: Subject {
            kind,
            name: uid.to_owned(),
            uid: uid.to_owned(),
        },
        expires_at: grant.expires_at(),
        ..BindingSpec::default()
    };
    match grant.scope() {
        ScopeView::Global => {}
        ScopeView::Everywhere => spec.all_clusters = true,
        ScopeView::Clusters(names) => {
            spec.clusters = names.into_iter().map(str::to_owned).collect();
        }
        ScopeView::Selector(labels) => spec.cluster_selector = labels.clone(),
        ScopeView::Project(uid) => {
            // The policy keeps the uid alone.
            uid.clone_into(&mut spec.project);
            uid.clone_into(&mut spec.project_uid);
        }
        // As it was: two scopes at once grant nothing.
        ScopeView::Contradictory => {
            spec.all_clusters = true;
            spec.clusters = vec![String::new()];
        }
    }
    Binding::new(grant.name(), spec)
}
