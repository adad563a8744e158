//! Generated requests. Each aims at one rule of one binding, so that the answer hangs on that rule, its role's
//! ancestors and its project; half of them then miss it in one part.

use super::super::{
    objects::{API_GROUPS, NAMES, RESOURCES, SUBRESOURCES},
    random::Random,
};
use super::{
    decide,
    folder::{FREE, STRANGERS, Tenants, WATCHER},
};
use palisade::{
    authz::policy::Policy,
    objects::{Binding, SubjectKind, rules::PolicyRule},
};
use std::collections::BTreeSet;

/// What a request can speak to.
pub(super) const FEATURES: [&str; 12] = [
    "cluster role",
    "project role",
    "project by name",
    "project by glob",
    "inherited rule",
    "non-resource URL",
    "resource names",
    "subresource",
    "several groups",
    "bound by a group",
    "bound by a label",
    "bound until an instant",
];
/// A wide rule of somebody who holds much cannot be missed in a few tries.
const TRIES: usize = 12;
/// Longest chain of roles that inherit.
const DEPTH: usize = 16;
/// Targets that are refused before anything is asked.
const ODD: [&str; 3] = [
    "/api/v1/namespaces/default/../kube-system/pods",
    "/api/v1//pods",
    "/api/v1/namespaces/default/pods/a%2fb",
];
/// Of so many requests two are such as chance hardly ever makes.
const RARE: usize = 100;
const STREAMS: [&str; 3] = ["exec", "attach", "portforward"];

/// One request, and who sends it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) user: String,
    pub(super) method: &'static str,
    pub(super) target: String,
    pub(super) features: BTreeSet<&'static str>,
}

/// A rule, and the binding by which somebody holds it.
struct Aim<'a> {
    binding: &'a Binding,
    rule: &'a PolicyRule,
    inherited: bool,
}

/// A request as it is being made up.
#[derive(Clone)]
struct Wish {
    user: String,
    verb: String,
    group: String,
    resource: String,
    sub: String,
    name: String,
    namespace: String,
    path: Option<String>,
}

/// Requests until there are enough of them.
pub(super) fn generate(
    tenants: &Tenants,
    policy: &Policy,
    random: &mut Random,
    number: usize,
) -> Vec<Sent> {
    let aims = aims(tenants);
    let of_feature: Vec<Vec<&Aim<'_>>> = FEATURES
        .iter()
        .map(|feature| {
            let all = aims.iter();
            all.filter(|aim| features(tenants, aim).contains(feature))
                .collect()
        })
        .collect();
    (0..number)
        .map(|index| {
            // What chance alone would hardly ever make.
            match index % RARE {
                0 => return of_a_stranger(tenants, random),
                1 => return of_a_watcher(random),
                _ => {}
            }
            let turn = &of_feature[index % FEATURES.len()];
            let aim = if turn.is_empty() {
                &aims[random.below(aims.len())]
            } else {
                turn[random.below(turn.len())]
            };
            let wanted = random.chance(50);
            let mut last = sent(tenants, aim, random);
            for _ in 0..TRIES {
                // Our own decision only balances; the server's is what counts.
                if decide(policy, tenants, &last).allowed == wanted {
                    break;
                }
                last = sent(tenants, aim, random);
            }
            last
        })
        .collect()
}

/// Somebody without a role asks for what a cluster shows to everyone.
fn of_a_stranger(tenants: &Tenants, random: &mut Random) -> Sent {
    let user = tenants.users[random.below(STRANGERS)].clone();
    let target = random.pick(&["/version", "/api", "/apis", "/healthz"]);
    plain(user, target.to_owned())
}

/// Somebody who may `get` a stream, and not `create` it.
fn of_a_watcher(random: &mut Random) -> Sent {
    let namespace = random.pick(&["p1-a", "p1-b", "p1-xone-z1"]);
    let stream = random.pick(&STREAMS);
    let target = format!("/api/v1/namespaces/{namespace}/pods/a/{stream}");
    plain(WATCHER.to_owned(), target)
}

fn plain(user: String, target: String) -> Sent {
    Sent {
        user,
        method: "GET",
        target,
        features: BTreeSet::new(),
    }
}

fn aims(tenants: &Tenants) -> Vec<Aim<'_>> {
    let mut aims = Vec::new();
    for binding in tenants.bindings() {
        collect(tenants, binding, &binding.spec.role, 0, &mut aims);
    }
    aims
}

fn collect<'a>(
    tenants: &'a Tenants,
    binding: &'a Binding,
    role: &str,
    depth: usize,
    aims: &mut Vec<Aim<'a>>,
) {
    let Some(role) = tenants.role(role).filter(|_| depth < DEPTH) else {
        return;
    };
    aims.extend(role.spec.rules.iter().map(|rule| Aim {
        binding,
        rule,
        inherited: depth > 0,
    }));
    for parent in &role.spec.inherits {
        collect(tenants, binding, parent, depth + 1, aims);
    }
}

fn features(tenants: &Tenants, aim: &Aim<'_>) -> BTreeSet<&'static str> {
    let spec = &aim.binding.spec;
    let in_project = !spec.project.is_empty();
    let sub = aim.rule.resources.iter().any(|one| one.contains('/'));
    let user = spec.subject.kind == SubjectKind::User;
    let several = user && tenants.groups_of(&spec.subject.name).len() > 1;
    [
        ("cluster role", !in_project),
        ("project role", in_project),
        ("project by name", in_project),
        ("project by glob", in_project),
        ("inherited rule", aim.inherited),
        ("non-resource URL", !aim.rule.non_resource_urls.is_empty()),
        ("resource names", !aim.rule.resource_names.is_empty()),
        ("subresource", sub),
        ("several groups", several),
        ("bound by a group", !user),
        ("bound by a label", !spec.cluster_selector.is_empty()),
        ("bound until an instant", spec.expires_at.is_some()),
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
    .collect()
}

fn sent(tenants: &Tenants, aim: &Aim<'_>, random: &mut Random) -> Sent {
    let mut wish = hit(tenants, aim, random);
    if random.chance(60) {
        miss(tenants, &mut wish, random);
    }
    let mut features = features(tenants, aim);
    // Which of the two it is the request says.
    features.retain(|feature| !feature.starts_with("project by"));
    let held = tenants.namespaces.values().flatten();
    if let Some((name, entry)) = held.into_iter().find(|(name, _)| *name == wish.namespace) {
        features.insert(if name == entry {
            "project by name"
        } else {
            "project by glob"
        });
    }
    if tenants.groups_of(&wish.user).len() > 1 {
        features.insert("several groups");
    }
    let (method, target) = if random.chance(1) {
        ("GET", random.pick(&ODD).to_owned())
    } else {
        target(&wish, random)
    };
    Sent {
        user: wish.user,
        method,
        target,
        features,
    }
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

fn who(tenants: &Tenants, aim: &Aim<'_>, random: &mut Random) -> String {
    let subject = &aim.binding.spec.subject;
    let members = tenants.members.get(&subject.name);
    match members.filter(|members| !members.is_empty()) {
        Some(members) => members[random.below(members.len())].clone(),
        None if subject.kind == SubjectKind::User => subject.name.clone(),
        None => tenants.users[random.below(tenants.users.len())].clone(),
    }
}

fn namespace_of(tenants: &Tenants, project: &str, random: &mut Random) -> String {
    match tenants.namespaces.get(project) {
        Some(held) => held[random.below(held.len())].0.clone(),
        None => any_namespace(tenants, random),
    }
}

fn any_namespace(tenants: &Tenants, random: &mut Random) -> String {
    let projects: Vec<&String> = tenants.namespaces.keys().collect();
    match random.below(10) {
        0 | 1 => String::new(),
        2 | 3 => random.pick(&FREE).to_owned(),
        _ => namespace_of(tenants, projects[random.below(projects.len())], random),
    }
}

fn hit(tenants: &Tenants, aim: &Aim<'_>, random: &mut Random) -> Wish {
    let rule = aim.rule;
    let mut wish = Wish {
        user: who(tenants, aim, random),
        verb: one(&rule.verbs, &["get", "list", "create", "delete"], random),
        group: String::new(),
        resource: String::new(),
        sub: String::new(),
        name: String::new(),
        namespace: namespace_of(tenants, &aim.binding.spec.project, random),
        path: None,
    };
    if let Some(url) = rule.non_resource_urls.first() {
        let path = match url.strip_suffix('*') {
            None => url.clone(),
            Some(start) => format!("{}x", if start.is_empty() { "/any" } else { start }),
        };
        wish.path = Some(path.replace('*', "s"));
        return wish;
    }
    let entry = &rule.resources[random.below(rule.resources.len())];
    let (main, sub) = entry.split_once('/').unwrap_or((entry, ""));
    wish.resource = one(&[main.to_owned()], &RESOURCES, random);
    wish.sub = one(&[sub.to_owned()], &SUBRESOURCES, random);
    wish.group = one(&rule.api_groups, &API_GROUPS, random);
    wish.name = if rule.resource_names.is_empty() {
        random.pick(&NAMES).to_owned()
    } else {
        one(&rule.resource_names, &NAMES, random)
    };
    wish
}

/// Changes one part, so that the rule aimed at is missed (though another may be hit).
fn miss(tenants: &Tenants, wish: &mut Wish, random: &mut Random) {
    match random.below(8) {
        0 | 1 => wish
            .user
            .clone_from(&tenants.users[random.below(tenants.users.len())]),
        2 | 3 => wish.namespace = any_namespace(tenants, random),
        4 => random
            .pick(&[
                "get", "list", "watch", "create", "update", "patch", "delete",
            ])
            .clone_into(&mut wish.verb),
        5 => random.pick(&RESOURCES).clone_into(&mut wish.resource),
        6 => random
            .pick(&[&SUBRESOURCES[..], &[""], &STREAMS[..]].concat())
            .clone_into(&mut wish.sub),
        _ => random.pick(&NAMES).clone_into(&mut wish.name),
    }
    if wish.path.is_some() && random.chance(15) {
        let paths = ["/healthz", "/a", "/x/", "/logs", "/version"];
        wish.path = Some(random.pick(&paths).to_owned());
    }
}

/// Method and target of a request that has these attributes, as nearly as there is one.
fn target(wish: &Wish, random: &mut Random) -> (&'static str, String) {
    if let Some(path) = &wish.path {
        let method = match wish.verb.as_str() {
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" | "deletecollection" => "DELETE",
            _ => "GET",
        };
        return (method, path.clone());
    }
    let mut target = match wish.group.as_str() {
        "" => "/api/v1".to_owned(),
        group => format!("/apis/{group}/v1"),
    };
    // The namespace itself.
    if wish.resource == "nodes" && !wish.namespace.is_empty() && random.chance(30) {
        return ("GET", format!("/api/v1/namespaces/{}", wish.namespace));
    }
    if !wish.namespace.is_empty() {
        target = format!("{target}/namespaces/{}", wish.namespace);
    }
    target = format!("{target}/{}", wish.resource);
    let (method, named, query) = match wish.verb.as_str() {
        "list" => ("GET", false, "?limit=1"),
        "watch" => ("GET", false, "?watch=1&timeoutSeconds=1"),
        "create" => ("POST", false, ""),
        "update" => ("PUT", true, ""),
        "patch" => ("PATCH", true, ""),
        "delete" => ("DELETE", true, ""),
        "deletecollection" => ("DELETE", false, ""),
        _ => ("GET", true, ""),
    };
    if named || !wish.sub.is_empty() {
        target = format!("{target}/{}", wish.name);
    }
    if !wish.sub.is_empty() {
        target = format!("{target}/{}", wish.sub);
    }
    (method, format!("{target}{query}"))
}
