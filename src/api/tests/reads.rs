//! Lists and reads: pages, selectors, versions, forms; and what a dry run shows.

use super::*;

async fn as_form(world: &World, path: &str, accept: &str) -> Got {
    let request = Request::builder()
        .uri(format!("{BASE}/{path}"))
        .header("accept", accept)
        .body(Full::<Bytes>::default())
        .unwrap();
    world
        .send(&caller("root", "u-root", Reach::All), request)
        .await
}

#[tokio::test]
async fn ones_own_tokens_come_in_pages_too() {
    let world = World::new().await;
    let mut all = Vec::new();
    for index in 0..5 {
        let owner = if index < 4 {
            ("jane", "u-jane")
        } else {
            ("root", "u-root")
        };
        all.push(world.put_token(owner, TokenKind::Pat, in_hours(1)).await);
    }
    let mut janes = all[..4].to_vec();
    janes.sort();
    let (mut seen, mut path) = (Vec::new(), "tokens?limit=3".to_owned());
    let mut pages = 0;
    loop {
        let got = world.jane("GET", &path, Value::Null).await;
        assert_eq!(got.0, 200, "{}", got.1);
        seen.extend(names(&got).iter().map(ToString::to_string));
        pages += 1;
        let next = got.1["metadata"]["continue"].as_str().unwrap_or_default();
        if next.is_empty() {
            break;
        }
        path = format!("tokens?limit=3&continue={next}");
    }
    assert_eq!((seen, pages), (janes.clone(), 2));
    // A page that is just full is the last one.
    let got = world.jane("GET", "tokens?limit=4", Value::Null).await;
    assert_eq!(got.1["metadata"].get("continue"), None, "{}", got.1);
    let path = format!("tokens?fieldSelector=metadata.name%3D{}", janes[1]);
    let got = world.jane("GET", &path, Value::Null).await;
    assert_eq!(names(&got), [janes[1].as_str()]);
}

#[tokio::test]
async fn fields_that_people_look_for_can_be_selected_by() {
    let world = World::new().await;
    let tokens = [("jane", "u-jane"), ("root", "u-root")];
    for owner in tokens {
        world.put_token(owner, TokenKind::Pat, in_hours(1)).await;
    }
    world
        .put_token(tokens[0], TokenKind::Ses, in_hours(1))
        .await;
    let grant = binding("jane", "admin", "jane");
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    let bot = json!({"metadata": {"name": "bot"}, "spec": {"machine": true}});
    assert_eq!(world.root("POST", "users", bot).await.0, 201);
    let one = world.root("POST", "clusters", cluster("a")).await;
    assert_eq!(one.0, 201, "{}", one.1);
    for (path, selector, count) in [
        ("tokens", "spec.user.name=jane", 2),
        ("tokens", "spec.user.name=jane,spec.kind=ses", 1),
        ("tokens", "spec.user.name!=jane", 1),
        ("bindings", "spec.role=admin", 2),
        (
            "bindings",
            "spec.subject.kind=User,spec.subject.name=jane",
            1,
        ),
        ("bindings", "spec.subject.kind=Group", 0),
        ("users", "spec.machine=true", 1),
        ("users", "spec.disabled=false", 3),
        ("roles", "spec.scope=global", 1),
        ("clusters", "status.health=Pending", 1),
        ("clusters", "spec.server=https://a.example:6443", 1),
    ] {
        let selector = selector.replace('=', "%3D");
        let got = world
            .root(
                "GET",
                &format!("{path}?fieldSelector={selector}"),
                Value::Null,
            )
            .await;
        assert_eq!(got.0, 200, "{}", got.1);
        assert_eq!(names(&got).len(), count, "{path} {selector}");
    }
}

// F1: what an answer hides no selector finds out.
#[tokio::test]
async fn selectors_are_asked_of_what_is_shown() {
    let world = World::new().await;
    assert_eq!(world.root("POST", "clusters", cluster("a")).await.0, 201);
    let grant = json!({
        "metadata": {"name": "jane-a"},
        "spec": {"role": "viewer", "subject": {"kind": "User", "name": "jane"}, "clusters": ["a"]},
    });
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    for (selector, expected) in [
        ("", vec!["a"]),
        ("metadata.name%3Da", vec!["a"]),
        // She sees the cluster, and no address of it.
        ("spec.server%3Dhttps://a.example:6443", vec![]),
        ("spec.server!%3Dhttps://a.example:6443", vec!["a"]),
    ] {
        let path = format!("clusters?fieldSelector={selector}");
        let got = world.jane("GET", &path, Value::Null).await;
        assert_eq!(names(&got), expected, "{selector}: {}", got.1);
    }
}

#[tokio::test]
async fn metadata_alone_is_given_to_whoever_takes_nothing_else() {
    let world = World::new().await;
    let form = |kind: &str| format!("application/json;as={kind};v=v1;g=meta.k8s.io");
    let list = as_form(&world, "users?limit=1", &form("PartialObjectMetadataList")).await;
    assert_eq!(list.0, 200);
    assert_eq!(
        (&list.1["kind"], &list.1["apiVersion"]),
        (
            &json!("PartialObjectMetadataList"),
            &json!("meta.k8s.io/v1")
        )
    );
    let item = &list.1["items"][0];
    assert_eq!(
        (&item["kind"], &item["metadata"]["name"], item.get("spec")),
        (&json!("PartialObjectMetadata"), &json!("jane"), None)
    );
    assert!(list.1["metadata"]["continue"].is_string());
    let one = as_form(&world, "users/jane", &form("PartialObjectMetadata")).await;
    assert_eq!(
        (one.0, &one.1["kind"], one.1.get("spec")),
        (200, &json!("PartialObjectMetadata"), None)
    );
    // A list has no single object's form, nor is there another version.
    for (path, form) in [
        ("users", form("PartialObjectMetadata")),
        ("users/jane", form("PartialObjectMetadataList")),
        ("users", form("Table").replace("v1", "v2")),
        ("users", "application/vnd.kubernetes.protobuf".to_owned()),
    ] {
        assert_eq!(as_form(&world, path, &form).await.0, 406, "{path} {form}");
    }
}

#[tokio::test]
async fn one_object_of_a_revision_that_is_not_there_yet_is_504() {
    let world = World::new().await;
    let now = world.store.revision().await.unwrap();
    for (version, code) in [
        ("0".to_owned(), 200),
        (now.to_string(), 200),
        ((now + 1).to_string(), 504),
        ("x".to_owned(), 400),
    ] {
        let path = format!("users/jane?resourceVersion={version}");
        let got = world.root("GET", &path, Value::Null).await;
        assert_eq!(got.0, code, "{version}: {}", got.1);
    }
}

// kubectl diff compares what a dry run shows with what is there.
#[tokio::test]
async fn a_dry_run_of_a_change_shows_the_revision_as_it_is() {
    let world = World::new().await;
    let mut jane = world.root("GET", "users/jane", Value::Null).await.1;
    let before = jane["metadata"]["resourceVersion"].clone();
    jane["spec"]["displayName"] = "Jane".into();
    let got = world.root("PUT", "users/jane?dryRun=All", jane).await;
    assert_eq!(got.0, 200, "{}", got.1);
    assert_eq!(got.1["spec"]["displayName"], "Jane");
    assert_eq!(got.1["metadata"]["resourceVersion"], before);
    let made = json!({"metadata": {"name": "x"}});
    let got = world.root("POST", "users?dryRun=All", made).await;
    assert_eq!(
        (got.0, got.1["metadata"].get("resourceVersion")),
        (201, None)
    );
}

// F7: a misspelt precondition must not delete without one.
#[tokio::test]
async fn options_of_a_deletion_are_read_strictly() {
    let world = World::new().await;
    for bad in [
        json!({"precondition": {"uid": "x"}}),
        json!({"preconditions": {"UID": "x"}}),
        json!({"preconditions": {"resourceversion": "1"}}),
        json!({"kind": "User", "apiVersion": "v1"}),
        json!({"dryrun": ["All"]}),
        json!([{"uid": "x"}]),
        json!("x"),
    ] {
        let raw = Value::String(bad.to_string());
        let got = world.root("DELETE", "users/jane", raw).await;
        assert_eq!(got.0, 400, "{bad}: {}", got.1);
    }
    assert_eq!(world.root("GET", "users/jane", Value::Null).await.0, 200);
    // All that kubectl and client-go send.
    let options = json!({
        "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 0,
        "propagationPolicy": "Background", "orphanDependents": null,
        "preconditions": {"uid": "u-jane"}, "dryRun": [],
    });
    let got = world.root("DELETE", "users/jane", options).await;
    assert_eq!(got.0, 200, "{}", got.1);
}
