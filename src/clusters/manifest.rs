//! What Palisade keeps in a cluster, as a pure function of the cluster roles.
//!
//! Two accounts with narrow rules, and for each role of scope cluster one ClusterRole with one
//! ClusterRoleBinding to its grant group:
//!
//! - `impersonator` may act as any user name (RBAC cannot say "names that start with palisade:"), with any
//!   uid and any extra (nor "keys that a user may be given": `kubectl --as-user-extra`), and in our grant
//!   groups *by name*: not in `system:masters`, not as a service account. The floor under names and extras
//!   is the gateway: its outbound stage only makes `<prefix><handle>`, and only sends extras that the policy
//!   lets the caller set.
//! - `reconciler` reads all ClusterRoles and their bindings, and writes ours by name, itself included;
//!   `escalate` and `bind` on those names let it write rules that it does not hold. It may ask for tokens
//!   of the two accounts. Whoever holds its token can give itself everything: it is never on the data
//!   path, and never leaves the gateway.
//!
//! What could go wrong: an empty `resourceNames` means *all* names, so a rule whose list would be empty is
//! left out; a rule that the API server refuses (empty lists, resources and URLs in one rule) would stop a
//! whole sync, so rules are brought into its form; a rule with the verb `impersonate` would let a user
//! step past the gateway's own check (F4: such rules are the gateway's own).

use super::{
    IMPERSONATOR, NAMESPACE, RECONCILER,
    object::{Object, ObjectKind},
};
use crate::objects::{
    RoleScope, RoleSpec, check_label, grant_group::GrantGroup, rules::PolicyRule,
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
/// The role that every cluster grants by itself to `system:authenticated`: nothing is written for it.
const BASIC: &str = "basic";
const RBAC: &str = "rbac.authorization.k8s.io";

/// The group that a cluster sees for a role held there; also the name of its ClusterRole and binding.
pub fn grant_group(role: &str) -> String {
    GrantGroup::Cluster { role }.to_string()
}

/// The flattened rules of each role of scope cluster that a cluster is told of.
pub fn cluster_roles(roles: &BTreeMap<String, RoleSpec>) -> BTreeMap<String, Vec<PolicyRule>> {
    roles
        .iter()
        .filter(|(name, spec)| {
            spec.scope == RoleScope::Cluster && *name != BASIC && check_label(name).is_ok()
        })
        .map(|(name, _)| (name.clone(), flatten(name, roles)))
        .collect()
}

/// Every object of a cluster, in the order in which they are applied by somebody who may do everything.
pub fn wanted(roles: &BTreeMap<String, Vec<PolicyRule>>) -> Vec<Object> {
    let names: BTreeSet<String> = roles.keys().map(|role| grant_group(role)).collect();
    let mut objects = vec![
        Object::new(ObjectKind::Namespace, NAMESPACE, json!({})),
        account(IMPERSONATOR),
        account(RECONCILER),
        reconciler(&names),
        binding(RECONCILER_ROLE, &account_subject(RECONCILER)),
        token_role(),
        token_binding(),
        impersonator(&names),
        binding(IMPERSONATOR_ROLE, &account_subject(IMPERSONATOR)),
    ];
    objects.extend(roles.iter().flat_map(|(role, rules)| grant(role, rules)));
    objects
}

/// ClusterRole and ClusterRoleBinding of one role.
pub fn grant(role: &str, rules: &[PolicyRule]) -> [Object; 2] {
    let name = grant_group(role);
    let subject = json!({ "kind": "Group", "apiGroup": RBAC, "name": name });
    [
        Object::new(ObjectKind::ClusterRole, &name, json!({ "rules": rules })),
        binding(&name, &subject),
    ]
}

/// ClusterRole of the account on the data path, for these grant groups.
pub fn impersonator(groups: &BTreeSet<String>) -> Object {
    let mut rules = vec![
        json!({ "apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"] }),
        // `uids`, and `userextras/<key>`, which has no wildcard of its own. Nothing else has this verb there.
        json!({
            "apiGroups": ["authentication.k8s.io"],
            "resources": ["*"],
            "verbs": ["impersonate"],
        }),
    ];
    if !groups.is_empty() {
        rules.push(json!({
            "apiGroups": [""],
            "resources": ["groups"],
            "resourceNames": groups,
            "verbs": ["impersonate"],
        }));
    }
    Object::new(
        ObjectKind::ClusterRole,
        IMPERSONATOR_ROLE,
        json!({ "rules": rules }),
    )
}

/// ClusterRole of the account that writes, for roles and bindings of these names and its own two.
pub fn reconciler(names: &BTreeSet<String>) -> Object {
    let mut names = names.clone();
    names.extend([IMPERSONATOR_ROLE.to_owned(), RECONCILER_ROLE.to_owned()]);
    let rules = json!([
        {
            "apiGroups": [RBAC],
            "resources": ["clusterroles", "clusterrolebindings"],
            "verbs": ["get", "list", "watch"],
        },
        // `create` by name works for server-side apply, whose path names the object.
        {
            "apiGroups": [RBAC],
            "resources": ["clusterroles"],
            "resourceNames": names,
            "verbs": ["create", "update", "patch", "delete", "escalate", "bind"],
        },
        {
            "apiGroups": [RBAC],
            "resources": ["clusterrolebindings"],
            "resourceNames": names,
            "verbs": ["create", "update", "patch", "delete"],
        },
        // To clean up: both accounts and the rules for tokens go with it.
        {
            "apiGroups": [""],
            "resources": ["namespaces"],
            "resourceNames": [NAMESPACE],
            "verbs": ["get", "delete"],
        },
    ]);
    Object::new(
        ObjectKind::ClusterRole,
        RECONCILER_ROLE,
        json!({ "rules": rules }),
    )
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
fn flatten(role: &str, roles: &BTreeMap<String, RoleSpec>) -> Vec<PolicyRule> {
    let mut seen = BTreeSet::new();
    let mut open = vec![role];
    let mut out: Vec<PolicyRule> = Vec::new();
    while let Some(name) = open.pop() {
        let Some(spec) = roles.get(name) else {
            continue;
        };
        // A role of another scope cannot be inherited from; a circle ends here.
        if spec.scope != RoleScope::Cluster || !seen.insert(name) {
            continue;
        }
        for rule in spec.rules.iter().flat_map(valid) {
            if !out.contains(&rule) {
                out.push(rule);
            }
        }
        open.extend(spec.inherits.iter().rev().map(String::as_str));
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

    fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        PolicyRule {
            verbs: owned(verbs),
            api_groups: owned(&[""]),
            resources: owned(resources),
            ..PolicyRule::default()
        }
    }

    fn role(scope: RoleScope, inherits: &[&str], rules: Vec<PolicyRule>) -> RoleSpec {
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
            ..rule(&[], &["nodes"])
        };
        BTreeMap::from([
            (
                "viewer".to_owned(),
                role(
                    RoleScope::Cluster,
                    &["member"],
                    vec![rule(&["get", "list"], &["pods"])],
                ),
            ),
            (
                "member".to_owned(),
                role(
                    RoleScope::Cluster,
                    &["viewer", "gone", "global"],
                    vec![
                        rule(&["impersonate"], &["users"]),
                        rule(&["create", "impersonate"], &["pods/exec"]),
                        urls,
                    ],
                ),
            ),
            (
                "global".to_owned(),
                role(RoleScope::Global, &[], vec![rule(&["*"], &["*"])]),
            ),
            (
                "basic".to_owned(),
                role(RoleScope::Cluster, &[], vec![rule(&["get"], &["x"])]),
            ),
        ])
    }

    #[test]
    fn what_a_cluster_gets_is_this() {
        let objects = wanted(&cluster_roles(&some_roles()));
        let shown: Vec<&Value> = objects.iter().map(Object::body).collect();
        insta::assert_snapshot!(serde_json::to_string_pretty(&shown).unwrap());
    }

    #[test]
    fn roles_are_flattened_without_circles_foreign_scopes_or_impersonation() {
        let roles = cluster_roles(&some_roles());
        assert_eq!(
            roles.keys().collect::<Vec<_>>(),
            ["member", "viewer"],
            "neither global roles nor basic"
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
            // Of both: pods, pods/exec, nodes, /metrics.
            assert_eq!(rules.len(), 4, "{name}: {rules:?}");
        }
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
        let object = impersonator(&BTreeSet::new());
        assert!(
            !object.body().to_string().contains("groups\""),
            "{object:?}"
        );
    }
}
