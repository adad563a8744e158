//! Generated access reviews. Each aims at one rule of one binding of the server, so that the answer hangs on
//! that rule's features; half of them then miss it in one part.

use super::{
    objects::{
        ACCOUNTS, AGGREGATED, API_GROUPS, GROUPS, NAMES, NAMESPACES, RESOURCES, SUBRESOURCES,
        USERS, VERBS,
    },
    random::Random,
};
use palisade::{
    authz::{
        policy::Who,
        question::{Asked, ReviewSpec},
        raw::{RawPolicy, Subject},
        source::{RawBinding, RawRole, RawSource},
    },
    objects::rules::PolicyRule,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a review can speak to.
pub(super) const FEATURES: [&str; 20] = [
    "wildcard verb",
    "wildcard API group",
    "wildcard resource",
    "resource without subresource",
    "subresource by name",
    "subresource of any resource",
    "resource names",
    "path, whole",
    "path, by prefix",
    "path, any",
    "ClusterRoleBinding",
    "RoleBinding of a Role",
    "RoleBinding of a ClusterRole",
    "aggregated ClusterRole",
    "user",
    "group",
    "several groups",
    "service account, its namespace",
    "service account, the binding's",
    "system: names",
];

/// A wide rule of somebody who holds much cannot be missed in a few tries.
const TRIES: usize = 12;

pub(super) struct Review {
    pub(super) spec: Value,
    pub(super) features: BTreeSet<&'static str>,
}

/// A rule, and one who holds it.
struct Aim<'a> {
    binding: &'a RawBinding,
    subject: &'a Subject,
    rule: &'a PolicyRule,
}

/// Reviews until there are enough of them.
pub(super) fn generate(source: &RawSource, random: &mut Random, number: usize) -> Vec<Review> {
    let table = source.compile();
    let aims = aims(source);
    let (own, systems): (Vec<&Aim<'_>>, Vec<&Aim<'_>>) = aims
        .iter()
        .partition(|aim| aim.binding.name.starts_with("gen-"));
    // Some features are in few rules: each gets its turn.
    let of_feature: Vec<Vec<&Aim<'_>>> = FEATURES
        .iter()
        .map(|feature| {
            own.iter()
                .copied()
                .filter(|aim| features(aim).contains(feature))
                .collect()
        })
        .collect();
    (0..number)
        .map(|index| {
            let turn = &of_feature[index % FEATURES.len()];
            let aim = match index % FEATURES.len() {
                _ if random.chance(8) => systems[random.below(systems.len())],
                _ if turn.is_empty() => own[random.below(own.len())],
                _ => turn[random.below(turn.len())],
            };
            balanced(aim, &table, random)
        })
        .collect()
}

fn aims(source: &RawSource) -> Vec<Aim<'_>> {
    let bindings = source
        .cluster_role_bindings
        .values()
        .chain(source.role_bindings.values());
    let mut aims = Vec::new();
    for binding in bindings.map(|binding| &binding.object) {
        let name = &binding.role.name;
        let role: Option<&RawRole> = if binding.is_of_cluster_role() {
            source.cluster_roles.get(name).map(|role| &role.object)
        } else {
            let key = (binding.namespace.clone(), name.clone());
            source.roles.get(&key).map(|role| &role.object)
        };
        for rule in role.into_iter().flat_map(|role| &role.rules) {
            // system:masters would hide every rule; it has reviews of its own.
            let subjects = binding
                .subjects
                .iter()
                .filter(|subject| subject.name != "system:masters");
            aims.extend(subjects.map(|subject| Aim {
                binding,
                subject,
                rule,
            }));
        }
    }
    aims
}

fn features(aim: &Aim<'_>) -> BTreeSet<&'static str> {
    let Aim {
        binding,
        subject,
        rule,
    } = aim;
    let has = |list: &[String], wanted: fn(&String) -> bool| list.iter().any(wanted);
    let resource = |wanted: fn(&String) -> bool| has(&rule.resources, wanted);
    let url = |wanted: fn(&String) -> bool| has(&rule.non_resource_urls, wanted);
    let account = subject.kind == "ServiceAccount";
    let own_namespace = !subject.namespace.is_empty();
    let by_role = (binding.namespace.is_empty(), binding.is_of_cluster_role());
    [
        ("wildcard verb", has(&rule.verbs, |one| one == "*")),
        (
            "wildcard API group",
            has(&rule.api_groups, |one| one == "*"),
        ),
        ("wildcard resource", resource(|one| one == "*")),
        (
            "resource without subresource",
            resource(|one| one != "*" && !one.contains('/')),
        ),
        (
            "subresource by name",
            resource(|one| one.contains('/') && !one.starts_with('*')),
        ),
        (
            "subresource of any resource",
            resource(|one| one.starts_with("*/") && one != "*/*"),
        ),
        ("resource names", !rule.resource_names.is_empty()),
        ("path, whole", url(|one| !one.ends_with('*'))),
        (
            "path, by prefix",
            url(|one| one != "*" && one.ends_with('*')),
        ),
        ("path, any", url(|one| one == "*")),
        ("ClusterRoleBinding", by_role == (true, true)),
        ("RoleBinding of a Role", by_role == (false, false)),
        ("RoleBinding of a ClusterRole", by_role == (false, true)),
        (
            "aggregated ClusterRole",
            AGGREGATED.contains(&binding.role.name.as_str()),
        ),
        ("user", subject.kind == "User"),
        ("group", subject.kind == "Group"),
        ("service account, its namespace", account && own_namespace),
        ("service account, the binding's", account && !own_namespace),
        (
            "system: names",
            subject.name.starts_with("system:") || binding.name.starts_with("system:"),
        ),
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
    .collect()
}

/// A review that is allowed or denied, each in half of the cases. Our own decision only balances; the
/// server's is what counts.
fn balanced(aim: &Aim<'_>, table: &RawPolicy, random: &mut Random) -> Review {
    let wanted = random.chance(50);
    let mut last = review(aim, random);
    for _ in 0..TRIES {
        if allowed(&last.spec, table) == wanted {
            break;
        }
        last = review(aim, random);
    }
    last
}

fn allowed(spec: &Value, table: &RawPolicy) -> bool {
    let parsed: ReviewSpec = serde_json::from_value(spec.clone()).unwrap();
    let question = parsed.question(None).unwrap();
    let Asked::Attributes(asked) = &question.asked else {
        return false;
    };
    let groups: Vec<Box<str>> = question
        .subject
        .groups
        .iter()
        .map(|name| name.as_str().into())
        .collect();
    let who = Who {
        user: &question.subject.user,
        groups: &groups,
        shared: None,
    };
    table.decide(&who, &asked.attributes()).allowed()
}

fn review(aim: &Aim<'_>, random: &mut Random) -> Review {
    let mut features = features(aim);
    let (mut user, mut groups) = who(aim, random);
    let is_path = !aim.rule.non_resource_urls.is_empty();
    let mut asked = if is_path {
        path(aim.rule, random)
    } else {
        resource(aim, random)
    };
    if random.chance(68) {
        miss(&mut asked, &mut user, &mut groups, is_path, random);
    }
    if random.chance(1) {
        groups.push("system:masters".to_owned());
    }
    if groups.len() > 1 {
        features.insert("several groups");
    }
    if user.is_empty() && groups.is_empty() {
        "nobody".clone_into(&mut user);
    }
    let key = if is_path {
        "nonResourceAttributes"
    } else {
        "resourceAttributes"
    };
    Review {
        spec: json!({"user": user, "groups": groups, key: asked}),
        features,
    }
}

fn who(aim: &Aim<'_>, random: &mut Random) -> (String, Vec<String>) {
    let subject = aim.subject;
    let mut groups = if random.chance(50) {
        random.some(&["nobodies", "others", "strangers"], 0, 3)
    } else {
        Vec::new()
    };
    let user = match subject.kind.as_str() {
        "User" => subject.name.clone(),
        "Group" => {
            let at = random.below(groups.len() + 1);
            groups.insert(at, subject.name.clone());
            "somebody".to_owned()
        }
        _ => subject.account(&aim.binding.namespace).unwrap_or_default(),
    };
    (user, groups)
}

/// One entry of a rule's list, with something that a wildcard stands for.
fn one(entries: &[String], any: &[&str], random: &mut Random) -> String {
    let entry = &entries[random.below(entries.len())];
    if entry == "*" {
        random.pick(any).to_owned()
    } else {
        entry.clone()
    }
}

fn path(rule: &PolicyRule, random: &mut Random) -> Value {
    let url = &rule.non_resource_urls[random.below(rule.non_resource_urls.len())];
    let path = match url.strip_suffix('*') {
        None => url.clone(),
        Some(_) if url == "*" => random.pick(&["/anything", "/", "/apis", ""]).to_owned(),
        Some(_) => {
            let tail = random.pick(&["", "x", "x/y", "*"]);
            format!("{}{tail}", url.trim_end_matches('*'))
        }
    };
    let verb = one(&rule.verbs, &["get", "post", "head", ""], random);
    json!({"path": path, "verb": verb})
}

fn resource(aim: &Aim<'_>, random: &mut Random) -> Value {
    let rule = aim.rule;
    let entry = &rule.resources[random.below(rule.resources.len())];
    let (main, sub) = match entry.split_once('/') {
        Some(("*", sub)) => (random.pick(&RESOURCES).to_owned(), sub.to_owned()),
        Some((main, sub)) => (main.to_owned(), sub.to_owned()),
        None if entry == "*" => {
            let sub = if random.chance(50) {
                random.pick(&SUBRESOURCES)
            } else {
                ""
            };
            (random.pick(&RESOURCES).to_owned(), sub.to_owned())
        }
        None => (entry.clone(), String::new()),
    };
    let name = if rule.resource_names.is_empty() {
        random.pick(&["", "a", "x"]).to_owned()
    } else {
        rule.resource_names[random.below(rule.resource_names.len())].clone()
    };
    let namespace = if aim.binding.namespace.is_empty() {
        random.pick(&["", "default", "gen-a", "elsewhere"])
    } else {
        &aim.binding.namespace
    };
    json!({
        "verb": one(&rule.verbs, &["get", "list", "bind", ""], random),
        "group": one(&rule.api_groups, &["", "apps", "other.io", "*"], random),
        "version": random.pick(&["", "v1", "*"]),
        "resource": main,
        "subresource": sub,
        "name": name,
        "namespace": namespace,
    })
}

/// Changes one part, so that the rule aimed at is missed (though another may be hit).
fn miss(
    asked: &mut Value,
    user: &mut String,
    groups: &mut Vec<String>,
    is_path: bool,
    random: &mut Random,
) {
    let parts: &[&str] = if is_path {
        &["verb", "path", "path", "who"]
    } else {
        &[
            "verb",
            "group",
            "resource",
            "subresource",
            "name",
            "namespace",
            "who",
        ]
    };
    let part = random.pick(parts);
    let other: String = match part {
        "who" => {
            *user = match random.below(3) {
                0 => random.pick(&USERS).to_owned(),
                1 => format!(
                    "system:serviceaccount:{}:{}",
                    random.pick(&NAMESPACES),
                    random.pick(&ACCOUNTS)
                ),
                _ => random
                    .pick(&["Jane", "jane ", "system:anonymous", ""])
                    .to_owned(),
            };
            *groups = random.some(&GROUPS, 0, 2);
            return;
        }
        "verb" => random
            .pick(&[&VERBS[..], &["GET", "", "*", "escalate"]].concat())
            .to_owned(),
        "path" => {
            let path = asked["path"].as_str().unwrap();
            match random.below(4) {
                0 => path.trim_end_matches(['/', '*']).to_owned(),
                1 => format!("{path}/"),
                2 => path.to_uppercase(),
                _ => random
                    .pick(&["/healthz", "/healthzz", "/a", "/x", "/x/", "/logs", "/A/b"])
                    .to_owned(),
            }
        }
        "group" => random
            .pick(&[&API_GROUPS[..], &["*", "Apps", "core"]].concat())
            .to_owned(),
        "resource" => random
            .pick(&[&RESOURCES[..], &["*", "pod", "Pods", ""]].concat())
            .to_owned(),
        "subresource" => random
            .pick(&[&SUBRESOURCES[..], &["", "*", "log/x", "Log"]].concat())
            .to_owned(),
        "name" => random
            .pick(&[&NAMES[..], &["", "A", "a:80"]].concat())
            .to_owned(),
        _ => random
            .pick(&[&NAMESPACES[..], &["", "gen", "elsewhere"]].concat())
            .to_owned(),
    };
    asked[part] = other.into();
}
