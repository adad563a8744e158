//! Users and their passwords.

use super::*;

fn user(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test]
async fn a_user_is_made_with_their_local_account() {
    let world = World::new().await;
    let got = world
        .root(
            "POST",
            "users",
            json!({"metadata": {"name": "ann.lee_1"}, "spec": {"displayName": "Ann Lee"}}),
        )
        .await;
    assert_eq!(got.0, 201, "{}", got.1);
    assert_eq!(
        got.1["spec"]["principals"],
        json!([{"provider": "local", "id": got.1["metadata"]["uid"]}])
    );
    assert_eq!(got.1["status"]["hasPassword"], false);
    for bad in ["system-x", "palisade", "a:b", "Ann", "", "a b", "a/b"] {
        let got = world.root("POST", "users", user(bad)).await;
        assert_eq!(
            (got.0, fields(&got)),
            (422, vec!["metadata.name"]),
            "{bad}: {}",
            got.1
        );
    }
    let forged = json!({"metadata": {"name": "x"}, "spec": {"principals": [{"provider": "github", "id": "1"}]}});
    let got = world.root("POST", "users", forged).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.principals"]));
}

#[tokio::test]
async fn what_a_user_is_stays() {
    let world = World::new().await;
    let mut jane = world.root("GET", "users/jane", Value::Null).await.1;
    jane["spec"]["machine"] = true.into();
    jane["spec"]["principals"] = json!([{"provider": "github", "id": "1"}]);
    jane["status"] = json!({"hasPassword": true});
    let got = world.root("PUT", "users/jane", jane.clone()).await;
    assert_eq!(
        (got.0, fields(&got)),
        (422, vec!["spec.machine", "spec.principals"])
    );
    jane["spec"] = json!({"disabled": true});
    let got = world.root("PUT", "users/jane", jane).await;
    assert_eq!(got.0, 200, "{}", got.1);
    // The status is the gateway's.
    assert_eq!(
        (&got.1["spec"]["disabled"], &got.1["status"]["hasPassword"]),
        (&json!(true), &json!(false))
    );
}

// CVE-2024-58260: a name is one user's, also under concurrent creation.
#[tokio::test]
async fn one_of_two_concurrent_creations_wins() {
    let world = World::new().await;
    let (a, b) = tokio::join!(
        world.root("POST", "users", user("twin")),
        world.root("POST", "users", user("twin"))
    );
    let mut codes = [a.0, b.0];
    codes.sort_unstable();
    assert_eq!(codes, [201, 409]);
}

// CVE-2026-55670 and L6: nobody inherits what a removed user's name still means somewhere.
#[tokio::test]
async fn a_removed_users_handle_is_not_given_again() {
    let world = World::new().await;
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    let got = world.root("POST", "users", user("jane")).await;
    assert_eq!((got.0, &got.1["reason"]), (409, &json!("AlreadyExists")));
    assert_eq!(
        message(&got),
        "users.palisade.dev \"jane\" already exists: a removed user had this handle, and handles are not given again"
    );
}

#[tokio::test]
async fn what_hangs_on_a_user_goes_with_them() {
    let world = World::new().await;
    let end = in_hours(1);
    for _ in 0..150 {
        // More than one transaction holds.
        world
            .put_token(("jane", "u-jane"), TokenKind::Pat, end)
            .await;
    }
    let kept = world
        .put_token(("root", "u-root"), TokenKind::Pat, end)
        .await;
    world
        .root("POST", "groups", group("ops", &["jane", "root"]))
        .await;
    let mut grant = binding("jane-views", "viewer", "jane");
    grant["spec"]["allClusters"] = true.into();
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    assert_eq!(
        names(&world.root("GET", "tokens", Value::Null).await),
        [kept]
    );
    assert_eq!(
        names(&world.root("GET", "bindings", Value::Null).await),
        ["root"]
    );
    let ops = world.root("GET", "groups/ops", Value::Null).await.1;
    assert_eq!(
        ops["spec"]["members"],
        json!([{"name": "root", "uid": "u-root"}])
    );
}

#[tokio::test]
async fn a_user_of_many_large_groups_is_removed_from_all() {
    let world = World::new().await;
    let padding = "x".repeat(300_000);
    for group in 0..6 {
        let spec = GroupSpec {
            // An older gateway may have taken longer texts.
            display_name: padding.clone(),
            members: vec![Member {
                name: "jane".to_owned(),
                uid: "u-jane".to_owned(),
            }],
        };
        world
            .put(Group::new(format!("g{group}"), spec), &format!("g-{group}"))
            .await;
    }
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    let groups = world.root("GET", "groups", Value::Null).await.1;
    for group in groups["items"].as_array().unwrap() {
        assert_eq!(group["spec"]["members"], json!([]));
    }
}

#[tokio::test]
async fn a_user_who_was_made_past_the_api_again_is_removed_again() {
    let world = World::new().await;
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    world.put_user("jane", "u-jane-2").await;
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    assert_eq!(world.root("GET", "users/jane", Value::Null).await.0, 404);
}

#[tokio::test]
async fn passwords_are_set_by_admins_and_changed_with_the_present_one() {
    let world = World::new().await;
    let first = json!({"password": "correct horse battery"});
    let got = world.root("PUT", "users/jane/password", first).await;
    assert_eq!(
        (got.0, &got.1["status"]["hasPassword"]),
        (200, &json!(true)),
        "{}",
        got.1
    );
    assert!(!got.1.to_string().contains("argon2"));

    let got = world
        .jane(
            "PUT",
            "users/jane/password",
            json!({"password": "staple battery horse"}),
        )
        .await;
    assert_eq!((got.0, fields(&got)), (422, vec!["current"]));
    let wrong = json!({"password": "staple battery horse", "current": "something else"});
    assert_eq!(world.jane("PUT", "users/jane/password", wrong).await.0, 403);
    let session = world
        .put_token(("jane", "u-jane"), TokenKind::Ses, in_hours(1))
        .await;
    let right = json!({"password": "staple battery horse", "current": "correct horse battery"});
    assert_eq!(world.jane("PUT", "users/jane/password", right).await.0, 200);
    // It ended the sessions.
    let got = world
        .root("GET", &format!("tokens/{session}"), Value::Null)
        .await;
    assert_eq!(got.0, 404);

    let got = world
        .root("PUT", "users/jane/password", json!({"password": "short"}))
        .await;
    assert_eq!(got.0, 422);
    assert!(!got.1.to_string().contains("\"short\""));
    let got = world
        .root(
            "PUT",
            "users/nobody/password",
            json!({"password": "correct horse battery"}),
        )
        .await;
    assert_eq!(got.0, 404);
    let got = world
        .root(
            "PUT",
            "users/jane/password?dryRun=All",
            json!({"password": "correct horse battery"}),
        )
        .await;
    assert_eq!(got.0, 400);
    world
        .root(
            "POST",
            "users",
            json!({"metadata": {"name": "bot"}, "spec": {"machine": true}}),
        )
        .await;
    let got = world
        .root(
            "PUT",
            "users/bot/password",
            json!({"password": "correct horse battery"}),
        )
        .await;
    assert_eq!(got.0, 422);
}

#[tokio::test]
async fn a_password_in_a_broken_body_is_not_quoted() {
    let world = World::new().await;
    for body in [
        "{\"password\": 12345678901234}",
        "{\"passwd\": \"hunter2hunter2\"}",
        "{\"password\": \"hunter2hunter2\"",
    ] {
        let got = world
            .root("PUT", "users/jane/password", Value::String(body.to_owned()))
            .await;
        assert_eq!(got.0, 400);
        assert!(
            !got.1.to_string().contains("12345678901234") && !got.1.to_string().contains("hunter2"),
            "{}",
            got.1
        );
    }
}

#[tokio::test]
async fn a_dry_run_is_refused_where_the_write_would_be() {
    let world = World::new().await;
    let user = |name: &str| json!({"metadata": {"name": name}});
    let got = world.root("POST", "users?dryRun=All", user("jane")).await;
    assert_eq!(got.0, 409, "{}", got.1);
    assert_eq!(world.root("DELETE", "users/jane", Value::Null).await.0, 200);
    let got = world.root("POST", "users?dryRun=All", user("jane")).await;
    assert_eq!(got.0, 409, "{}", got.1);
    assert!(message(&got).contains("handles are not given again"));
    let got = world.root("POST", "users?dryRun=All", user("mia")).await;
    assert_eq!(got.0, 201, "{}", got.1);
}
