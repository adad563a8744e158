//! How a session is made, lengthened and ended.

use super::*;

#[tokio::test]
async fn renewing_lengthens_the_same_session_up_to_its_last_day() {
    let world = World::new().await;
    let token = world.token().await;
    let start = clock::now();
    let identity = world.identify(&token).unwrap();
    let id = identity.token_id();
    let first = identity.expires_at();
    let hours = SignedDuration::from_hours;
    // At once there is nothing to win.
    assert_eq!(world.login.extend(id, start).await.unwrap(), first);
    let second = world.login.extend(id, start + hours(9)).await.unwrap();
    assert_eq!(second, clock::whole_seconds(start + hours(25)));
    assert_eq!(
        world.identify(&token).unwrap().expires_at(),
        second,
        "the index has seen it"
    );
    let mut now = start + hours(24);
    let mut end = second;
    while now < end {
        end = world.login.extend(id, now).await.unwrap();
        assert!(end <= start + hours(7 * 24));
        now += hours(8);
    }
    assert!(is_near(start.duration_until(end), 7 * 24));
    assert!(matches!(
        world.login.extend(id, end).await,
        Err(LoginError::Authn(AuthnError::Refused(Refusal::Expired)))
    ));
}

#[tokio::test]
async fn a_renewal_by_http_answers_with_the_end() {
    let world = World::new().await;
    let token = world.token().await;
    let (code, body) = world.post("/v1/login/renew", &token).await;
    assert_eq!(code, 200);
    assert_eq!(
        time(&body["expiresAt"]),
        world.identify(&token).unwrap().expires_at()
    );
}

#[tokio::test]
async fn logging_out_ends_the_session_and_no_other() {
    let world = World::new().await;
    let (token, other) = (world.token().await, world.token().await);
    assert_eq!(world.post("/v1/login/logout", &token).await.0, 204);
    for path in ["/v1/login/renew", "/v1/login/logout"] {
        assert_eq!(world.post(path, &token).await.0, 401, "{path}");
    }
    assert_eq!(world.post("/v1/login/renew", &other).await.0, 200);
}

#[tokio::test]
async fn what_is_no_session_is_neither_renewed_nor_ended() {
    let world = World::new().await;
    let text = crate::authn::TokenText::generate(TokenKind::Pat).unwrap();
    let spec = TokenSpec {
        user: Member {
            name: "jane".to_owned(),
            uid: "uid-jane".to_owned(),
        },
        expires_at: Some(clock::now() + SignedDuration::from_hours(1)),
        ..TokenSpec::default()
    };
    let private = TokenPrivate {
        sha256: text.sha256_hex(),
        ..TokenPrivate::default()
    };
    let name = text.id().to_string();
    world
        .put(&name, Token::new(name.as_str(), spec), private)
        .await;
    for path in ["/v1/login/renew", "/v1/login/logout"] {
        assert_eq!(world.post(path, text.expose()).await.0, 403, "{path}");
        assert_eq!(world.post(path, "").await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_session_of_a_disabled_user_is_not_renewed() {
    let world = World::new().await;
    let token = world.token().await;
    let disabled = UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    world.user("jane", disabled).await;
    assert_eq!(world.post("/v1/login/renew", &token).await.0, 401);
}

// The password was right when it was checked; the session is written only if the user is still the same.
#[tokio::test]
async fn a_session_is_not_made_for_a_user_who_was_changed_meanwhile() {
    let world = World::new().await;
    let before = world.login.index.user("jane").unwrap();
    world
        .change(current(PASSWORD), "a better password")
        .await
        .unwrap();
    let answer = world
        .login
        .create(&before, &terminal(""), clock::now())
        .await;
    assert!(matches!(
        answer,
        Err(LoginError::Store(StoreError::Conflict { .. }))
    ));
}

#[tokio::test]
async fn sessions_of_one_user_are_bounded() {
    let world = World::with_sessions(Duration::from_mins(10), Duration::from_mins(10)).await;
    let jane = world.login.index.user("jane").unwrap();
    let start = clock::now();
    let mut tokens = Vec::new();
    for i in 0..110 {
        let now = start + SignedDuration::from_secs(i);
        let new = world
            .login
            .create(&jane, &terminal("a\nclient\u{7}"), now)
            .await
            .unwrap();
        tokens.push(new.text.expose().to_owned());
    }
    let left = world.login.index.tokens_of("jane", "uid-jane");
    assert_eq!(left.len(), 100);
    assert!(world.identify(&tokens[9]).is_err(), "the oldest went");
    assert!(world.identify(&tokens[10]).is_ok());
    let listing = world
        .login
        .store
        .list(&Token::prefix(), 1, None)
        .await
        .unwrap();
    let token = Stored::<Token>::decode("", &listing.items[0].value, 1).unwrap();
    assert_eq!(token.object.spec.display_name, "aclient");
}

// The store is asked by no page of a session that nothing lengthens any more.
#[tokio::test]
async fn a_session_at_its_last_end_is_not_touched() {
    let world = World::new().await;
    let now = clock::now();
    let text = TokenText::generate(TokenKind::Web).unwrap();
    let name = text.id().to_string();
    let put = async |renewable: i64| {
        let spec = TokenSpec {
            user: Member {
                name: "jane".to_owned(),
                uid: "uid-jane".to_owned(),
            },
            kind: TokenKind::Web,
            expires_at: Some(now + SignedDuration::from_mins(5)),
            renewable_until: Some(now + SignedDuration::from_mins(renewable)),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        world.put(&name, Token::new(&name, spec), private).await;
        let value = format!("a={}", text.expose()).parse().unwrap();
        let headers = HeaderMap::from_iter([(http::header::COOKIE, value)]);
        let credential = Credential::from_cookie(&headers, "a").unwrap().unwrap();
        let authn = Authn::new(Arc::clone(&world.login.index));
        authn.authenticate(&credential, now).unwrap()
    };
    let at_its_end = put(5).await;
    let before_it = put(600).await;
    let key = Token::key(&name);
    let revision = async || {
        world
            .login
            .store
            .get(&key)
            .await
            .unwrap()
            .unwrap()
            .mod_revision
    };
    let written = revision().await;
    // In the store there is more to be had by now: whoever looked would write.
    world.login.touch(&at_its_end, now).await;
    assert_eq!(revision().await, written);
    world.login.touch(&before_it, now).await;
    assert!(revision().await > written);
}
