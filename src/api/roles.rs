//! Roles: the built-in ones, which are read-only, and the operator's.

use super::Api;
use super::authority::{Authority, Lasts};
use super::cascade::{self, Hands};
use super::draft::Draft;
use super::error::{ApiError, Mistake, ObjectRef};
use super::resource::{Context, Fixed, Resource};
use super::table::{self, Column};
use crate::authz::folder;
use crate::objects::{Kind, Meta, Role, RoleScope, Stored, rules::PolicyRule};
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Held by everybody who is logged in. A bound global role is leave to reach what is not one's own, so a
/// binding of this one would give everybody's tokens: it can neither be bound nor inherited.
pub(super) const AUTHENTICATED: &str = "authenticated";
/// Label of built-in roles.
pub(super) const BUILT_IN: &str = "palisade.dev/builtin";
/// Written by every write of a role, so that two writes that are fine one by one never make a circle.
const GUARD: &str = "/palisade/meta/roles";
/// Rules of one role, and entries of one list of a rule: far above what people write.
const MAX_RULES: usize = 500;
/// Roles that one role names as inherited.
const MAX_INHERITED: usize = 32;
/// Keys read at once.
const PAGE: usize = 500;

impl Resource for Role {
    const COLUMNS: &'static [Column] = &[
        Column::shown("Name", "The role's name"),
        Column::shown("Scope", "global, cluster or project"),
        Column::shown("Rules", "Number of rules, without inherited ones"),
        Column::shown("Inherits", "Roles whose rules this role has too"),
        Column::shown(
            "Origin",
            "built-in, store, or the place in the policy folder",
        ),
        Column::shown("Age", "Time since the role was made"),
        Column::wide("Description", "For people to read"),
    ];
    const NAMED_BY_NAME: bool = true;

    const FIELDS: &'static [&'static str] = &["spec.scope"];

    fn field(&self, path: &str) -> Cow<'_, str> {
        match path {
            "spec.scope" => scope_name(self.spec.scope).into(),
            _ => Cow::Borrowed(""),
        }
    }

    fn cells(&self, now: Timestamp) -> Vec<Value> {
        vec![
            self.metadata.name.as_str().into(),
            scope_name(self.spec.scope).into(),
            self.spec.rules.len().to_string().into(),
            table::joined(self.spec.inherits.iter().map(String::as_str)),
            origin(&self.metadata).into(),
            table::age(self, now),
            table::or_none(&self.spec.description),
        ]
    }

    fn fixed(api: &Api, name: &str) -> Option<Fixed<Self>> {
        let built_in = api.built_in.iter().find(|role| role.metadata.name == name);
        if let Some(role) = built_in {
            return Some(Fixed::BuiltIn(role.clone()));
        }
        let folder = api.authz.folder();
        let role = folder.roles.get(name)?.clone();
        let place = folder.place::<Self>(name).unwrap_or_default();
        Some(Fixed::Folder(role, place.to_owned()))
    }

    fn all_fixed(api: &Api) -> Vec<Self> {
        let folder = api.authz.folder();
        let all = api.built_in.iter().chain(folder.roles.values());
        let mut all: Vec<Self> = all.cloned().collect();
        all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        all
    }

    async fn admit_new(
        &mut self,
        cx: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        admit(self, cx, draft).await?;
        Ok(Self::Private::default())
    }

    async fn admit_change(
        &mut self,
        cx: &Context<'_>,
        old: &Stored<Self>,
        draft: &mut Draft,
    ) -> Result<Self::Private, ApiError> {
        // Bindings were checked against the scope when they were made.
        draft.same("spec.scope", &old.object.spec.scope, &self.spec.scope);
        admit(self, cx, draft).await?;
        Ok(Self::Private::default())
    }

    async fn admit_removal(&self, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
        let all = all(cx).await?;
        let heirs: Vec<&str> = all
            .values()
            .filter(|role| role.spec.inherits.contains(&self.metadata.name))
            .map(|role| role.metadata.name.as_str())
            .collect();
        if !heirs.is_empty() {
            let why = format!(
                "roles inherit from it: {}; change them first",
                heirs.join(", ")
            );
            return Err(ApiError::Conflict(
                ObjectRef::of::<Self>(&self.metadata.name),
                why,
            ));
        }
        let object = ObjectRef::of::<Self>(&self.metadata.name);
        Authority::of(cx, object)
            .must_hold_role(draft, self, Lasts::Now)
            .await?;
        write_guard(cx, draft).await?;
        cascade::of_role(&Hands::of(cx.api), self)
            .await?
            .fill(draft);
        Ok(())
    }

    async fn sweep(&self, hands: &Hands) -> Result<(), ApiError> {
        let key = Self::key(&self.metadata.name);
        while cascade::of_role(hands, self)
            .await?
            .write(hands, &key)
            .await?
        {}
        Ok(())
    }
}

/// The built-in roles as the API shows them: in the order of their names, with the label that tells them.
pub(super) fn labelled(mut roles: Vec<Role>) -> Vec<Role> {
    roles.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for role in &mut roles {
        let meta = &mut role.metadata;
        meta.labels.insert(BUILT_IN.to_owned(), "true".to_owned());
        // They change with the program alone.
        meta.uid = format!("builtin-{}", meta.name);
        "1".clone_into(&mut meta.resource_version);
    }
    roles
}

/// `global`, `cluster`, `project`.
pub(super) fn scope_name(scope: RoleScope) -> &'static str {
    match scope {
        RoleScope::Global => "global",
        RoleScope::Cluster => "cluster",
        RoleScope::Project => "project",
    }
}

/// Where an object comes from.
pub(super) fn origin(meta: &Meta) -> &str {
    if meta.labels.contains_key(BUILT_IN) {
        return "built-in";
    }
    let in_folder = meta
        .labels
        .get(folder::ORIGIN)
        .is_some_and(|origin| origin == folder::FOLDER);
    let place = meta.annotations.get(folder::FILE).filter(|_| in_folder);
    place.map_or("store", String::as_str)
}

/// The role of this name, whatever its origin; the write holds only while a stored one is as it is.
pub(super) async fn find(
    cx: &Context<'_>,
    name: &str,
    draft: &mut Draft,
) -> Result<Option<Role>, ApiError> {
    if let Some(fixed) = Role::fixed(cx.api, name) {
        return Ok(Some(fixed.into_object()));
    }
    let Some((stored, found)) = cx.load::<Role>(name).await? else {
        return Ok(None);
    };
    draft.prove(&found);
    Ok(Some(stored.object))
}

async fn admit(role: &Role, cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
    draft.check_text("spec.description", &role.spec.description);
    let object = ObjectRef::of::<Role>(&role.metadata.name);
    Authority::of(cx, object)
        .must_hold_role(draft, role, Lasts::ForGood)
        .await?;
    if role.spec.rules.len() > MAX_RULES {
        draft.wrong(Mistake::too_many(
            "spec.rules",
            role.spec.rules.len(),
            MAX_RULES,
        ));
    }
    for (index, rule) in role.spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        check_rule(draft, &path, rule);
        if role.spec.scope == RoleScope::Project && !rule.non_resource_urls.is_empty() {
            let detail = "a project has namespaces alone, and no path is in one";
            draft.wrong(Mistake::forbidden(
                format!("{path}.nonResourceURLs"),
                detail,
            ));
        }
    }
    if role.spec.inherits.len() > MAX_INHERITED {
        draft.wrong(Mistake::too_many(
            "spec.inherits",
            role.spec.inherits.len(),
            MAX_INHERITED,
        ));
    }
    write_guard(cx, draft).await?;
    let mut all = all(cx).await?;
    check_inherits(role, &all, draft);
    all.insert(role.metadata.name.clone(), role.clone());
    if let Some(circle) = circle(&all, &role.metadata.name) {
        let value = circle.join(" → ");
        draft.wrong(Mistake::invalid(
            "spec.inherits",
            &value,
            "a role must not inherit from itself",
        ));
    }
    Ok(())
}

/// `pkg/apis/rbac/validation/validation.go` of Kubernetes.
fn check_rule(draft: &mut Draft, path: &str, rule: &PolicyRule) {
    if rule.verbs.is_empty() {
        draft.wrong(Mistake::required(
            format!("{path}.verbs"),
            "verbs must contain at least one value",
        ));
    }
    if !rule.non_resource_urls.is_empty() {
        let mixed = !rule.api_groups.is_empty()
            || !rule.resources.is_empty()
            || !rule.resource_names.is_empty();
        if mixed {
            draft.wrong(Mistake::invalid(
                format!("{path}.nonResourceURLs"),
                &rule.non_resource_urls.join(","),
                "rules cannot apply to both regular resources and non-resource URLs",
            ));
        }
        return;
    }
    if rule.api_groups.is_empty() {
        let detail = "resource rules must supply at least one api group";
        draft.wrong(Mistake::required(format!("{path}.apiGroups"), detail));
    }
    if rule.resources.is_empty() {
        let detail = "resource rules must supply at least one resource";
        draft.wrong(Mistake::required(format!("{path}.resources"), detail));
    }
}

fn check_inherits(role: &Role, all: &BTreeMap<String, Role>, draft: &mut Draft) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, name) in role.spec.inherits.iter().enumerate() {
        let field = format!("spec.inherits[{index}]");
        if !seen.insert(name) {
            draft.wrong(Mistake::duplicate(field, name));
        } else if name == AUTHENTICATED {
            let detail = "everybody who is logged in holds this role; it is not inherited";
            draft.wrong(Mistake::invalid(field, name, detail));
        } else if *name != role.metadata.name {
            match all.get(name) {
                None => draft.wrong(Mistake::not_found(field, name)),
                Some(parent) if parent.spec.scope != role.spec.scope => {
                    let (theirs, ours) =
                        (scope_name(parent.spec.scope), scope_name(role.spec.scope));
                    let detail = format!(
                        "has scope {theirs}, and a role of scope {ours} inherits within its scope"
                    );
                    draft.wrong(Mistake::invalid(field, name, detail));
                }
                Some(_) => {}
            }
        }
    }
}

/// A way from `start` back to it.
fn circle(all: &BTreeMap<String, Role>, start: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![start.to_owned()]];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(way) = ways.pop() {
        let role = way.last().and_then(|name| all.get(name));
        for next in role
            .map(|role| role.spec.inherits.as_slice())
            .unwrap_or_default()
        {
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

async fn write_guard(cx: &Context<'_>, draft: &mut Draft) -> Result<(), ApiError> {
    let found = cx.api.store.get(GUARD).await?;
    let revision = found.map_or(0, |found| found.mod_revision);
    draft.put_raw(GUARD, b"{\"schema\":1}".to_vec(), revision);
    Ok(())
}

/// Every role by its name.
async fn all(cx: &Context<'_>) -> Result<BTreeMap<String, Role>, ApiError> {
    let fixed = Role::all_fixed(cx.api).into_iter();
    let fixed: BTreeMap<String, Role> = fixed.map(|r| (r.metadata.name.clone(), r)).collect();
    let mut roles = fixed.clone();
    let mut after: Option<String> = None;
    loop {
        let listing = cx
            .api
            .store
            .list(&Role::prefix(), PAGE, after.as_deref())
            .await?;
        for found in &listing.items {
            let stored = Stored::<Role>::decode(&found.key, &found.value, found.mod_revision)?;
            let name = stored.object.metadata.name.clone();
            if !fixed.contains_key(&name) {
                roles.insert(name, stored.object);
            }
        }
        after = listing.items.last().map(|found| found.key.clone());
        if !listing.more {
            return Ok(roles);
        }
    }
}
