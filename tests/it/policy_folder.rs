//! A policy folder beside the store: what counts, what is read-only, and what a bad one changes.

use crate::testkit::{
    client::{Answer, empty, get, h2},
    gate::{Gate, world},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use palisade::{
    objects::{Binding, Group, Kind, Nothing, Role, User, UserPrivate, UserSpec, tombstones},
    serve::reload::{Reloader, Source},
    store::Txn,
};
use serde_json::{Value, json};
use std::fs;

mod projects;

const PODS: &str = "/k8s/clusters/fake/api/v1/namespaces/default/pods";
const API: &str = "/apis/palisade.dev/v1alpha1";

/// A role of the folder, and a binding of it to this subject.
fn policy(kind: &str, name: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {{name: pod-reader}}
spec:
  scope: cluster
  rules:
  - {{apiGroups: [''], resources: [pods], verbs: [get, list]}}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {{name: readers}}
spec:
  role: pod-reader
  subject: {{kind: {kind}, name: {name}}}
  clusters: [fake]
"
    )
}

/// The gate's folder, which its configuration names from now on.
async fn with_folder(gate: &Gate, text: &str) -> Reloader {
    fs::create_dir(gate.folder().join("policies")).unwrap();
    write(gate, text);
    let config = gate.folder().join("gate.yaml");
    let old = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{old}policies: policies\n")).unwrap();
    let mut reloader = gate.app.reloader(config);
    let taken = reloader.reload().await;
    assert_eq!(taken, [Source::Config, Source::Policy]);
    reloader
}

fn write(gate: &Gate, text: &str) {
    fs::write(gate.folder().join("policies/team.yaml"), text).unwrap();
}

async fn code(gate: &Gate, target: &str, token: &str) -> StatusCode {
    h2(gate, empty(get(gate, target, token))).await.status
}

async fn send(gate: &Gate, method: Method, target: &str, token: &str, body: &Value) -> Answer {
    let request = get(gate, &format!("{API}{target}"), token)
        .method(method)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    h2(gate, request).await
}

/// Somebody who holds the role `admin`.
async fn admin(gate: &Gate) -> String {
    let token = gate.user("root").await;
    gate.bind_global("admin", "root").await;
    token
}

async fn status(gate: &Gate, token: &str) -> Value {
    let answer = h2(gate, empty(get(gate, "/policy/status", token))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn a_name_in_the_folder_counts_from_the_moment_somebody_has_it() {
    let (gate, fake, _) = world().await;
    let root = admin(&gate).await;
    let mut reloader = with_folder(&gate, &policy("User", "ann")).await;
    let remarks = status(&gate, &root).await["remarks"].to_string();
    assert!(
        remarks.contains("there is no user \\\"ann\\\" (yet)"),
        "{remarks}"
    );

    let ann = gate.user("ann").await;
    // The cluster has been told of the role.
    gate.synced("fake", &["pod-reader".to_owned()]).await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::OK);
    let sent = fake.received().pop().unwrap();
    assert_eq!(
        sent.all("impersonate-group"),
        ["palisade:cluster:pod-reader"]
    );
    assert_eq!(status(&gate, &root).await["remarks"], json!([]));
    let roles = gate.app.registry().roles().cluster;
    assert!(roles.contains_key("pod-reader"), "clusters are told of it");

    // Another role of the same name in the folder, as one change.
    write(
        &gate,
        &policy("User", "ann").replace("[get, list]", "[watch]"),
    );
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    // The file goes, and all of it.
    fs::remove_file(gate.folder().join("policies/team.yaml")).unwrap();
    assert_eq!(reloader.reload().await, [Source::Policy]);
    let refused = h2(&gate, empty(get(&gate, PODS, &ann))).await;
    assert!(refused.message().contains("no role"), "{}", refused.text());
    assert!(
        !gate
            .app
            .registry()
            .roles()
            .cluster
            .contains_key("pod-reader")
    );
    gate.stop().await;
}

#[tokio::test]
async fn a_name_that_another_had_before_stands_for_nobody() {
    let (gate, _fake, _) = world().await;
    let root = admin(&gate).await;
    let ann = gate.user("ann").await;
    gate.synced("fake", &["pod-reader".to_owned()]).await;
    gate.group("readers", &["ann"]).await;
    let mut reloader = with_folder(&gate, &policy("Group", "readers")).await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::OK);

    let gone = send(&gate, Method::DELETE, "/groups/readers", &root, &json!({})).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    gate.group("readers", &["ann"]).await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    let remarks = status(&gate, &root).await["remarks"].to_string();
    let uid = gate.get::<Group>("readers").await.object.metadata.uid;
    assert!(
        remarks.contains(&format!("write uid: {uid} beside the name")),
        "{remarks}"
    );

    let named = policy("Group", &format!("readers, uid: {uid}"));
    write(&gate, &named);
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::OK);
    // And a uid that the name does not have.
    write(&gate, &policy("Group", "readers, uid: 0000"));
    reloader.reload().await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

#[tokio::test]
async fn a_user_made_anew_on_the_host_gets_nothing_from_the_folder() {
    let (gate, _fake, _) = world().await;
    gate.synced("fake", &["pod-reader".to_owned()]).await;
    let _reloader = with_folder(&gate, &policy("User", "ann")).await;
    // As `admin init --reset` does it: the tombstone stays.
    let grave = format!("{}ann", tombstones(User::PLURAL));
    let value = br#"{"schema":1,"uid":"an-older-ann"}"#.to_vec();
    gate.store.txn(Txn::new().put(grave, value)).await.unwrap();
    let ann = gate.user("ann").await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

#[tokio::test]
async fn what_stands_in_the_folder_is_shown_and_cannot_be_written() {
    let (gate, _fake, _) = world().await;
    let root = admin(&gate).await;
    gate.user("ann").await;
    let _reloader = with_folder(&gate, &policy("User", "ann")).await;
    let role = h2(
        &gate,
        empty(get(&gate, &format!("{API}/roles/pod-reader"), &root)),
    )
    .await;
    let role = role.json();
    assert_eq!(role["metadata"]["labels"]["palisade.dev/origin"], "folder");
    assert_eq!(
        role["metadata"]["annotations"]["palisade.dev/file"],
        "team.yaml:1"
    );
    let list = h2(&gate, empty(get(&gate, &format!("{API}/bindings"), &root))).await;
    let list = list.json();
    let mut items = list["items"].as_array().unwrap().iter();
    let found = items
        .find(|item| item["metadata"]["name"] == "readers")
        .unwrap();
    assert_eq!(found["spec"]["subject"]["uid"], gate.uid("ann").await);

    let place = "it stands in the gateway's policy folder, at team.yaml:";
    for (kind, name, object) in [
        ("Role", "pod-reader", "/roles"),
        ("Binding", "readers", "/bindings"),
    ] {
        let at = format!("{object}/{name}");
        let whole = h2(&gate, empty(get(&gate, &format!("{API}{at}"), &root)))
            .await
            .json();
        let patch = get(&gate, &format!("{API}{at}"), &root)
            .method(Method::PATCH)
            .header("content-type", "application/merge-patch+json")
            .body(Full::new(Bytes::from_static(
                b"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
            )))
            .unwrap();
        for answer in [
            send(&gate, Method::PUT, &at, &root, &whole).await,
            h2(&gate, patch).await,
            send(&gate, Method::DELETE, &at, &root, &json!({})).await,
        ] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{kind}");
            assert!(answer.message().contains(place), "{}", answer.message());
        }
        let new = json!({"metadata": {"name": name}, "spec": {"scope": "cluster", "rules": []}});
        let new = match kind {
            "Role" => new,
            _ => json!({"metadata": {"name": name}, "spec": {
                "role": "admin", "subject": {"kind": "User", "name": "ann"}}}),
        };
        let answer = send(&gate, Method::POST, object, &root, &new).await;
        assert_eq!(
            answer.status,
            StatusCode::CONFLICT,
            "{kind}: {}",
            answer.text()
        );
        assert!(answer.message().contains(place), "{}", answer.message());
    }
    gate.stop().await;
}

#[tokio::test]
async fn of_one_name_the_folders_object_counts_and_the_stored_one_waits() {
    let (gate, _fake, _) = world().await;
    let root = admin(&gate).await;
    let (ann, bob) = (gate.user("ann").await, gate.user("bob").await);
    gate.synced("fake", &["pod-reader".to_owned()]).await;
    // The stored role of the name reads other things, the stored binding is bob's.
    gate.role_with("pod-reader", "configmaps", &["get", "list"])
        .await;
    gate.bind("pod-reader", "bob", "fake").await;
    let stored = gate.get::<Binding>("pod-reader-bob-fake").await.object;
    gate.delete::<Binding>("pod-reader-bob-fake").await;
    let renamed = Binding::new("readers", stored.spec);
    gate.put(renamed, Nothing::default()).await;
    let maps = PODS.replace("pods", "configmaps");
    assert_eq!(code(&gate, &maps, &bob).await, StatusCode::OK);

    let mut reloader = with_folder(&gate, &policy("User", "ann")).await;
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::OK);
    assert_eq!(code(&gate, &maps, &ann).await, StatusCode::FORBIDDEN);
    assert_eq!(code(&gate, PODS, &bob).await, StatusCode::FORBIDDEN);
    let remarks = status(&gate, &root).await["remarks"].to_string();
    for kind in ["Role \\\"pod-reader\\\"", "Binding \\\"readers\\\""] {
        let line = format!("{kind} is also in the store, where it does not count");
        assert!(remarks.contains(&line), "{remarks}");
    }
    let list = h2(&gate, empty(get(&gate, &format!("{API}/roles"), &root))).await;
    assert_eq!(list.text().matches("\"name\":\"pod-reader\"").count(), 1);

    // The folder lets go of the binding: the stored one counts again, for the role as the folder has it.
    let text = policy("User", "ann");
    let (role_alone, _) = text.split_once("---").unwrap();
    write(&gate, role_alone);
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::FORBIDDEN);
    assert_eq!(code(&gate, PODS, &bob).await, StatusCode::OK);
    // What is hidden can go, and takes nothing along that hangs on the folder's.
    let gone = send(
        &gate,
        Method::DELETE,
        "/roles/pod-reader",
        &root,
        &json!({}),
    )
    .await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    assert!(
        gate.store
            .get(&Role::key("pod-reader"))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        gate.store
            .get(&Binding::key("readers"))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(code(&gate, PODS, &bob).await, StatusCode::OK);
    assert_eq!(status(&gate, &root).await["remarks"], json!([]));
    gate.stop().await;
}

#[tokio::test]
async fn a_folder_with_a_mistake_changes_nothing_and_is_told() {
    let (gate, _fake, _) = world().await;
    let root = admin(&gate).await;
    let ann = gate.user("ann").await;
    gate.synced("fake", &["pod-reader".to_owned()]).await;
    let mut reloader = with_folder(&gate, &policy("User", "ann")).await;
    let bad = policy("User", "ann")
        .replace("[get, list]", "[watch]")
        .replace("role: pod-reader", "role: pod-raeder");
    write(&gate, &bad);
    assert!(reloader.reload().await.is_empty());
    assert_eq!(
        code(&gate, PODS, &ann).await,
        StatusCode::OK,
        "the old policy"
    );
    let told = status(&gate, &root).await;
    let mistake = told["refused"]["mistakes"][0].as_str().unwrap();
    assert!(
        mistake.ends_with(
            "team.yaml:13:3: spec.role: there is no role \"pod-raeder\"; is \"pod-reader\" meant?"
        ),
        "{mistake}"
    );
    assert_eq!(told["bindings"], 1);
    let verbose = gate.admin_get("/readyz?verbose").await;
    assert!(verbose.contains("[!]policy: that of "), "{verbose}");
    assert!(
        !verbose.contains("ann") && !verbose.contains("raeder"),
        "{verbose}"
    );
    let metrics = gate.admin_get("/metrics").await;
    assert!(metrics.contains("palisade_reload_last_successful{source=\"policy\"} 0\n"));
    // To whom policy is closed, this is too.
    assert_eq!(
        code(&gate, "/policy/status", &ann).await,
        StatusCode::FORBIDDEN
    );

    fs::remove_dir_all(gate.folder().join("policies")).unwrap();
    assert!(
        reloader.reload().await.is_empty(),
        "no folder is a mistake too"
    );
    assert_eq!(code(&gate, PODS, &ann).await, StatusCode::OK);
    gate.stop().await;
}

#[tokio::test]
async fn an_admin_by_the_folder_is_one_of_those_that_may_be_the_last() {
    let (gate, _fake, _) = world().await;
    let root = admin(&gate).await;
    let private = UserPrivate {
        password: Some("$argon2id$".to_owned()),
        ..UserPrivate::default()
    };
    gate.put(User::new("ann", UserSpec::default()), private)
        .await;
    let refused = send(
        &gate,
        Method::DELETE,
        "/bindings/admin-root",
        &root,
        &json!({}),
    )
    .await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text());
    let text = "apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {name: the-admin}
spec: {role: admin, subject: {kind: User, name: ann}}
";
    let _reloader = with_folder(&gate, text).await;
    let gone = send(
        &gate,
        Method::DELETE,
        "/bindings/admin-root",
        &root,
        &json!({}),
    )
    .await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    gate.stop().await;
}
