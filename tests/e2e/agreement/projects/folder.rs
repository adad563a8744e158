//! A generated policy folder of a platform with tenants, and the cluster's namespaces.

use super::super::{objects, random::Random, succeed};
use crate::testkit::cluster::LocalCluster;
use palisade::{
    authz::{
        files::{Folder, load_policy},
        policy::Policy,
    },
    objects::{Binding, Role},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The one cluster.
pub(super) const CLUSTER: &str = "prod";
/// What bindings by label select it by.
pub(super) const LABEL: &str = "stage=prod";
const API: &str = "palisade.dev/v1alpha1";
const PROJECTS: usize = 8;
const USERS: usize = 24;
const GROUPS: usize = 12;
/// So many of the users hold nothing on the cluster, the first ones.
pub(super) const STRANGERS: usize = 2;
/// Who holds in `p1` that streams are read, and no more.
pub(super) const WATCHER: &str = "watcher";
const CLUSTER_ROLES: usize = 14;
const PROJECT_ROLES: usize = 9;
/// Namespaces of no project; the first two are there already, and no project may hold the second. The last ones miss a
/// glob by its beginning or its end.
pub(super) const FREE: [&str; 8] = [
    "default",
    "kube-system",
    "free-a",
    "p0",
    "p1-xone",
    "q1-xone-z1",
    "p0-gone",
    "one-of-p00",
];

/// What was generated.
pub(super) struct Tenants {
    pub(super) file: PathBuf,
    pub(super) folder: Folder,
    pub(super) users: Vec<String>,
    /// Members of each group.
    pub(super) members: BTreeMap<String, Vec<String>>,
    /// The namespaces of each project that are there, with the entry that each is held by.
    pub(super) namespaces: BTreeMap<String, Vec<(String, String)>>,
}

impl Tenants {
    pub(super) fn compile(&self) -> Policy {
        self.folder.own.compile([])
    }

    /// Groups of a user, by name, as an offline policy knows them.
    pub(super) fn groups_of(&self, user: &str) -> Vec<Box<str>> {
        let all = self.members.iter();
        all.filter(|(_, members)| members.iter().any(|member| member == user))
            .map(|(group, _)| group.as_str().into())
            .collect()
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = &Binding> {
        let all = self.folder.own.bindings.values();
        all.map(|binding| &binding.object)
    }

    pub(super) fn role(&self, name: &str) -> Option<&Role> {
        Some(&self.folder.own.roles.get(name)?.object)
    }
}

/// Whether everything that policy wants of a cluster is there, as `palisade cluster show -o json` has it.
pub(super) fn is_in_step(shown: &Value) -> bool {
    shown["status"]["sync"]["state"] == "InStep"
}

fn role(random: &mut Random, scope: &str, index: usize) -> Value {
    let name = |index: usize| format!("{scope}-{index}");
    let mut inherits: Vec<String> = Vec::new();
    if index > 0 && random.chance(45) {
        inherits.push(name(random.below(index)));
    }
    if random.chance(10) {
        inherits.push(format!("{scope}-viewer"));
    }
    let number = 1 + random.below(2);
    let rules: Vec<Value> = (0..number)
        .map(|_| objects::rule(random, scope == "cluster"))
        .collect();
    json!({"apiVersion": API, "kind": "Role", "metadata": {"name": name(index)},
        "spec": {"scope": scope, "inherits": inherits, "rules": rules}})
}

/// What all globs of one folder have: a glob with a beginning alone and one with an end alone always have a namespace
/// in common.
#[derive(Clone, Copy)]
enum Globs {
    Beginnings,
    Ends,
}

/// A project, and its namespaces with the entry that holds each.
fn project(index: usize, globs: Globs) -> (Value, Vec<(String, String)>) {
    let glob = match (globs, index % 2) {
        (Globs::Beginnings, 0) => format!("p{index}-g-*"),
        (Globs::Ends, 0) => format!("*-of-p{index}"),
        _ => format!("p{index}-x*-z{index}"),
    };
    let matching = ["one", "a-b"].map(|middle| glob.replace('*', middle));
    let plain = [format!("p{index}-a"), format!("p{index}-b")];
    let entries = [&plain[..], std::slice::from_ref(&glob)].concat();
    let object = json!({"apiVersion": API, "kind": "Project", "metadata": {"name": format!("p{index}")},
        "spec": {"cluster": CLUSTER, "namespaces": entries}});
    let named = plain.into_iter().map(|name| (name.clone(), name));
    let matched = matching.into_iter().map(|name| (name, glob.clone()));
    (object, named.chain(matched).collect())
}

fn binding(random: &mut Random, index: usize, subject: &Value) -> Value {
    let mut spec = if random.chance(65) {
        let role = match random.below(10) {
            0 => "project-viewer".to_owned(),
            1 => "project-member".to_owned(),
            _ => format!("project-{}", random.below(PROJECT_ROLES)),
        };
        json!({"role": role, "project": format!("p{}", random.below(PROJECTS))})
    } else {
        let role = format!("cluster-{}", random.below(CLUSTER_ROLES));
        match random.below(4) {
            0 => json!({"role": role, "allClusters": true}),
            1 => json!({"role": role, "clusterSelector": {"stage": "prod"}}),
            2 => json!({"role": role, "clusterSelector": {"stage": "test"}}),
            _ => json!({"role": role, "clusters": [CLUSTER]}),
        }
    };
    match random.below(10) {
        0 => spec["expiresAt"] = "2020-01-01T00:00:00Z".into(),
        1 => spec["expiresAt"] = "2099-01-01T00:00:00Z".into(),
        _ => {}
    }
    spec["subject"] = subject.clone();
    json!({"apiVersion": API, "kind": "Binding", "metadata": {"name": format!("b-{index}")}, "spec": spec})
}

/// Generates the folder, and makes the namespaces.
pub(super) fn generate(top: &Path, cluster: &LocalCluster, random: &mut Random) -> Tenants {
    let mut users: Vec<String> = (0..USERS).map(|index| format!("u{index}")).collect();
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for index in 0..GROUPS {
        let mut in_it = users.iter().skip(STRANGERS).cloned().collect::<Vec<_>>();
        in_it.retain(|_| random.chance(15));
        members.insert(format!("g{index}"), in_it);
    }
    let mut items = vec![
        json!({"apiVersion": API, "kind": "Cluster", "metadata": {"name": CLUSTER, "labels": {"stage": "prod"}},
            "spec": {}}),
    ];
    items.extend((0..CLUSTER_ROLES).map(|index| role(random, "cluster", index)));
    items.extend((0..PROJECT_ROLES).map(|index| role(random, "project", index)));
    let mut namespaces = BTreeMap::new();
    let globs = if random.chance(50) {
        Globs::Beginnings
    } else {
        Globs::Ends
    };
    for index in 0..PROJECTS {
        let (object, held) = project(index, globs);
        items.push(object);
        namespaces.insert(format!("p{index}"), held);
    }
    let people = users.iter().skip(STRANGERS);
    let people = people.map(|name| json!({"kind": "User", "name": name}));
    let groups = members
        .keys()
        .map(|name| json!({"kind": "Group", "name": name}));
    let mut number = 0;
    for subject in people.chain(groups).collect::<Vec<_>>() {
        for _ in 0..=random.below(3) {
            items.push(binding(random, number, &subject));
            number += 1;
        }
    }
    items.push(
        json!({"apiVersion": API, "kind": "Role", "metadata": {"name": "stream-reader"},
        "spec": {"scope": "project", "rules": [{"verbs": ["get"], "apiGroups": [""],
            "resources": ["pods/exec", "pods/attach", "pods/portforward"]}]}}),
    );
    items.push(json!({"apiVersion": API, "kind": "Binding", "metadata": {"name": WATCHER},
        "spec": {"role": "stream-reader", "subject": {"kind": "User", "name": WATCHER}, "project": "p1"}}));
    users.push(WATCHER.to_owned());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    let file = top.join("tenants.json");
    fs::write(&file, list.to_string()).unwrap();
    let folder = load_policy(&file).unwrap();
    assert!(folder.mistakes.is_empty(), "{:?}", folder.mistakes);
    let there = namespaces.values().flatten();
    make(top, cluster, there.map(|(name, _)| name.as_str()));
    Tenants {
        file,
        folder,
        users,
        members,
        namespaces,
    }
}

/// Makes these namespaces, and those of no project.
fn make<'n>(top: &Path, cluster: &LocalCluster, names: impl Iterator<Item = &'n str>) {
    let all = names.chain(FREE.into_iter().skip(2));
    let made: Vec<Value> = all
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": made});
    let file = top.join("namespaces.json");
    fs::write(&file, list.to_string()).unwrap();
    succeed(cluster.kubectl().arg("create").arg("-f").arg(&file));
}
