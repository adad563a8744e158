//! Projects: a binding for each of their roles in each of their namespaces, and nowhere else.

use super::{PATIENCE, sync, until, until_in_step, world};
use crate::testkit::{
    fake_cluster::{Call, FakeCluster},
    gate::Gate,
};
use http::Method;
use palisade::objects::{Project, Role, RoleScope, Step, rules::PolicyRule};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst, time::Duration};

const WORKER: &str = "palisade:project:worker";

/// A role of scope project.
async fn project_role(gate: &Gate, name: &str, verbs: &[&str]) {
    let rule = PolicyRule {
        verbs: verbs.iter().map(ToString::to_string).collect(),
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        ..PolicyRule::default()
    };
    gate.role_of(name, RoleScope::Project, vec![rule]).await;
}

/// The namespaces that have a binding of the role.
fn bound(fake: &FakeCluster, role: &str) -> BTreeSet<String> {
    let end = format!("/rolebindings/palisade:project:{role}");
    let paths = fake.paths().into_iter();
    paths
        .filter_map(|path| {
            let namespace = path.strip_prefix("namespaces/")?.strip_suffix(&end)?;
            Some(namespace.to_owned())
        })
        .collect()
}

/// How many roles of scope project there are.
fn project_roles(gate: &Gate) -> usize {
    gate.app.registry().roles().project.len()
}

fn names<const N: usize>(list: [&str; N]) -> BTreeSet<String> {
    list.map(str::to_owned).into()
}

async fn group(gate: &Gate, project: &str, role: &str) -> String {
    let uid = gate.get::<Project>(project).await.object.metadata.uid;
    format!("palisade:project:{uid}:{role}")
}

/// Whether the data path sends a group.
fn sends(gate: &Gate, group: &str) -> bool {
    let entry = gate.app.registry().entry("fake").expect("registered");
    entry.standing().groups().known().get(group).is_some()
}

/// A project `shop` (shop, shop-*) with the role `worker`, in step.
async fn shop() -> (Gate, FakeCluster) {
    let (gate, fake) = world().await;
    for namespace in ["shop", "shop-eu", "shopping", "other"] {
        fake.put_namespace(namespace);
    }
    project_role(&gate, "worker", &["get"]).await;
    gate.project("shop", "fake", &["shop", "shop-*"]).await;
    let group = group(&gate, "shop", "worker").await;
    until("its group is sent", &gate, || sends(&gate, &group)).await;
    until("it is bound", &gate, || bound(&fake, "worker").len() == 2).await;
    until_in_step(&gate).await;
    (gate, fake)
}

#[tokio::test]
async fn each_namespace_of_a_project_has_one_binding_for_each_project_role() {
    let (gate, fake) = shop().await;
    let group = group(&gate, "shop", "worker").await;
    assert_eq!(bound(&fake, "worker"), names(["shop", "shop-eu"]));
    let binding = fake
        .get(&format!("namespaces/shop/rolebindings/{WORKER}"))
        .unwrap();
    let kind = "ClusterRole";
    assert_eq!(binding["roleRef"]["kind"], kind);
    assert_eq!(binding["roleRef"]["name"], WORKER);
    assert_eq!(binding["subjects"][0]["name"], group.as_str());
    assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
    assert_eq!(
        binding["metadata"]["labels"]["palisade.dev/project"],
        "shop"
    );
    let role = fake.get(&format!("clusterroles/{WORKER}")).unwrap();
    assert_eq!(role["rules"][0]["verbs"], json!(["get"]));
    // Held in no cluster-wide binding.
    assert!(fake.get(&format!("clusterrolebindings/{WORKER}")).is_none());

    // Another role, without anybody who holds it, is bound too.
    project_role(&gate, "keeper", &["list"]).await;
    until("both are bound", &gate, || {
        bound(&fake, "keeper").len() == 2
    })
    .await;
    // What is taken out of a role goes (CVE-2026-44947), and so does a role.
    project_role(&gate, "worker", &[]).await;
    until("it shrinks", &gate, || {
        let role = fake.get(&format!("clusterroles/{WORKER}")).unwrap();
        role["rules"].as_array().is_none_or(Vec::is_empty)
    })
    .await;
    gate.delete::<Role>("worker").await;
    until("its group is not sent", &gate, || !sends(&gate, &group)).await;
    until("it goes", &gate, || {
        !fake.paths().iter().any(|path| path.contains("worker"))
    })
    .await;
    until_in_step(&gate).await;
    assert_eq!(bound(&fake, "keeper"), names(["shop", "shop-eu"]));
    gate.stop().await;
}

#[tokio::test]
async fn new_members_touch_no_cluster() {
    let (gate, fake) = shop().await;
    let before = fake.calls().len();
    for number in 0..20 {
        let name = format!("user-{number}");
        gate.user(&name).await;
        gate.bind_project("worker", &name, "shop").await;
    }
    gate.group("team", &["user-1"]).await;
    gate.bind_group_in_project("worker", "team", "shop").await;
    gate.group("team", &["user-1", "user-2"]).await;
    // The loop has seen what came after all of that, and nothing else.
    fake.put_namespace("shop-us");
    until("it is bound", &gate, || bound(&fake, "worker").len() == 3).await;
    until_in_step(&gate).await;
    let new: BTreeSet<String> = fake.calls()[before..]
        .iter()
        .map(|call| format!("{} {}", call.method, call.object()))
        .collect();
    let roles = gate.app.registry().roles().project;
    let only = roles
        .keys()
        .map(|role| format!("PATCH namespaces/shop-us/rolebindings/palisade:project:{role}"));
    assert_eq!(new, only.collect());
    assert_eq!(fake.calls().len() - before, new.len(), "each once");
    gate.stop().await;
}

#[tokio::test]
async fn namespaces_come_and_go_with_their_project() {
    let (gate, fake) = shop().await;
    fake.put_namespace("shop-us");
    until("a new one is bound", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-eu", "shop-us"])
    })
    .await;
    // The glob changes; then one is left out.
    gate.project("shop", "fake", &["shop", "shop-e*", "other"])
        .await;
    until("the glob counts", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-eu", "other"])
    })
    .await;
    gate.project("shop", "fake", &["shop-e*"]).await;
    until("one is left", &gate, || {
        bound(&fake, "worker") == names(["shop-eu"])
    })
    .await;
    // Another project of the namespace: its group, not the one of before.
    let old = group(&gate, "shop", "worker").await;
    gate.delete::<Project>("shop").await;
    gate.project("store", "fake", &["shop-eu"]).await;
    let new = group(&gate, "store", "worker").await;
    let subject = || {
        let path = format!("namespaces/shop-eu/rolebindings/{WORKER}");
        fake.get(&path)
            .map(|binding| binding["subjects"][0]["name"].clone())
    };
    until("it is the other's", &gate, || subject() == Some(json!(new))).await;
    until("groups follow", &gate, || {
        sends(&gate, &new) && !sends(&gate, &old)
    })
    .await;
    until_in_step(&gate).await;
    let impersonators: Vec<Value> = fake
        .paths()
        .iter()
        .filter(|path| path.contains("impersonator:"))
        .filter_map(|path| fake.get(path))
        .collect();
    assert!(!json!(impersonators).to_string().contains(&old));
    gate.delete::<Project>("store").await;
    until("nothing is left", &gate, || {
        !fake
            .paths()
            .iter()
            .any(|path| path.contains("/rolebindings/"))
            && !fake
                .paths()
                .iter()
                .any(|path| path.contains("impersonator:"))
    })
    .await;
    gate.stop().await;
}

#[tokio::test]
async fn a_namespace_that_two_projects_claim_is_nobodys() {
    let (gate, fake) = shop().await;
    gate.project("store", "fake", &["shop-eu"]).await;
    until("it is nobody's", &gate, || {
        bound(&fake, "worker") == names(["shop"])
    })
    .await;
    gate.delete::<Project>("store").await;
    until("it is somebody's again", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-eu"])
    })
    .await;
    gate.stop().await;
}

// Who holds a role in one of these holds the cluster, or the gateway's accounts (A4).
#[tokio::test]
async fn the_clusters_own_namespaces_are_never_written_to() {
    let (gate, fake) = world().await;
    let own = [
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "palisade-system",
    ];
    for namespace in own {
        fake.put_namespace(namespace);
    }
    project_role(&gate, "worker", &["get"]).await;
    gate.project("all", "fake", &["*", "kube-system"]).await;
    until("all others are bound", &gate, || {
        bound(&fake, "worker") == names(["default"])
    })
    .await;
    until_in_step(&gate).await;
    let inside = |path: &str| own.iter().any(|own| path.contains(&format!("/{own}/")));
    let written = fake.calls().into_iter().filter(Call::is_write);
    let written: Vec<String> = written.map(|call| format!("/{}", call.object())).collect();
    assert!(!written.iter().any(|path| inside(path)), "{written:?}");
    gate.stop().await;
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_is_left_to_end() {
    let (gate, fake) = shop().await;
    fake.end_namespace("shop-eu");
    fake.put_namespace("shop-us");
    until("another is bound", &gate, || {
        bound(&fake, "worker").len() == 3
    })
    .await;
    // Its controller takes away what is in it: nobody puts it back.
    fake.delete(&format!("namespaces/shop-eu/rolebindings/{WORKER}"));
    fake.put_namespace("shop-uk");
    until("another is bound", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-us", "shop-uk"])
    })
    .await;
    fake.delete_namespace("shop-eu");
    until_in_step(&gate).await;
    // Made anew it is a new one.
    fake.put_namespace("shop-eu");
    until("it is bound again", &gate, || {
        bound(&fake, "worker").len() == 4
    })
    .await;
    let drift = gate.app.registry().entry("fake").unwrap();
    assert_eq!(drift.standing().tally.drift.load(SeqCst), 0);
    gate.stop().await;
}

// Whoever has just made a namespace waits for it; the others were there before.
#[tokio::test]
async fn a_new_namespace_comes_before_a_thousand_old_ones() {
    let fake = FakeCluster::start().await;
    for number in 0..1201 {
        fake.put_namespace(&format!("shop-{number}"));
    }
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    until_in_step(&gate).await;
    project_role(&gate, "worker", &["get"]).await;
    gate.project("shop", "fake", &["shop-*"]).await;
    until("the first are bound", &gate, || {
        bound(&fake, "worker").len() > 3
    })
    .await;
    let before = fake.writes().len();
    fake.put_namespace("shop-new");
    until("the new one is bound", &gate, || {
        bound(&fake, "worker").contains("shop-new")
    })
    .await;
    let writes = fake.writes();
    let place = writes[before..]
        .iter()
        .position(|call| call.object().contains("/shop-new/"));
    // Those that were on their way when it came.
    assert!(place.is_some_and(|place| place <= 8), "{place:?}");
    assert!(sync(&gate).behind > 1000, "{:?}", sync(&gate));
    let sync = sync(&gate);
    assert_eq!(sync.state, Step::Behind);
    assert_eq!(sync.waiting.len(), 10, "some of them, by name");
    gate.stop().await;
}

#[tokio::test]
async fn many_namespaces_are_read_in_pages_and_once() {
    let fake = FakeCluster::start().await;
    for number in 0..1201 {
        fake.put_namespace(&format!("n-{number}"));
    }
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    until_in_step(&gate).await;
    let pages = |fake: &FakeCluster| {
        let calls = fake.calls();
        let mut pages: Vec<String> = calls
            .into_iter()
            .filter(|call| call.target.contains("limit="))
            .map(|call| call.object().to_owned())
            .collect();
        pages.sort();
        pages
    };
    let read = [
        "clusterrolebindings",
        "clusterroles",
        "namespaces",
        "namespaces",
        "namespaces",
        "rolebindings",
    ];
    assert_eq!(pages(&fake), read);
    project_role(&gate, "worker", &["get"]).await;
    gate.project("some", "fake", &["n-1*0"]).await;
    until("they are bound", &gate, || {
        !bound(&fake, "worker").is_empty()
    })
    .await;
    assert_eq!(pages(&fake), read, "nothing is read again");
    gate.stop().await;
}

#[tokio::test]
async fn a_watch_that_is_told_to_begin_anew_does_so() {
    let (gate, fake) = shop().await;
    let lists = || {
        let calls = fake.calls();
        let lists = calls.iter().filter(|call| call.target.contains("limit="));
        lists.count()
    };
    let before = lists();
    fake.expire();
    until("everything was read again", &gate, || lists() == before + 4).await;
    fake.delete(&format!("namespaces/shop/rolebindings/{WORKER}"));
    fake.put_namespace("shop-us");
    until("it goes on", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-eu", "shop-us"])
    })
    .await;
    until_in_step(&gate).await;
    gate.stop().await;
}

#[tokio::test]
async fn one_namespace_that_refuses_holds_up_no_other() {
    let (gate, fake) = shop().await;
    fake.refuse(|method, path| {
        let hit = *method == Method::PATCH && path.starts_with("namespaces/shop-a/");
        hit.then_some((403, "exceeded quota"))
    });
    for namespace in ["shop-a", "shop-b", "shop-c"] {
        fake.put_namespace(namespace);
    }
    until("the others are bound", &gate, || {
        bound(&fake, "worker") == names(["shop", "shop-eu", "shop-b", "shop-c"])
    })
    .await;
    let roles = project_roles(&gate);
    until("it is told", &gate, || {
        let status = sync(&gate);
        let told = |line: &String| {
            line.starts_with("RoleBinding shop-a/palisade:project:")
                && line.contains(" (since 20")
                && line.contains("exceeded quota")
        };
        status.behind == roles && status.waiting.len() == roles && status.waiting.iter().all(told)
    })
    .await;
    fake.refuse_nothing();
    tokio::time::timeout(PATIENCE, until_in_step(&gate))
        .await
        .expect("it is tried again by itself");
    gate.stop().await;
}

#[tokio::test]
async fn bindings_that_others_change_are_put_back_and_strange_ones_told() {
    let (gate, fake) = shop().await;
    let entry = gate.app.registry().entry("fake").unwrap();
    let drift = || entry.standing().tally.drift.load(SeqCst);
    let path = format!("namespaces/shop/rolebindings/{WORKER}");
    let right = fake.get(&path).unwrap();
    let put_back = |now: Option<Value>| {
        now.is_some_and(|now| {
            now["subjects"] == right["subjects"] && now["roleRef"] == right["roleRef"]
        })
    };
    fake.delete(&path);
    until("it is made again", &gate, || put_back(fake.get(&path))).await;
    until("it is counted", &gate, || drift() == 1).await;
    let mut more = fake.get(&path).unwrap();
    more["subjects"] = json!([{"kind": "Group", "name": "system:authenticated"}]);
    fake.put(&path, more);
    until("it is put back", &gate, || put_back(fake.get(&path))).await;
    until("it is counted", &gate, || drift() == 2).await;
    // A role reference cannot be changed: it goes, and comes again.
    let mut other = fake.get(&path).unwrap();
    other["roleRef"]["name"] = json!("cluster-admin");
    fake.put(&path, other);
    until("it is put back", &gate, || put_back(fake.get(&path))).await;
    until_in_step(&gate).await;

    // A project's group in a namespace that is not the project's: under another name it is told, under one of
    // the gateway's it goes.
    let group = right["subjects"][0]["name"].clone();
    let binding = |name: &str| {
        json!({
            "metadata": {"name": name, "namespace": "other"},
            "roleRef": {"kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "Group", "name": group}],
        })
    };
    fake.put("namespaces/other/rolebindings/mine", binding("mine"));
    let ours = format!("namespaces/other/rolebindings/{WORKER}");
    fake.put(&ours, binding(WORKER));
    until("the one under our name goes", &gate, || {
        fake.get(&ours).is_none()
    })
    .await;
    until("the other is told", &gate, || {
        sync(&gate).foreign_bindings == ["RoleBinding other/mine"]
    })
    .await;
    assert!(fake.get("namespaces/other/rolebindings/mine").is_some());
    let metrics = gate.metrics().await;
    for line in [
        "palisade_cluster_foreign_bindings{cluster=\"fake\"} 1",
        "palisade_cluster_step{cluster=\"fake\",state=\"in_step\"} 1",
        "palisade_cluster_objects_behind{cluster=\"fake\"} 0",
        "palisade_cluster_lists_total{cluster=\"fake\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("palisade_cluster_drift_total{cluster=\"fake\"} 0"));
    gate.stop().await;
}

#[tokio::test]
async fn the_pace_is_the_configured_one() {
    let fake = FakeCluster::start().await;
    for number in 0..30 {
        fake.put_namespace(&format!("shop-{number}"));
    }
    let gate = Gate::start_paced("", 200).await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    project_role(&gate, "worker", &["get"]).await;
    gate.project("shop", "fake", &["shop-*"]).await;
    until("all are bound", &gate, || {
        bound(&fake, "worker").len() == 30
    })
    .await;
    until_in_step(&gate).await;
    let bindings: Vec<_> = fake
        .writes()
        .into_iter()
        .filter(|call| call.object().contains("/rolebindings/"))
        .map(|call| call.at)
        .collect();
    assert_eq!(bindings.len(), 30 * project_roles(&gate));
    let took = bindings[bindings.len() - 1] - bindings[0];
    let at = |pace: u64| Duration::from_millis(pace) * u32::try_from(bindings.len()).unwrap();
    assert!(
        took < at(50) * 3 / 4,
        "{took:?} is no more than twenty a second"
    );
    assert!(
        took > at(5) * 9 / 10,
        "{took:?} is more than two hundred a second"
    );
    gate.stop().await;
}
