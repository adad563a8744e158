//! Accounts that are read again beside the requests, and what comes of it.

use super::{ANYONE, log_in, provider};
use crate::testkit::{
    client::{empty, h2},
    gate::Gate,
    github::{Github, Person},
    issuer::{Habit, Issuer},
    site::{Said, Site},
};
use http::Request;
use palisade::{
    authn::providers::{Record, Standing, record_key},
    store::EventKind,
};
use serde_json::json;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(40);
const JANE: u64 = 583_231;

const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const CLOSED: &str = "your account is disabled, locked or expired where you log in: see that it is open there, \
                      then run `palisade login`";
const ENDED: &str = "your login has ended where you log in: run `palisade login`";

/// A gateway with one provider, and somebody who has logged in there.
struct World {
    gate: Gate,
    token: String,
    key: String,
}

/// What a request is answered with: status, and the groups or the reason.
type Seen = (u16, Vec<String>);

impl World {
    async fn new(name: &str, lines: &str, site: &Site) -> Self {
        let gate = Gate::start_configured(&format!("providers:\n{lines}")).await;
        let provider = provider(name, lines, gate.folder());
        let arrival = log_in(&provider, site).await.unwrap();
        let token = gate.arrive(name, &arrival).await;
        Self {
            gate,
            token,
            key: record_key(name, &arrival.id),
        }
    }

    async fn record(&self) -> Record {
        let kv = self.gate.store.get(&self.key).await.unwrap().unwrap();
        Record::decode(&self.key, &kv.value).unwrap()
    }

    async fn ask(&self) -> Seen {
        let request = Request::post(format!("{}{WHOAMI}", self.gate.url))
            .header("authorization", format!("Bearer {}", self.token));
        let answer = h2(&self.gate, empty(request)).await;
        if answer.status != 201 {
            return (answer.status.as_u16(), vec![answer.message()]);
        }
        let json = answer.json();
        let groups = json["status"]["userInfo"]["groups"].as_array().unwrap();
        let groups = groups.iter().map(|it| it.as_str().unwrap().to_owned());
        (201, groups.collect())
    }

    async fn until(&self, status: u16, words: &[&str]) {
        let began = Instant::now();
        loop {
            let seen = self.ask().await;
            if seen.0 == status && seen.1 == words {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{status} {words:?}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until the record holds another grant than this one.
    async fn until_rotated(&self, old: Option<&str>) -> Option<String> {
        let began = Instant::now();
        loop {
            let grant = self.record().await.grant;
            if grant.as_deref() != old {
                return grant;
            }
            assert!(began.elapsed() < PATIENCE, "it is asked again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn github() -> (Github, TempDir) {
    let github = Github::start().await;
    github.person(
        JANE,
        Person {
            login: "jane".to_owned(),
            name: String::new(),
            organizations: vec![(11, "acme", "active")],
            teams: vec![(7, "site-ops".to_owned(), 11, "acme")],
        },
    );
    (github, tempfile::tempdir().unwrap())
}

/// Jane has logged in there, and is in her groups.
async fn at_github((github, files): (&Github, &TempDir), access: &str, options: &str) -> World {
    let lines = github.provider("hub", files.path(), access, options);
    let world = World::new("hub", &lines, &github.site).await;
    world.until(201, &["hub:acme", "hub:acme/site-ops"]).await;
    world
}

// G2, L4, CVE-2026-41053
#[tokio::test]
async fn who_leaves_a_team_or_an_organisation_at_github_loses_it_and_a_rename_changes_nobody() {
    let (github, files) = github().await;
    let members = "{groups: [org-11]}";
    let world = at_github((&github, &files), members, "").await;
    // Names change hands, numbers do not.
    github.change(JANE, |jane| {
        jane.login = "jane-of-acme".to_owned();
        jane.teams[0].1 = "operators".to_owned();
    });
    world.until(201, &["hub:acme", "hub:acme/operators"]).await;
    let record = world.record().await;
    assert_eq!(
        (&*record.name, &*record.user.name),
        ("jane-of-acme", "hub:jane")
    );
    github.change(JANE, |jane| jane.teams.clear());
    world.until(201, &["hub:acme"]).await;
    // What has not changed is told in few words.
    let (whole, unchanged) = github.answers();
    assert!(unchanged > 0 && whole > 0, "{whole} {unchanged}");
    github.change(JANE, |jane| jane.organizations[0].2 = "pending");
    let out = "you may not log in here any more: ask an administrator";
    world.until(401, &[out]).await;
    github.change(JANE, |jane| jane.organizations[0].2 = "active");
    world.until(201, &["hub:acme"]).await;
    world.gate.stop().await;
}

// G2, L6
#[tokio::test]
async fn who_is_no_member_any_more_is_gone_and_a_token_of_another_number_ends_the_login() {
    let (github, files) = github().await;
    let acme = ", organizations: [acme]";
    let other = at_github((&github, &files), ANYONE, acme).await;
    // The name is the same, and so is all else.
    github.instead(|asked| {
        let user = json!({"id": JANE + 1, "login": "jane"});
        let said = || Said::json(&user).with("x-oauth-scopes", "read:org");
        (asked.path == "/api/v3/user").then(said)
    });
    other.until(401, &[ENDED]).await;
    github.behave();
    other.gate.stop().await;
    let member = at_github((&github, &files), ANYONE, acme).await;
    github.change(JANE, |jane| jane.organizations[0].2 = "pending");
    member.until(401, &[CLOSED]).await;
    let record = member.record().await;
    assert_eq!((record.standing, record.grant), (Standing::Gone, None));
    member.gate.stop().await;
}

// G2
#[tokio::test]
async fn a_suspended_account_and_a_token_that_says_too_little_are_a_no() {
    type Happens = fn(&Github);
    let cases: [(Happens, &str, Standing); 2] = [
        (|github| github.suspend(JANE), CLOSED, Standing::Disabled),
        (|github| github.scopes("repo"), ENDED, Standing::Ended),
    ];
    for (happens, told, standing) in cases {
        let (github, files) = github().await;
        let world = at_github((&github, &files), ANYONE, "").await;
        happens(&github);
        world.until(401, &[told]).await;
        let record = world.record().await;
        assert_eq!((record.standing, record.grant), (standing, None));
        world.gate.stop().await;
    }
}

// CVE-2023-22650
#[tokio::test]
async fn a_token_that_github_takes_no_more_ends_the_login_and_is_not_kept() {
    let (github, files) = github().await;
    let world = at_github((&github, &files), ANYONE, "").await;
    let sealed = world.record().await.grant.unwrap();
    assert!(sealed.starts_with("v1.") && !sealed.contains("gho_"));
    github.revoke(JANE);
    world.until(401, &[ENDED]).await;
    assert_eq!(world.record().await.grant, None);
    world.gate.stop().await;
}

// G2
#[tokio::test]
async fn what_is_not_githubs_word_on_a_token_ends_no_login() {
    let (github, files) = github().await;
    for said in [
        Said::answer(401, &json!({"message": "Proxy authentication"})),
        // Without the header that says what the token may do.
        Said::json(&json!({"id": JANE, "login": "jane"})),
    ] {
        github.behave();
        let world = at_github((&github, &files), ANYONE, "").await;
        github.instead(move |asked| (asked.path == "/api/v3/user").then(|| said.clone()));
        // Its last word is too old by then; the login goes on.
        let unknown = "The gateway cannot tell who you are at the moment; try again";
        world.until(503, &[unknown]).await;
        let record = world.record().await;
        assert_eq!(record.standing, Standing::Active);
        assert!(record.grant.is_some());
        world.gate.stop().await;
    }
}

// G2, T10
#[tokio::test]
async fn while_github_gives_no_answer_nobody_gains_rights_and_old_ones_end_at_their_age() {
    let (github, files) = github().await;
    let world = at_github((&github, &files), ANYONE, "").await;
    github.instead(|asked| {
        let is_api = asked.path.starts_with("/api/v3/user");
        is_api.then(|| Said::answer(502, &json!({"message": "unicorn"})))
    });
    github.change(JANE, |jane| {
        jane.teams.push((8, "admins".to_owned(), 11, "acme"));
    });
    let unknown = "The gateway cannot tell who you are at the moment; try again";
    let began = Instant::now();
    loop {
        let seen = world.ask().await;
        if seen == (503, vec![unknown.to_owned()]) {
            break;
        }
        let gained = seen.1.iter().any(|group| group.contains("admins"));
        assert!(seen.0 == 201 && !gained, "{seen:?}");
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    github.behave();
    let new = ["hub:acme", "hub:acme/admins", "hub:acme/site-ops"];
    world.until(201, &new).await;
    world.gate.stop().await;
}

async fn issuer() -> (Issuer, TempDir) {
    let issuer = Issuer::start().await;
    let claims = json!({"preferred_username": "jane", "groups": ["devs", "ops"]});
    issuer.person("5f1c", &claims);
    (issuer, tempfile::tempdir().unwrap())
}

/// Jane has logged in there.
async fn at_issuer((issuer, files): (&Issuer, &TempDir), options: &str) -> World {
    let lines = issuer.provider("sso", files.path(), options);
    World::new("sso", &lines, &issuer.site).await
}

// L4, CVE-2023-22650
#[tokio::test]
async fn a_refresh_token_that_changes_with_each_answer_goes_on_until_its_person_is_removed() {
    let (issuer, files) = issuer().await;
    let world = at_issuer((&issuer, &files), "").await;
    world.until(201, &["sso:devs", "sso:ops"]).await;
    let first = world.record().await.grant;
    let second = world.until_rotated(first.as_deref()).await;
    // What else the answer says may be of no use: the new token is kept all the same.
    issuer.change_claims(|claims| claims["aud"] = json!("another"));
    let third = world.until_rotated(second.as_deref()).await;
    world.until(201, &["sso:devs", "sso:ops"]).await;
    issuer.behave();
    issuer.person(
        "5f1c",
        &json!({"preferred_username": "jane", "groups": ["devs"]}),
    );
    world.until(201, &["sso:devs"]).await;
    assert_ne!(world.record().await.grant, third);
    assert_eq!(issuer.good_refresh_tokens(), 1, "none was lost");
    issuer.remove("5f1c");
    world.until(401, &[ENDED]).await;
    assert_eq!(world.record().await.grant, None);
    world.gate.stop().await;
}

// L4: the old one is of no use any more.
#[tokio::test]
async fn a_stop_waits_for_the_new_token_that_an_issuer_is_about_to_give() {
    let (issuer, files) = issuer().await;
    let world = at_issuer((&issuer, &files), "").await;
    let old = world.gate.store.get(&world.key).await.unwrap().unwrap();
    let turns = issuer.hold_tokens();
    let (began, before) = (Instant::now(), issuer.site.asked("/token").len());
    while issuer.site.asked("/token").len() == before {
        assert_eq!(world.ask().await.0, 201);
        assert!(began.elapsed() < PATIENCE, "it is asked again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let World { gate, key, .. } = world;
    let mut watch = gate.store.watch(&key, old.mod_revision).await.unwrap();
    let answered = async {
        // Longer than a stop waits for what can be lost.
        tokio::time::sleep(Duration::from_secs(3)).await;
        turns.add_permits(1);
    };
    tokio::join!(gate.stop(), answered);
    let mut last = old.value.clone();
    while let Some(event) = watch.next().await {
        if let EventKind::Put(kv) = event.unwrap().kind {
            last = kv.value;
        }
    }
    let decode = |value| Record::decode(&key, value).unwrap();
    let (old, last) = (decode(&old.value), decode(&last));
    assert!(last.grant.is_some() && last.grant != old.grant);
    assert_eq!(last.asked_at, None);
    assert_eq!(issuer.good_refresh_tokens(), 1);
}

#[tokio::test]
async fn without_a_refresh_token_a_login_ends_at_the_age_at_which_nobody_can_tell_any_more() {
    let (issuer, files) = issuer().await;
    issuer.stops(Habit::GivesRefreshTokens);
    let world = at_issuer((&issuer, &files), "").await;
    assert_eq!(world.ask().await.0, 201);
    world.until(401, &[ENDED]).await;
    assert_eq!(issuer.site.asked("/token").len(), 1);
    world.gate.stop().await;
}

#[tokio::test]
async fn groups_that_an_answer_to_a_refresh_token_leaves_out_are_asked_for_or_unknown() {
    let (issuer, files) = issuer().await;
    issuer.stops(Habit::GivesIdTokensAtRefresh);
    issuer.stops(Habit::Rotates);
    issuer.userinfo("5f1c", &json!({"groups": ["ops"]}));
    let world = at_issuer((&issuer, &files), ", userinfo: true").await;
    // From now on the endpoint alone is asked.
    world.until(201, &["sso:ops"]).await;
    issuer.userinfo("5f1c", &json!({"sub": "another", "groups": ["admins"]}));
    world.until(401, &[ENDED]).await;
    world.gate.stop().await;
}
