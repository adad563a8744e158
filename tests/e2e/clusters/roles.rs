//! Roles that come, change and go, and what others change.

use super::{
    accounts::kubectl_as,
    world::{LIFE, World, role, rule},
};
use palisade::{
    clusters::IMPERSONATOR,
    objects::{Kind as _, Role},
    store::Txn,
};
use serde_json::{Value, json};
use std::sync::Arc;

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

// CVE-2026-44947: what is taken out of a role, and a role that is taken away, go from the cluster too.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_comes_shrinks_or_goes_does_so_on_the_cluster() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let token = world.held(IMPERSONATOR).await;
    let as_runner = ["--as-group=palisade:cluster:runner"];
    let may_act = || kubectl_as(&world, &token, "palisade:jane", &as_runner);
    assert!(!may_act().status.success());

    let rules = [
        rule(&["create", "impersonate"], &["pods/exec"]),
        rule(&["get"], &["pods"]),
    ];
    world.put_role("runner", role(rules.to_vec())).await;
    world.until_sent("runner", true).await;
    // The gateway sends a group only when the cluster's authoriser takes it: at the first try.
    let output = may_act();
    assert!(output.status.success(), "{output:?}");
    let path = format!("{ROLES}/palisade:cluster:runner");
    let written = world.get(&path).await.expect("it is there");
    let verbs = |written: &Value| {
        let rules = written["rules"].as_array().expect("rules").clone();
        rules
            .into_iter()
            .map(|rule| rule["verbs"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        verbs(&written),
        [json!(["create"]), json!(["get"])],
        "no impersonate"
    );
    world.until_stored(&["runner", "viewer"]).await;

    world
        .put_role("runner", role(vec![rule(&["get"], &["pods"])]))
        .await;
    world
        .until("the role shrinks", async || {
            verbs(&world.get(&path).await.expect("it is there")) == [json!(["get"])]
        })
        .await;

    world
        .store
        .txn(Txn::new().delete(Role::key("runner")))
        .await
        .expect("deleted");
    world.until_sent("runner", false).await;
    world.until_in_step().await;
    let gone = world.get(&path).await.unwrap_err();
    assert_eq!(gone.code().map(|code| code.as_u16()), Some(404));
    world
        .until("the group is refused", async || !may_act().status.success())
        .await;
    let own = world.get(&format!("{ROLES}/palisade:reconciler")).await;
    let own = own.expect("it is there").to_string();
    assert!(
        !own.contains("palisade:cluster:runner"),
        "narrowed again: {own}"
    );
    let report = world.clusters.sync("prod").await.expect("a sync");
    assert_eq!(
        (report.roles, report.behind),
        (vec!["viewer".to_owned()], 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_back_and_what_is_not_ours_is_left_alone() {
    let world = World::new(LIFE).await;
    world.connect().await;
    let admin = world.operator.client();
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let path = format!("{ROLES}/palisade:cluster:viewer");
    let right = world.get(&path).await.expect("it is there");
    let standing = Arc::clone(world.clusters.registry().entry("prod").unwrap().standing());

    let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}});
    let more = json!({"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]});
    let aggregated = json!({"aggregationRule": {"clusterRoleSelectors": [
        {"matchLabels": {"a": "b"}}]}});
    for (number, change) in (1..).zip([more, label, aggregated]) {
        let body = admin.write(&change).expect("a body");
        let merge = Some(("application/merge-patch+json", body));
        let sent = admin.send(http::Method::PATCH, &path, merge).await;
        sent.expect("the admin may");
        world
            .until("it is put back", async || {
                let now = world.get(&path).await.expect("it is there");
                now["rules"] == right["rules"]
                    && now["metadata"]["labels"] == right["metadata"]["labels"]
                    && now.get("aggregationRule").is_none()
            })
            .await;
        world
            .until("it is counted", async || {
                standing
                    .tally
                    .drift
                    .load(std::sync::atomic::Ordering::Relaxed)
                    == number
            })
            .await;
    }
    admin.delete(&path).await.expect("deleted");
    world
        .until("it is made again", async || world.get(&path).await.is_ok())
        .await;

    // A binding of somebody else to a group of ours, and one under a name of ours.
    for (name, stays) in [("mine", true), ("palisade:cluster:mine", false)] {
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "cluster-admin"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group",
                "name": "palisade:cluster:viewer"}],
        });
        admin
            .post::<_, Value>(bindings, &binding)
            .await
            .expect("made");
        let path = format!("{bindings}/{name}");
        if stays {
            let told = standing.view();
            world
                .until("it is told", async || {
                    standing.view().status.foreign_bindings == ["ClusterRoleBinding mine"]
                })
                .await;
            assert!(told.status.foreign <= 1);
        } else {
            world
                .until("it is taken away", async || world.get(&path).await.is_err())
                .await;
        }
    }
    world.until_in_step().await;
    assert!(world.get(&format!("{bindings}/mine")).await.is_ok());
}
