//! Bindings: who holds which role where, and until when.

use super::access::{self, Operation};
use super::admins::{self, Loss};
use super::authority::Authority;
use super::clusters;
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::groups::fill_uid;
use super::provider_group;
use super::resource::{Context, Fixed, Resource};
use super::table::{self, Column};
use super::{Api, Caller, Reach, bound, projects, roles};
use crate::objects::{Binding, Group, RoleScope, Stored, SubjectKind, User};
use crate::status::clock;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

/// Clusters that one binding names; past it labels are the better tool.
const MAX_CLUSTERS: usize = 64;

impl Resource for Binding {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The binding's name"),
        Column::shown("Role", "The role that is held"),
        Column::shown("Subject", "Who holds it"),
        Column::shown("Scope", "Where"),
        Column::shown("Expires", "Time until the binding counts no more"),
        Column::shown("Age", "Time since the binding was made"),
        Column::wide("Subject Uid", "What counts of the subject"),
        Column::wide("Origin", "store, or the place in the policy folder"),
    ];

    const FIELDS: &'static [&'static str] = &[
        "spec.role",
        "spec.subject.kind",
        "spec.subject.name",
        "spec.project",
    ];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.role" => (&self.spec.role).into(),
            "spec.subject.kind" => kind_name(self.spec.subject.kind).into(),
            "spec.subject.name" => (&self.spec.subject.name).into(),
            "spec.project" => (&self.spec.project).into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        let spec = &self.spec;
        let kind = kind_name(spec.subject.kind);
        vec![
            self.metadata.name.as_str().into(),
            spec.role.as_str().into(),
            format!("{kind} {}", spec.subject.name).into(),
            scope(self),
            table::until(spec.expires_at, now),
            table::age(self, now),
            spec.subject.uid.as_str().into(),
            roles::origin(&self.metadata).into(),
        ]
    }

    fn fixed(api: &Api, name: &str) -> Option<Fixed<Self>> {
        let folder = api.authz.folder();
        let binding = folder.bindings.get(name)?.binding.clone();
        let place = folder.place::<Self>(name).unwrap_or_default();
        Some(Fixed::Folder(binding, place.to_owned()))
    }

    fn all_fixed(api: &Api) -> Vec<Self> {
        let folder = api.authz.folder();
        let all = folder.bindings.values();
        all.map(|placed| placed.binding.clone()).collect()
    }

    fn is_own(&self, api: &Api, caller: &Caller) -> bool {
        api.manages(caller, self, "get")
    }

    fn own_names(api: &Api, caller: &Caller) -> Option<Vec<String>> {
        Some(api.bindings_of_projects(caller))
    }

    async fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        project(self, cx, draft).await?;
        if cx.caller.reach == Reach::Own {
            managed(self, cx, draft, &Operation::Create, "create").await?;
        }
        subject(self, cx, draft).await?;
        role_and_place(self, cx, draft).await?;
        check_end(self, draft);
        self.guard(cx, draft).await?;
        Ok(Self::Private::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        let was = &old.object.spec;
        draft.same("spec.role", &was.role, &self.spec.role);
        draft.same("spec.project", &was.project, &self.spec.project);
        if self.spec.project_uid.is_empty() {
            self.spec.project_uid.clone_from(&was.project_uid);
        }
        draft.same("spec.projectUid", &was.project_uid, &self.spec.project_uid);
        if cx.caller.reach == Reach::Own {
            // Before anything is said of the object: it may be another project's.
            let operation = Operation::Update(&self.metadata.name);
            managed(&old.object, cx, draft, &operation, "update").await?;
        }
        let same_name = was.subject.kind == self.spec.subject.kind
            && was.subject.name == self.spec.subject.name;
        if same_name
            && (self.spec.subject.uid.is_empty() || self.spec.subject.uid == was.subject.uid)
        {
            // Whom it names was settled when it was written, also if they are gone by now.
            self.spec.subject.clone_from(&was.subject);
        } else {
            subject(self, cx, draft).await?;
        }
        role_and_place(self, cx, draft).await?;
        if self.spec.expires_at != was.expires_at {
            check_end(self, draft);
        }
        self.guard(cx, draft).await?;
        if self.spec != *was {
            // What it gave so far is taken away, and nobody takes away what they could not give.
            old.object.guard_removal(cx, draft).await?;
        }
        if was.role == admins::ADMIN && self.spec != *was {
            let object = ObjectRef::of::<Self>(&self.metadata.name);
            let loss = Loss::Binding(&self.metadata.name, Some(self));
            admins::guard(cx, draft, &loss, object).await?;
        }
        Ok(Self::Private::default())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        if cx.caller.reach == Reach::Own {
            let operation = Operation::Delete(&self.metadata.name);
            managed(self, cx, draft, &operation, "delete").await?;
        }
        self.guard_removal(cx, draft).await?;
        if self.spec.role == admins::ADMIN {
            let object = ObjectRef::of::<Self>(&self.metadata.name);
            admins::guard(cx, draft, &Loss::Binding(&self.metadata.name, None), object).await?;
        }
        Ok(())
    }
}

fn kind_name(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::User => "User",
        SubjectKind::Group => "Group",
    }
}

impl Binding {
    /// Whoever writes it must hold what it gives.
    async fn guard(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        let authority = Authority::of(cx, object);
        authority.must_hold(draft, &self.spec).await?;
        bound::touch(draft, &self.spec);
        Ok(())
    }

    /// Whoever takes it away must hold what it gave.
    async fn guard_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        let authority = Authority::of(cx, object);
        authority.may_take(draft, &self.spec).await?;
        bound::touch(draft, &self.spec);
        Ok(())
    }
}

/// Resolves the project's name to its uid, once.
async fn project(
    binding: &mut Binding,
    cx: &Context<'_>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let spec = &mut binding.spec;
    if spec.project.is_empty() {
        if !spec.project_uid.is_empty() {
            let detail = "name the project; its uid alone says nothing to people";
            draft.wrong(Mistake::required("spec.project", detail));
        }
        return Ok(());
    }
    match projects::find(cx, &spec.project, draft).await? {
        None => draft.wrong(Mistake::not_found("spec.project", &spec.project)),
        Some(found) => {
            let uid = &found.metadata.uid;
            fill_uid(draft, "spec.projectUid", &mut spec.project_uid, uid);
        }
    }
    Ok(())
}

/// Refuses whoever does not manage the members of the binding's project, whether or not there is one: told before
/// any mistake is.
async fn managed(
    binding: &Binding,
    cx: &Context<'_>,
    draft: &mut Draft,
    operation: &Operation<'_>,
    verb: &'static str,
) -> Result<(), ApiError> {
    let project = projects::find(cx, &binding.spec.project, draft).await?;
    let uid = &binding.spec.project_uid;
    let project = project.filter(|found| found.metadata.uid == *uid);
    let authority = Authority::of(cx, ObjectRef::of::<Binding>(&binding.metadata.name));
    let manages = match project {
        Some(found) => authority.manages(draft, &found, verb).await?,
        None => false,
    };
    if manages {
        return Ok(());
    }
    Err(access::forbidden::<Binding>(cx.caller, operation))
}

fn scope(binding: &Binding) -> Value {
    let spec = &binding.spec;
    if !spec.project.is_empty() {
        return format!("project {}", spec.project).into();
    }
    if spec.all_clusters {
        return "all clusters".into();
    }
    if !spec.clusters.is_empty() {
        return table::joined(spec.clusters.iter().map(String::as_str));
    }
    if spec.cluster_selector.is_empty() {
        return "global".into();
    }
    let terms: Vec<String> = spec
        .cluster_selector
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    table::joined(terms.iter().map(String::as_str))
}

/// Resolves the subject's name to a uid, once.
async fn subject(
    binding: &mut Binding,
    cx: &Context<'_>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let subject = &mut binding.spec.subject;
    if subject.name.is_empty() {
        draft.wrong(Mistake::required(
            "spec.subject.name",
            "a binding is for somebody",
        ));
        return Ok(());
    }
    let found = match subject.kind {
        SubjectKind::User => {
            let user = cx.load::<User>(&subject.name).await?;
            user.map(|(stored, found)| (stored.object.metadata.uid, found))
        }
        SubjectKind::Group if subject.name.contains(':') => {
            return provider_group::resolve(subject, cx, draft).await;
        }
        SubjectKind::Group => {
            let group = cx.load::<Group>(&subject.name).await?;
            group.map(|(stored, found)| (stored.object.metadata.uid, found))
        }
    };
    match found {
        None => draft.wrong(Mistake::not_found("spec.subject.name", &subject.name)),
        Some((uid, found)) => {
            draft.refers_to(&found);
            fill_uid(draft, "spec.subject.uid", &mut subject.uid, &uid);
        }
    }
    Ok(())
}

/// Checks that the role is there and that the binding says where, as the role's scope needs it.
async fn role_and_place(
    binding: &mut Binding,
    cx: &Context<'_>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let spec = &binding.spec;
    if spec.role.is_empty() {
        draft.wrong(Mistake::required("spec.role", "a binding gives a role"));
        return Ok(());
    }
    if spec.role == roles::AUTHENTICATED {
        let detail = "everybody who is logged in holds this role; it is not bound";
        draft.wrong(Mistake::invalid("spec.role", &spec.role, detail));
        return Ok(());
    }
    let Some(role) = roles::find(cx, &spec.role, draft).await? else {
        draft.wrong(Mistake::not_found("spec.role", &spec.role));
        return Ok(());
    };
    let forms = [
        ("spec.allClusters", spec.all_clusters),
        ("spec.clusters", !spec.clusters.is_empty()),
        ("spec.clusterSelector", !spec.cluster_selector.is_empty()),
    ];
    let set: Vec<&str> = forms
        .iter()
        .filter(|(_, set)| *set)
        .map(|(field, _)| *field)
        .collect();
    place(role.spec.scope, &set, !spec.project.is_empty(), draft);
    draft.check_labels("spec.clusterSelector", &spec.cluster_selector);
    // One that waits for its name would be a grant on whatever is registered under it one day.
    let names = (&*spec.clusters, MAX_CLUSTERS);
    clusters::named(names, cx, draft, |_| true).await
}

/// Whether the binding says where as its role's scope needs it; `set` are the fields that name clusters.
fn place(scope: RoleScope, set: &[&'static str], in_project: bool, draft: &mut Draft) {
    let foreign = match scope {
        RoleScope::Global => {
            "a role of scope global applies to the gateway's own API, not to clusters or projects"
        }
        RoleScope::Cluster => "set only one of allClusters, clusters, clusterSelector",
        RoleScope::Project => {
            "a role of scope project is held in a project, and the project says on which cluster"
        }
    };
    let (allowed, missing) = match scope {
        RoleScope::Global => (0, None),
        RoleScope::Cluster => (
            1,
            Some((
                "spec.clusters",
                "for a role of scope cluster set one of allClusters, clusters, clusterSelector",
            )),
        ),
        RoleScope::Project => (
            0,
            Some((
                "spec.project",
                "for a role of scope project name the project",
            )),
        ),
    };
    for field in set.iter().skip(allowed) {
        draft.wrong(Mistake::forbidden(*field, foreign));
    }
    let wants_one = scope == RoleScope::Project;
    if in_project && !wants_one {
        let detail = "only a role of scope project is held in a project";
        draft.wrong(Mistake::forbidden("spec.project", detail));
    }
    let says_where = if wants_one {
        in_project
    } else {
        !set.is_empty()
    };
    if let (Some((field, detail)), false) = (missing, says_where) {
        draft.wrong(Mistake::required(field, detail));
    }
}

fn check_end(binding: &Binding, draft: &mut Draft) {
    if let Some(end) = binding.spec.expires_at
        && end <= clock::now()
    {
        let detail = "must be in the future; delete a binding to end it now";
        draft.wrong(Mistake::invalid("spec.expiresAt", &end.to_string(), detail));
    }
}
