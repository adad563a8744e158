//! What is the same for every kind.

use super::*;

#[tokio::test]
async fn an_object_is_created_read_changed_and_removed() {
    let world = World::new().await;
    let made = world.root("POST", "groups", group("ops", &["jane"])).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let meta = &made.1["metadata"];
    assert_eq!(meta["uid"].as_str().unwrap().len(), 36);
    assert!(meta["creationTimestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        (&made.1["kind"], &made.1["apiVersion"]),
        (&json!("Group"), &json!("palisade.dev/v1alpha1"))
    );

    let read = world.root("GET", "groups/ops", Value::Null).await;
    assert_eq!(read, (200, made.1.clone()));

    let mut changed = read.1;
    changed["spec"]["displayName"] = "Operators".into();
    let written = world.root("PUT", "groups/ops", changed.clone()).await;
    assert_eq!(written.0, 200, "{}", written.1);
    assert_ne!(
        written.1["metadata"]["resourceVersion"],
        made.1["metadata"]["resourceVersion"]
    );
    assert_eq!(written.1["metadata"]["uid"], made.1["metadata"]["uid"]);

    // A write that changes nothing is none.
    let again = world.root("PUT", "groups/ops", written.1.clone()).await;
    assert_eq!(again, (200, written.1.clone()));

    let stale = world.root("PUT", "groups/ops", changed).await;
    assert_eq!((stale.0, &stale.1["reason"]), (409, &json!("Conflict")));
    assert_eq!(
        message(&stale),
        "Operation cannot be fulfilled on groups.palisade.dev \"ops\": the object has been modified; please apply your changes to the latest version and try again"
    );

    let gone = world.root("DELETE", "groups/ops", Value::Null).await;
    assert_eq!(gone.0, 200);
    assert_eq!(gone.1["status"], "Success");
    assert_eq!(gone.1["details"]["uid"], made.1["metadata"]["uid"]);
    let absent = world.root("GET", "groups/ops", Value::Null).await;
    assert_eq!(message(&absent), "groups.palisade.dev \"ops\" not found");
    assert_eq!(
        absent.1["details"],
        json!({"name": "ops", "group": "palisade.dev", "kind": "groups"})
    );
}

#[tokio::test]
async fn a_taken_name_is_409() {
    let world = World::new().await;
    assert_eq!(world.root("POST", "groups", group("ops", &[])).await.0, 201);
    let got = world.root("POST", "groups", group("ops", &[])).await;
    assert_eq!((got.0, &got.1["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(message(&got), "groups.palisade.dev \"ops\" already exists");
}

#[tokio::test]
async fn an_update_needs_the_version_that_it_changes() {
    let world = World::new().await;
    world.root("POST", "groups", group("ops", &[])).await;
    let got = world.root("PUT", "groups/ops", group("ops", &[])).await;
    assert_eq!(got.0, 422);
    assert_eq!(fields(&got), ["metadata.resourceVersion"]);
    let got = world.root("PUT", "groups/none", group("none", &[])).await;
    assert_eq!(got.0, 404);
    let got = world.root("PUT", "groups/ops", group("other", &[])).await;
    assert_eq!(
        (got.0, message(&got)),
        (
            400,
            "the name of the object (other) does not match the name on the URL (ops)"
        )
    );
}

#[tokio::test]
async fn what_the_gateway_gave_once_stays() {
    let world = World::new().await;
    let made = world.root("POST", "groups", group("ops", &[])).await.1;
    let mut forged = made.clone();
    forged["metadata"]["uid"] = "other".into();
    forged["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z".into();
    let got = world.root("PUT", "groups/ops", forged).await;
    assert_eq!(got.0, 422);
    assert_eq!(fields(&got), ["metadata.uid", "metadata.creationTimestamp"]);
    // Left out they stay.
    let mut bare = group("ops", &["jane"]);
    bare["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    let got = world.root("PUT", "groups/ops", bare).await;
    assert_eq!(
        (got.0, &got.1["metadata"]["uid"]),
        (200, &made["metadata"]["uid"])
    );
    // At a creation they are the gateway's to give.
    let mut chosen = group("two", &[]);
    chosen["metadata"]["uid"] = made["metadata"]["uid"].clone();
    let got = world.root("POST", "groups", chosen).await;
    assert_ne!(got.1["metadata"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test]
async fn a_removal_keeps_its_preconditions() {
    let world = World::new().await;
    world.root("POST", "groups", group("ops", &[])).await;
    for preconditions in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let got = world
            .root(
                "DELETE",
                "groups/ops",
                json!({"preconditions": preconditions}),
            )
            .await;
        assert_eq!(
            (got.0, &got.1["reason"]),
            (409, &json!("Conflict")),
            "{}",
            got.1
        );
        assert!(
            message(&got).contains("Precondition failed"),
            "{}",
            message(&got)
        );
    }
    let meta = world.root("GET", "groups/ops", Value::Null).await.1["metadata"].clone();
    let exact = json!({"preconditions": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}, "propagationPolicy": "Background"});
    assert_eq!(world.root("DELETE", "groups/ops", exact).await.0, 200);
    assert_eq!(world.root("DELETE", "groups/ops", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_dry_run_checks_and_writes_nothing() {
    let world = World::new().await;
    let got = world
        .root("POST", "groups?dryRun=All", group("ops", &["jane"]))
        .await;
    assert_eq!(got.0, 201);
    assert_eq!(world.root("GET", "groups/ops", Value::Null).await.0, 404);
    let got = world
        .root("POST", "groups?dryRun=All", group("ops", &["nobody"]))
        .await;
    assert_eq!(got.0, 422);
    world.root("POST", "groups", group("ops", &[])).await;
    assert_eq!(
        world
            .root("DELETE", "groups/ops?dryRun=All", Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        world
            .root("DELETE", "groups/ops", json!({"dryRun": ["All"]}))
            .await
            .0,
        200
    );
    assert_eq!(world.root("GET", "groups/ops", Value::Null).await.0, 200);
    let got = world
        .root("POST", "groups?dryRun=yes", group("two", &[]))
        .await;
    assert_eq!(got.0, 400);
}

async fn patch(world: &World, path: &str, kind: &str, body: &Value) -> Got {
    let request = Request::builder()
        .method("PATCH")
        .uri(format!("{BASE}/{path}"))
        .header("content-type", kind)
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let root = caller("root", "u-root", Reach::All);
    world.send(&root, request).await
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names() {
    const MERGE: &str = "application/merge-patch+json";
    let world = World::new().await;
    let mut made = group("ops", &["jane"]);
    made["metadata"]["labels"] = json!({"a": "1", "b": "2"});
    let made = world.root("POST", "groups", made).await.1;
    let change =
        json!({"metadata": {"labels": {"a": null, "c": "3"}}, "spec": {"displayName": "Ops"}});
    let got = patch(&world, "groups/ops", MERGE, &change).await;
    assert_eq!(got.0, 200, "{}", got.1);
    assert_eq!(got.1["metadata"]["labels"], json!({"b": "2", "c": "3"}));
    assert_eq!(
        got.1["spec"],
        json!({"displayName": "Ops", "members": [{"name": "jane", "uid": "u-jane"}]})
    );
    // A patch is checked as any other write.
    for (change, code) in [
        (json!({"metadata": {"uid": "other"}}), 422),
        (json!({"metadata": {"name": "other"}}), 400),
        (
            json!({"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}}),
            409,
        ),
        (json!({"spec": {"member": []}}), 400),
        (json!({"spec": {"members": [{"name": "nobody"}]}}), 422),
        (json!("x"), 400),
    ] {
        let got = patch(&world, "groups/ops", MERGE, &change).await;
        assert_eq!(got.0, code, "{change}: {}", got.1);
    }
    assert_eq!(patch(&world, "groups/none", MERGE, &json!({})).await.0, 404);
    assert_eq!(patch(&world, "roles/admin", MERGE, &json!({})).await.0, 403);
    for other in [
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ] {
        assert_eq!(
            patch(&world, "groups/ops", other, &json!({})).await.0,
            415,
            "{other}"
        );
    }
}

#[tokio::test]
async fn all_mistakes_are_told_at_once() {
    let world = World::new().await;
    let wrong = json!({
        "metadata": {"name": "Ops!", "labels": {"-": "x", "palisade.dev/builtin": "true"}},
        "spec": {"displayName": "a\nb", "members": [{"name": "nobody"}, {"name": "jane"}, {"name": "jane"}]},
    });
    let got = world.root("POST", "groups", wrong).await;
    assert_eq!((got.0, &got.1["reason"]), (422, &json!("Invalid")));
    assert_eq!(
        fields(&got),
        [
            "metadata.name",
            "metadata.labels",
            "metadata.labels[palisade.dev/builtin]",
            "spec.displayName",
            "spec.members[0].name",
            "spec.members[2].name",
        ]
    );
    insta::assert_snapshot!(serde_json::to_string_pretty(&got.1).unwrap());
}

#[tokio::test]
async fn a_misspelt_field_is_400() {
    // F7: never a default in its place.
    let world = World::new().await;
    let got = world
        .root(
            "POST",
            "users",
            json!({"metadata": {"name": "x"}, "spec": {"disable": true}}),
        )
        .await;
    assert_eq!(got.0, 400);
    assert!(
        message(&got).contains("unknown field \"spec.disable\""),
        "{}",
        message(&got)
    );
    let got = world
        .root(
            "POST",
            "users",
            json!({"metadata": {"name": "x"}, "kind": "Group"}),
        )
        .await;
    assert_eq!(got.0, 400);
    let got = world.root("POST", "users", Value::Null).await;
    assert_eq!(got.0, 400);
    let got = world
        .root(
            "POST",
            "users",
            json!({"metadata": {"name": "x", "resourceVersion": "1"}}),
        )
        .await;
    assert_eq!(
        (got.0, message(&got)),
        (
            400,
            "resourceVersion should not be set on objects to be created"
        )
    );
}

#[tokio::test]
async fn lists_come_in_pages_and_by_selectors() {
    let world = World::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        let mut one = group(name, &[]);
        one["metadata"]["labels"] = json!({"half": if name < "c" { "first" } else { "second" }});
        assert_eq!(world.root("POST", "groups", one).await.0, 201);
    }
    let mut seen = Vec::new();
    let mut path = "groups?limit=2".to_owned();
    let mut versions = Vec::new();
    for _ in 0..3 {
        let got = world.root("GET", &path, Value::Null).await;
        assert_eq!((got.0, &got.1["kind"]), (200, &json!("GroupList")));
        seen.push(names(&got).join(""));
        versions.push(got.1["metadata"]["resourceVersion"].clone());
        let next = got.1["metadata"]["continue"].as_str().unwrap_or_default();
        path = format!("groups?limit=2&continue={next}");
        // What is written between two pages does not shift them.
        world
            .root("POST", "groups", group(&format!("aa{}", seen.len()), &[]))
            .await;
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["ab", "cd", "e"]);
    assert_eq!(versions[0], versions[2]);

    let got = world
        .root("GET", "groups?labelSelector=half%3Dsecond", Value::Null)
        .await;
    assert_eq!(names(&got), ["c", "d", "e"]);
    let got = world
        .root(
            "GET",
            "groups?labelSelector=half+in+(first)&limit=1",
            Value::Null,
        )
        .await;
    assert_eq!(names(&got), ["a"]);
    let got = world
        .root("GET", "groups?fieldSelector=metadata.name%3Dd", Value::Null)
        .await;
    assert_eq!(names(&got), ["d"]);
    // P5: two names in one selector; the policy took the first in order for the name, nothing else shows.
    let got = world
        .root(
            "GET",
            "groups?fieldSelector=metadata.name%3Da,metadata.name!%3Db",
            Value::Null,
        )
        .await;
    assert_eq!(names(&got), ["a"]);
    for bad in [
        "limit=x",
        "continue=!",
        "continue=MQ",
        "labelSelector=a+b",
        "fieldSelector=spec.x%3D1",
    ] {
        let got = world
            .root("GET", &format!("groups?{bad}"), Value::Null)
            .await;
        assert_eq!(got.0, 400, "{bad}: {}", got.1);
    }
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not_have_their_status() {
    let world = World::new().await;
    for (method, path, code) in [
        ("GET", "things", 404),
        // F4: a kind has one spelling, the one that rules name.
        ("GET", "user", 404),
        ("GET", "Users", 404),
        ("DELETE", "user/jane", 404),
        ("GET", "users.palisade.dev", 404),
        ("GET", "users/jane/shoes", 404),
        ("GET", "users/jane%2Fpassword", 404),
        ("GET", "users//password", 404),
        ("GET", "users/", 404),
        ("GET", "namespaces/x/users", 404),
        ("GET", "watch/users", 404),
        ("DELETE", "users", 405),
        ("PUT", "users", 405),
        ("POST", "users/jane", 405),
        ("OPTIONS", "users", 405),
        ("GET", "users/jane/password", 405),
        ("POST", "clusters/x/manifest", 405),
        ("GET", "users?watch=true", 405),
        ("POST", "/version", 405),
        (
            "GET",
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            405,
        ),
    ] {
        let got = world.root(method, path, Value::Null).await;
        assert_eq!(got.0, code, "{method} {path}: {}", got.1);
        assert_eq!(
            (&got.1["kind"], &got.1["status"]),
            (&json!("Status"), &json!("Failure"))
        );
    }
}

#[tokio::test]
async fn bodies_have_bounds_and_a_type() {
    let world = World::new().await;
    let root = caller("root", "u-root", Reach::All);
    // P13.
    let huge = Value::String(format!(
        "{{\"metadata\":{{\"name\":\"{}\"}}}}",
        "a".repeat(1024 * 1024)
    ));
    let got = world.ask(&root, "POST", "groups", &huge).await;
    assert_eq!(
        (got.0, &got.1["reason"]),
        (413, &json!("RequestEntityTooLarge"))
    );
    let deep = Value::String("{\"metadata\":".repeat(1000));
    assert_eq!(world.ask(&root, "POST", "groups", &deep).await.0, 400);
    let request = Request::builder()
        .method("POST")
        .uri(format!("{BASE}/groups"))
        .header("content-type", "application/yaml")
        .body(Full::new(Bytes::from_static(b"metadata: {name: x}")))
        .unwrap();
    let got = world.send(&root, request).await;
    assert_eq!(
        (got.0, &got.1["reason"]),
        (415, &json!("UnsupportedMediaType"))
    );
}

// T10: a store that does not answer is a 503, never an allow and never "not there".
#[tokio::test]
async fn without_the_store_everything_is_503() {
    let world = World::new().await;
    world.store.close().await;
    for (method, path, body) in [
        ("GET", "users", Value::Null),
        ("GET", "users/jane", Value::Null),
        ("POST", "users", json!({"metadata": {"name": "x"}})),
        ("POST", "tokens", json!({})),
        ("DELETE", "users/jane", Value::Null),
        ("DELETE", "bindings/root", Value::Null),
        (
            "PUT",
            "users/jane/password",
            json!({"password": "correct horse battery"}),
        ),
    ] {
        let got = world.root(method, path, body).await;
        assert_eq!(
            (got.0, &got.1["reason"]),
            (503, &json!("ServiceUnavailable")),
            "{method} {path}: {}",
            got.1
        );
    }
}

// T9: a refusal is the end of it; nothing is written behind it.
#[tokio::test]
async fn refusals_write_nothing() {
    let world = World::new().await;
    let before = world.store.revision().await.unwrap();
    for (method, path, body) in [
        ("POST", "users", json!({"metadata": {"name": "x"}})),
        ("POST", "groups", group("x", &["nobody"])),
        ("POST", "bindings", binding("x", "admin", "jane")),
        ("PUT", "users/jane", json!({"metadata": {"name": "jane"}})),
        ("DELETE", "users/root", Value::Null),
        ("DELETE", "bindings/root", Value::Null),
        ("POST", "clusters", cluster("x")),
        (
            "POST",
            "roles",
            json!({"metadata": {"name": "x"}, "spec": {"scope": "global"}}),
        ),
        (
            "PUT",
            "users/root/password",
            json!({"password": "correct horse battery"}),
        ),
        ("PUT", "clusters/x/credential", json!({"reconciler": "x"})),
        ("POST", "clusters/x/sync", Value::Null),
        ("GET", "users", Value::Null),
        ("GET", "clusters/x/manifest", Value::Null),
    ] {
        let got = world.jane(method, path, body).await;
        assert_eq!(
            (got.0, &got.1["reason"]),
            (403, &json!("Forbidden")),
            "{method} {path}"
        );
        assert!(
            message(&got).contains("is forbidden: User \"jane\" cannot"),
            "{}",
            message(&got)
        );
    }
    assert_eq!(world.store.revision().await.unwrap(), before);
}
