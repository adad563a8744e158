//! Bindings.

use super::*;

#[tokio::test]
async fn a_binding_names_its_subject_by_uid() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!(got.0, 201, "{}", got.1);
    assert_eq!(
        got.1["spec"]["subject"],
        json!({"kind": "User", "name": "jane", "uid": "u-jane"})
    );
    grant["metadata"]["name"] = "y".into();
    grant["spec"]["subject"] = json!({"kind": "User", "name": "jane", "uid": "u-before"});
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.subject.uid"]));
    for (subject, field) in [
        (
            json!({"kind": "User", "name": "nobody"}),
            "spec.subject.name",
        ),
        (
            json!({"kind": "Group", "name": "jane"}),
            "spec.subject.name",
        ),
        (json!({"kind": "User", "name": ""}), "spec.subject.name"),
    ] {
        grant["spec"]["subject"] = subject;
        let got = world.root("POST", "bindings", grant.clone()).await;
        assert_eq!((got.0, fields(&got)), (422, vec![field]));
    }
}

#[tokio::test]
async fn the_scope_fits_the_roles() {
    let world = World::new().await;
    world.root("POST", "clusters", cluster("prod")).await;
    for (role, place, expected) in [
        ("admin", json!({}), None),
        (
            "admin",
            json!({"allClusters": true}),
            Some("spec.allClusters"),
        ),
        (
            "admin",
            json!({"clusters": ["prod"]}),
            Some("spec.clusters"),
        ),
        ("viewer", json!({}), Some("spec.clusters")),
        ("viewer", json!({"allClusters": true}), None),
        ("viewer", json!({"clusters": ["prod"]}), None),
        ("viewer", json!({"clusterSelector": {"env": "prod"}}), None),
        (
            "viewer",
            json!({"clusters": ["prod"], "allClusters": true}),
            Some("spec.clusters"),
        ),
        (
            "viewer",
            json!({"clusters": ["prod", "prod"]}),
            Some("spec.clusters[1]"),
        ),
        // A grant never waits for a name to be taken.
        (
            "viewer",
            json!({"clusters": ["later"]}),
            Some("spec.clusters[0]"),
        ),
        (
            "viewer",
            json!({"clusterSelector": {"-": "x"}}),
            Some("spec.clusterSelector"),
        ),
        ("none", json!({"allClusters": true}), Some("spec.role")),
        ("authenticated", json!({}), Some("spec.role")),
        ("", json!({}), Some("spec.role")),
    ] {
        let mut grant = binding("x", role, "jane");
        grant["spec"]
            .as_object_mut()
            .unwrap()
            .extend(place.as_object().unwrap().clone());
        let got = world.root("POST", "bindings?dryRun=All", grant).await;
        match expected {
            None => assert_eq!(got.0, 201, "{role} {place}: {}", got.1),
            Some(field) => assert_eq!(
                (got.0, fields(&got)),
                (422, vec![field]),
                "{role} {place}: {}",
                got.1
            ),
        }
    }
}

#[tokio::test]
async fn a_binding_ends_in_the_future() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    grant["spec"]["expiresAt"] = in_hours(-1).to_string().into();
    let got = world.root("POST", "bindings", grant.clone()).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.expiresAt"]));
    grant["spec"]["expiresAt"] = in_hours(1).to_string().into();
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
}

// CVE-2019-14436: what a binding gives is settled when it is made.
#[tokio::test]
async fn the_role_of_a_binding_stays() {
    let world = World::new().await;
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    let mut made = world.root("POST", "bindings", grant).await.1;
    made["spec"]["role"] = "admin".into();
    made["spec"]["allClusters"] = false.into();
    let got = world.root("PUT", "bindings/x", made).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.role"]));
}

#[tokio::test]
async fn a_binding_to_somebody_gone_can_still_be_changed() {
    let world = World::new().await;
    let spec = BindingSpec {
        role: "viewer".to_owned(),
        subject: Subject {
            kind: SubjectKind::User,
            name: "ghost".to_owned(),
            uid: "u-ghost".to_owned(),
        },
        all_clusters: true,
        ..BindingSpec::default()
    };
    world.put(Binding::new("old", spec), "b-old").await;
    let mut old = world.root("GET", "bindings/old", Value::Null).await.1;
    old["metadata"]["labels"] = json!({"seen": "yes"});
    let got = world.root("PUT", "bindings/old", old.clone()).await;
    assert_eq!(got.0, 200, "{}", got.1);
    old = got.1;
    old["spec"]["subject"] = json!({"kind": "User", "name": "jane"});
    let got = world.root("PUT", "bindings/old", old).await;
    assert_eq!(
        (got.0, &got.1["spec"]["subject"]["uid"]),
        (200, &json!("u-jane"))
    );
}
