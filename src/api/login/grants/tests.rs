//! Grants against a store in memory, as two replicas, strangers and bad moments leave them.

use super::{
    super::{
        PasswordLogin, Zeroized,
        tests::{PASSWORD, World},
    },
    live::{Grants, sweep_once},
    record::{Answer, Record, What, code_key, device_key, hash, state_key},
    *,
};
use crate::{
    authn::{
        Credential, Index,
        throttle::{Pace, Settings, Throttle},
    },
    config::live::Live,
    objects::{Token, User, UserPrivate, UserSpec},
    observe::metrics::labels::{TerminalStep as Step, TerminalWay as Way},
    store::{
        Store,
        follow::{Batch, Change},
    },
};
use code::Callback;
use http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;
use std::sync::atomic::{AtomicUsize, Ordering};
use zeroize::Zeroizing;

mod at_once;
mod bounds;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE_OF_IT: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "http://127.0.0.1:43210/callback";
const USER_CODE_OF_IT: &str = "BCDF-GHJK";

fn here() -> IpAddr {
    IpAddr::from([192, 0, 2, 1])
}

fn secret() -> String {
    "s".repeat(43)
}

impl World {
    /// Logs in with a browser.
    async fn browser(&self, name: &str) -> Identity {
        let login = PasswordLogin {
            provider: "local".to_owned(),
            username: name.to_owned(),
            password: Zeroized::from(Zeroizing::new(PASSWORD.to_owned())),
            device: None,
            wanted: Wanted {
                kind: TokenKind::Web,
                client: "a browser".to_owned(),
                from: here(),
            },
        };
        let seen = &mut super::super::Seen::default();
        let done = self.login.by_password(Ok(login), seen).await.unwrap();
        let cookie = format!("c={}", done.session.text.expose());
        let mut headers = HeaderMap::new();
        headers.insert("cookie", HeaderValue::try_from(cookie).unwrap());
        let credential = Credential::from_cookie(&headers, "c").unwrap().unwrap();
        let authn = Authn::new(Arc::clone(&self.login.index));
        authn.authenticate(&credential, clock::now()).unwrap()
    }

    async fn hold(&self, key: &str, value: Vec<u8>) {
        let txn = Txn::new().put(key, value);
        let revision = self.login.store.txn(txn).await.unwrap();
        self.login.applied(revision).await;
    }

    /// This replica hears of the end of a grant.
    fn end(&self, key: &str) {
        let key = key.to_owned();
        self.login.grants.apply_batch(&Batch {
            changes: vec![Change::Delete { key, revision: 1 }],
            revision: 1,
            complete: true,
        });
    }

    async fn fetch(&self, code: &str) -> Result<Result<Done, Refusal>, LoginError> {
        let presented = (code, VERIFIER, CALLBACK);
        self.login.fetch_code(presented, here()).await
    }

    async fn poll(&self, device_code: &str) -> Result<Result<Done, Refusal>, LoginError> {
        self.login.poll_device(device_code, here()).await
    }

    async fn code(&self, identity: &Identity) -> Result<Zeroizing<String>, LoginError> {
        let callback = Callback::parse(CALLBACK).unwrap();
        let asked = (CHALLENGE_OF_IT, &callback);
        self.login
            .grant_code(identity, asked, ("desk", here()))
            .await
    }

    /// A device grant with [`USER_CODE_OF_IT`] and [`secret`]; gives its device code.
    async fn device(&self, answer: Answer, expires_at: Timestamp) -> String {
        let locator = locator();
        let what = What::Device {
            secret: hash("palisade device", &secret()),
            answer,
        };
        let record = record(what, expires_at);
        self.hold(&device_key(&locator), record.encode()).await;
        format!("{locator}{}", secret())
    }
}

fn locator() -> String {
    hash("palisade user code", USER_CODE_OF_IT)[..32].to_owned()
}

fn record(what: What, expires_at: Timestamp) -> Record {
    Record {
        client: "desk".to_owned(),
        from: here(),
        asked_at: clock::now(),
        expires_at,
        what,
    }
}

fn in_seconds(seconds: i64) -> Timestamp {
    clock::now() + SignedDuration::from_secs(seconds)
}

#[track_caller]
fn refusal(outcome: Result<Result<Done, Refusal>, LoginError>) -> Refusal {
    match outcome.unwrap() {
        Ok(_) => panic!("a session"),
        Err(refusal) => refusal,
    }
}

#[track_caller]
fn cannot_tell(outcome: Result<Result<Done, Refusal>, LoginError>) {
    match outcome {
        Ok(Ok(_)) => panic!("a session"),
        Ok(Err(refusal)) => panic!("{refusal:?}"),
        Err(error) => assert_eq!(error.status().code, 503, "{error}"),
    }
}

// G4: codes are short-lived, whoever brings them and whether or not they are swept yet.
#[tokio::test]
async fn a_grant_whose_time_is_over_is_none() {
    let world = World::new().await;
    let jane = world.browser("jane").await;
    for (seconds, is_over) in [(60, false), (0, true), (-1, true), (-3600, true)] {
        let asked = world.device(Answer::None, in_seconds(seconds)).await;
        let shown = world
            .login
            .asking_device(USER_CODE_OF_IT, (&jane, here()))
            .unwrap();
        assert_eq!(shown.is_none(), is_over, "{seconds}");
        if is_over {
            assert_eq!(refusal(world.poll(&asked).await), Refusal::Expired);
            for answered in [
                world.login.allow_device(USER_CODE_OF_IT, &jane).await,
                world.login.refuse_device(USER_CODE_OF_IT).await,
            ] {
                assert_eq!(answered.unwrap(), Answered::Gone);
            }
        }
        // Answered in time, and fetched too late.
        let yes = Answer::Yes(by(&jane));
        let asked = world.device(yes, in_seconds(seconds)).await;
        let code = "c".repeat(CHALLENGE);
        let what = What::Code {
            challenge: CHALLENGE_OF_IT.to_owned(),
            redirect_uri: CALLBACK.to_owned(),
            by: by(&jane),
        };
        let kept = record(what, in_seconds(seconds));
        world.hold(&code_key(&code), kept.encode()).await;
        let (by_device, by_code) = (world.poll(&asked).await, world.fetch(&code).await);
        if is_over {
            assert_eq!(refusal(by_device), Refusal::Expired);
            assert!(matches!(refusal(by_code), Refusal::InvalidGrant(_)));
        } else {
            assert!(by_device.unwrap().is_ok());
            assert!(by_code.unwrap().is_ok());
        }
    }
}

// G4: whoever ends the session in which the yes was said has taken the yes back.
#[tokio::test]
async fn a_yes_ends_with_the_session_that_gave_it() {
    let world = World::new().await;
    for ended in [false, true] {
        let jane = world.browser("jane").await;
        let code = world.code(&jane).await.unwrap();
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        if ended {
            // On another replica: this one has not heard of it yet.
            let key = Token::key(jane.token_id().as_str());
            let txn = Txn::new().delete(key);
            world.login.store.txn(txn).await.unwrap();
            assert_eq!(refusal(world.fetch(&code).await), Refusal::Denied);
            assert_eq!(refusal(world.poll(&asked).await), Refusal::Denied);
        } else {
            assert!(world.fetch(&code).await.unwrap().is_ok());
            assert!(world.poll(&asked).await.unwrap().is_ok());
        }
    }
}

// CVE-2025-23387: a code alone, or a part of one, ends nothing.
#[tokio::test]
async fn a_terminal_takes_its_own_login_back_and_nobody_elses() {
    let world = World::new().await;
    let login = &world.login;
    let jane = world.browser("jane").await;
    let key = device_key(&locator());
    for answer in [Answer::None, Answer::Yes(by(&jane)), Answer::No] {
        let asked = world.device(answer, in_seconds(60)).await;
        let other = format!("{}{}", locator(), "x".repeat(43));
        for nobodys in [&*other, &asked[1..], &asked[..asked.len() - 1], "", "é"] {
            let told = login.withdraw_device(nobodys, here()).await.unwrap();
            assert_eq!(told, Ok(()), "nothing is told: {nobodys}");
        }
        assert!(login.store.get(&key).await.unwrap().is_some());
        for _ in 0..2 {
            let told = login.withdraw_device(&asked, here()).await.unwrap();
            assert_eq!(told, Ok(()));
        }
        assert!(login.store.get(&key).await.unwrap().is_none());
        assert_eq!(refusal(world.poll(&asked).await), Refusal::Expired);
        let late = login.allow_device(USER_CODE_OF_IT, &jane).await;
        assert_eq!(late.unwrap(), Answered::Gone);
    }
    assert_eq!(login.grants.counted(Way::Device, Step::Withdrawn), 3);
    // Each that is nobody's costs the store a read: not without end.
    let nobodys = format!("{}{}", "0".repeat(32), secret());
    let mut last = Ok(());
    for _ in 0..80 {
        last = login.withdraw_device(&nobodys, here()).await.unwrap();
    }
    assert!(matches!(last, Err(Refusal::TooOften(_))), "{last:?}");
}

// Fail closed, and say so: who cannot tell does not say no either.
#[tokio::test]
async fn what_cannot_be_told_is_no_refusal() {
    let mut world = World::new().await;
    let jane = world.browser("jane").await;
    let code = world.code(&jane).await.unwrap();
    let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
    // Not loaded.
    let loaded = std::mem::replace(&mut world.login.index, Arc::new(Index::new()));
    cannot_tell(world.fetch(&code).await);
    cannot_tell(world.poll(&asked).await);
    cannot_tell(world.fetch(&"x".repeat(CHALLENGE)).await);
    world.login.index = loaded;
    // A user of a newer build.
    let user = User::key("jane");
    let good = world.login.store.get(&user).await.unwrap().unwrap().value;
    world.hold(&user, b"{".to_vec()).await;
    cannot_tell(world.fetch(&code).await);
    cannot_tell(world.poll(&asked).await);
    world.hold(&user, good.to_vec()).await;
    // Nothing was used up by that.
    assert!(world.fetch(&code).await.unwrap().is_ok());
    // A grant of a newer build.
    let newer = "n".repeat(CHALLENGE);
    world.hold(&code_key(&newer), b"{}".to_vec()).await;
    cannot_tell(world.fetch(&newer).await);
}

// G4: each of these ends it, whatever holds still.
#[tokio::test]
async fn a_yes_is_of_one_person_and_one_session() {
    let world = World::new().await;
    world.user("john", UserSpec::default()).await;
    let (jane, john) = (world.browser("jane").await, world.browser("john").await);
    let counts = async |by: &By| world.login.look_at(by).await.unwrap().is_some();
    let good = by(&jane);
    assert!(counts(&good).await);
    let change = |change: fn(&mut By)| {
        let mut by = good.clone();
        change(&mut by);
        by
    };
    for changed in [
        change(|by| by.user.uid = "another".to_owned()),
        change(|by| by.user.name = "nobody".to_owned()),
        change(|by| by.password_epoch += 1),
        change(|by| by.session = String::new()),
        change(|by| by.session = "0".repeat(by.session.len())),
    ] {
        assert!(!counts(&changed).await, "{changed:?}");
    }
    // Disabled, and in a session that is not: nobody writes that, and nobody is let in by it.
    let mut elsewhere = good.clone();
    elsewhere.session = john.token_id().to_string();
    assert!(counts(&elsewhere).await);
    let mut user = User::new("jane", UserSpec::default());
    user.metadata.uid = jane.user_uid().to_owned();
    user.spec.disabled = true;
    world.put("jane", user, UserPrivate::default()).await;
    assert!(!counts(&elsewhere).await);
}

// G1, CVE-2026-44946: whatever the provider thinks of its code.
#[tokio::test]
async fn a_state_is_spent_once() {
    let world = World::new().await;
    for (state, spent) in [
        ("one", Spent::Now),
        ("one", Spent::Before),
        ("two", Spent::Now),
        ("one", Spent::Before),
    ] {
        let outcome = world.login.spend_state(state, here()).await;
        assert_eq!(outcome.unwrap(), spent, "{state}");
    }
}

// A yes is its person's, as they were.
#[tokio::test]
async fn a_device_grant_that_was_answered_ends_with_its_person() {
    for change in ["password", "disabled", "another user", "gone"] {
        let world = World::new().await;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        let mut user = User::new("jane", UserSpec::default());
        user.metadata.uid = jane.user_uid().to_owned();
        let mut private = UserPrivate::default();
        match change {
            "password" => private.password_epoch = jane.user().password_epoch + 1,
            "disabled" => user.spec.disabled = true,
            _ => user.metadata.uid = "another".to_owned(),
        }
        world.put("jane", user, private).await;
        if change == "gone" {
            let txn = Txn::new().delete(User::key("jane"));
            world.login.store.txn(txn).await.unwrap();
        }
        assert_eq!(
            refusal(world.poll(&asked).await),
            Refusal::Denied,
            "{change}"
        );
    }
}
