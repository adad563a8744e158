//! Accounts that are throttled, and how they are unlocked.

use super::*;
use std::net::IpAddr;

const STREET: &str = "198.51.100.9";

impl World {
    /// With a password for jane.
    async fn with_password() -> Self {
        let world = World::new().await;
        let password = json!({"password": "correct horse battery"});
        let got = world.root("PUT", "users/jane/password", password).await;
        assert_eq!(got.0, 200, "{}", got.1);
        world
    }

    /// A login as jane from an address; the code.
    async fn login(&self, from: &str, password: &str) -> u16 {
        let body = json!({"provider": "local", "username": "jane", "password": password});
        let request = Request::post("/v1/login/password")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let from: IpAddr = from.parse().unwrap();
        match self
            .api
            .login
            .handle(from, request, &mut login::Seen::default())
            .await
        {
            Ok(response) => response.status().as_u16(),
            Err(error) => error.status().code,
        }
    }

    async fn hammer(&self) {
        for _ in 0..10 {
            assert_eq!(self.login(STREET, "wrong").await, 401);
        }
        assert_eq!(self.login(STREET, "wrong").await, 429);
    }

    async fn throttled_until(&self) -> Option<Timestamp> {
        let got = self.root("GET", "users/jane", Value::Null).await;
        let until = got.1["status"]["throttledUntil"].as_str();
        until.map(|until| until.parse().unwrap())
    }
}

// G6: an admin sees it, and can undo it.
#[tokio::test]
async fn a_throttled_account_is_shown_and_unlocked() {
    let world = World::with_password().await;
    assert_eq!(world.throttled_until().await, None);
    world.hammer().await;
    let left = clock::now().duration_until(world.throttled_until().await.unwrap());
    assert!((250..=301).contains(&left.as_secs()), "{left:?}");
    let got = world.root("POST", "users/jane/unlock", Value::Null).await;
    assert_eq!((got.0, got.1["kind"].as_str()), (200, Some("User")));
    assert!(got.1["status"]["throttledUntil"].is_null(), "{}", got.1);
    assert!(!got.1.to_string().contains("argon2"));
    assert_eq!(world.login("192.0.2.1", "correct horse battery").await, 201);
    // Nobody is let off more than that.
    world.hammer().await;
}

#[tokio::test]
async fn the_table_tells_whose_logins_are_throttled() {
    let world = World::with_password().await;
    world.hammer().await;
    let request = Request::get(format!("{BASE}/users"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Full::default())
        .unwrap();
    let root = caller("root", "u-root", Reach::All);
    let table = world.send(&root, request).await.1;
    let columns = table["columnDefinitions"].as_array().unwrap();
    let logins = columns
        .iter()
        .position(|it| it["name"] == "Logins")
        .unwrap();
    let cells: Vec<&str> = table["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["cells"][logins].as_str().unwrap())
        .collect();
    // jane, root
    assert!(cells[0].starts_with("throttled "), "{cells:?}");
    assert_eq!(cells[1], "open");
}

#[tokio::test]
async fn whoever_is_vouched_for_gets_in_while_a_stranger_hammers() {
    let world = World::with_password().await;
    world.hammer().await;
    let from = json!({"from": "203.0.113.7"});
    assert_eq!(world.root("POST", "users/jane/unlock", from).await.0, 200);
    world.hammer().await;
    assert_eq!(world.login("192.0.2.1", "correct horse battery").await, 429);
    assert_eq!(
        world.login("203.0.113.7", "correct horse battery").await,
        201
    );
}

#[tokio::test]
async fn a_help_desk_unlocks_and_can_do_no_more() {
    let world = World::with_password().await;
    world.put_user("desk", "u-desk").await;
    let rule = PolicyRule {
        verbs: vec![
            "create".to_owned(),
            "update".to_owned(),
            "delete".to_owned(),
        ],
        api_groups: vec![crate::objects::GROUP.to_owned()],
        resources: vec![
            "users/unlock".to_owned(),
            "users/password".to_owned(),
            "users".to_owned(),
        ],
        ..PolicyRule::default()
    };
    world.give("desk", "u-desk", "desk", vec![rule]).await;
    let desk = caller("desk", "u-desk", Reach::All);
    let ask =
        async |method: &str, path: &str, body: Value| world.ask(&desk, method, path, &body).await.0;
    assert_eq!(ask("POST", "users/jane/unlock", json!({})).await, 200);
    // Whom they may let in, but not become: somebody who holds what they do not.
    assert_eq!(ask("POST", "users/root/unlock", json!({})).await, 200);
    let password = json!({"password": "staple battery horse"});
    assert_eq!(ask("PUT", "users/root/password", password).await, 403);
    assert_eq!(ask("DELETE", "users/root", Value::Null).await, 403);
    // Nobody unlocks themselves by being logged in.
    let got = world.jane("POST", "users/jane/unlock", json!({})).await;
    assert_eq!(got.0, 403, "{}", got.1);
}

#[tokio::test]
async fn an_unlock_that_cannot_be_is_refused_with_the_reason() {
    let world = World::with_password().await;
    let path = "users/jane/unlock";
    let before = world.root("GET", "users/jane", Value::Null).await.1;
    for (body, code) in [
        (json!({"from": "home"}), 422),
        (json!({"from": "10.0.0.0/8"}), 422),
        (json!({"form": "192.0.2.1"}), 400),
        (json!("192.0.2.1"), 400),
    ] {
        let got = world.root("POST", path, body).await;
        assert_eq!(got.0, code, "{}", got.1);
    }
    let got = world.root("POST", path, json!({"from": "home"})).await;
    assert_eq!(fields(&got), ["from"]);
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        assert_eq!(world.root(method, path, json!({})).await.0, 405, "{method}");
    }
    let got = world.root("POST", "users/nobody/unlock", json!({})).await;
    assert_eq!(got.0, 404);
    world.hammer().await;
    let dry = format!("{path}?dryRun=All");
    assert_eq!(world.root("POST", &dry, json!({})).await.0, 200);
    assert!(world.throttled_until().await.is_some());
    let after = world.root("GET", "users/jane", Value::Null).await.1;
    let version = |user: &Value| user["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&before), version(&after));
}
