//! The loop that keeps clusters in step, against an API server that does what a test wants.

use crate::testkit::{client::h2, fake_cluster::FakeCluster, gate::Gate};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use palisade::objects::{Role, Step, SyncStatus};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

mod projects;
mod restored;

const PATIENCE: Duration = Duration::from_secs(30);
const VIEWER: &str = "clusterroles/palisade:cluster:cluster-viewer";

/// A gateway, and a cluster that it has brought in step.
async fn world() -> (Gate, FakeCluster) {
    let fake = FakeCluster::start().await;
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    until_in_step(&gate).await;
    let watches = || {
        let calls = fake.calls();
        calls
            .iter()
            .filter(|call| call.target.contains("watch=1"))
            .count()
    };
    until("everything is watched", &gate, || watches() == 4).await;
    (gate, fake)
}

fn sync(gate: &Gate) -> SyncStatus {
    let entry = gate.app.registry().entry("fake").expect("registered");
    entry.standing().view().status
}

async fn until(what: &str, gate: &Gate, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < end, "{what}: {:?}", sync(gate));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// In step, and nothing is still being asked or is about to be planned.
async fn until_in_step(gate: &Gate) {
    until("in step", gate, || {
        let entry = gate.app.registry().entry("fake").expect("registered");
        let view = entry.standing().view();
        view.status.state == Step::InStep && view.settled
    })
    .await;
}

/// Whether the data path sends the group of a role.
fn sends(gate: &Gate, role: &str) -> bool {
    let entry = gate.app.registry().entry("fake").expect("registered");
    entry.standing().groups().known().of_role(role).is_some()
}

/// A new role, as soon as its group is sent and everything is in step.
async fn add_role(gate: &Gate, name: &str) {
    gate.role(name).await;
    until("the role is known", gate, || sends(gate, name)).await;
    until_in_step(gate).await;
}

#[tokio::test]
async fn of_a_cluster_that_is_in_step_the_watches_connections_are_left() {
    let (gate, fake) = world().await;
    until("the others are closed", &gate, || fake.connections() == 4).await;
    // Whoever has something to write later opens one anew.
    add_role(&gate, "late").await;
    until("and closes it", &gate, || fake.connections() == 4).await;
}

#[tokio::test]
async fn an_empty_cluster_is_filled_once_and_then_only_differences_are_written() {
    let (gate, fake) = world().await;
    let written: Vec<String> = fake
        .writes()
        .iter()
        .map(|call| call.object().to_owned())
        .collect();
    // Three built-in cluster roles with their bindings, three project roles, and the accounts' two roles and
    // bindings.
    assert_eq!(written.len(), 13, "{written:?}");
    assert_eq!(written[0], "clusterroles/palisade:reconciler");
    assert_eq!(written.len(), fake.paths().len());
    // One list and one watch of each kind, and no more.
    let lists = |fake: &FakeCluster| {
        fake.calls()
            .iter()
            .filter(|call| call.target.contains("limit="))
            .count()
    };
    assert_eq!(lists(&fake), 4);
    gate.stop().await;

    // Another gateway with the same policy finds nothing to do.
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    until_in_step(&gate).await;
    assert_eq!(fake.writes().len(), 13);
    add_role(&gate, "runner").await;
    // Role, binding, the impersonator's rule, and first the account's own.
    let new: Vec<String> = fake.writes()[13..]
        .iter()
        .map(|call| call.object().to_owned())
        .collect();
    assert_eq!(
        new,
        [
            "clusterroles/palisade:reconciler",
            "clusterroles/palisade:cluster:runner",
            "clusterrolebindings/palisade:cluster:runner",
            "clusterroles/palisade:impersonator",
        ]
    );
    gate.stop().await;
}

#[tokio::test]
async fn giving_people_roles_touches_no_cluster() {
    let (gate, fake) = world().await;
    let before = fake.calls().len();
    for number in 0..20 {
        let name = format!("user-{number}");
        gate.user(&name).await;
        gate.bind("cluster-viewer", &name, "fake").await;
    }
    gate.group("team", &["user-1", "user-2"]).await;
    gate.bind_group("cluster-member", "team", "fake").await;
    // The loop has seen what came after all of that, and nothing else.
    add_role(&gate, "runner").await;
    let new: Vec<String> = fake.calls()[before..]
        .iter()
        .map(|call| format!("{} {}", call.method, call.object()))
        .collect();
    assert_eq!(
        new.len(),
        5,
        "four writes and a question to the authoriser: {new:?}"
    );
    assert!(
        new.iter().all(|call| call.contains("runner")
            || call.contains("palisade:reconciler")
            || call.contains("palisade:impersonator")
            || call.contains("selfsubjectaccessreviews")),
        "{new:?}"
    );
    gate.stop().await;
}

#[tokio::test]
async fn a_cluster_gets_no_more_than_twenty_writes_a_second() {
    let (gate, fake) = world().await;
    for number in 0..25 {
        gate.role(&format!("role-{number}")).await;
    }
    until("all are known", &gate, || {
        (0..25).all(|number| sends(&gate, &format!("role-{number}")))
    })
    .await;
    until_in_step(&gate).await;
    let writes = fake.writes();
    assert!(writes.len() > 60, "{}", writes.len());
    for window in writes.windows(21) {
        let took = window[20].at - window[0].at;
        // A little less for how long the answers took.
        assert!(took > Duration::from_millis(900), "21 writes in {took:?}");
    }
    gate.stop().await;
}

// CVE-2026-44947: what is taken out of a role, and a role that is taken away, go from the cluster too.
#[tokio::test]
async fn a_role_that_shrinks_or_goes_does_so_on_the_cluster() {
    let (gate, fake) = world().await;
    gate.role_with("runner", "pods", &["get", "create"]).await;
    until("it is known", &gate, || sends(&gate, "runner")).await;
    let rules = |fake: &FakeCluster| {
        fake.get("clusterroles/palisade:cluster:runner")
            .map(|it| it["rules"][0]["verbs"].clone())
    };
    assert_eq!(rules(&fake), Some(json!(["get", "create"])));
    gate.role_with("runner", "pods", &["get"]).await;
    until("it shrinks", &gate, || rules(&fake) == Some(json!(["get"]))).await;
    gate.delete::<Role>("runner").await;
    until("its group is not sent", &gate, || !sends(&gate, "runner")).await;
    until("it goes", &gate, || rules(&fake).is_none()).await;
    until_in_step(&gate).await;
    assert!(!fake.paths().iter().any(|path| path.contains("runner")));
    let own = fake.get("clusterroles/palisade:reconciler").unwrap();
    assert!(
        !own.to_string().contains("runner"),
        "it may not write it any more"
    );
    gate.stop().await;
}

#[tokio::test]
async fn one_object_that_is_refused_holds_up_no_other_and_is_told() {
    let (gate, fake) = world().await;
    fake.refuse(|method, path| {
        let hit = *method == Method::PATCH && path == "clusterroles/palisade:cluster:bad";
        hit.then_some((500, "admission webhook \"x\" denied the request"))
    });
    gate.role("bad").await;
    gate.role("good").await;
    until("the other is known", &gate, || sends(&gate, "good")).await;
    until("it is told", &gate, || {
        let sync = sync(&gate);
        sync.state == Step::Behind && sync.behind == 1 && !sync.waiting.is_empty()
    })
    .await;
    let told = sync(&gate).waiting;
    assert!(
        told[0].starts_with("ClusterRole palisade:cluster:bad (since 20")
            && told[0].contains("denied the request"),
        "{told:?}"
    );
    fake.refuse_nothing();
    // It is tried again by itself, and at once when policy changes.
    gate.role_with("bad", "pods", &["get"]).await;
    until_in_step(&gate).await;
    assert!(fake.get("clusterroles/palisade:cluster:bad").is_some());
    gate.stop().await;
}

#[tokio::test]
async fn a_cluster_that_takes_nothing_is_asked_ever_more_seldom() {
    let (gate, fake) = world().await;
    let before = fake.calls().len();
    fake.refuse(|method, _| (*method == Method::PATCH).then_some((429, "too many requests")));
    for number in 0..5 {
        gate.role(&format!("role-{number}")).await;
    }
    let refused = || {
        fake.calls()[before..]
            .iter()
            .filter(|call| call.code == 429)
            .map(|call| call.at)
            .collect::<Vec<_>>()
    };
    until("it was tried", &gate, || refused().len() >= 4).await;
    let tries = refused();
    let pauses: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] >= Duration::from_millis(350), "{pauses:?}");
    assert!(pauses[2] > pauses[0] * 2, "{pauses:?}");
    assert!(
        sync(&gate).message.starts_with("cannot write: "),
        "{:?}",
        sync(&gate)
    );
    fake.refuse_nothing();
    until("they are known", &gate, || {
        (0..5).all(|number| sends(&gate, &format!("role-{number}")))
    })
    .await;
    until_in_step(&gate).await;
    assert_eq!(sync(&gate).message, "");
    gate.stop().await;
}

#[tokio::test]
async fn a_cluster_that_was_away_catches_up() {
    let (gate, fake) = world().await;
    fake.go_away();
    until("it is not known", &gate, || {
        sync(&gate).state == Step::Unknown
    })
    .await;
    assert!(
        sync(&gate).message.starts_with("cannot read "),
        "{:?}",
        sync(&gate)
    );
    gate.role("while-away").await;
    gate.delete::<Role>("while-away").await;
    gate.role("runner").await;
    // And somebody there did something that no watch will tell.
    fake.delete(VIEWER);
    fake.put("clusterrolebindings/palisade:cluster:old", json!({
        "metadata": {"name": "palisade:cluster:old", "labels": {"app.kubernetes.io/managed-by": "palisade"}},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": "palisade:cluster:cluster-viewer"}],
    }));
    fake.forget();
    fake.come_back();
    until("it is known", &gate, || sends(&gate, "runner")).await;
    until_in_step(&gate).await;
    assert!(fake.get(VIEWER).is_some());
    assert!(
        fake.get("clusterrolebindings/palisade:cluster:old")
            .is_none()
    );
    assert!(!fake.paths().iter().any(|path| path.contains("while-away")));
    gate.stop().await;
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended_and_a_past_that_is_forgotten_is_read_anew() {
    let (gate, fake) = world().await;
    let lists = || {
        let calls = fake.calls();
        // Not the question where the cluster stands.
        let asks = |target: &str| target.ends_with("limit=1");
        calls
            .iter()
            .filter(|call| call.target.contains("limit=") && !asks(&call.target))
            .count()
    };
    let before = lists();
    fake.cut();
    fake.delete(VIEWER);
    until("it is put back", &gate, || fake.get(VIEWER).is_some()).await;
    until_in_step(&gate).await;
    assert_eq!(lists(), before, "no new list");
    fake.delete(VIEWER);
    fake.forget();
    until("it is put back", &gate, || fake.get(VIEWER).is_some()).await;
    until_in_step(&gate).await;
    assert!(lists() > before);
    gate.stop().await;
}

// P13, P14: whoever may write such objects can make a page of them that is more than is read.
#[tokio::test]
async fn a_page_that_is_too_large_is_read_in_smaller_ones() {
    let fake = FakeCluster::start().await;
    let note = "x".repeat(250 << 10);
    for number in 0..80 {
        let name = format!("large-{number}");
        let metadata = json!({"name": name, "annotations": {"note": note}});
        fake.put(
            &format!("clusterroles/{name}"),
            json!({"metadata": metadata, "rules": []}),
        );
    }
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    until_in_step(&gate).await;
    assert!(fake.get(VIEWER).is_some());
    gate.stop().await;
}

#[tokio::test]
async fn a_long_list_is_read_in_pages() {
    let fake = FakeCluster::start().await;
    for number in 0..1201 {
        let path = format!("clusterroles/palisade:cluster:old-{number}");
        let name = path.rsplit('/').next().unwrap();
        let labels = json!({"app.kubernetes.io/managed-by": "palisade"});
        fake.put(
            &path,
            json!({"metadata": {"name": name, "labels": labels}, "rules": []}),
        );
    }
    let gate = Gate::start().await;
    gate.cluster_at("fake", &fake.server(), &fake.ca_pem).await;
    // A removal is a write: a minute's worth of them. It is enough to see that all were found.
    until("all were read", &gate, || sync(&gate).behind > 1000).await;
    let pages = fake
        .calls()
        .iter()
        .filter(|call| call.target.contains("clusterroles") && call.target.contains("limit=500"))
        .count();
    assert_eq!(pages, 3);
    gate.stop().await;
}

#[tokio::test]
async fn drift_is_put_back_and_counted_and_others_objects_are_left_alone() {
    let (gate, fake) = world().await;
    let entry = gate.app.registry().entry("fake").unwrap();
    let drift = || entry.standing().tally.drift.load(SeqCst);
    let right = fake.get(VIEWER).unwrap();
    let mut wrong = right.clone();
    wrong["rules"] = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
    fake.put(VIEWER, wrong);
    until("it is put back", &gate, || {
        fake.get(VIEWER)
            .is_some_and(|now| now["rules"] == right["rules"])
    })
    .await;
    until("it is counted", &gate, || drift() == 1).await;

    let binding = |name: &str, group: &str| {
        json!({
            "metadata": {"name": name},
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "Group", "name": group}],
        })
    };
    fake.put(
        "clusterrolebindings/mine",
        binding("mine", "palisade:cluster:cluster-viewer"),
    );
    fake.put(
        "clusterrolebindings/other",
        binding("other", "system:masters"),
    );
    fake.put(
        "clusterrolebindings/palisade:cluster:x",
        binding("palisade:cluster:x", "palisade:cluster:cluster-viewer"),
    );
    until("the one under our name goes", &gate, || {
        fake.get("clusterrolebindings/palisade:cluster:x").is_none()
    })
    .await;
    until_in_step(&gate).await;
    let status = sync(&gate);
    assert_eq!(
        (status.foreign, status.foreign_bindings),
        (1, vec!["ClusterRoleBinding mine".to_owned()])
    );
    assert!(
        fake.get("clusterrolebindings/mine").is_some()
            && fake.get("clusterrolebindings/other").is_some()
    );
    gate.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_no_list_is_never_taken_for_an_empty_one() {
    let (gate, fake) = world().await;
    let writes = fake.writes().len();
    // As something in front of an API server might: a 200 that says nothing.
    let listed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&listed);
    fake.refuse(move |method, path| {
        let list = *method == Method::GET && !path.contains('/');
        if list {
            count.fetch_add(1, SeqCst);
        }
        list.then_some((200, "hello"))
    });
    fake.forget();
    until("it was tried", &gate, || listed.load(SeqCst) > 8).await;
    assert_eq!(sync(&gate).state, Step::Unknown);
    fake.refuse_nothing();
    until_in_step(&gate).await;
    assert_eq!(
        fake.writes().len(),
        writes,
        "nothing was thought to be missing"
    );
    gate.stop().await;
}

#[tokio::test]
async fn a_new_roles_group_is_sent_only_when_the_authoriser_takes_it() {
    let (gate, fake) = world().await;
    fake.lag(true);
    let reviews = || {
        fake.calls()
            .iter()
            .filter(|call| call.target.ends_with("selfsubjectaccessreviews"))
            .count()
    };
    let before = reviews();
    gate.role("runner").await;
    until("the authoriser was asked again and again", &gate, || {
        reviews() > before + 5
    })
    .await;
    assert!(!sends(&gate, "runner"));
    fake.lag(false);
    until("it is sent", &gate, || sends(&gate, "runner")).await;
    gate.stop().await;
}

#[tokio::test]
async fn a_clean_up_takes_everything_away_and_puts_nothing_back() {
    let (gate, fake) = world().await;
    fake.put_namespace("shop");
    gate.project("shop", "fake", &["shop"]).await;
    until("a project is bound", &gate, || {
        let paths = fake.paths();
        paths
            .iter()
            .filter(|it| it.starts_with("namespaces/shop/"))
            .count()
            == 3
            && paths.iter().any(|it| it.contains("palisade:impersonator:"))
    })
    .await;
    until_in_step(&gate).await;
    let token = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    let path = "/apis/palisade.dev/v1alpha1/clusters/fake/cleanup";
    let request = Request::post(format!("{}{path}", gate.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from_static(b"{}")))
        .unwrap();
    let answer = h2(&gate, request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["left"], 0, "{}", answer.text());
    let left: Vec<String> = fake.paths();
    // The one that cannot delete itself hangs on its binding.
    assert_eq!(left, ["clusterroles/palisade:reconciler"]);
    let own: Value = fake.get(&left[0]).unwrap();
    assert_eq!(
        own["metadata"]["ownerReferences"][0]["kind"],
        "ClusterRoleBinding"
    );
    gate.stop().await;
}
