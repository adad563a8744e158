//! What ends early ends there.

use super::*;

impl World {
    async fn revision(&self) -> u64 {
        self.login.store.revision().await.unwrap()
    }
}

// T9 (CVE-2026-44882): whichever step of a login fails, no session is written and no token is in the answer.
#[tokio::test]
async fn a_login_that_fails_at_any_step_leaves_nothing() {
    let mut world = World::new().await;
    let login = |change: fn(&mut Value)| {
        let mut body = json!({"provider": "local", "username": "jane", "password": PASSWORD});
        change(&mut body);
        body.to_string()
    };
    let before = world.revision().await;
    for (body, code) in [
        (" ".repeat(MAX_BODY + 1), 413),
        ("{".to_owned(), 400),
        (login(|body| body["provider"] = json!("ldap")), 400),
        (login(|body| body["username"] = json!("nobody")), 401),
        (login(|body| body["password"] = json!("wrong")), 401),
    ] {
        let (got, answer) = world
            .ask(Method::POST, "/v1/login/password", "", &body)
            .await;
        assert_eq!(got, code, "{answer}");
        assert!(!answer.to_string().contains("pal_ses"), "{answer}");
    }
    let good = login(|_| ());
    let refused = async |world: &World, code: u16, why: &str| {
        let (got, answer) = world
            .ask(Method::POST, "/v1/login/password", "", &good)
            .await;
        assert_eq!(got, code, "{why}: {answer}");
        assert!(!answer.to_string().contains("pal_ses"), "{why}: {answer}");
    };
    // No room for a hash.
    let passwords = std::mem::replace(
        &mut world.login.passwords,
        passwords::Passwords::new(1, 0).unwrap(),
    );
    let (_, ()) = tokio::join!(
        world.password("nobody", "x"),
        refused(&world, 429, "hasher")
    );
    world.login.passwords = passwords;
    // Not filled yet, or not to be read.
    let index = std::mem::replace(&mut world.login.index, Arc::new(Index::new()));
    refused(&world, 503, "index").await;
    world.login.index = index;
    assert_eq!(world.revision().await, before);
    // The session cannot be written.
    world.login.store.close().await;
    refused(&world, 503, "store").await;
}

// T9: the same for the session's other two paths.
#[tokio::test]
async fn a_renewal_or_logout_without_a_session_writes_nothing() {
    let world = World::new().await;
    let token = world.token().await;
    let before = world.revision().await;
    let cut = &token[..token.len() - 1];
    for path in ["/v1/login/renew", "/v1/login/logout"] {
        for bad in ["", cut, "pal_ses_x"] {
            assert_eq!(world.post(path, bad).await.0, 401, "{path} {bad}");
        }
    }
    assert_eq!(world.revision().await, before);
    assert!(world.identify(&token).is_ok());
}
