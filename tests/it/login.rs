//! Logging in, as people and strangers meet it: the real program and bare requests against a gateway.

use crate::{
    admin_commands::{Desk, Ended},
    testkit::client::{Answer, h1_from},
};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

pub(crate) const PASSWORD: &str = "a quiet green lamp";
/// Where the program connects from.
const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;
const STREET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HOTEL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

impl Desk {
    /// With a user `jane`, who has this password.
    pub(crate) async fn with_jane() -> Self {
        let desk = Self::new().await;
        let line = "user add jane --password-stdin";
        let made = desk.run_as_root(line, PASSWORD).await;
        assert_eq!(made.code, Some(0), "{made:?}");
        desk
    }

    async fn login(&self) -> Ended {
        let line = "login --username jane --password-stdin";
        self.run_as("", line, PASSWORD).await
    }

    async fn try_from(&self, from: Ipv4Addr, login: Value) -> Answer {
        let request = Request::post("/v1/login/password")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(login.to_string())))
            .unwrap();
        h1_from(from, &self.gate, request).await
    }
}

fn login(user: &str, password: &str) -> Value {
    json!({"provider": "local", "username": user, "password": password})
}

// G6: a stranger who tries passwords keeps other strangers out, and not the person.
#[tokio::test(flavor = "multi_thread")]
async fn the_person_gets_in_while_a_stranger_hammers() {
    let desk = Desk::with_jane().await;
    let first = desk.login().await;
    assert_eq!(first.code, Some(0), "{first:?}");
    for _ in 0..10 {
        let answer = desk.try_from(STREET, login("jane", "wrong")).await;
        assert_eq!(answer.status, 401);
    }
    let answer = desk.try_from(STREET, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((280..=300).contains(&seconds), "{seconds}");
    assert!(
        answer
            .message()
            .starts_with("Too many wrong passwords; try again in 5 minutes")
    );
    // Nobody else gets in from a new place either, whatever they know.
    let answer = desk.try_from(HOTEL, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 429);
    // The person's own program does, and would from anywhere: it shows what the first login gave it.
    let again = desk.login().await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let device = desk.kept_device();
    let mut known = login("jane", PASSWORD);
    known["device"] = json!(device);
    let answer = desk.try_from(HOTEL, known).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    // So does whoever comes from where the account was logged in to.
    let answer = desk.try_from(HOME, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    desk.gate.stop().await;
}

// G5: for a name that nobody has, the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_name_is_throttled_like_a_known_one() {
    let desk = Desk::with_jane().await;
    let mut seen = Vec::new();
    for name in ["jane", "nobody"] {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let answer = desk.try_from(STREET, login(name, "wrong")).await;
            answers.push((answer.status.as_u16(), answer.message()));
        }
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0][11].0, 429);
    desk.gate.stop().await;
}

// G6: one source at many accounts.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_tries_name_after_name_is_throttled_and_others_are_not() {
    let desk = Desk::with_jane().await;
    let mut codes = Vec::new();
    for i in 0..110 {
        let name = format!("user-{i}");
        let answer = desk.try_from(STREET, login(&name, "wrong")).await;
        codes.push(answer.status.as_u16());
    }
    let throttled = codes.iter().filter(|&&code| code == 429).count();
    assert!(codes[..100].iter().all(|&code| code == 401), "{codes:?}");
    assert!((1..=10).contains(&throttled), "{codes:?}");
    let answer = desk.try_from(HOTEL, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    desk.gate.stop().await;
}

impl Desk {
    async fn run_as_root(&self, line: &str, input: &str) -> Ended {
        let token = self
            .gate
            .token("root", &[], jiff::SignedDuration::from_hours(1))
            .await;
        self.run_as(&token, line, input).await
    }

    /// What the program kept for jane.
    fn kept_device(&self) -> String {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        let file = files
            .map(|file| file.unwrap().path())
            .find(|path| path.extension().is_some_and(|it| it == "json"))
            .expect("a session file");
        let saved: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        saved["devices"]["jane"].as_str().unwrap().to_owned()
    }
}

// G6: a person at a new machine in a new place, while a stranger hammers, is let in by an admin.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_sees_that_an_account_is_throttled_and_unlocks_it() {
    let desk = Desk::with_jane().await;
    for _ in 0..10 {
        desk.try_from(STREET, login("jane", "wrong")).await;
    }
    let shown = desk.ok("user show jane").await;
    assert!(shown.out.contains("throttledUntil: "), "{shown:?}");
    let listed = desk.ok("user list -o wide").await;
    assert!(listed.line("jane ").contains("throttled "), "{listed:?}");
    let answer = desk.try_from(HOTEL, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 429);
    let unlocked = desk.ok(&format!("user unlock jane --from {HOTEL}")).await;
    assert_eq!(unlocked.out, "user jane is unlocked\n");
    assert!(
        !desk
            .ok("user show jane")
            .await
            .out
            .contains("throttledUntil")
    );
    for _ in 0..10 {
        desk.try_from(STREET, login("jane", "wrong")).await;
    }
    let answer = desk.try_from(HOME, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 429);
    let answer = desk.try_from(HOTEL, login("jane", PASSWORD)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    desk.refused("user unlock nobody", "not found").await;
    desk.gate.stop().await;
}
