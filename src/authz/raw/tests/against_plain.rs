//! Random RBAC objects against the plain evaluator and upstream's own loop.

use super::*;
use crate::authz::plain;
use proptest::prelude::*;

fn name_of(list: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(list).prop_map(str::to_owned)
}

fn metadata(name: String, namespace: String) -> Metadata {
    Metadata {
        name,
        namespace,
        ..Metadata::default()
    }
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = plain::rule().prop_map(|rule| Rule {
        verbs: rule.verbs,
        api_groups: rule.api_groups,
        resources: rule.resources,
        resource_names: rule.resource_names,
        non_resource_urls: rule.non_resource_urls,
    });
    prop::collection::vec(rule, 0..3)
}

fn subjects() -> impl Strategy<Value = Vec<Subject>> {
    let subject = (
        name_of(&["User", "User", "Group", "ServiceAccount", "Robot"]),
        name_of(&["jane", "bob", "devs", "system:serviceaccount:n1:jane"]),
        name_of(&["", "n1"]),
    );
    let subject = subject.prop_map(|(kind, name, namespace)| Subject {
        kind,
        name,
        namespace,
    });
    prop::collection::vec(subject, 0..3)
}

fn role_ref() -> impl Strategy<Value = RoleRef> {
    (
        name_of(&["ClusterRole", "ClusterRole", "Role", "Other"]),
        name_of(&["r0", "r1", "r2", "r9"]),
    )
        .prop_map(|(kind, name)| RoleRef { kind, name })
}

fn any_objects() -> impl Strategy<Value = Objects> {
    let named = || name_of(&["r0", "r1", "r2"]);
    let namespace = || name_of(&["n1", "n2", "", "default"]);
    let cluster_role = (named(), rules()).prop_map(|(name, rules)| ClusterRole {
        metadata: metadata(name, String::new()),
        rules,
        ..ClusterRole::default()
    });
    let role = (named(), namespace(), rules()).prop_map(|(name, namespace, rules)| Role {
        metadata: metadata(name, namespace),
        rules,
    });
    let cluster_binding =
        (0..4, subjects(), role_ref()).prop_map(|(n, subjects, role_ref)| ClusterRoleBinding {
            metadata: metadata(format!("b{n}"), String::new()),
            subjects,
            role_ref,
        });
    let binding = (0..4, namespace(), subjects(), role_ref()).prop_map(
        |(n, namespace, subjects, role_ref)| RoleBinding {
            metadata: metadata(format!("b{n}"), namespace),
            subjects,
            role_ref,
        },
    );
    (
        prop::collection::vec(cluster_role, 0..4),
        prop::collection::vec(role, 0..5),
        prop::collection::vec(cluster_binding, 0..4),
        prop::collection::vec(binding, 0..6),
    )
        .prop_map(
            |(cluster_roles, roles, cluster_role_bindings, role_bindings)| Objects {
                cluster_roles,
                roles,
                cluster_role_bindings,
                role_bindings,
            },
        )
}

fn in_namespace(of: &Metadata) -> &str {
    if of.namespace.is_empty() {
        "default"
    } else {
        &of.namespace
    }
}

/// The last object of a name in a namespace.
fn is_last<T>(list: &[T], at: usize, of: impl Fn(&T) -> &Metadata) -> bool {
    let key = |object: &T| (of(object).name.clone(), in_namespace(of(object)).to_owned());
    list.iter()
        .rposition(|object| key(object) == key(&list[at]))
        == Some(at)
}

fn applies(subjects: &[Subject], user: &str, groups: &[Box<str>], namespace: &str) -> bool {
    subjects.iter().any(|subject| match subject.kind.as_str() {
        "User" => subject.name == user,
        "Group" => groups.contains(&subject.name.as_str().into()),
        "ServiceAccount" => {
            let own = if subject.namespace.is_empty() {
                namespace
            } else {
                &subject.namespace
            };
            !own.is_empty() && user == format!("system:serviceaccount:{own}:{}", subject.name)
        }
        _ => false,
    })
}

/// Walks over everything.
fn plain_allows(all: &Objects, user: &str, groups: &[Box<str>], attrs: &Attributes<'_>) -> bool {
    let allows = |rules: &[Rule]| {
        rules
            .iter()
            .any(|rule| plain::rule_allows(&rule.clone().into(), attrs))
    };
    let cluster_role = |name: &str| {
        let found = all
            .cluster_roles
            .iter()
            .rfind(|role| role.metadata.name == name);
        found.is_some_and(|role| allows(&role.rules))
    };
    let role = |name: &str, namespace: &str| {
        let of =
            |role: &&Role| role.metadata.name == name && in_namespace(&role.metadata) == namespace;
        all.roles
            .iter()
            .rfind(of)
            .is_some_and(|role| allows(&role.rules))
    };
    let wide = all
        .cluster_role_bindings
        .iter()
        .enumerate()
        .any(|(at, binding)| {
            is_last(&all.cluster_role_bindings, at, |binding| &binding.metadata)
                && applies(&binding.subjects, user, groups, "")
                && binding.role_ref.kind == "ClusterRole"
                && cluster_role(&binding.role_ref.name)
        });
    let narrow = all.role_bindings.iter().enumerate().any(|(at, binding)| {
        let namespace = in_namespace(&binding.metadata);
        is_last(&all.role_bindings, at, |binding| &binding.metadata)
            && namespace == attrs.namespace
            && applies(&binding.subjects, user, groups, namespace)
            && match binding.role_ref.kind.as_str() {
                "ClusterRole" => cluster_role(&binding.role_ref.name),
                "Role" => role(&binding.role_ref.name, namespace),
                _ => false,
            }
    });
    wide || narrow
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_compiled_objects_say_what_all_bindings_say(
        all in any_objects(),
        requests in prop::collection::vec(plain::request(), 24),
    ) {
        let policy = RawPolicy::of(all.clone());
        let groups = [Box::from("devs"), Box::from("jane")];
        for (user, groups) in [
            ("jane", &groups[..0]),
            ("bob", &groups[..]),
            ("system:serviceaccount:n1:jane", &groups[..1]),
        ] {
            for request in &requests {
                let attrs = request.attributes();
                let who = Who { user, groups, shared: None };
                let expected = plain_allows(&all, user, groups, &attrs);
                let verdict = policy.explain(&who, &attrs);
                prop_assert_eq!(policy.decide(&who, &attrs).allowed(), expected, "{} {:?}", user, attrs);
                prop_assert_eq!(verdict.decision.allowed(), expected, "{} {:?}", user, attrs);
                prop_assert_eq!(verdict.grant.is_some(), expected);
            }
        }
    }
}
