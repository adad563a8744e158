//! What Palisade makes in a cluster, as a pure function of the roles that policy has.
//!
//! Two accounts with narrow rules, for each role of scope cluster one ClusterRole with one
//! ClusterRoleBinding to its grant group, and for each role of scope project one ClusterRole that
//! RoleBindings in the namespaces of projects refer to (`reconcile` keeps those):
//!
//! - `impersonator` may act as any user name (RBAC cannot say "names that start with palisade:"), with any
//!   uid and any extra (nor "keys that a user may be given": `kubectl --as-user-extra`), and in our grant
//!   groups *by name*: not in `system:masters`, not as a service account. The floor under names and extras
//!   is the gateway: its outbound stage only makes `<prefix><handle>`, and only sends extras that the policy
//!   lets the caller set.
//! - `reconciler` reads all ClusterRoles, bindings and namespaces, and writes ours by name, itself included;
//!   `escalate` and `bind` on those names let it write rules that it does not hold. It may ask for tokens
//!   of the two accounts. Whoever holds its token can give itself everything: it is never on the data
//!   path, and never leaves the gateway.
//!
//! The groups of projects are many (one per project and role), and an object has a bound of 1.5 MiB in
//! etcd: they are spread over [`SHARDS`] further ClusterRoles of the impersonator, by the project's uid, so
//! that a new project writes a small object and none comes near the bound.
//!
//! What could go wrong: an empty `resourceNames` means *all* names, so a rule whose list would be empty is
//! left out; a rule that the API server refuses (empty lists, resources and URLs in one rule) would keep a
//! role from its cluster, so rules are brought into its form; a rule with the verb `impersonate` would let
//! a user step past the gateway's own check (F4: such rules are the gateway's own).

use super::{
    IMPERSONATOR, NAMESPACE, RECONCILER,
    object::{Object, ObjectKind},
};
use crate::{
    authz::{
        Policy,
        policy::{BASIC, RoleView},
    },
    objects::{
        RoleScope, check_label,
        grant_group::{GrantGroup, project_cluster_role},
        rules::PolicyRule,
    },
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Counts up when what a gateway sends takes more than an earlier version's objects allow. A cluster's status
/// says which it holds; a sync brings the one of today.
pub const VERSION: u32 = 2;
/// From this version on a cluster takes any extra, and so whatever acting as others (`--as`) needs.
pub const ACTING: u32 = 2;
/// ClusterRole and ClusterRoleBinding of the account on the data path.
pub const IMPERSONATOR_ROLE: &str = "palisade:impersonator";
/// ClusterRole, ClusterRoleBinding, Role and RoleBinding of the account that writes.
pub const RECONCILER_ROLE: &str = "palisade:reconciler";
/// Into how many ClusterRoles the groups of projects are spread. A group is some seventy bytes: sixteen times
/// 1.5 MiB is room for 300,000, and 2,000 projects with three roles make sixteen objects of 26 KiB.
pub const SHARDS: u32 = 16;
const RBAC: &str = "rbac.authorization.k8s.io";

/// The group that a cluster sees for a role held there; also the name of its ClusterRole and binding.
pub fn grant_group(role: &str) -> String {
    GrantGroup::Cluster { role }.to_string()
}

/// The group that a cluster sees for a role held in a project.
pub fn project_group(uid: &str, role: &str) -> String {
    GrantGroup::Project { uid, role }.to_string()
}

/// Names of the ClusterRoles, and of their bindings, that hold the groups of projects.
pub fn shards() -> impl Iterator<Item = String> {
    (0..SHARDS).map(|shard| format!("{IMPERSONATOR_ROLE}:{shard:x}"))
}

/// The one of [`shards`] that holds a project's groups. It depends on the uid alone: a project that comes or
/// goes moves no other.
pub fn shard_of(uid: &str) -> String {
    let shard = crc32fast::hash(uid.as_bytes()) % SHARDS;
    format!("{IMPERSONATOR_ROLE}:{shard:x}")
}

/// Name of the ClusterRole of the account on the data path that holds a grant group.
pub fn holder_of(group: &str) -> String {
    match GrantGroup::parse(group) {
        Some(GrantGroup::Project { uid, .. }) => shard_of(uid),
        Some(GrantGroup::Cluster { .. }) | None => IMPERSONATOR_ROLE.to_owned(),
    }
}

/// The flattened rules of each role that a cluster is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Those of scope cluster.
    pub cluster: BTreeMap<String, Vec<PolicyRule>>,
    /// Those of scope project.
    pub project: BTreeMap<String, Vec<PolicyRule>>,
}

impl Roles {
    /// What policy has. A role that counts for nobody is no cluster's either.
    pub fn of(policy: &Policy) -> Self {
        let mut roles = Self::default();
        for role in policy.roles() {
            let of_scope = match role.spec().scope {
                RoleScope::Global => continue,
                RoleScope::Cluster => &mut roles.cluster,
                RoleScope::Project => &mut roles.project,
            };
            let name = role.name();
            if role.counts() && name != BASIC && check_label(name).is_ok() {
                of_scope.insert(name.to_owned(), flatten(&role));
            }
        }
        roles
    }

    /// Names of all ClusterRoles, and of their bindings, that come and go with policy.
    pub fn names(&self) -> BTreeSet<String> {
        let cluster = self.cluster.keys().map(|role| grant_group(role));
        cluster.chain(self.bindings()).chain(shards()).collect()
    }

    /// Names of the RoleBindings in the namespaces of projects.
    pub fn bindings(&self) -> BTreeSet<String> {
        self.project
            .keys()
            .map(|role| project_cluster_role(role))
            .collect()
    }

    /// The grant groups of the cluster roles.
    pub fn groups(&self) -> BTreeSet<String> {
        self.cluster.keys().map(|role| grant_group(role)).collect()
    }
}

/// Every object of a cluster but those of projects, in the order in which they are applied by somebody who
/// may do everything.
pub fn wanted(roles: &Roles) -> Vec<Object> {
    let mut objects = vec![
        Object::new(ObjectKind::Namespace, NAMESPACE, json!({})),
        account(IMPERSONATOR),
        account(RECONCILER),
        role(
            RECONCILER_ROLE,
            &reconciler_rules(&roles.names(), &roles.bindings()),
        ),
        binding(RECONCILER_ROLE, &account_subject(RECONCILER)),
        token_role(),
        token_binding(),
        role(IMPERSONATOR_ROLE, &impersonator_rules(&roles.groups())),
        binding(IMPERSONATOR_ROLE, &account_subject(IMPERSONATOR)),
    ];
    for (name, rules) in &roles.cluster {
        let name = grant_group(name);
        let subject = json!({ "kind": "Group", "apiGroup": RBAC, "name": name });
        objects.extend([role(&name, rules), binding(&name, &subject)]);
    }
    for (name, rules) in &roles.project {
        objects.push(role(&project_cluster_role(name), rules));
    }
    objects
}

/// Rules of the account on the data path, for these grant groups of cluster roles.
pub fn impersonator_rules(groups: &BTreeSet<String>) -> Vec<PolicyRule> {
    let mut rules = vec![
        rule("", ["users"], IMPERSONATE, []),
        // `uids`, and `userextras/<key>`, which has no wildcard of its own. Nothing else has this verb there.
        rule("authentication.k8s.io", ["*"], IMPERSONATE, []),
    ];
    rules.extend(group_rule(groups));
    rules
}

/// The rule that lets the account on the data path act in these groups. None for none: a rule without names
/// would be one for all of them.
pub fn group_rule<'g>(groups: impl IntoIterator<Item = &'g String>) -> Option<PolicyRule> {
    let groups = groups.into_iter().cloned();
    let rule = rule("", ["groups"], IMPERSONATE, groups);
    (!rule.resource_names.is_empty()).then_some(rule)
}

/// Rules of the account that writes: for roles and cluster-wide bindings of `names` and its own two, and for
/// bindings of the names `bindings` in any namespace (RBAC knows no rule for some namespaces alone).
pub fn reconciler_rules(names: &BTreeSet<String>, bindings: &BTreeSet<String>) -> Vec<PolicyRule> {
    let own = [IMPERSONATOR_ROLE, RECONCILER_ROLE].map(str::to_owned);
    let names: BTreeSet<String> = names.iter().cloned().chain(own).collect();
    let all = || names.iter().cloned();
    let kinds = ["clusterroles", "clusterrolebindings", "rolebindings"];
    let mut rules = vec![
        rule(RBAC, kinds, &["get", "list", "watch"], []),
        rule("", ["namespaces"], &["get", "list", "watch"], []),
        // `create` by name works for server-side apply, whose path names the object.
        rule(RBAC, ["clusterroles"], WRITE_ROLES, all()),
        rule(RBAC, ["clusterrolebindings"], WRITE, all()),
    ];
    if !bindings.is_empty() {
        rules.push(rule(
            RBAC,
            ["rolebindings"],
            WRITE,
            bindings.iter().cloned(),
        ));
    }
    // To clean up: both accounts and the rules for tokens go with it.
    rules.push(rule(
        "",
        ["namespaces"],
        &["delete"],
        [NAMESPACE.to_owned()],
    ));
    rules
}

const IMPERSONATE: &[&str] = &["impersonate"];
const WRITE: &[&str] = &["create", "update", "patch", "delete"];
const WRITE_ROLES: &[&str] = &["create", "update", "patch", "delete", "escalate", "bind"];

fn rule(
    group: &str,
    resources: impl IntoIterator<Item = impl Into<String>>,
    verbs: &[&str],
    names: impl IntoIterator<Item = String>,
) -> PolicyRule {
    PolicyRule {
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        api_groups: vec![group.to_owned()],
        resources: resources.into_iter().map(Into::into).collect(),
        resource_names: names.into_iter().collect(),
        non_resource_urls: Vec::new(),
    }
}

fn role(name: &str, rules: &[PolicyRule]) -> Object {
    Object::new(ObjectKind::ClusterRole, name, json!({ "rules": rules }))
}

fn account(name: &str) -> Object {
    // No Pod of ours runs there: nothing should ever find one of these tokens mounted.
    let fields = json!({ "automountServiceAccountToken": false });
    Object::new(ObjectKind::ServiceAccount, name, fields)
}

fn account_subject(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": name, "namespace": NAMESPACE })
}

fn binding(name: &str, subject: &Value) -> Object {
    let fields = json!({
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": name },
        "subjects": [subject],
    });
    Object::new(ObjectKind::ClusterRoleBinding, name, fields)
}

fn token_role() -> Object {
    let rules = json!([{
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [IMPERSONATOR, RECONCILER],
        "verbs": ["create"],
    }]);
    Object::new(ObjectKind::Role, RECONCILER_ROLE, json!({ "rules": rules }))
}

fn token_binding() -> Object {
    let fields = json!({
        "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": RECONCILER_ROLE },
        "subjects": [account_subject(RECONCILER)],
    });
    Object::new(ObjectKind::RoleBinding, RECONCILER_ROLE, fields)
}

/// Rules of a role and of all that it inherits, each once, in the form that the API server takes.
fn flatten(role: &RoleView<'_>) -> Vec<PolicyRule> {
    let mut out: Vec<PolicyRule> = Vec::new();
    for rule in role.rules().flat_map(|(.., rule)| valid(rule)) {
        if !out.contains(&rule) {
            out.push(rule);
        }
    }
    out
}

/// A rule without the gateway's own verbs, as the API server's validation takes it: resources with groups,
/// or URLs, and never both in one.
fn valid(rule: &PolicyRule) -> Vec<PolicyRule> {
    let verbs: Vec<String> = rule
        .verbs
        .iter()
        .filter(|verb| !is_impersonation(verb))
        .cloned()
        .collect();
    let mut out = Vec::new();
    if verbs.is_empty() {
        return out;
    }
    if !rule.resources.is_empty() && !rule.api_groups.is_empty() {
        out.push(PolicyRule {
            verbs: verbs.clone(),
            non_resource_urls: Vec::new(),
            ..rule.clone()
        });
    }
    if !rule.non_resource_urls.is_empty() {
        out.push(PolicyRule {
            verbs,
            non_resource_urls: rule.non_resource_urls.clone(),
            ..PolicyRule::default()
        });
    }
    out
}

/// `impersonate`, and the constrained forms `impersonate:…` and `impersonate-on:…` (KEP-5284).
fn is_impersonation(verb: &str) -> bool {
    verb.strip_prefix("impersonate")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{authz::Change, objects::RoleSpec};

    fn some_rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        PolicyRule {
            verbs: owned(verbs),
            api_groups: owned(&[""]),
            resources: owned(resources),
            ..PolicyRule::default()
        }
    }

    fn spec(scope: RoleScope, inherits: &[&str], rules: Vec<PolicyRule>) -> RoleSpec {
        RoleSpec {
            scope,
            inherits: inherits.iter().map(|&name| name.to_owned()).collect(),
            rules,
            ..RoleSpec::default()
        }
    }

    fn some_roles() -> BTreeMap<String, RoleSpec> {
        let urls = PolicyRule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: vec!["/metrics".to_owned()],
            ..some_rule(&[], &["nodes"])
        };
        BTreeMap::from([
            (
                "viewer".to_owned(),
                spec(
                    RoleScope::Cluster,
                    &[],
                    vec![some_rule(&["get", "list"], &["pods"])],
                ),
            ),
            (
                "member".to_owned(),
                spec(
                    RoleScope::Cluster,
                    &["viewer", "gone", "global"],
                    vec![
                        some_rule(&["impersonate"], &["users"]),
                        some_rule(&["create", "impersonate"], &["pods/exec"]),
                        urls,
                    ],
                ),
            ),
            (
                "round".to_owned(),
                spec(
                    RoleScope::Cluster,
                    &["and-round"],
                    vec![some_rule(&["*"], &["*"])],
                ),
            ),
            (
                "and-round".to_owned(),
                spec(RoleScope::Cluster, &["round"], Vec::new()),
            ),
            (
                "global".to_owned(),
                spec(RoleScope::Global, &[], vec![some_rule(&["*"], &["*"])]),
            ),
            (
                "basic".to_owned(),
                spec(RoleScope::Cluster, &[], vec![some_rule(&["get"], &["x"])]),
            ),
            (
                "tenant".to_owned(),
                spec(
                    RoleScope::Project,
                    &["viewer"],
                    vec![some_rule(&["get", "list"], &["pods"])],
                ),
            ),
        ])
    }

    fn of(roles: &BTreeMap<String, RoleSpec>) -> Roles {
        let put = roles.iter().map(|(name, spec)| Change::PutRole(name, spec));
        Roles::of(&Policy::of(put))
    }

    #[test]
    fn what_a_cluster_gets_is_this() {
        let objects = wanted(&of(&some_roles()));
        let shown: Vec<&Value> = objects.iter().map(Object::body).collect();
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
    }

    #[test]
    fn roles_are_flattened_without_circles_foreign_scopes_or_impersonation() {
        let Roles {
            cluster: roles,
            project,
        } = of(&some_roles());
        let [tenant] = &project["tenant"][..] else {
            panic!("not a cluster role's rules: {project:?}")
        };
        assert_eq!(tenant.verbs, ["get", "list"]);
        assert_eq!(
            roles.keys().collect::<Vec<_>>(),
            ["member", "viewer"],
            "neither global roles nor basic, nor those that inherit from themselves"
        );
        for (name, rules) in &roles {
            let verbs: Vec<&String> = rules.iter().flat_map(|rule| &rule.verbs).collect();
            assert!(
                !verbs.iter().any(|verb| verb.contains("impersonate")),
                "{name}"
            );
            assert!(
                !verbs.iter().any(|verb| *verb == "*"),
                "{name}: a global role's"
            );
        }
        assert_eq!(roles["viewer"].len(), 1, "{roles:?}");
        // Its own two and a half, and the viewer's: pods/exec, nodes, /metrics, pods.
        assert_eq!(roles["member"].len(), 4, "{roles:?}");
    }

    #[test]
    fn constrained_impersonation_verbs_are_left_out_too() {
        for verb in [
            "impersonate",
            "impersonate:user-info",
            "impersonate-on:user-info:get",
        ] {
            assert!(is_impersonation(verb), "{verb}");
        }
        assert!(!is_impersonation("impersonated"));
    }

    // An empty list of names would mean every group, system:masters among them.
    #[test]
    fn without_roles_no_group_may_be_impersonated() {
        let rules = impersonator_rules(&BTreeSet::new());
        let groups = |rule: &PolicyRule| rule.resources.iter().any(|it| it == "groups");
        assert!(!rules.iter().any(groups), "{rules:?}");
        assert_eq!(group_rule(&BTreeSet::new()), None);
    }

    // The same for the account that writes: every RoleBinding of every namespace.
    #[test]
    fn without_project_roles_no_binding_in_a_namespace_may_be_written() {
        let rules = reconciler_rules(&BTreeSet::new(), &BTreeSet::new());
        for rule in rules {
            let writes = rule.verbs.iter().any(|verb| verb == "create");
            assert!(!writes || !rule.resource_names.is_empty(), "{rule:?}");
        }
    }

    #[test]
    fn every_project_has_its_shard_among_those_that_may_be_written() {
        let names: Vec<String> = shards().collect();
        let mut used = BTreeSet::new();
        for number in 0..2000 {
            let uid = format!("0190c2a4-7b1e-7000-8000-{number:012}");
            let shard = shard_of(&uid);
            assert!(names.contains(&shard), "{shard}");
            assert_eq!(holder_of(&project_group(&uid, "viewer")), shard);
            used.insert(shard);
        }
        assert_eq!(used.len(), names.len(), "all of them are used");
    }
}
