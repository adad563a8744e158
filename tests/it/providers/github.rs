//! GitHub, from the browser's way there to the account that comes back.

use super::{ANYONE, codes_count_once, log_in, provider, refused, told};
use crate::testkit::{
    github::{Github, Person},
    site::Said,
};
use palisade::authn::providers::{Arrival, ArrivalError, Provider};
use serde_json::json;

const ACME: u64 = 11;

struct World {
    github: Github,
    folder: tempfile::TempDir,
}

fn jane() -> Person {
    Person {
        login: "Jane-Doe".to_owned(),
        name: "Jane Doe".to_owned(),
        organizations: vec![(ACME, "acme", "active")],
        teams: vec![(7, "site-ops".to_owned(), ACME, "acme")],
    }
}

impl World {
    async fn new() -> Self {
        let github = Github::start().await;
        github.person(583_231, jane());
        Self {
            github,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn provider(&self, options: &str) -> Provider {
        let lines = self
            .github
            .provider("sso", self.folder.path(), ANYONE, options);
        provider("sso", &lines, self.folder.path())
    }

    async fn log_in(&self) -> Result<Arrival, ArrivalError> {
        log_in(&self.provider(""), &self.github.site).await
    }
}

fn groups(arrival: &Arrival) -> Vec<String> {
    let groups = arrival.groups.iter();
    groups
        .map(|group| format!("{}={}", group.name, group.id))
        .collect()
}

#[tokio::test]
async fn a_person_comes_back_with_number_organisations_and_teams() {
    let world = World::new().await;
    let arrival = world.log_in().await.unwrap();
    let url = world.github.site.url();
    let host = url.strip_prefix("https://").unwrap();
    assert_eq!(*arrival.id, *format!("583231@{host}"));
    assert_eq!((&*arrival.name, &*arrival.handle), ("Jane-Doe", "jane-doe"));
    assert_eq!(arrival.display_name, "Jane Doe");
    assert_eq!(groups(&arrival), ["acme=org-11", "acme/site-ops=team-7"]);
    assert!(arrival.grant.is_some());
    let begun = world.provider("").begin(super::BACK).await.unwrap();
    assert!(begun.url.contains("scope=read%3Aorg&"), "{}", begun.url);
    assert!(
        begun.url.contains("code_challenge_method=S256"),
        "{}",
        begun.url
    );
}

// G2, CVE-2026-41053
#[tokio::test]
async fn only_own_teams_of_active_memberships_count() {
    let world = World::new().await;
    world.github.change(583_231, |jane| {
        jane.organizations.push((12, "invited-only", "pending"));
        jane.organizations.push((13, "odd", "Active"));
        // Teams of organisations in which the membership is no more than an invitation.
        jane.teams
            .push((8, "admins".to_owned(), 12, "invited-only"));
        jane.teams
            .push((9, "admins".to_owned(), 14, "not-even-invited"));
        // Called like another's organisation, and by another number.
        jane.teams.push((10, "site-ops".to_owned(), 15, "acme"));
    });
    let arrival = world.log_in().await.unwrap();
    assert_eq!(groups(&arrival), ["acme=org-11", "acme/site-ops=team-7"]);
}

// G2
#[tokio::test]
async fn a_token_that_may_not_read_organisations_is_refused_and_not_without_groups() {
    let world = World::new().await;
    for scopes in ["", "repo", "read:user, user:email", "read:orgs"] {
        world.github.scopes(scopes);
        let told = told(world.log_in().await);
        assert!(told.contains("read:org"), "{scopes}: {told}");
    }
    for scopes in ["repo, admin:org", "read:org", "write:org,repo"] {
        world.github.scopes(scopes);
        assert!(world.log_in().await.is_ok(), "{scopes}");
    }
}

// G2
#[tokio::test]
async fn long_lists_are_read_to_their_end_and_endless_ones_are_not_taken_for_short() {
    let world = World::new().await;
    world.github.entries_of_a_page(3);
    world.github.change(583_231, |jane| {
        jane.teams = (0..50)
            .map(|id| (id, format!("t{id}"), ACME, "acme"))
            .collect();
    });
    assert_eq!(world.log_in().await.unwrap().groups.len(), 51);
    world.github.entries_of_a_page(2);
    let told = told(world.log_in().await);
    assert!(told.contains("does not say which groups"), "{told}");
}

// G2, CVE-2021-36778
#[tokio::test]
async fn a_next_page_that_is_elsewhere_gets_no_token() {
    let (world, evil) = (World::new().await, World::new().await);
    let elsewhere = format!("<{}/user/teams>; rel=\"next\"", evil.github.site.url());
    world.github.instead(move |asked| {
        let said = || Said::json(&json!([])).with("link", &elsewhere);
        (asked.path == "/api/v3/user/memberships/orgs").then(said)
    });
    let told = told(world.log_in().await);
    assert!(told.contains("the next page"), "{told}");
    assert!(evil.github.site.asked("/user/teams").is_empty());
}

#[tokio::test]
async fn only_members_of_the_named_organisations_come_in_and_others_groups_do_not_count() {
    let world = World::new().await;
    world.github.change(583_231, |jane| {
        jane.organizations.push((12, "hobby", "active"));
        // Called like the id of another.
        jane.organizations.push((13, "org-77", "active"));
        jane.teams.push((8, "cooks".to_owned(), 12, "hobby"));
    });
    for (organizations, expected) in [
        (
            ", organizations: [ACME]",
            Some(vec!["acme=org-11", "acme/site-ops=team-7"]),
        ),
        (
            ", organizations: [org-12]",
            Some(vec!["hobby=org-12", "hobby/cooks=team-8"]),
        ),
        (
            ", organizations: [org-1, acm, '12', other, org-77, ORG-77]",
            None,
        ),
    ] {
        let outcome = log_in(&world.provider(organizations), &world.github.site).await;
        match expected {
            Some(expected) => assert_eq!(groups(&outcome.unwrap()), expected),
            None => {
                refused(outcome, |it| matches!(it, ArrivalError::NotMember));
            }
        }
    }
}

// G1
#[tokio::test]
async fn a_code_counts_once_and_for_the_login_that_asked_for_it() {
    let world = World::new().await;
    let token = "/login/oauth/access_token";
    codes_count_once(&world.provider(""), &world.github.site, token).await;
}

impl World {
    /// What a login comes to while this is said at that path.
    async fn while_said(&self, at: &'static str, said: Said) -> String {
        // Only who is silent is given up: an answer may be slow where much else runs.
        let is_silent = matches!(said, Said::Silent);
        let options = if is_silent { ", timeout: 500ms" } else { "" };
        self.github
            .instead(move |asked| (asked.path == at).then(|| said.clone()));
        let outcome = log_in(&self.provider(options), &self.github.site).await;
        refused(outcome, |it| matches!(it, ArrivalError::Failed(_)))
    }
}

// P14
#[tokio::test]
async fn a_github_that_answers_hugely_slowly_or_wrongly_gives_no_answer() {
    let world = World::new().await;
    let (token, user) = ("/login/oauth/access_token", "/api/v3/user");
    let teams = "/api/v3/user/teams";
    let memberships = "/api/v3/user/memberships/orgs";
    let partial = Said::json(&json!([])).with("x-github-sso", "partial-results; organizations=11");
    let error = json!({"error": "incorrect_client_credentials"});
    let text = json!({"id": "583231", "login": "jane"});
    let not_found = json!({"message": "Not Found"});
    for (at, said, why) in [
        (token, Said::Endless, "larger than 1048576 bytes"),
        (token, Said::Silent, "within 500 ms"),
        (token, Said::json(&error), "incorrect_client_credentials"),
        (user, Said::Endless, "larger than 1048576 bytes"),
        (user, Said::Silent, "within 500 ms"),
        (user, Said::answer(502, &json!({})), "with 502"),
        (user, Said::json(&text), "is not the JSON"),
        (user, Said::redirect("https://evil.example"), "not followed"),
        (user, Said::answer(304, &json!({})), "nothing was known"),
        (teams, Said::answer(404, &not_found), "Not Found"),
        (teams, Said::json(&json!([{"id": 7}])), "is not the JSON"),
        (user, Said::answer(401, &json!({})), "with 401"),
        (memberships, partial.clone(), "must use single sign-on"),
        (teams, partial, "must use single sign-on"),
    ] {
        let told = world.while_said(at, said).await;
        assert!(told.contains(why), "{at}: {told}");
    }
    // What is a no, and not a failure.
    world.github.behave();
    world.github.suspend(583_231);
    let told = told(world.log_in().await);
    assert!(told.contains("suspended"), "{told}");
}

// G2
#[tokio::test]
async fn limits_are_told_from_other_refusals_and_say_how_long_to_wait() {
    let world = World::new().await;
    let said = |status, message: &str| Said::answer(status, &json!({"message": message}));
    let memberships = "/api/v3/user/memberships/orgs";
    let second = "You have exceeded a secondary rate limit.";
    for (said, why) in [
        (said(403, "wait").with("retry-after", "30"), "again in 30 s"),
        (
            said(403, "wait").with("retry-after", "99999"),
            "again in 3600 s",
        ),
        (
            said(403, "wait").with("x-ratelimit-remaining", "0"),
            "again in 60 s",
        ),
        (said(429, ""), "again in 60 s"),
        (said(403, second), "again in 60 s"),
        (
            said(403, "SAML").with("x-ratelimit-remaining", "10"),
            "SAML",
        ),
    ] {
        let told = world.while_said(memberships, said).await;
        assert!(told.contains(why), "{told}");
    }
}

// G2
#[tokio::test]
async fn who_is_told_to_wait_asks_nobody_meanwhile() {
    let world = World::new().await;
    let provider = world.provider("");
    world.github.instead(|asked| {
        let said = || Said::answer(403, &json!({"message": "slow down"})).with("retry-after", "60");
        (asked.path == "/api/v3/user").then(said)
    });
    assert!(log_in(&provider, &world.github.site).await.is_err());
    world.github.behave();
    let told = told(log_in(&provider, &world.github.site).await);
    assert!(told.contains("asked again in"), "{told}");
    assert_eq!(world.github.site.asked("/api/v3/user").len(), 1);
}

// G2
#[tokio::test]
async fn an_account_that_has_used_up_its_questions_stops_nobody_else() {
    let world = World::new().await;
    let provider = world.provider("");
    world.github.instead(|asked| {
        let said = Said::answer(403, &json!({"message": "API rate limit exceeded"}));
        let said = said.with("retry-after", "3600");
        let said = said.with("x-ratelimit-remaining", "0");
        (asked.path == "/api/v3/user").then_some(said)
    });
    let told = told(log_in(&provider, &world.github.site).await);
    assert!(told.contains("asked again in 3600 s"), "{told}");
    world.github.behave();
    assert!(log_in(&provider, &world.github.site).await.is_ok());
}

// G2
#[tokio::test]
async fn who_looks_after_the_bills_of_an_organisation_is_no_member() {
    let world = World::new().await;
    for (role, expected) in [
        ("admin", vec!["acme=org-11", "acme/site-ops=team-7"]),
        ("billing_manager", Vec::new()),
        ("outside_collaborator", Vec::new()),
    ] {
        world.github.role(583_231, ACME, role);
        assert_eq!(groups(&world.log_in().await.unwrap()), expected, "{role}");
        let members = world.provider(", organizations: [acme]");
        let outcome = log_in(&members, &world.github.site).await;
        assert_eq!(outcome.is_ok(), !expected.is_empty(), "{role}");
    }
}

// Strangers can have the questions of terminals asked; nobody else pays for what GitHub says to them.
#[tokio::test]
async fn a_limit_that_terminals_meet_is_theirs_alone() {
    let world = World::new().await;
    let provider = world.provider(", device_flow: true");
    world.github.instead(|asked| {
        let limited = || Said::answer(429, &json!({})).with("retry-after", "30");
        (asked.path == "/login/device/code").then(limited)
    });
    for _ in 0..2 {
        let told = provider.begin_device().await.err().unwrap().to_string();
        assert!(told.contains("again in"), "{told}");
    }
    assert_eq!(world.github.site.asked("/login/device/code").len(), 1);
    assert!(log_in(&provider, &world.github.site).await.is_ok());
}
