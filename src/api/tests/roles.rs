//! Roles.

use super::*;

fn role(name: &str, scope: &str, inherits: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "scope": scope,
            "inherits": inherits,
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
        },
    })
}

#[tokio::test]
async fn built_in_roles_are_listed_in_order_and_read_only() {
    let world = World::new().await;
    for name in ["aa", "middle", "zz"] {
        assert_eq!(
            world
                .root("POST", "roles", role(name, "cluster", &["viewer"]))
                .await
                .0,
            201
        );
    }
    let got = world.root("GET", "roles", Value::Null).await;
    assert_eq!(names(&got), ["aa", "admin", "middle", "viewer", "zz"]);
    let got = world
        .root(
            "GET",
            "roles?labelSelector=palisade.dev/builtin%3Dtrue",
            Value::Null,
        )
        .await;
    assert_eq!(names(&got), ["admin", "viewer"]);
    // In pages too.
    let mut seen = Vec::new();
    let mut path = "roles?limit=2".to_owned();
    loop {
        let got = world.root("GET", &path, Value::Null).await;
        seen.extend(names(&got).into_iter().map(str::to_owned));
        match got.1["metadata"]["continue"].as_str() {
            Some(next) => path = format!("roles?limit=2&continue={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["aa", "admin", "middle", "viewer", "zz"]);
    let admin = world.root("GET", "roles/admin", Value::Null).await;
    assert_eq!(
        (
            admin.0,
            &admin.1["metadata"]["labels"]["palisade.dev/builtin"]
        ),
        (200, &json!("true"))
    );
    let got = world.root("PUT", "roles/admin", admin.1).await;
    assert_eq!(got.0, 403);
    assert!(
        message(&got).ends_with("it is built in and can neither be changed nor removed"),
        "{}",
        message(&got)
    );
    assert_eq!(
        world.root("DELETE", "roles/admin", Value::Null).await.0,
        403
    );
    let got = world
        .root("POST", "roles", role("admin", "global", &[]))
        .await;
    assert_eq!(
        (got.0, message(&got)),
        (
            409,
            "roles.palisade.dev \"admin\" already exists: it is built in"
        )
    );
}

#[tokio::test]
async fn rules_are_valid_as_kubernetes_validates_them() {
    let world = World::new().await;
    let wrong = json!({
        "metadata": {"name": "x"},
        "spec": {
            "scope": "cluster",
            "rules": [
                {"apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["get"], "resources": ["pods"]},
                {"verbs": ["get"], "apiGroups": [""]},
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "nonResourceURLs": ["/x"]},
                {"verbs": ["get"], "nonResourceURLs": ["/healthz"]},
            ],
        },
    });
    let got = world.root("POST", "roles", wrong).await;
    assert_eq!(got.0, 422);
    assert_eq!(
        fields(&got),
        [
            "spec.rules[0].verbs",
            "spec.rules[1].apiGroups",
            "spec.rules[2].resources",
            "spec.rules[3].nonResourceURLs"
        ]
    );
    let got = world.root("POST", "roles", role("x", "galaxy", &[])).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.scope"]));
}

#[tokio::test]
async fn roles_inherit_within_their_scope_and_never_from_themselves() {
    let world = World::new().await;
    for (inherits, field) in [
        (vec!["none"], "spec.inherits[0]"),
        (vec!["admin"], "spec.inherits[0]"),
        (vec!["authenticated"], "spec.inherits[0]"),
        (vec!["viewer", "viewer"], "spec.inherits[1]"),
        (vec!["x"], "spec.inherits"),
    ] {
        let got = world
            .root("POST", "roles", role("x", "cluster", &inherits))
            .await;
        assert_eq!(
            (got.0, fields(&got)),
            (422, vec![field]),
            "{inherits:?}: {}",
            got.1
        );
    }
    assert_eq!(
        world
            .root("POST", "roles", role("a", "cluster", &["viewer"]))
            .await
            .0,
        201
    );
    assert_eq!(
        world
            .root("POST", "roles", role("b", "cluster", &["a"]))
            .await
            .0,
        201
    );
    assert_eq!(
        world
            .root("POST", "roles", role("c", "cluster", &["b"]))
            .await
            .0,
        201
    );
    let mut a = world.root("GET", "roles/a", Value::Null).await.1;
    a["spec"]["inherits"] = json!(["c"]);
    let got = world.root("PUT", "roles/a", a).await;
    assert_eq!(got.0, 422);
    assert!(message(&got).contains("a → c → b → a"), "{}", message(&got));
}

#[tokio::test]
async fn two_writes_at_once_make_no_circle() {
    let world = World::new().await;
    for _ in 0..20 {
        for name in ["a", "b"] {
            assert_eq!(
                world
                    .root("POST", "roles", role(name, "cluster", &[]))
                    .await
                    .0,
                201
            );
        }
        let mut a = world.root("GET", "roles/a", Value::Null).await.1;
        let mut b = world.root("GET", "roles/b", Value::Null).await.1;
        a["spec"]["inherits"] = json!(["b"]);
        b["spec"]["inherits"] = json!(["a"]);
        let (a, b) = tokio::join!(
            world.root("PUT", "roles/a", a),
            world.root("PUT", "roles/b", b)
        );
        let mut codes = [a.0, b.0];
        codes.sort_unstable();
        assert_eq!(codes, [200, 422], "{} {}", a.1, b.1);
        let (heir, parent) = if a.0 == 200 { ("a", "b") } else { ("b", "a") };
        let got = world
            .root("DELETE", &format!("roles/{parent}"), Value::Null)
            .await;
        assert_eq!(got.0, 409);
        assert!(
            message(&got).contains(&format!("roles inherit from it: {heir}")),
            "{}",
            message(&got)
        );
        assert_eq!(
            world
                .root("DELETE", &format!("roles/{heir}"), Value::Null)
                .await
                .0,
            200
        );
        assert_eq!(
            world
                .root("DELETE", &format!("roles/{parent}"), Value::Null)
                .await
                .0,
            200
        );
    }
}

#[tokio::test]
async fn the_scope_stays_and_bindings_go_with_the_role() {
    let world = World::new().await;
    world.root("POST", "roles", role("a", "cluster", &[])).await;
    let mut a = world.root("GET", "roles/a", Value::Null).await.1;
    a["spec"]["scope"] = "global".into();
    let got = world.root("PUT", "roles/a", a).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.scope"]));
    let mut grant = binding("x", "a", "jane");
    grant["spec"]["allClusters"] = true.into();
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    assert_eq!(world.root("DELETE", "roles/a", Value::Null).await.0, 200);
    assert_eq!(world.root("GET", "bindings/x", Value::Null).await.0, 404);
}
