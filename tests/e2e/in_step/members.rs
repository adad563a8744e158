//! Who reaches which namespaces.

use super::World;
use crate::testkit::process::eventually;
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Longest time in which a member reaches a new namespace. The promise is a second; a machine that runs other
/// tests beside may take longer, and the time is printed.
const GENEROUS: Duration = Duration::from_secs(15);

/// Projects `shop` (mia) and `store`, in a cluster with namespaces of both and of nobody.
fn world() -> World {
    let world = World::new();
    world.namespaces(&["shop", "shop-eu", "store", "other"]);
    for (project, first, second) in [("shop", "shop", "shop-*"), ("store", "store", "store-*")] {
        let add = ["project", "add", project, "--cluster", "local"];
        world.admin(&[&add[..], &["-n", first, "-n", second]].concat());
    }
    world.member("mia", "shop", &[]);
    world.until_in_step();
    world
}

#[test]
fn a_member_reaches_exactly_the_namespaces_of_the_project() {
    let world = world();
    for namespace in ["shop", "shop-eu"] {
        let at = ["-n", namespace];
        world
            .kubectl("mia", &[&["get", "pods"], &at[..]].concat())
            .ok();
        let make = ["create", "configmap", "mine", "--from-literal=a=b"];
        world.kubectl("mia", &[&make[..], &at].concat()).ok();
        world
            .kubectl("mia", &[&["get", "configmap", "mine"], &at[..]].concat())
            .ok();
        world.kubectl("mia", &["get", "namespace", namespace]).ok();
    }
    for refused in [
        &["get", "pods", "-n", "store"][..],
        &["get", "pods", "-n", "other"],
        &["get", "pods", "-n", "default"],
        &["get", "pods", "-n", "kube-system"],
        &["get", "pods", "-n", "not-there"],
        &["get", "secrets", "-n", "palisade-system"],
        &["get", "pods", "-A"],
        &["get", "nodes"],
        &["get", "namespaces"],
        &["get", "namespace", "store"],
        &["get", "rolebindings", "-n", "shop"],
        &["create", "quota", "mine", "-n", "shop"],
        &["create", "token", "default", "-n", "shop"],
        &["label", "namespace", "shop", "a=b"],
    ] {
        world.kubectl("mia", refused).refused(&["orbidden"]);
    }

    // The cluster itself says the same of the project's group, and of a group that it was not told of nothing.
    let group = world.group("shop", "project-member");
    for (verb, resource, namespace, lets) in [
        ("create", "configmaps", "shop", true),
        ("get", "secrets", "shop-eu", true),
        ("get", "pods", "store", false),
        ("get", "pods", "other", false),
        ("get", "secrets", "palisade-system", false),
        ("get", "rolebindings", "shop", false),
        ("impersonate", "users", "shop", false),
    ] {
        assert_eq!(
            world.cluster_lets(&group, verb, resource, namespace),
            lets,
            "{verb} {resource} in {namespace}"
        );
    }
    let viewer = world.group("shop", "project-viewer");
    assert!(world.cluster_lets(&viewer, "get", "pods", "shop"));
    assert!(!world.cluster_lets(&viewer, "create", "configmaps", "shop"));
    // A project of the same name in another life.
    assert!(!world.cluster_lets(
        "palisade:project:shop:project-member",
        "get",
        "pods",
        "shop"
    ));
}

#[test]
fn a_member_reaches_a_new_namespace_within_a_second_and_loses_one_that_leaves() {
    let world = world();
    let mut waits = Vec::new();
    for number in 0..5 {
        let name = format!("shop-new-{number}");
        world.namespaces(&[&name]);
        let made = Instant::now();
        let reached = eventually(|| {
            let got = world.kubectl("mia", &["get", "pods", "-n", &name]);
            (got.code == Some(0)).then(|| made.elapsed())
        });
        let reached = reached.expect("a member reaches it");
        assert!(reached < GENEROUS, "{reached:?}");
        waits.push((in_the_audit_log(&world, &name), reached));
    }
    for (bound, reached) in waits {
        println!(
            "a new namespace: all its bindings after {bound:?}, a member's kubectl was through after {reached:?}"
        );
        assert!(bound < GENEROUS, "{bound:?}");
    }

    // Out of the project: here and there.
    world.kubectl("mia", &["get", "pods", "-n", "shop-eu"]).ok();
    world.admin(&["project", "remove-namespace", "shop", "shop-*"]);
    let refused = world.kubectl("mia", &["get", "pods", "-n", "shop-eu"]);
    refused.refused(&["orbidden", "in these namespaces it is allowed: shop"]);
    world.kubectl("mia", &["get", "pods", "-n", "shop"]).ok();
    let group = world.group("shop", "project-member");
    let gone = eventually(|| (!world.cluster_lets(&group, "get", "pods", "shop-eu")).then_some(()));
    assert!(gone.is_some(), "the cluster lets the group in still");
    world.until_in_step();
    let left = world.direct(&["get", "rolebindings", "-A", "-o", "name"]);
    let ours = left
        .lines()
        .filter(|name| name.contains("palisade:project:"));
    // Three roles in shop and three in store.
    assert_eq!(ours.count(), 6, "{left}");

    // The project itself goes: nothing of it stays.
    world.admin(&["project", "remove", "shop"]);
    world
        .kubectl("mia", &["get", "pods", "-n", "shop"])
        .refused(&["orbidden"]);
    world.until_in_step();
    assert!(!world.cluster_lets(&group, "get", "pods", "shop"));
    let impersonators = world.direct(&["get", "clusterroles", "-o", "json"]);
    assert!(!impersonators.contains(&group), "no request may carry it");
}

/// From the moment at which a namespace was made to the one at which its last binding was, by the API server's clock.
fn in_the_audit_log(world: &World, namespace: &str) -> Duration {
    let bindings = format!("/namespaces/{namespace}/rolebindings/palisade:project:");
    let at = |event: &Value| -> Timestamp {
        let at = event["stageTimestamp"].as_str().expect("a time");
        at.parse().expect("a time")
    };
    let found = eventually(|| {
        let events = world.local.audit_events();
        let ended = events
            .iter()
            .filter(|event| event["stage"] == "ResponseComplete");
        let (mut made, mut bound) = (None, Vec::new());
        for event in ended {
            let reference = &event["objectRef"];
            let uri = event["requestURI"].as_str().expect("a path");
            if event["verb"] == "create"
                && reference["resource"] == "namespaces"
                && reference["name"] == namespace
            {
                made = Some(at(event));
            } else if event["verb"] == "patch" && uri.contains(&*bindings) {
                bound.push(at(event));
            }
        }
        (bound.len() == 3).then(|| (made, bound.into_iter().max()))
    });
    let Some((Some(made), Some(bound))) = found else {
        panic!("the audit log lacks something: {found:?}");
    };
    bound.duration_since(made).unsigned_abs()
}

#[test]
fn an_expired_binding_stops_at_its_instant() {
    let world = world();
    world.member("eva", "shop", &["--expires", "20s"]);
    let begun = Instant::now();
    let writes = || {
        let events = world.local.audit_events();
        let ours = events.iter().filter(|event| {
            let who = event["user"]["username"].as_str().unwrap_or_default();
            who.ends_with(":palisade-system:reconciler")
                && event["verb"] != "watch"
                && event["stage"] == "ResponseComplete"
        });
        ours.count()
    };
    let before = writes();
    world.kubectl("eva", &["get", "pods", "-n", "shop"]).ok();
    let stopped = eventually(|| {
        let got = world.kubectl("eva", &["get", "pods", "-n", "shop"]);
        (got.code != Some(0)).then_some(got)
    });
    stopped.expect("it stops").refused(&["orbidden"]);
    assert!(
        begun.elapsed() > Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    world.kubectl("mia", &["get", "pods", "-n", "shop"]).ok();
    assert_eq!(writes(), before, "the cluster was told nothing");
}
