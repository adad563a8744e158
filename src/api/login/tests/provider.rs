//! Logins at directories that answer as a test has it.

use super::*;
use crate::{
    authn::providers::fake::{
        BIND, GATE, SEARCH, Server, bound, entry, found, given_up, provider, settings,
    },
    config::DirectoryKind,
};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::task::JoinSet;

const DOMAIN: &str = "corp.example";
/// objectGUID and objectSid of one account: bytes that are also text.
const ID: &str = "0123456789abcdef";

/// A gateway with a directory as its provider `corp`.
struct Corp {
    world: World,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Corp {
    async fn new(
        kind: DirectoryKind,
        answer: impl Fn(u8, &str) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self::with(kind, None, answer).await
    }

    async fn with(
        kind: DirectoryKind,
        login_filter: Option<&str>,
        answer: impl Fn(u8, &str) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (world, server) = (World::new().await, Server::start(answer).await);
        let folder = tempfile::tempdir().unwrap();
        let mut ldap = settings(folder.path(), std::slice::from_ref(&server.host));
        ldap.directory = kind;
        ldap.login_filter = login_filter.map(str::to_owned);
        // Also for the servers that a test has silent.
        ldap.timeout = Duration::from_secs(2);
        if kind == DirectoryKind::ActiveDirectory {
            "sAMAccountName".clone_into(&mut ldap.handle_attribute);
            for base in [
                &mut ldap.base_dn,
                &mut ldap.user_base_dn,
                &mut ldap.group_base_dn,
            ] {
                "DC=corp,DC=example".clone_into(base);
            }
        }
        let all = [("corp".to_owned(), provider(ldap))];
        world.login.providers.replace(&all.into_iter().collect());
        Self {
            world,
            server,
            _folder: folder,
        }
    }

    async fn try_at(&self, name: &str, password: &str, from: u8, device: &Value) -> (u16, Value) {
        let body = json!({
            "provider": "corp",
            "username": name,
            "password": password,
            "device": device,
        });
        let request = Request::post("/v1/login/password").header(CONTENT_TYPE, "application/json");
        let request = request
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let source = IpAddr::from([198, 51, 100, from]);
        let mut seen = Seen::default();
        match self.world.login.handle(source, request, &mut seen).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap();
                (head.status.as_u16(), body)
            }
            Err(error) => {
                let status = error.status();
                (status.code, serde_json::to_value(status).unwrap())
            }
        }
    }

    async fn code(&self, name: &str, password: &str) -> u16 {
        self.try_at(name, password, 1, &Value::Null).await.0
    }
}

/// A domain `CORP` with one account: `jane`, whose UPN is another name, and whose password is [`PASSWORD`].
fn domain(operation: u8, text: &str) -> Vec<Vec<u8>> {
    match operation {
        BIND if text.contains(GATE) => bound(0),
        BIND if text.contains("CN=Jane") && text.contains(PASSWORD) => bound(0),
        BIND => bound(49),
        SEARCH if text.contains("configurationNamingContext") => {
            found([entry(b"", &[("configurationNamingContext", "CN=C")])])
        }
        SEARCH if text.contains("crossRef") => {
            found([entry(b"CN=CORP", &[("nETBIOSName", "CORP")])])
        }
        SEARCH if text.contains("tokenGroups") => {
            found([entry(b"CN=Jane,DC=corp", &[("tokenGroups", "S-group")])])
        }
        SEARCH if text.contains("objectCategory\u{4}\u{5}group") => found([]),
        SEARCH => {
            // In a filter the value comes behind the attribute: a tag, a length, the text.
            let is = |attribute: &str, name: &str| {
                let mut values = text.split(attribute).skip(1).filter_map(|rest| {
                    let length = usize::from(*rest.as_bytes().get(1)?);
                    rest.get(2..2 + length)
                });
                values.any(|value| value.eq_ignore_ascii_case(name))
            };
            let is_jane =
                is("sAMAccountName", "jane") || is("userPrincipalName", "jane.doe@partner.example");
            found(is_jane.then(|| {
                entry(
                    b"CN=Jane,DC=corp,DC=example",
                    &[
                        ("objectGUID", ID),
                        ("objectSid", ID),
                        ("primaryGroupID", "513"),
                        ("sAMAccountName", "Jane"),
                        ("userPrincipalName", "jane.doe@partner.example"),
                        ("userAccountControl", "512"),
                        ("msDS-User-Account-Control-Computed", "0"),
                        ("accountExpires", "0"),
                        ("pwdLastSet", "133000000000000000"),
                    ],
                )
            }))
        }
        _ => Vec::new(),
    }
}

/// Every spelling of a name: that of another domain too.
fn spellings(name: &str) -> Vec<String> {
    vec![
        name.to_owned(),
        name.to_uppercase(),
        format!("CORP\\{name}"),
        format!("corp\\{name}"),
        format!("{name}@{DOMAIN}"),
        format!("{name}@CORP.EXAMPLE"),
        format!("OTHER\\{name}"),
        format!(" {name} "),
    ]
}

// G5, G6, L3: however a name is spelt, and whether or not it is anybody's, the same answers come at each step.
#[tokio::test]
async fn no_spelling_tells_a_known_name_from_an_unknown_one() {
    let corp = Corp::new(DirectoryKind::ActiveDirectory, domain).await;
    let codes = async |name: &str| {
        let mut codes = Vec::new();
        for name in spellings(name).iter().cycle().take(20) {
            codes.push(corp.code(name, "a wrong password").await);
        }
        codes
    };
    let (known, unknown) = tokio::join!(codes("jane"), codes("nobody"));
    assert_eq!(known, unknown);
    assert_eq!(known, [[401; 10], [429; 10]].concat());
    let tried = corp.server.count(BIND, "CN=Jane");
    assert!((1..=10).contains(&tried), "{tried}");
}

// G6, L3: another name of the same account has no tries of its own, and is no way to tell that it is one.
#[tokio::test]
async fn the_names_of_one_account_share_its_tries_and_nobody_sees_that() {
    let corp = Corp::new(DirectoryKind::ActiveDirectory, domain).await;
    let codes = async |names: [&str; 2]| {
        let mut codes = Vec::new();
        for name in names {
            for _ in 0..12 {
                codes.push(corp.code(name, "a wrong password").await);
            }
        }
        codes
    };
    let (known, unknown) = tokio::join!(
        codes(["jane", "jane.doe@partner.example"]),
        codes(["joan", "joan.doe@partner.example"]),
    );
    assert_eq!(known, unknown);
    assert_eq!(corp.server.count(BIND, "CN=Jane"), 10);
}

// G6: a stranger has a directory searched no more often than they may try a password.
#[tokio::test]
async fn searches_of_strangers_are_bounded_by_name_and_by_source() {
    let mut corp = Corp::new(DirectoryKind::ActiveDirectory, domain).await;
    let pace = |tries| Pace {
        tries,
        interval: Duration::from_mins(5),
    };
    let throttle_of = |account, source| {
        let settings = Settings {
            account: pace(account),
            source: Some(pace(source)),
        };
        Throttle::new(Live::fixed(settings), 1)
    };
    for (throttle, names, most) in [
        (throttle_of(3, 1_000), 1, 3),
        (throttle_of(1_000, 5), 30, 5),
    ] {
        corp.world.login.throttle = throttle;
        let before = corp.server.count(SEARCH, "sAMAccountName");
        let tries = async |number: usize| {
            corp.code(&format!("n{}", number % names), "wrong wrong")
                .await
        };
        let codes: Vec<u16> = futures_util::future::join_all((0..30).map(tries)).await;
        assert_eq!(codes.iter().filter(|code| **code == 401).count(), most);
        assert_eq!(codes.iter().filter(|code| **code == 429).count(), 30 - most);
        assert_eq!(corp.server.count(SEARCH, "sAMAccountName") - before, most);
    }
    // What is no password is refused before anybody is searched for (L1).
    corp.world.login.throttle = throttle_of(10, 100);
    let before = corp.server.count(SEARCH, "");
    assert_eq!(corp.code("jane", " ").await, 401);
    assert_eq!(corp.server.count(SEARCH, ""), before);
}

// G6: whoever was there before is not kept out by strangers, by any of their names.
#[tokio::test]
async fn strangers_do_not_keep_out_who_logged_in_before() {
    let corp = Corp::new(DirectoryKind::ActiveDirectory, domain).await;
    let (code, body) = corp.try_at("jane", PASSWORD, 7, &Value::Null).await;
    assert_eq!(code, 201, "{body}");
    assert_eq!(body["user"]["name"], "corp:jane");
    let device = body["device"].clone();
    let upn = "jane.doe@partner.example";
    let (code, body) = corp.try_at(upn, PASSWORD, 7, &device).await;
    assert_eq!(code, 201, "{body}");
    for name in ["jane", upn] {
        for _ in 0..11 {
            corp.code(name, "a wrong password").await;
        }
        assert_eq!(corp.code(name, PASSWORD).await, 429, "{name}: a stranger");
        let (code, body) = corp.try_at(name, PASSWORD, 9, &device).await;
        assert_eq!(code, 201, "{name}: their device: {body}");
        let (code, body) = corp.try_at(name, PASSWORD, 7, &Value::Null).await;
        assert_eq!(code, 201, "{name}: their place: {body}");
    }
    // A device of one account is none of another's.
    for _ in 0..10 {
        assert_eq!(corp.try_at("nobody", PASSWORD, 9, &device).await.0, 401);
    }
    assert_eq!(corp.try_at("nobody", PASSWORD, 9, &device).await.0, 429);
}

/// A directory of OpenLDAP's kind with the account `jane`, which answers binds to it like this.
fn people(code: u8) -> impl Fn(u8, &str) -> Vec<Vec<u8>> + Send + Sync + 'static {
    move |operation, text| match operation {
        BIND if text.contains(GATE) => bound(0),
        BIND if text.contains("uid=jane") => bound(code),
        BIND if is_of_server(code) => bound(code),
        BIND => bound(49),
        _ if text.contains("member\u{4}") => found([]),
        _ => {
            let id = "00000000-0000-0000-0000-000000000001";
            let jane = || entry(b"uid=jane,dc=a", &[("entryUUID", id), ("uid", "jane")]);
            found(text.contains("jane").then(jane))
        }
    }
}

fn is_of_server(code: u8) -> bool {
    matches!(code, 8 | 51 | 52)
}

// G5: whatever a directory says of an account is what it says of nobody; what it says of itself is 503 for both.
#[tokio::test]
async fn what_a_directory_says_of_one_account_is_one_answer() {
    let mut tests = JoinSet::new();
    for code in [19, 32, 48, 49, 50, 53, 8, 51, 52] {
        tests.spawn(async move {
            let corp = Corp::new(DirectoryKind::Openldap, people(code)).await;
            let known = corp.try_at("jane", PASSWORD, 1, &Value::Null).await;
            let unknown = corp.try_at("nobody", PASSWORD, 1, &Value::Null).await;
            assert_eq!(known, unknown, "{code}");
            assert_eq!(
                known.0,
                if is_of_server(code) { 503 } else { 401 },
                "{code}"
            );
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
}

// G5: a directory that cannot search says nothing of a name: nobody is told that their password is wrong.
#[tokio::test]
async fn a_directory_that_gives_up_a_search_is_503_for_every_name() {
    for code in [3, 11, 80] {
        let overloaded = move |operation: u8, text: &str| match operation {
            BIND if text.contains(GATE) => bound(0),
            BIND => bound(49),
            _ => given_up(code),
        };
        let corp = Corp::new(DirectoryKind::Openldap, overloaded).await;
        for name in ["jane", "nobody"] {
            assert_eq!(corp.code(name, PASSWORD).await, 503, "{code} {name}");
        }
    }
}

// L4: who may search for people need not see policies; one locked account ends the reading of no other.
#[tokio::test]
async fn a_policy_that_cannot_be_read_is_the_strictest() {
    for code in [32, 50, 53] {
        let locked = move |operation: u8, text: &str| match operation {
            BIND if text.contains(GATE) => bound(0),
            BIND => bound(49),
            _ if text.contains("pwdLockoutDuration") => given_up(code),
            _ => {
                let id = "00000000-0000-0000-0000-000000000001";
                let lock = ("pwdAccountLockedTime", "20200101000000Z");
                let jane = || {
                    entry(
                        b"uid=jane,dc=a",
                        &[("entryUUID", id), ("uid", "jane"), lock],
                    )
                };
                found(text.contains("jane").then(jane))
            }
        };
        let corp = Corp::new(DirectoryKind::Openldap, locked).await;
        for name in ["jane", "nobody"] {
            assert_eq!(corp.code(name, PASSWORD).await, 401, "{code} {name}");
        }
    }
}

// G5: a name that fits several accounts, or one that nothing can be told of, is answered like nobody's.
#[tokio::test]
async fn a_name_that_leads_to_no_one_account_is_nobodys() {
    let several = |count: usize| {
        move |operation: u8, text: &str| match operation {
            BIND if text.contains(GATE) => bound(0),
            BIND => bound(49),
            _ if text.contains("jane") => found((0..count).map(|number| {
                let id = format!("00000000-0000-0000-0000-{number:012}");
                let uid = format!("jane{number}");
                entry(uid.as_bytes(), &[("entryUUID", &id), ("uid", &uid)])
            })),
            _ => found([]),
        }
    };
    for count in [2, 3, 9] {
        let filter = Some("(mail={login})");
        let corp = Corp::with(DirectoryKind::Openldap, filter, several(count)).await;
        let known = corp.try_at("jane", PASSWORD, 1, &Value::Null).await;
        let unknown = corp.try_at("nobody", PASSWORD, 1, &Value::Null).await;
        assert_eq!((known.0, &known), (401, &unknown), "{count}");
    }
    // Its state cannot be read: a stranger is told what they are told of nobody, its person that nobody can tell.
    let unreadable = |operation: u8, text: &str| match operation {
        SEARCH if text.contains("sAMAccountName") && text.contains("jane") => found([entry(
            b"CN=Jane,DC=corp,DC=example",
            &[("objectGUID", ID), ("sAMAccountName", "jane")],
        )]),
        _ => domain(operation, text),
    };
    let corp = Corp::new(DirectoryKind::ActiveDirectory, unreadable).await;
    assert_eq!(corp.code("jane", "a wrong password").await, 401);
    assert_eq!(corp.code("jane", PASSWORD).await, 503);
}

// G6: a directory that is silent about a password may have counted it: it is not sent again.
#[tokio::test]
async fn a_password_is_sent_once() {
    let silent = |operation: u8, text: &str| match operation {
        BIND if text.contains("CN=Jane") => Vec::new(),
        _ => domain(operation, text),
    };
    let corp = Corp::new(DirectoryKind::ActiveDirectory, silent).await;
    assert_eq!(corp.code("jane", "a wrong password").await, 503);
    assert_eq!(corp.server.count(BIND, "CN=Jane"), 1);
    // And nobody has used up a try by it.
    for _ in 0..10 {
        assert_eq!(corp.code("jane", " ").await, 401);
    }
    assert_eq!(corp.code("jane", " ").await, 429);
}

// L4: a password that was changed ends the sessions from before, at the next login too.
#[tokio::test]
async fn a_login_with_a_new_password_ends_the_sessions_from_before() {
    let set = Arc::new(AtomicUsize::new(1));
    let now = Arc::clone(&set);
    let people = move |operation: u8, text: &str| match operation {
        BIND => bound(0),
        _ if text.contains("member\u{4}") => found([]),
        _ => {
            let minute = now.load(Relaxed);
            let at = format!("2026112621{minute:02}00Z");
            let id = "00000000-0000-0000-0000-000000000001";
            let values = [("entryUUID", id), ("uid", "jane"), ("pwdChangedTime", &at)];
            found([entry(b"uid=jane,dc=a", &values)])
        }
    };
    let corp = Corp::new(DirectoryKind::Openldap, people).await;
    let session = async || {
        let (code, body) = corp.try_at("jane", PASSWORD, 1, &Value::Null).await;
        assert_eq!(code, 201, "{body}");
        body["token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (session().await, session().await);
    set.store(2, Relaxed);
    let third = session().await;
    for token in [&first, &second] {
        // The first that is seen of them clears them away.
        let Err(LoginError::Authn(AuthnError::Refused(why))) = corp.world.identify(token) else {
            panic!("a session from before goes on");
        };
        let over = [Refusal::PasswordChanged, Refusal::UnknownToken];
        assert!(over.contains(&why), "{why}");
    }
    // A server that has not heard of the change yet.
    set.store(1, Relaxed);
    let fourth = session().await;
    for token in [&third, &fourth] {
        assert!(corp.world.identify(token).is_ok());
    }
}

// L4: the right password of an account that must not log in, as OpenLDAP's policies have it, is no better than a wrong
// one.
#[tokio::test]
async fn who_must_change_the_password_first_does_not_get_in() {
    let people = |operation: u8, text: &str| match operation {
        BIND => bound(0),
        _ if text.contains("member\u{4}") || text.contains("\u{9}pwdPolicy") => found([]),
        _ => {
            let id = "00000000-0000-0000-0000-000000000001";
            let values = [("entryUUID", id), ("uid", "jane"), ("pwdReset", "TRUE")];
            found([entry(b"uid=jane,dc=a", &values)])
        }
    };
    let corp = Corp::new(DirectoryKind::Openldap, people).await;
    assert_eq!(corp.code("jane", PASSWORD).await, 401);
    assert_eq!(corp.server.count(SEARCH, "\u{9}pwdPolicy"), 1);
}
