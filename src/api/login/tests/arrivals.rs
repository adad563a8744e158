//! Accounts that a browser brings from their provider.

use super::*;
use crate::{
    authn::providers::{Arrival, Grant, GroupRef, Provider, Record, record_key},
    config::{self, Access, AccessMode, Client, Github, Link},
};

const SECRET: &str = "gho_canary-7f3k";

fn hub(listed: &[&str]) -> config::Provider {
    let link = Link {
        ca_file: None,
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        danger_plain_http: false,
    };
    config::Provider {
        display_name: "GitHub".to_owned(),
        primary: false,
        disabled: false,
        access: Access {
            mode: AccessMode::Restricted,
            users: Vec::new(),
            groups: listed.iter().map(ToString::to_string).collect(),
        },
        refresh_interval: Duration::from_mins(5),
        refresh_max_age: Duration::from_hours(1),
        source: config::Source::Github(Github {
            url: "https://github.example".to_owned(),
            api_url: "https://github.example/api/v3".to_owned(),
            client: Client {
                id: "palisade".to_owned(),
                secret_file: None,
            },
            organizations: Vec::new(),
            device_flow: false,
            link,
        }),
    }
}

fn arrival(id: &str, login: &str, grant: Option<&str>) -> Arrival {
    Arrival {
        id: id.into(),
        name: login.into(),
        handle: login.to_lowercase().into(),
        display_name: "Somebody\u{7}".to_owned(),
        groups: vec![GroupRef {
            id: "org-11".into(),
            name: "acme".into(),
        }],
        grant: grant.map(|text| serde_json::from_value(json!(text)).unwrap()),
    }
}

impl World {
    fn provider(&self, listed: &[&str]) -> Provider {
        let config = hub(listed);
        let provider = Provider::new("hub", &config);
        let all = [("hub".to_owned(), config)];
        self.login.providers.replace(&all.into_iter().collect());
        provider
    }

    async fn arrive(&self, listed: &[&str], arrival: Arrival) -> Result<Done, LoginError> {
        let provider = self.provider(listed);
        let mut seen = Seen::default();
        let wanted = terminal("laptop");
        self.login
            .enter_arrival(&provider, arrival, &wanted, &mut seen)
            .await
    }

    async fn record(&self, id: &str) -> (Record, String) {
        let key = record_key("hub", id);
        let kv = self.login.store.get(&key).await.unwrap().unwrap();
        (Record::decode(&key, &kv.value).unwrap(), key)
    }

    async fn refusal(&self, listed: &[&str], arrival: Arrival) -> String {
        let done = self.arrive(listed, arrival).await;
        done.err().unwrap().status().message
    }
}

#[tokio::test]
async fn an_account_that_comes_for_the_first_time_gets_a_user_and_a_session() {
    let world = World::new().await;
    let done = world.arrive(&["org-11"], arrival("7", "Octo-Cat", Some(SECRET)));
    let done = done.await.unwrap();
    assert_eq!(&*done.user.handle, "hub:octo-cat");
    let identity = world.identify(done.session.text.expose()).unwrap();
    assert_eq!(identity.groups(), [Box::from("hub:org-11")]);
    assert_eq!(world.ended(LoginEnd::Done), 1);
    // The token is at rest sealed, and opens in its own place alone (O6).
    let (record, key) = world.record("7").await;
    let sealed = record.grant.unwrap();
    assert!(!sealed.contains(SECRET));
    let keyring = &world.login.keyring;
    let provider = world.provider(&["org-11"]);
    let config::Source::Github(github) = &provider.config.source else {
        panic!("it is a GitHub");
    };
    let place = |key: &str| crate::store::seal::associated(&[key, &github.url, &github.client.id]);
    assert_eq!(
        &**keyring.open(&sealed, &place(&key)).unwrap(),
        SECRET.as_bytes()
    );
    assert!(
        keyring
            .open(&sealed, &place(&record_key("hub", "8")))
            .is_err()
    );
    // The next login of the same account is the same user; a grant that is not given again stays.
    let again = world
        .arrive(&["org-11"], arrival("7", "renamed", None))
        .await
        .unwrap();
    assert_eq!(again.user.uid, done.user.uid);
    let (record, _) = world.record("7").await;
    assert_eq!((&*record.name, record.grant), ("renamed", Some(sealed)));
}

// L4: some give a token at the first login alone, and change it with each refresh: the old one is of no use any more.
#[tokio::test]
async fn a_login_that_brings_no_token_keeps_the_one_that_a_refresh_got_meanwhile() {
    let world = World::new().await;
    let first = world.arrive(&["acme"], arrival("7", "octocat", Some(SECRET)));
    first.await.unwrap();
    let (record, key) = world.record("7").await;
    let newer: Grant = serde_json::from_value(json!("gho_newer")).unwrap();
    let provider = world.provider(&["acme"]);
    let newer = newer.seal(&world.login.keyring, &key, &provider).unwrap();
    // This replica has not heard of it when the login begins.
    let before = world.login.index.account("hub", "7").unwrap();
    let txn = Txn::new().put(key, record.granted(Some(newer.clone())).encode());
    world.login.store.txn(txn).await.unwrap();
    let known = world.login.index.account("hub", "7").unwrap();
    assert_eq!(known.record.grant, before.record.grant);
    let again = world.arrive(&["acme"], arrival("7", "renamed", None));
    again.await.unwrap();
    let (record, _) = world.record("7").await;
    assert_eq!((&*record.name, record.grant), ("renamed", Some(newer)));
}

// L6, CVE-2026-55670
#[tokio::test]
async fn who_gets_somebodys_old_name_there_gets_nothing_of_theirs_here() {
    let world = World::new().await;
    let first = world.arrive(&["acme"], arrival("7", "octocat", Some(SECRET)));
    let first = first.await.unwrap();
    let second = world.refusal(&["acme"], arrival("8", "octocat", Some(SECRET)));
    let why = "the name \"hub:octocat\" belongs to another user here; ask an administrator";
    assert_eq!(second.await, why);
    let (record, _) = world.record("7").await;
    assert_eq!(record.user.uid, *first.user.uid);
    let key = record_key("hub", "8");
    assert!(world.login.store.get(&key).await.unwrap().is_none());
    // Nor once the user was removed here.
    let grave = crate::api::users::tombstone("hub:octocat");
    let txn = Txn::new().delete(User::key("hub:octocat")).put(grave, "1");
    let revision = world.login.store.txn(txn).await.unwrap();
    let follower = &world.login.follower;
    follower.wait_for(revision, APPLY_LIMIT).await.unwrap();
    let third = world.refusal(&["acme"], arrival("8", "octocat", Some(SECRET)));
    assert!(third.await.contains("never given again"));
    let back = world.refusal(&["acme"], arrival("7", "octocat", Some(SECRET)));
    assert!(back.await.contains("never given again"));
}

#[tokio::test]
async fn who_is_not_listed_disabled_or_has_no_name_gets_no_session_and_leaves_nothing() {
    let world = World::new().await;
    let told = world.refusal(&["other", "org-12"], arrival("7", "octocat", Some(SECRET)));
    let not_listed = "this account may not log in here; ask an administrator to let it in";
    assert_eq!(told.await, not_listed);
    let told = world.refusal(&["acme"], arrival("7", "octo cat", Some(SECRET)));
    assert!(told.await.contains("cannot be the name of a user here"));
    let key = record_key("hub", "7");
    assert!(world.login.store.get(&key).await.unwrap().is_none());
    let done = world
        .arrive(&["acme"], arrival("7", "octocat", None))
        .await
        .unwrap();
    let spec = UserSpec {
        disabled: true,
        ..UserSpec::default()
    };
    let mut user = User::new("hub:octocat", spec);
    user.metadata.uid = done.user.uid.to_string();
    world.put("hub:octocat", user, UserPrivate::default()).await;
    let told = world.refusal(&["acme"], arrival("7", "octocat", None));
    assert_eq!(told.await, not_listed);
}

#[tokio::test]
async fn a_password_for_a_provider_of_the_browsers_is_sent_nowhere() {
    let world = World::new().await;
    world.provider(&["acme"]);
    let body = json!({"provider": "hub", "username": "octocat", "password": PASSWORD});
    let (code, answer) = world
        .ask(Method::POST, "/v1/login/password", "", &body.to_string())
        .await;
    assert_eq!(code, 400, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("with a browser"),
        "{answer}"
    );
    let (_, listed) = world.ask(Method::GET, "/v1/login/providers", "", "").await;
    let hub = json!({"name": "hub", "flow": "browser", "displayName": "GitHub"});
    assert_eq!(listed["providers"][1], hub);
}

#[tokio::test]
async fn while_users_are_not_loaded_nobody_can_tell_whose_account_it_is() {
    let mut world = World::new().await;
    world.login.index = Arc::new(Index::new());
    let error = world.arrive(&["acme"], arrival("7", "octocat", None)).await;
    assert_eq!(error.err().unwrap().status().code, 503);
}
