//! Tokens: nobody gains by making one.

use super::*;
use crate::authn::TokenText;

fn jane(kind: TokenKind) -> Caller {
    Caller {
        token_kind: kind,
        ..caller("jane", "u-jane", Reach::Own)
    }
}

#[tokio::test]
async fn everybody_makes_reads_and_removes_their_own() {
    let world = World::new().await;
    let others = world
        .put_token(("root", "u-root"), TokenKind::Pat, in_hours(1))
        .await;
    let got = world
        .jane("POST", "tokens", json!({"spec": {"displayName": "laptop"}}))
        .await;
    assert_eq!(got.0, 201, "{}", got.1);
    let text = got.1["status"]["token"].as_str().unwrap();
    let parsed = TokenText::parse(text).unwrap();
    let name = got.1["metadata"]["name"].as_str().unwrap();
    assert_eq!((parsed.id.as_str(), parsed.kind), (name, TokenKind::Pat));
    assert_eq!(
        got.1["spec"]["user"],
        json!({"name": "jane", "uid": "u-jane"})
    );
    let end: Timestamp = got.1["spec"]["expiresAt"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((end.as_second() - in_hours(90 * 24).as_second()).abs() < 10);

    // The text is never told again, and neither is its hash.
    let read = world
        .jane("GET", &format!("tokens/{name}"), Value::Null)
        .await;
    assert_eq!((read.0, &read.1["status"]), (200, &json!({})));
    let list = world.jane("GET", "tokens", Value::Null).await;
    assert_eq!(names(&list), [name]);
    let all = world.root("GET", "tokens", Value::Null).await;
    assert_eq!(names(&all).len(), 2);
    for answer in [&read.1, &list.1, &all.1] {
        assert!(!answer.to_string().contains("sha256") && !answer.to_string().contains("pal_"));
    }

    // Not theirs and not there are one answer.
    let refused = |got: &Got| {
        (
            got.0,
            message(got)
                .replace(&others, "X")
                .replace("0000000000000000", "X"),
        )
    };
    let other = world
        .jane("GET", &format!("tokens/{others}"), Value::Null)
        .await;
    let none = world
        .jane("GET", "tokens/0000000000000000", Value::Null)
        .await;
    assert_eq!(refused(&other), refused(&none));
    assert_eq!(other.0, 403);
    let other = world
        .jane("DELETE", &format!("tokens/{others}"), Value::Null)
        .await;
    let none = world
        .jane("DELETE", "tokens/0000000000000000", Value::Null)
        .await;
    assert_eq!(refused(&other), refused(&none));
    assert_eq!(other.0, 403);
    assert_eq!(
        world
            .jane("DELETE", &format!("tokens/{name}"), Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(
        names(&world.root("GET", "tokens", Value::Null).await),
        [others]
    );
}

#[tokio::test]
async fn tokens_of_others_take_an_admin() {
    let world = World::new().await;
    let wanted = json!({"spec": {"user": {"name": "root"}}});
    let got = world.jane("POST", "tokens", wanted.clone()).await;
    assert_eq!(got.0, 403);
    // A role that allows to create tokens is not enough: it would make its holder an admin.
    let clerk = caller("jane", "u-jane", Reach::All);
    assert_eq!(world.ask(&clerk, "POST", "tokens", &wanted).await.0, 403);
    let got = world
        .root(
            "POST",
            "tokens",
            json!({"spec": {"user": {"name": "jane"}}}),
        )
        .await;
    assert_eq!(
        (got.0, &got.1["spec"]["user"]["uid"]),
        (201, &json!("u-jane"))
    );
    let got = world
        .root(
            "POST",
            "tokens",
            json!({"spec": {"user": {"name": "nobody"}}}),
        )
        .await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.user.name"]));
    let got = world
        .root(
            "POST",
            "tokens",
            json!({"spec": {"user": {"name": "jane", "uid": "u-other"}}}),
        )
        .await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.user.uid"]));
}

#[tokio::test]
async fn a_token_never_outlives_the_one_that_makes_it() {
    let world = World::new().await;
    let (pat, ses) = (jane(TokenKind::Pat), jane(TokenKind::Ses));
    let ask = async |caller: &Caller, hours: i64| {
        let wanted = json!({"spec": {"expiresAt": in_hours(hours).to_string()}});
        world.ask(caller, "POST", "tokens", &wanted).await
    };
    // The caller's own ends in 16 hours.
    assert_eq!(ask(&pat, 15).await.0, 201);
    let got = ask(&pat, 17).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec.expiresAt"]));
    assert!(
        message(&got).contains("cannot outlive"),
        "{}",
        message(&got)
    );
    let got = world.ask(&pat, "POST", "tokens", &json!({})).await;
    let end: Timestamp = got.1["spec"]["expiresAt"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(end <= pat.token_expires_at);
    // A session makes longer ones, up to the configured length.
    assert_eq!(ask(&ses, 365 * 24).await.0, 201);
    for hours in [367 * 24, -1, 0] {
        let got = ask(&ses, hours).await;
        assert_eq!(
            (got.0, fields(&got)),
            (422, vec!["spec.expiresAt"]),
            "{hours}"
        );
    }
}

#[tokio::test]
async fn a_token_is_never_good_for_more_clusters() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world.root("POST", "clusters", cluster(name)).await;
    }
    let mut grant = binding("x", "viewer", "jane");
    grant["spec"]["clusters"] = json!(["a"]);
    assert_eq!(world.root("POST", "bindings", grant).await.0, 201);
    let scoped = Caller {
        token_clusters: Some(["a".into()].into()),
        ..jane(TokenKind::Pat)
    };
    for (clusters, code) in [
        (json!([]), 422),
        (json!(["a"]), 201),
        (json!(["b"]), 422),
        (json!(["a", "b"]), 422),
    ] {
        let got = world
            .ask(
                &scoped,
                "POST",
                "tokens",
                &json!({"spec": {"clusters": clusters}}),
            )
            .await;
        assert_eq!(got.0, code, "{clusters}: {}", got.1);
    }
    // A cluster that the caller holds nothing on and one that is not there are one answer.
    for name in ["b", "none"] {
        let got = world
            .jane("POST", "tokens", json!({"spec": {"clusters": [name]}}))
            .await;
        assert_eq!((got.0, fields(&got)), (422, vec!["spec.clusters[0]"]));
        assert!(message(&got).contains(&format!("Not found: {name:?}")));
    }
    let got = world
        .root("POST", "tokens", json!({"spec": {"clusters": ["b"]}}))
        .await;
    assert_eq!((got.0, &got.1["spec"]["clusters"]), (201, &json!(["b"])));
}

#[tokio::test]
async fn what_is_the_gateways_to_say_is_refused() {
    let world = World::new().await;
    let wanted = json!({
        "metadata": {"name": "mine"},
        "spec": {"kind": "ses", "renewableUntil": in_hours(1).to_string()},
        "status": {"token": "pal_pat_x"},
    });
    let got = world.jane("POST", "tokens", wanted).await;
    assert_eq!(
        (got.0, fields(&got)),
        (
            422,
            vec!["metadata.name", "spec.kind", "spec.renewableUntil"]
        )
    );
    let got = world.jane("POST", "tokens?dryRun=All", json!({})).await;
    assert_eq!((got.0, got.1["status"].get("token")), (201, None));
}

#[tokio::test]
async fn the_spec_of_a_token_stays() {
    let world = World::new().await;
    let name = world
        .put_token(("jane", "u-jane"), TokenKind::Pat, in_hours(1))
        .await;
    let path = format!("tokens/{name}");
    let mut token = world.root("GET", &path, Value::Null).await.1;
    token["metadata"]["labels"] = json!({"seen": "yes"});
    let got = world.root("PUT", &path, token.clone()).await;
    assert_eq!(got.0, 200, "{}", got.1);
    token = got.1;
    token["spec"]["expiresAt"] = in_hours(2).to_string().into();
    let got = world.root("PUT", &path, token).await;
    assert_eq!((got.0, fields(&got)), (422, vec!["spec"]));
}

#[tokio::test]
async fn tokens_have_a_bound_and_expired_ones_make_room() {
    let world = World::new().await;
    let dead = world
        .put_token(("jane", "u-jane"), TokenKind::Pat, in_hours(-1))
        .await;
    for _ in 0..100 {
        world
            .put_token(("jane", "u-jane"), TokenKind::Pat, in_hours(1))
            .await;
    }
    let got = world.jane("POST", "tokens", json!({})).await;
    assert_eq!((got.0, &got.1["reason"]), (409, &json!("Conflict")));
    assert!(
        message(&got).contains("100 are the most"),
        "{}",
        message(&got)
    );
    let one = names(&world.jane("GET", "tokens", Value::Null).await)
        .into_iter()
        .find(|name| *name != dead)
        .unwrap()
        .to_owned();
    assert_eq!(
        world
            .jane("DELETE", &format!("tokens/{one}"), Value::Null)
            .await
            .0,
        200
    );
    assert_eq!(world.jane("POST", "tokens", json!({})).await.0, 201);
    assert_eq!(
        world
            .root("GET", &format!("tokens/{dead}"), Value::Null)
            .await
            .0,
        404
    );
}
