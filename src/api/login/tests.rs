//! Logins against a store in memory and its follower.

use super::{body::MAX_BODY, *};
use crate::{
    authn::{
        AuthnError, Refusal, TokenText,
        throttle::{Pace, Settings},
    },
    objects::{
        Kind, Member, Stored, Token, TokenKind, TokenPrivate, TokenSpec, User, UserPrivate,
        UserSpec,
    },
    store::{StoreError, Txn},
};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

mod arrivals;
mod provider;
mod refused;
mod sessions;
mod throttling;
mod timing;

pub(super) const PASSWORD: &str = "correct horse battery";

fn terminal(client: &str) -> Wanted {
    Wanted {
        kind: TokenKind::Ses,
        client: client.to_owned(),
        from: IpAddr::from([192, 0, 2, 1]),
    }
}

pub(super) struct World {
    pub(super) login: Login,
    /// Where requests come from.
    peer: IpAddr,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_sessions(Duration::from_hours(16), Duration::from_hours(7 * 24)).await
    }

    async fn with_sessions(lifetime: Duration, max_age: Duration) -> Self {
        let store = Store::memory();
        let index = Arc::new(Index::new());
        let follower = Follower::new(store.clone());
        let stop = CancellationToken::new();
        let grants = Arc::new(Grants::default());
        let (sink, second) = (Arc::clone(&grants), Arc::clone(&index));
        let run = follower.clone().run(
            move |batch| {
                sink.apply_batch(&batch);
                second.apply_batch(&batch);
            },
            stop.clone(),
        );
        tokio::spawn(run);
        follower.wait_for(0, APPLY_LIMIT).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::generate(&folder.path().join("keys")).unwrap();
        let login = Login {
            throttle: throttle(),
            keyring: Arc::new(keyring),
            logins: Arc::default(),
            grants,
            external_url: Live::fixed(ExternalUrl::parse("https://gate.example").unwrap()),
            providers: Arc::new(providers::Providers::new(Arc::clone(&index))),
            store,
            follower,
            index,
            passwords: passwords::Passwords::new(2, 8).unwrap(),
            sessions: Live::fixed(Sessions {
                lifetime,
                max_age,
                browser_idle: Duration::from_hours(1),
                browser_max_age: Duration::from_hours(12),
            }),
            base_domain: Live::fixed(None),
        };
        let world = Self {
            login,
            peer: IpAddr::from([192, 0, 2, 1]),
            _stop: stop.drop_guard(),
            _folder: folder,
        };
        world.user("jane", UserSpec::default()).await;
        world
    }

    pub(super) async fn put<K: Kind>(&self, name: &str, object: K, private: K::Private) {
        let value = Stored::new(object, private).encode();
        let revision = self
            .login
            .store
            .txn(Txn::new().put(K::key(name), value))
            .await
            .unwrap();
        self.login
            .follower
            .wait_for(revision, APPLY_LIMIT)
            .await
            .unwrap();
    }

    pub(super) async fn user(&self, name: &str, spec: UserSpec) {
        let password = Zeroizing::new(PASSWORD.to_owned());
        let hash = self.login.passwords.hash(password).await.unwrap();
        let mut user = User::new(name, spec);
        user.metadata.uid = format!("uid-{name}");
        let private = UserPrivate {
            password: Some(hash.to_string()),
            ..UserPrivate::default()
        };
        self.put(name, user, private).await;
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: &str) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        match self
            .login
            .handle(self.peer, request, &mut Seen::default())
            .await
        {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                (
                    head.status.as_u16(),
                    serde_json::from_slice(&body).unwrap_or_default(),
                )
            }
            Err(error) => {
                let status = error.status();
                (status.code, serde_json::to_value(status).unwrap())
            }
        }
    }

    async fn password(&self, username: &str, password: &str) -> (u16, Value) {
        self.on_device(username, password, &Value::Null).await
    }

    /// With what an earlier login gave.
    async fn on_device(&self, username: &str, password: &str, device: &Value) -> (u16, Value) {
        let body = json!({
            "provider": "local",
            "username": username,
            "password": password,
            "device": device,
        });
        self.ask(Method::POST, "/v1/login/password", "", &body.to_string())
            .await
    }

    async fn token(&self) -> String {
        let (code, body) = self.password("jane", PASSWORD).await;
        assert_eq!(code, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    }

    fn ended(&self, so: LoginEnd) -> u64 {
        self.login.logins.at(so).unwrap().get()
    }

    async fn post(&self, path: &str, token: &str) -> (u16, Value) {
        self.ask(Method::POST, path, token, "").await
    }

    fn identify(&self, token: &str) -> Result<crate::authn::Identity, LoginError> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        self.login.session(&headers)
    }

    async fn change(&self, proof: Proof, new: &str) -> Result<u64, LoginError> {
        let new = Zeroizing::new(new.to_owned());
        self.login.change_password("jane", proof, new).await
    }
}

/// Ten wrong passwords an account, a hundred a source.
fn throttle() -> Throttle {
    let pace = |tries| Pace {
        tries,
        interval: Duration::from_mins(5),
    };
    let settings = Settings {
        account: pace(10),
        source: Some(pace(100)),
    };
    Throttle::new(Live::fixed(settings), 1)
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

fn is_near(life: SignedDuration, hours: i64) -> bool {
    (life - SignedDuration::from_hours(hours)).abs() < SignedDuration::from_secs(60)
}

fn current(text: &str) -> Proof {
    Proof::Current(Zeroizing::new(text.to_owned()))
}

#[tokio::test]
async fn a_login_gives_a_session_that_is_good_at_once() {
    let world = World::new().await;
    let before = clock::now();
    let (code, body) = world.password("jane", PASSWORD).await;
    assert_eq!(code, 201);
    assert_eq!(body["user"], json!({"name": "jane", "uid": "uid-jane"}));
    let (end, latest) = (time(&body["expiresAt"]), time(&body["renewableUntil"]));
    let near = |at, hours| is_near(before.duration_until(at), hours);
    assert!(near(end, 16) && near(latest, 7 * 24), "{body}");
    let identity = world.identify(body["token"].as_str().unwrap()).unwrap();
    assert_eq!(
        (identity.handle(), identity.token_kind()),
        ("jane", TokenKind::Ses)
    );
    assert_eq!(identity.expires_at(), end);
}

// G5, L3: who has no such password learns nothing but that.
#[tokio::test]
async fn refused_logins_read_the_same() {
    let world = World::new().await;
    let disabled = UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    world.user("gone", disabled).await;
    let machine = UserSpec {
        machine: true,
        ..UserSpec::default()
    };
    world.user("robot", machine).await;
    let mut bare = User::new("bare", UserSpec::default());
    bare.metadata.uid = "uid-bare".to_owned();
    world.put("bare", bare, UserPrivate::default()).await;
    let (code, expected) = world.password("jane", "wrong password").await;
    assert_eq!(code, 401);
    for (user, password) in [
        ("nobody", PASSWORD),
        ("gone", PASSWORD),
        ("robot", PASSWORD),
        ("bare", PASSWORD),
        ("bare", ""),
        ("jane", ""),
        ("jane", "correct horse batterY"),
        ("Jane", PASSWORD),
        ("jane ", PASSWORD),
        ("ｊane", PASSWORD),
        ("local:jane", PASSWORD),
        ("", ""),
        ("../users/jane", PASSWORD),
    ] {
        assert_eq!(
            world.password(user, password).await,
            (401, expected.clone()),
            "{user:?}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_login_are_400_and_never_quoted() {
    let world = World::new().await;
    for body in [
        "",
        "{",
        "[]",
        r#"{"provider":"local","username":"jane"}"#,
        r#"{"provider":"local","username":"jane","password":["hunter2hunter2"]}"#,
        r#"{"provider":"local","username":"jane","password":"hunter2hunter2","x":1}"#,
        r#"{"provider":"ldap","username":"jane","password":"hunter2hunter2"}"#,
    ] {
        let (code, answer) = world
            .ask(Method::POST, "/v1/login/password", "", body)
            .await;
        assert_eq!(code, 400, "{body}");
        assert!(!answer.to_string().contains("hunter2"), "{answer}");
    }
    let long = " ".repeat(MAX_BODY + 1);
    assert_eq!(
        world
            .ask(Method::POST, "/v1/login/password", "", &long)
            .await
            .0,
        413
    );
}

// A page of another origin can post forms without asking; it cannot post JSON.
#[tokio::test]
async fn a_form_is_no_login() {
    let world = World::new().await;
    let body = json!({"provider": "local", "username": "jane", "password": PASSWORD}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post("/v1/login/password").header(CONTENT_TYPE, kind);
        let request = request.body(Full::new(Bytes::from(body.clone()))).unwrap();
        let answer = world
            .login
            .handle(world.peer, request, &mut Seen::default())
            .await;
        assert!(
            answer.is_err_and(|error| error.status().code == 400),
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn only_the_documented_paths_and_methods_answer() {
    let world = World::new().await;
    for (method, path, expected) in [
        (Method::GET, "/v1/login/providers", 200),
        (Method::POST, "/v1/login/providers", 405),
        (Method::GET, "/v1/login/password", 405),
        (Method::DELETE, "/v1/login/logout", 405),
        (Method::GET, "/v1/login/renew", 405),
        (Method::GET, "/v1/login/device", 405),
        (Method::GET, "/v1/login/token", 405),
        (Method::GET, "/v1/login/revoke", 405),
        (Method::GET, "/v1/login/", 404),
        (Method::POST, "/v1/login/password/", 404),
        (Method::POST, "/v1/login/oidc", 404),
    ] {
        assert_eq!(world.ask(method, path, "", "").await.0, expected, "{path}");
    }
    let (_, providers) = world.ask(Method::GET, "/v1/login/providers", "", "").await;
    let local = json!({"name": "local", "flow": "password", "displayName": "Local account"});
    let grants = json!(["device", "authorization_code"]);
    let expected = json!({"providers": [local], "grants": grants});
    assert_eq!(providers, expected);
}

#[tokio::test]
async fn a_changed_password_ends_every_session() {
    let world = World::new().await;
    let token = world.token().await;
    let new = "a better password";
    world.change(current(PASSWORD), new).await.unwrap();
    assert_eq!(world.post("/v1/login/renew", &token).await.0, 401);
    assert_eq!(world.password("jane", PASSWORD).await.0, 401);
    assert_eq!(world.password("jane", new).await.0, 201);
    let user = world
        .login
        .store
        .get(&User::key("jane"))
        .await
        .unwrap()
        .unwrap();
    let user = Stored::<User>::decode("", &user.value, 1).unwrap();
    assert!(user.object.status.has_password);
}

#[tokio::test]
async fn a_password_is_changed_with_the_right_proof_alone() {
    let world = World::new().await;
    let answer = world
        .change(current("a wrong one"), "a better password")
        .await;
    assert!(matches!(answer, Err(LoginError::WrongCurrent)));
    let answer = world.change(current(PASSWORD), "short").await;
    assert!(matches!(answer, Err(LoginError::Rule(_))));
    world
        .change(Proof::Administrator(Vec::new()), "set by an admin")
        .await
        .unwrap();
    assert_eq!(world.password("jane", "set by an admin").await.0, 201);
    let machine = UserSpec {
        machine: true,
        ..UserSpec::default()
    };
    world.user("jane", machine).await;
    let answer = world
        .change(Proof::Administrator(Vec::new()), "a better password")
        .await;
    assert!(matches!(answer, Err(LoginError::Machine)));
    let new = Zeroizing::new("a better password".to_owned());
    let answer = world
        .login
        .change_password("nobody", Proof::Administrator(Vec::new()), new)
        .await;
    assert!(matches!(answer, Err(LoginError::NoUser)));
}

#[tokio::test]
async fn before_the_index_is_filled_a_login_is_503() {
    let mut world = World::new().await;
    world.login.index = Arc::new(Index::new());
    assert_eq!(world.password("jane", PASSWORD).await.0, 503);
}

#[tokio::test]
async fn too_many_logins_at_a_time_are_429() {
    let mut world = World::new().await;
    world.login.passwords = passwords::Passwords::new(1, 0).unwrap();
    let (first, second) = tokio::join!(world.password("jane", PASSWORD), world.password("x", "y"));
    assert_eq!((first.0, second.0), (201, 429));
    assert_eq!(
        second.1["details"]["retryAfterSeconds"],
        passwords::RETRY_AFTER
    );
}
