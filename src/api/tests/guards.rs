//! Power is handed out by admins alone, and the last of them stays.

use super::*;

// CVE-2021-36784, CVE-2025-23391: neither a write on roles nor one on passwords leads to more than one has.
#[tokio::test]
async fn a_role_that_allows_a_write_does_not_make_an_admin() {
    let world = World::new().await;
    // Every write on every kind, and neither "bind" nor "escalate": all that a clerk could be given by mistake.
    let rule = PolicyRule {
        verbs: ["get", "list", "create", "update", "patch", "delete"]
            .map(str::to_owned)
            .to_vec(),
        api_groups: vec![crate::objects::GROUP.to_owned()],
        resources: vec!["*".to_owned()],
        ..PolicyRule::default()
    };
    world.give("jane", "u-jane", "clerk", vec![rule]).await;
    let clerk = caller("jane", "u-jane", Reach::All);
    let more = "it gives rights that they do not hold on the gateway's own API for good";
    let clusters = "it gives rights that they do not hold on every cluster for good";
    let wide = json!({
        "metadata": {"name": "wide"},
        "spec": {"scope": "global", "rules": [{"verbs": ["bind"], "apiGroups": ["palisade.dev"], "resources": ["roles"]}]},
    });
    let heir =
        json!({"metadata": {"name": "heir"}, "spec": {"scope": "global", "inherits": ["admin"]}});
    let password = json!({"password": "correct horse battery"});
    for (method, path, body, why) in [
        ("POST", "bindings", binding("x", "admin", "jane"), more),
        ("DELETE", "bindings/root", Value::Null, more),
        ("POST", "roles", wide, more),
        ("POST", "roles", heir, more),
        ("PUT", "users/root/password", password.clone(), more),
        ("DELETE", "users/root", Value::Null, more),
        ("POST", "clusters", cluster("x"), clusters),
        (
            "PUT",
            "clusters/x/credential",
            json!({"reconciler": "x"}),
            "it gives rights that they do not hold on cluster \"x\" for good",
        ),
    ] {
        let got = world.ask(&clerk, method, path, &body).await;
        assert_eq!(got.0, 403, "{method} {path}: {}", got.1);
        assert!(message(&got).contains(why), "{}", message(&got));
    }
    // What gives nothing to anybody is what the policy says.
    let narrow = json!({
        "metadata": {"name": "narrow"},
        "spec": {"scope": "global", "rules": [{"verbs": ["get"], "apiGroups": ["palisade.dev"], "resources": ["users"]}]},
    });
    world.put_user("mia", "u-mia").await;
    for (method, path, body, code) in [
        ("GET", "users", Value::Null, 200),
        ("POST", "users", json!({"metadata": {"name": "x"}}), 201),
        ("POST", "groups", group("x", &["jane"]), 201),
        ("POST", "roles", narrow, 201),
        ("POST", "bindings", binding("x", "narrow", "mia"), 201),
        ("PUT", "users/mia/password", password, 200),
        ("DELETE", "users/mia", Value::Null, 200),
    ] {
        let got = world.ask(&clerk, method, path, &body).await;
        assert_eq!(got.0, code, "{method} {path}: {}", got.1);
    }
}

const LAST: &str = "nobody would be left who holds the role \"admin\"";

#[tokio::test]
async fn the_last_admin_stays() {
    let world = World::new().await;
    let mut root = world.root("GET", "users/root", Value::Null).await.1;
    root["spec"]["disabled"] = true.into();
    let mut bound = world.root("GET", "bindings/root", Value::Null).await.1;
    let mut ending = bound.clone();
    ending["spec"]["expiresAt"] = in_hours(1).to_string().into();
    bound["spec"]["subject"] = json!({"kind": "User", "name": "jane"});
    for (method, path, body) in [
        ("DELETE", "users/root", Value::Null),
        ("DELETE", "bindings/root", Value::Null),
        ("PUT", "users/root", root.clone()),
        ("PUT", "bindings/root", ending),
    ] {
        let got = world.root(method, path, body).await;
        assert_eq!(
            (got.0, &got.1["reason"]),
            (409, &json!("Conflict")),
            "{method} {path}: {}",
            got.1
        );
        assert!(message(&got).contains(LAST), "{}", message(&got));
    }
    let request = Request::builder()
        .method("PATCH")
        .uri(format!("{BASE}/users/root"))
        .header("content-type", "application/merge-patch+json")
        .body(Full::new(Bytes::from_static(
            b"{\"spec\":{\"disabled\":true}}",
        )));
    let caller = caller("root", "u-root", Reach::All);
    let got = world.send(&caller, request.unwrap()).await;
    assert!(got.0 == 409 && message(&got).contains(LAST), "{}", got.1);
    // Handing it over in one write is no loss.
    assert_eq!(world.root("PUT", "bindings/root", bound).await.0, 200);
    root = world.root("GET", "users/root", Value::Null).await.1;
    // Now jane is the admin.
    let jane = super::caller("jane", "u-jane", Reach::All);
    assert_eq!(
        world
            .ask(&jane, "DELETE", "users/root", &Value::Null)
            .await
            .0,
        200,
        "{root}"
    );
    assert_eq!(
        world
            .ask(&jane, "DELETE", "users/jane", &Value::Null)
            .await
            .0,
        409
    );
}

#[tokio::test]
async fn an_admin_by_a_group_counts() {
    let world = World::new().await;
    world.root("POST", "groups", group("ops", &["jane"])).await;
    let mut grant = binding("ops", "admin", "ops");
    grant["spec"]["subject"]["kind"] = "Group".into();
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    assert_eq!(
        world.root("DELETE", "bindings/root", Value::Null).await.0,
        200
    );
    let mut jane = caller("jane", "u-jane", Reach::All);
    let ops = world.ask(&jane, "GET", "groups/ops", &Value::Null).await.1;
    jane.groups = [ops["metadata"]["uid"].as_str().unwrap().into()].into();
    let mut empty = ops.clone();
    empty["spec"]["members"] = json!([]);
    for (method, path, body) in [
        ("PUT", "groups/ops", empty),
        ("DELETE", "groups/ops", Value::Null),
        ("DELETE", "users/jane", Value::Null),
        ("DELETE", "bindings/ops", Value::Null),
    ] {
        let got = world.ask(&jane, method, path, &body).await;
        assert_eq!(got.0, 409, "{method} {path}: {}", got.1);
        assert!(message(&got).contains(LAST), "{}", message(&got));
    }
    // Another member makes room.
    let mut two = ops;
    two["spec"]["members"] = json!([{"name": "jane"}, {"name": "root"}]);
    assert_eq!(world.ask(&jane, "PUT", "groups/ops", &two).await.0, 200);
    assert_eq!(
        world
            .ask(&jane, "DELETE", "users/jane", &Value::Null)
            .await
            .0,
        200
    );
}

#[tokio::test]
async fn two_admins_cannot_remove_each_other_at_once() {
    for _ in 0..20 {
        let world = World::new().await;
        assert_eq!(
            world
                .root("POST", "bindings", binding("jane", "admin", "jane"))
                .await
                .0,
            201
        );
        let jane = caller("jane", "u-jane", Reach::All);
        let (a, b) = tokio::join!(
            world.root("DELETE", "users/jane", Value::Null),
            world.ask(&jane, "DELETE", "users/root", &Value::Null),
        );
        let mut codes = [a.0, b.0];
        codes.sort_unstable();
        assert_eq!(codes[0], 200, "{} {}", a.1, b.1);
        // The other one found that they are the last, or that they are no admin any more.
        assert!([403, 409].contains(&codes[1]), "{} {}", a.1, b.1);
    }
}

#[tokio::test]
async fn who_cannot_log_in_is_no_last_admin() {
    let world = World::new().await;
    let user = json!({"metadata": {"name": "bot"}, "spec": {"machine": true}});
    assert_eq!(world.root("POST", "users", user).await.0, 201);
    let user = json!({"metadata": {"name": "mia"}});
    assert_eq!(world.root("POST", "users", user).await.0, 201);
    for name in ["bot", "mia"] {
        let wanted = binding(name, "admin", name);
        assert_eq!(world.root("POST", "bindings", wanted).await.0, 201);
    }
    let got = world.root("DELETE", "bindings/root", Value::Null).await;
    assert_eq!(got.0, 409, "{}", got.1);
    assert!(message(&got).contains(LAST), "{}", message(&got));
}
