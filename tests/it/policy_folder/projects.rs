//! Projects of the folder, beside those of the store.

use super::*;
use crate::testkit::fake_api::FakeApi;
use palisade::{
    authz::project_uid,
    objects::{Project, RoleScope, rules::PolicyRule},
};

/// A project of the folder with these namespaces, and ann as a worker in it.
fn tenant(namespaces: &str) -> String {
    format!(
        "apiVersion: palisade.dev/v1alpha1
kind: Role
metadata: {{name: worker}}
spec:
  scope: project
  rules:
  - {{apiGroups: [''], resources: [pods], verbs: [get, list]}}
---
apiVersion: palisade.dev/v1alpha1
kind: Project
metadata: {{name: shop}}
spec: {{cluster: fake, namespaces: {namespaces}}}
---
apiVersion: palisade.dev/v1alpha1
kind: Binding
metadata: {{name: workers}}
spec: {{role: worker, subject: {{kind: User, name: ann}}, project: shop}}
"
    )
}

async fn gate() -> (Gate, FakeApi, String, String) {
    let fake = FakeApi::start(&["h2", "http/1.1"]).await;
    let gate = Gate::start().await;
    gate.cluster("fake", &fake).await;
    gate.observed("fake", &[]);
    let root = admin(&gate).await;
    let ann = gate.user("ann").await;
    (gate, fake, root, ann)
}

async fn pods(gate: &Gate, token: &str, namespace: &str) -> StatusCode {
    let target = format!("/k8s/clusters/fake/api/v1/namespaces/{namespace}/pods");
    code(gate, &target, token).await
}

fn project(name: &str, namespaces: &[&str]) -> Value {
    json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Project", "metadata": {"name": name},
        "spec": {"cluster": "fake", "namespaces": namespaces}})
}

fn binding(name: &str, user: &str) -> Value {
    json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Binding", "metadata": {"name": name},
        "spec": {"role": "worker", "subject": {"kind": "User", "name": user}, "project": "shop"}})
}

#[tokio::test]
async fn a_project_of_the_folder_counts_and_is_read_only() {
    let (gate, _fake, root, ann) = gate().await;
    assert_eq!(pods(&gate, &ann, "shop").await, StatusCode::FORBIDDEN);
    let mut reloader = with_folder(&gate, &tenant("[shop, shop-*]")).await;
    assert_eq!(pods(&gate, &ann, "shop").await, StatusCode::OK);
    assert_eq!(pods(&gate, &ann, "shop-eu").await, StatusCode::OK);
    assert_eq!(pods(&gate, &ann, "store").await, StatusCode::FORBIDDEN);

    let list = send(&gate, Method::GET, "/projects", &root, &json!({})).await;
    let shown = &list.json()["items"][0];
    assert_eq!(shown["metadata"]["uid"], project_uid("shop"));
    assert_eq!(shown["metadata"]["labels"]["palisade.dev/origin"], "folder");
    let file = &shown["metadata"]["annotations"]["palisade.dev/file"];
    assert_eq!(file, "team.yaml:9");
    assert_eq!(status(&gate, &root).await["projects"], 1);

    let wanted = "stands in the gateway's policy folder, at team.yaml:9";
    let gone = send(&gate, Method::DELETE, "/projects/shop", &root, &json!({})).await;
    assert_eq!(gone.status, StatusCode::FORBIDDEN);
    assert!(gone.message().contains(wanted), "{}", gone.message());
    let mut changed = project("shop", &["kube-public"]);
    changed["metadata"]["resourceVersion"] = shown["metadata"]["resourceVersion"].clone();
    let changed = send(&gate, Method::PUT, "/projects/shop", &root, &changed).await;
    assert_eq!(changed.status, StatusCode::FORBIDDEN, "{}", changed.text());
    let again = send(
        &gate,
        Method::POST,
        "/projects",
        &root,
        &project("shop", &["x"]),
    )
    .await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.text());

    // What is bound in it through the API counts while it is there.
    let bob = gate.user("bob").await;
    let bound = send(
        &gate,
        Method::POST,
        "/bindings",
        &root,
        &binding("bob-works", "bob"),
    )
    .await;
    assert_eq!(bound.status, StatusCode::CREATED, "{}", bound.text());
    assert_eq!(pods(&gate, &bob, "shop-eu").await, StatusCode::OK);
    write(&gate, &tenant("[shop]"));
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(pods(&gate, &bob, "shop-eu").await, StatusCode::FORBIDDEN);
    assert_eq!(pods(&gate, &bob, "shop").await, StatusCode::OK);
    write(&gate, "# nothing\n");
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(pods(&gate, &bob, "shop").await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

#[tokio::test]
async fn a_folder_hides_a_stored_project_of_its_name_and_lets_it_come_back() {
    let (gate, _fake, root, ann) = gate().await;
    gate.project("shop", "fake", &["old"]).await;
    let bob = gate.user("bob").await;
    let rule = PolicyRule {
        verbs: vec!["list".to_owned()],
        api_groups: vec![String::new()],
        resources: vec!["pods".to_owned()],
        ..PolicyRule::default()
    };
    gate.role_of("looker", RoleScope::Project, vec![rule]).await;
    gate.bind_project("looker", "bob", "shop").await;
    assert_eq!(pods(&gate, &bob, "old").await, StatusCode::OK);
    let mut reloader = with_folder(&gate, &tenant("[shop]")).await;
    // Another project has the name: nothing that was bound in the stored one goes along (CVE-2025-22031).
    assert_eq!(pods(&gate, &bob, "old").await, StatusCode::FORBIDDEN);
    assert_eq!(pods(&gate, &bob, "shop").await, StatusCode::FORBIDDEN);
    assert_eq!(pods(&gate, &ann, "shop").await, StatusCode::OK);
    let remarks = status(&gate, &root).await["remarks"].to_string();
    assert!(
        remarks.contains("Project \\\"shop\\\" is also in the store"),
        "{remarks}"
    );
    write(&gate, "# nothing\n");
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(pods(&gate, &bob, "old").await, StatusCode::OK);
    assert_eq!(pods(&gate, &ann, "shop").await, StatusCode::FORBIDDEN);
    gate.stop().await;
}

#[tokio::test]
async fn a_namespace_is_in_one_project_wherever_the_projects_stand() {
    let (gate, _fake, root, ann) = gate().await;
    gate.project("store", "fake", &["shop-eu"]).await;
    let mut reloader = with_folder(&gate, &tenant("[shop]")).await;
    // The folder's is the later one.
    write(&gate, &tenant("[shop, shop-*]"));
    assert_eq!(reloader.reload().await, []);
    let refused = status(&gate, &root).await["refused"]["mistakes"].to_string();
    assert!(
        refused.contains("team.yaml:9: spec.namespaces: the projects \\\"shop\\\"")
            && refused.contains("both hold the namespace \\\"shop-eu\\\""),
        "{refused}"
    );
    assert_eq!(pods(&gate, &ann, "shop").await, StatusCode::OK);
    assert_eq!(pods(&gate, &ann, "shop-x").await, StatusCode::FORBIDDEN);
    gate.delete::<Project>("store").await;
    assert_eq!(reloader.reload().await, [Source::Policy]);
    assert_eq!(pods(&gate, &ann, "shop-x").await, StatusCode::OK);

    // The stored one is the later one.
    let body = project("store", &["store", "shop-us"]);
    let made = send(&gate, Method::POST, "/projects", &root, &body).await;
    assert_eq!(made.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        made.message()
            .contains("both hold the namespace \"shop-us\""),
        "{}",
        made.message()
    );

    // Both in the same instant: it is in neither, and not in silence.
    gate.project("store", "fake", &["shop-us"]).await;
    assert_eq!(pods(&gate, &ann, "shop-us").await, StatusCode::FORBIDDEN);
    assert_eq!(pods(&gate, &ann, "shop-eu").await, StatusCode::OK);
    let remarks = status(&gate, &root).await["remarks"].to_string();
    assert!(
        remarks.contains("\\\"shop-us\\\": until that is mended it is in no project"),
        "{remarks}"
    );
    gate.stop().await;
}

// An owner sees a binding of their project that the folder hides; to remove it is not theirs, for no guard is asked.
#[tokio::test]
async fn what_the_folder_hides_is_not_an_owners_to_remove() {
    let (gate, _fake, root, _ann) = gate().await;
    gate.project("store", "fake", &["store"]).await;
    let eva = gate.user("eva").await;
    gate.bind_project("project-owner", "eva", "store").await;
    let hidden = json!({"apiVersion": "palisade.dev/v1alpha1", "kind": "Binding", "metadata": {"name": "workers"},
        "spec": {"role": "project-viewer", "subject": {"kind": "User", "name": "root"}, "project": "store"}});
    let made = send(&gate, Method::POST, "/bindings", &root, &hidden).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text());
    let _reloader = with_folder(&gate, &tenant("[shop]")).await;
    let path = "/bindings/workers";
    let refused = send(&gate, Method::DELETE, path, &eva, &json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    let gone = send(&gate, Method::DELETE, path, &root, &json!({})).await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text());
    gate.stop().await;
}
