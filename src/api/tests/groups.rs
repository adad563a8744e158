//! Groups: names become uids once.

use super::*;

#[tokio::test]
async fn members_are_resolved_when_they_are_written() {
    let world = World::new().await;
    let got = world.root("POST", "groups", group("ops", &["jane"])).await;
    assert_eq!(
        got.1["spec"]["members"],
        json!([{"name": "jane", "uid": "u-jane"}])
    );
    let wrong = json!({"metadata": {"name": "two"}, "spec": {"members": [{"name": "jane", "uid": "u-other"}]}});
    let got = world.root("POST", "groups", wrong).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.members[0].uid"]));
    let got = world
        .root("POST", "groups", group("two", &["nobody"]))
        .await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.members[0].name"]));
    assert!(message(&got).contains("Not found: \"nobody\""));
}

#[tokio::test]
async fn who_was_a_member_stays_who_they_were() {
    let world = World::new().await;
    // A member whose user is gone by now, left by an older gateway.
    let spec = GroupSpec {
        members: vec![Member {
            name: "ghost".to_owned(),
            uid: "u-ghost".to_owned(),
        }],
        ..GroupSpec::default()
    };
    world.put(Group::new("old", spec), "g-old").await;
    let mut old = world.root("GET", "groups/old", Value::Null).await.1;
    old["spec"]["members"] = json!([{"name": "ghost"}, {"name": "jane"}]);
    let got = world.root("PUT", "groups/old", old).await;
    assert_eq!(got.0, 200, "{}", got.1);
    assert_eq!(
        got.1["spec"]["members"],
        json!([{"name": "ghost", "uid": "u-ghost"}, {"name": "jane", "uid": "u-jane"}])
    );
}

#[tokio::test]
async fn bindings_of_a_group_go_with_it() {
    let world = World::new().await;
    world.root("POST", "groups", group("ops", &["jane"])).await;
    let mut grant = binding("ops-view", "viewer", "ops");
    grant["spec"]["subject"]["kind"] = "Group".into();
    grant["spec"]["allClusters"] = true.into();
    let got = world.root("POST", "bindings", grant).await;
    assert_eq!(got.0, 201, "{}", got.1);
    assert_eq!(world.root("DELETE", "groups/ops", Value::Null).await.0, 200);
    assert_eq!(
        world.root("GET", "bindings/ops-view", Value::Null).await.0,
        404
    );
}
