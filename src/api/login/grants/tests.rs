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
    store::follow::{Batch, Change},
};
use code::Callback;
use http::{HeaderMap, HeaderValue};
use jiff::SignedDuration;
use zeroize::Zeroizing;

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

// G4: also in the moment between the look at that session and the write.
#[tokio::test]
async fn what_becomes_of_a_session_while_its_yes_is_redeemed_is_looked_at_again() {
    for ended in [true, false] {
        let world = World::new().await;
        let login = &world.login;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        let (grant, session) = (device_key(&locator()), Token::key(jane.token_id().as_str()));
        let yes = login.look_at(&by(&jane)).await.unwrap().unwrap();
        let kept = login.store.get(&session).await.unwrap().unwrap();
        let change = if ended {
            Txn::new().delete(session)
        } else {
            // A page was asked for, and the session lasts longer.
            Txn::new().put(session, kept.value)
        };
        login.store.txn(change).await.unwrap();
        let revision = login.grants.find(&grant).unwrap().revision;
        let wanted = Wanted {
            kind: TokenKind::Ses,
            client: "desk".to_owned(),
            from: here(),
        };
        let given = login.give((&grant, revision), &yes, &wanted).await;
        assert!(given.unwrap().is_none(), "ended: {ended}");
        let all = login.index.tokens_of("jane", jane.user_uid());
        assert!(all.iter().all(|it| it.kind == TokenKind::Web));
        if ended {
            assert_eq!(refusal(world.poll(&asked).await), Refusal::Denied);
        } else {
            assert!(world.poll(&asked).await.unwrap().is_ok());
        }
    }
}

#[tokio::test]
async fn a_session_that_is_used_all_the_while_is_one_that_gives() {
    let world = World::new().await;
    let login = &world.login;
    let jane = world.browser("jane").await;
    let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
    let session = Token::key(jane.token_id().as_str());
    let using = async {
        for _ in 1..super::ATTEMPTS {
            let kept = login.store.get(&session).await.unwrap().unwrap();
            let txn = Txn::new().put(&*session, kept.value);
            let revision = login.store.txn(txn).await.unwrap();
            login.applied(revision).await;
        }
    };
    let (done, ()) = tokio::join!(world.poll(&asked), using);
    assert!(done.unwrap().is_ok());
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

#[tokio::test]
async fn what_happens_to_terminals_is_counted_once() {
    let world = World::new().await;
    let login = &world.login;
    let jane = world.browser("jane").await;
    let mut begun = Vec::new();
    for _ in 0..6 {
        begun.push(login.begin_device("desk", here()).await.unwrap());
    }
    for one in &begun[..2] {
        let allowed = login.allow_device(&one.user_code, &jane).await;
        assert_eq!(allowed.unwrap(), Answered::Done);
    }
    let refused = login.refuse_device(&begun[2].user_code).await;
    assert_eq!(refused.unwrap(), Answered::Done);
    // Too late, and no answer.
    let late = login.allow_device(&begun[2].user_code, &jane).await;
    assert_eq!(late.unwrap(), Answered::Gone);
    assert!(world.poll(&begun[0].device_code).await.unwrap().is_ok());
    let gone = &begun[3].device_code;
    assert_eq!(login.withdraw_device(gone, here()).await.unwrap(), Ok(()));
    login.ask_for_code();
    login.refuse_code();
    let codes = [world.code(&jane).await, world.code(&jane).await].map(Result::unwrap);
    assert!(world.fetch(&codes[0]).await.unwrap().is_ok());
    login.spend_state("a state", here()).await.unwrap();
    // Two replicas sweep.
    let other = Grants::default();
    let all = login.store.list(PREFIX, 100, None).await.unwrap();
    login.applied(all.revision).await;
    other.apply_batch(&Batch {
        changes: all.items.into_iter().map(Change::Put).collect(),
        revision: all.revision,
        complete: true,
    });
    let later = in_seconds(3600);
    sweep_once(&login.grants, &login.store, later).await;
    sweep_once(&other, &login.store, later).await;
    let left = login.store.list(PREFIX, 100, None).await.unwrap();
    assert!(left.items.is_empty(), "{:?}", left.items);
    let counted = |way| {
        let all = [
            Step::Begun,
            Step::Given,
            Step::Refused,
            Step::Fetched,
            Step::Expired,
        ];
        all.map(|step| login.grants.counted(way, step))
    };
    // One that was let in did not come, two had no answer.
    assert_eq!(counted(Way::Device), [6, 2, 1, 1, 3]);
    assert_eq!(counted(Way::Browser), [1, 2, 1, 1, 1]);
    for way in [Way::Device, Way::Browser] {
        assert_eq!(other.counted(way, Step::Expired), 0);
    }
}

// CVE-2024-58259: strangers who fill the place for terminals keep nobody from logging in by a browser.
#[tokio::test]
async fn what_strangers_begin_takes_no_room_from_people() {
    let world = World::new().await;
    let jane = world.browser("jane").await;
    let asks = What::Device {
        secret: String::new(),
        answer: Answer::None,
    };
    let asks = record(asks, in_seconds(600));
    world.login.grants.fill(10_000, &asks);
    let begun = world.login.begin_device("one more", here()).await;
    let refused = begun.err().unwrap();
    assert!(matches!(refused, LoginError::TooManyGrants(Kind::Device)));
    let code = world.code(&jane).await.unwrap();
    assert!(world.fetch(&code).await.unwrap().is_ok());
    let spent = world.login.spend_state("a state", here()).await;
    assert_eq!(spent.unwrap(), Spent::Now);
    assert!(world.login.grants.find(&state_key("other")).is_none());
}

// CVE-2024-58259: each kind has a bound, and what is over and not swept yet takes no room.
#[tokio::test]
async fn there_is_room_for_so_many_grants_of_each_kind() {
    for is_over in [true, false] {
        let end = in_seconds(if is_over { 0 } else { 600 });
        let world = World::new().await;
        let browser = world.browser("jane").await;
        let asks = What::Device {
            secret: String::new(),
            answer: Answer::None,
        };
        let code = What::Code {
            challenge: String::new(),
            redirect_uri: String::new(),
            by: by(&browser),
        };
        let grants = &world.login.grants;
        for (count, what) in [(10_000, asks), (10_000, code), (50_000, What::State)] {
            grants.fill(count, &record(what, end));
        }
        let begun = world.login.begin_device("one more", here()).await;
        let given = world.code(&browser).await;
        let spent = world.login.spend_state("a state", here()).await;
        for error in [begun.err(), given.err(), spent.err()] {
            let is_full = matches!(error, Some(LoginError::TooManyGrants(_)));
            assert_eq!(is_full, !is_over, "{error:?}");
        }
        // One that is taken away leaves its place.
        world.end(&device_key("7"));
        assert!(world.login.begin_device("one more", here()).await.is_ok());
    }
}

#[tokio::test]
async fn a_person_has_so_many_codes_and_others_have_theirs() {
    let world = World::new().await;
    world.user("john", UserSpec::default()).await;
    let (jane, john) = (world.browser("jane").await, world.browser("john").await);
    for _ in 0..10 {
        assert!(world.code(&jane).await.is_ok());
    }
    let refused = world.code(&jane).await.err().unwrap();
    assert_eq!(refused.status().code, 429, "{refused}");
    assert!(world.code(&john).await.is_ok());
}

// With `login.source_tries: 0` there are bounds still.
#[tokio::test]
async fn where_sources_are_not_told_apart_everybody_has_one_bound() {
    let mut world = World::new().await;
    let account = Pace {
        tries: 10,
        interval: Duration::from_mins(5),
    };
    let settings = Settings {
        account,
        source: None,
    };
    world.login.throttle = Throttle::new(Live::fixed(settings), 1);
    let login = &world.login;
    let peer = |i: usize| {
        let [.., a, b] = i.to_be_bytes();
        IpAddr::from([198, 51, a, b])
    };
    let tries = 0..1_500_usize;
    let begun = tries
        .clone()
        .filter(|&i| login.admit_device(peer(i)).is_ok());
    assert!((1_000..1_400).contains(&begun.count()));
    let left = tries
        .clone()
        .filter(|&i| login.admit_leave(peer(i)).is_ok());
    assert!((1_000..1_400).contains(&left.count()));
    let mut last = None;
    for i in 0..2_000 {
        let code = format!("{i:0>43}");
        let outcome = login.fetch_code((&code, VERIFIER, CALLBACK), peer(i)).await;
        last = Some(refusal(outcome));
        if matches!(last, Some(Refusal::TooOften(_))) {
            assert!(i >= 600, "{i}");
            break;
        }
    }
    assert!(matches!(last, Some(Refusal::TooOften(_))), "{last:?}");
}

// An office is not locked out by its own logins, nor by one kind of them from the other.
#[test]
fn each_kind_of_begin_has_a_bound_of_its_own_and_a_proof_gives_back() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(World::new());
    let login = &world.login;
    for _ in 0..50 {
        assert!(login.admit_leave(here()).is_ok());
        assert!(login.admit_arrival(here()).is_ok());
    }
    assert!(login.admit_leave(here()).is_err());
    assert!(login.admit_arrival(here()).is_err());
    login.forgive_browser(here());
    assert!(login.admit_leave(here()).is_ok());
    assert!(login.admit_arrival(here()).is_ok());
    for _ in 0..50 {
        assert!(login.admit_device(here()).is_ok());
    }
    assert!(login.admit_device(here()).is_err());
    runtime.block_on(async {
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::Yes(by(&jane)), in_seconds(60)).await;
        // From wherever it is by then: whoever began is given theirs back.
        let moved = IpAddr::from([198, 51, 100, 7]);
        let done = world.login.poll_device(&asked, moved).await;
        assert!(done.unwrap().is_ok());
    });
    assert!(login.admit_device(here()).is_ok());
    assert!(login.admit_device(here()).is_err());
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

// G4: of two who answer at the same moment one has answered.
#[tokio::test]
async fn the_first_answer_counts() {
    for yes_is_first in [true, false] {
        let world = World::new().await;
        let jane = world.browser("jane").await;
        let asked = world.device(Answer::None, in_seconds(60)).await;
        let yes = world.login.allow_device(USER_CODE_OF_IT, &jane);
        let no = world.login.refuse_device(USER_CODE_OF_IT);
        let (first, second) = if yes_is_first {
            (yes.await, no.await)
        } else {
            let first = no.await;
            (first, yes.await)
        };
        assert_eq!(first.unwrap(), Answered::Done);
        assert_eq!(second.unwrap(), Answered::Gone);
        let polled = world.poll(&asked).await.unwrap();
        assert_eq!(polled.is_ok(), yes_is_first);
    }
}

// A replica that has not heard of a grant yet asks the store, and not without end.
#[tokio::test]
async fn what_this_replica_does_not_remember_is_read_from_the_store() {
    let mut world = World::new().await;
    let jane = world.browser("jane").await;
    let code = world.code(&jane).await.unwrap();
    let asked = world.device(Answer::None, in_seconds(60)).await;
    world.login.grants = Arc::new(Grants::default());
    assert_eq!(refusal(world.poll(&asked).await), Refusal::Pending);
    assert!(world.fetch(&code).await.unwrap().is_ok());
    let nobodys = format!("{}{}", "0".repeat(32), secret());
    let mut refusals = Vec::new();
    for _ in 0..80 {
        refusals.push(refusal(world.poll(&nobodys).await));
    }
    assert_eq!(refusals[..60], [Refusal::Expired; 60]);
    assert!(matches!(refusals[79], Refusal::TooOften(_)));
    // Of a code nothing is said either that was not looked at.
    let outcome = refusal(world.fetch(&"x".repeat(CHALLENGE)).await);
    assert!(matches!(outcome, Refusal::TooOften(_)), "{outcome:?}");
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
