//! Clusters.

use super::*;
use crate::objects::ClusterSpec;

#[tokio::test]
async fn where_a_cluster_is_is_checked() {
    let world = World::new().await;
    for (spec, expected) in [
        (json!({"server": "https://prod.example"}), None),
        (json!({"server": "https://10.0.0.1:6443"}), None),
        (json!({"server": "https://[2001:db8::1]:6443"}), None),
        (
            json!({"server": "https://prod.example", "userPrefix": "palisade-prod:"}),
            None,
        ),
        (json!({}), Some("spec.server")),
        (
            json!({"server": "http://prod.example"}),
            Some("spec.server"),
        ),
        (
            json!({"server": "https://prod.example/path"}),
            Some("spec.server"),
        ),
        (
            json!({"server": "https://me@prod.example"}),
            Some("spec.server"),
        ),
        (
            json!({"server": "https://prod.example?x=1"}),
            Some("spec.server"),
        ),
        // P11.
        (
            json!({"server": "https://169.254.169.254"}),
            Some("spec.server"),
        ),
        (
            json!({"server": "https://127.0.0.1:6443"}),
            Some("spec.server"),
        ),
        (json!({"server": "https://[::1]:6443"}), Some("spec.server")),
        (json!({"server": "https://0.0.0.0"}), Some("spec.server")),
        (
            json!({"server": "https://prod.example", "ca": "not pem"}),
            Some("spec.ca"),
        ),
        (
            json!({"server": "https://prod.example", "tlsServerName": "a b"}),
            Some("spec.tlsServerName"),
        ),
        (
            json!({"server": "https://prod.example", "userPrefix": "system:"}),
            Some("spec.userPrefix"),
        ),
        (
            json!({"server": "https://prod.example", "userPrefix": "x"}),
            Some("spec.userPrefix"),
        ),
        (
            json!({"server": "https://prod.example", "userPrefix": "a\r\nb:"}),
            Some("spec.userPrefix"),
        ),
    ] {
        let wanted = json!({"metadata": {"name": "x"}, "spec": spec});
        let got = world.root("POST", "clusters?dryRun=All", wanted).await;
        match expected {
            None => assert_eq!(got.0, 201, "{spec}: {}", got.1),
            Some(field) => assert_eq!(
                (got.0, fields(&got)),
                (422, vec![field]),
                "{spec}: {}",
                got.1
            ),
        }
    }
}

#[tokio::test]
async fn the_name_of_a_cluster_is_a_label() {
    let world = World::new().await;
    let got = world.root("POST", "clusters", cluster("a.b")).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["metadata.name"]));
}

#[tokio::test]
async fn everybody_sees_the_clusters_on_which_they_hold_a_role_and_no_more_of_them() {
    let world = World::new().await;
    for name in ["dev", "prod"] {
        assert_eq!(world.root("POST", "clusters", cluster(name)).await.0, 201);
    }
    assert!(names(&world.jane("GET", "clusters", Value::Null).await).is_empty());
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["clusters"] = json!(["dev"]);
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    let got = world.jane("GET", "clusters", Value::Null).await;
    assert_eq!(names(&got), ["dev"]);
    assert!(!got.1.to_string().contains("dev.example"), "{}", got.1);
    let got = world.jane("GET", "clusters/dev", Value::Null).await;
    assert_eq!(
        (got.0, &got.1["status"]["health"]),
        (200, &json!("Pending"))
    );
    let other = world.jane("GET", "clusters/prod", Value::Null).await;
    let none = world.jane("GET", "clusters/nope", Value::Null).await;
    assert_eq!(
        (other.0, message(&other).replace("prod", "X")),
        (403, message(&none).replace("nope", "X"))
    );
    assert_eq!(
        names(&world.root("GET", "clusters", Value::Null).await),
        ["dev", "prod"]
    );
}

async fn credential(world: &World) -> Option<String> {
    let key = Cluster::key("prod");
    let found = world.store.get(&key).await.unwrap().unwrap();
    Stored::<Cluster>::decode(&key, &found.value, 1)
        .unwrap()
        .private
        .credential
}

#[tokio::test]
async fn a_changed_address_drops_the_credential_and_nothing_else_does() {
    let world = World::new().await;
    let mut prod = Cluster::new("prod", ClusterSpec::default());
    prod.spec.server = "https://prod.example:6443".to_owned();
    prod.status.synced_roles = vec!["viewer".to_owned()];
    let private = ClusterPrivate {
        credential: Some("c3VwZXJzZWNyZXQ".to_owned()),
    };
    world.put_with(prod, "c-prod", private).await;
    let mut read = world.root("GET", "clusters/prod", Value::Null).await.1;
    assert!(!read.to_string().contains("c3VwZXJzZWNyZXQ"));
    read["metadata"]["labels"] = json!({"env": "prod"});
    let got = world.root("PUT", "clusters/prod", read).await;
    assert_eq!(
        (got.0, &got.1["status"]["syncedRoles"]),
        (200, &json!(["viewer"])),
        "{}",
        got.1
    );
    assert_eq!(credential(&world).await.as_deref(), Some("c3VwZXJzZWNyZXQ"));
    for change in ["server", "tlsServerName"] {
        let mut read = world.root("GET", "clusters/prod", Value::Null).await.1;
        read["spec"][change] = if change == "server" {
            "https://evil.example".into()
        } else {
            "evil.example".into()
        };
        let got = world.root("PUT", "clusters/prod", read).await;
        assert_eq!((got.0, got.1["status"].get("syncedRoles")), (200, None));
        assert_eq!(credential(&world).await, None);
    }
}

// CVE-2025-22031: a name that is taken again gives nobody what the old one gave.
#[tokio::test]
async fn what_names_a_cluster_goes_with_it() {
    let world = World::new().await;
    for name in ["dev", "prod"] {
        world.root("POST", "clusters", cluster(name)).await;
    }
    for (name, clusters) in [("one", json!(["prod"])), ("two", json!(["dev", "prod"]))] {
        let mut grant = binding(name, "viewer", "jane");
        grant["spec"]["clusters"] = clusters.clone();
        assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
        let token = json!({"spec": {"displayName": name, "clusters": clusters}});
        assert_eq!(world.root("POST", "tokens", token).await.0, 201);
    }
    assert_eq!(
        world.root("DELETE", "clusters/prod", Value::Null).await.0,
        200
    );
    assert_eq!(world.root("GET", "bindings/one", Value::Null).await.0, 404);
    let two = world.root("GET", "bindings/two", Value::Null).await.1;
    assert_eq!(two["spec"]["clusters"], json!(["dev"]));
    // A token without a cluster left would be good for all of them: it is gone.
    let tokens = world.root("GET", "tokens", Value::Null).await.1;
    let left: Vec<&Value> = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["spec"]["clusters"])
        .collect();
    assert_eq!(left, [&json!(["dev"])]);
}

#[tokio::test]
async fn actions_on_clusters_have_their_answers() {
    let world = World::new().await;
    world.root("POST", "clusters", cluster("prod")).await;
    // Also for a name that is not registered yet.
    for name in ["prod", "next"] {
        let got = world
            .root("GET", &format!("clusters/{name}/manifest"), Value::Null)
            .await;
        assert_eq!((got.0, &got.1["kind"]), (200, &json!("List")));
        assert_eq!(got.1["items"][0]["kind"], "Namespace");
    }
    assert_eq!(
        world
            .root("GET", "clusters/A/manifest", Value::Null)
            .await
            .0,
        422
    );
    assert_eq!(
        world
            .root("POST", "clusters/prod/sync", Value::Null)
            .await
            .0,
        503
    );
    assert_eq!(
        world
            .root("POST", "clusters/next/sync", Value::Null)
            .await
            .0,
        404
    );
    assert_eq!(
        world
            .root("POST", "clusters/prod/sync?dryRun=All", Value::Null)
            .await
            .0,
        400
    );
    let secret = Value::String("{\"reconciler\": 1234567890, \"x\": 1}".to_owned());
    let root = caller("root", "u-root", Reach::All);
    let got = world
        .ask(&root, "PUT", "clusters/prod/credential", &secret)
        .await;
    assert_eq!(got.0, 400);
    assert!(!got.1.to_string().contains("1234567890"));
    let got = world
        .root(
            "PUT",
            "clusters/next/credential",
            json!({"reconciler": "x"}),
        )
        .await;
    assert_eq!(got.0, 404);
}

/// More than one transaction takes away.
const MANY: usize = 300;

async fn put_bindings(world: &World, role: &str, clusters: &[&str]) {
    for number in 0..MANY {
        let spec = BindingSpec {
            role: role.to_owned(),
            subject: Subject {
                kind: SubjectKind::User,
                name: "jane".to_owned(),
                uid: "u-jane".to_owned(),
            },
            clusters: clusters.iter().map(|&name| name.to_owned()).collect(),
            ..BindingSpec::default()
        };
        let name = format!("many-{number}");
        world.put(Binding::new(&name, spec), &name).await;
    }
}

#[tokio::test]
async fn what_was_left_of_a_removed_cluster_does_not_count_for_the_next_of_its_name() {
    let world = World::new().await;
    // As a gateway leaves them that was killed between the removal and the rest of its work.
    put_bindings(&world, "viewer", &["prod"]).await;
    let token = world
        .put_token(("jane", "u-jane"), TokenKind::Pat, in_hours(1))
        .await;
    let mut stored = world
        .root("GET", &format!("tokens/{token}"), Value::Null)
        .await
        .1;
    stored["spec"]["clusters"] = json!(["prod"]);
    let scoped: Token = serde_json::from_value(stored).unwrap();
    world.put(scoped, "t-scoped").await;
    assert_eq!(world.root("POST", "clusters", cluster("prod")).await.0, 201);
    let got = world.root("GET", "bindings", Value::Null).await;
    assert_eq!(names(&got), ["root"]);
    assert_eq!(
        names(&world.root("GET", "tokens", Value::Null).await).len(),
        0
    );
    assert_eq!(world.jane("GET", "clusters/prod", Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_second_creation_takes_nothing_away() {
    let world = World::new().await;
    assert_eq!(world.root("POST", "clusters", cluster("prod")).await.0, 201);
    let mut wanted = binding("b", "viewer", "jane");
    wanted["spec"]["clusters"] = json!(["prod"]);
    assert_eq!(world.root("POST", "bindings", wanted).await.0, 201);
    assert_eq!(world.root("POST", "clusters", cluster("prod")).await.0, 409);
    let tried = world
        .root("POST", "clusters?dryRun=All", cluster("prod"))
        .await;
    assert_eq!(tried.0, 409);
    let role = json!({"metadata": {"name": "viewer"}, "spec": {"scope": "cluster"}});
    assert_eq!(world.root("POST", "roles", role).await.0, 409);
    let got = world.root("GET", "bindings", Value::Null).await;
    assert_eq!(names(&got), ["b", "root"]);
}

#[tokio::test]
async fn a_removal_is_finished_when_the_client_hangs_up() {
    let world = World::new().await;
    assert_eq!(world.root("POST", "clusters", cluster("prod")).await.0, 201);
    put_bindings(&world, "viewer", &["prod"]).await;
    {
        let removal = world.root("DELETE", "clusters/prod", Value::Null);
        let mut removal = std::pin::pin!(removal);
        // Until the object is gone; then nobody asks any more.
        while world
            .store
            .get(&Cluster::key("prod"))
            .await
            .unwrap()
            .is_some()
        {
            let turn = tokio::time::timeout(Duration::from_millis(1), &mut removal);
            if turn.await.is_ok() {
                break;
            }
        }
    }
    world.api.tasks.close();
    tokio::time::timeout(SOON, world.api.tasks.wait())
        .await
        .unwrap();
    let got = world.root("GET", "bindings", Value::Null).await;
    assert_eq!(names(&got), ["root"]);
}

#[tokio::test]
async fn pages_of_the_own_clusters_say_nothing_of_others() {
    let world = World::new().await;
    for name in ["a-hers", "b-other", "c-hers", "d-other"] {
        assert_eq!(world.root("POST", "clusters", cluster(name)).await.0, 201);
    }
    let mut wanted = binding("b", "viewer", "jane");
    wanted["spec"]["clusters"] = json!(["a-hers", "c-hers"]);
    assert_eq!(world.root("POST", "bindings", wanted).await.0, 201);
    let first = world.jane("GET", "clusters?limit=1", Value::Null).await;
    assert_eq!(names(&first), ["a-hers"]);
    let token = first.1["metadata"]["continue"].as_str().unwrap();
    let text = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, token);
    let text = String::from_utf8(text.unwrap()).unwrap();
    assert!(text.ends_with("/a-hers"), "{text}");
    let path = format!("clusters?limit=1&continue={token}");
    let second = world.jane("GET", &path, Value::Null).await;
    assert_eq!(names(&second), ["c-hers"]);
    // Another's cluster follows, and nothing says so.
    assert_eq!(second.1["metadata"].get("continue"), None);
}
