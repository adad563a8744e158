//! Logins at providers to which the browser is sent, and what is done to them on the way back.

use crate::{
    testkit::{
        browser::{Browser, Page, encoded},
        client::post_form,
        gate::Gate,
        github::{Github, Person},
        issuer::Issuer,
        site::Said,
    },
    web::{PASSWORD, SESSION},
};
use jiff::SignedDuration;
use palisade::{
    api::login::grants::PREFIX,
    authn::providers::{Record, record_key},
    objects::{Kind as _, Token, User},
    store::{Txn, seal::associated},
};
use serde_json::{Value, json};
use url::Url;

const LOGIN: &str = "__Host-palisade-login";
/// What the cookie is sealed for.
const PURPOSE: &str = "web login";

struct World {
    gate: Gate,
    /// Of its configuration.
    lines: String,
    issuer: Issuer,
    github: Github,
    _folder: tempfile::TempDir,
}

impl World {
    /// An issuer `sso` and a GitHub `hub`, with a person at each.
    async fn new() -> Self {
        let (issuer, github) = (Issuer::start().await, Github::start().await);
        issuer.person(
            "subject-1",
            &json!({"preferred_username": "ann", "name": "Ann <b>"}),
        );
        github.person(
            7,
            Person {
                login: "octo".to_owned(),
                ..Person::default()
            },
        );
        let folder = tempfile::tempdir().unwrap();
        let sso = issuer.provider("sso", folder.path(), "");
        let hub = github.provider("hub", folder.path(), "{mode: danger_anyone}", "");
        let lines = format!("providers:\n{sso}{hub}");
        let gate = Gate::start_configured(&lines).await;
        Self {
            gate,
            lines,
            issuer,
            github,
            _folder: folder,
        }
    }

    /// The browser is sent to a provider; where.
    async fn leave(&self, browser: &mut Browser<'_>, provider: &str, next: &str) -> String {
        let page = browser
            .get(&format!("/login/{provider}?{}", encoded(&[("next", next)])))
            .await;
        let page = browser
            .submit(&page, &format!("/login/{provider}"), &[])
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
        let url = page.text.split("content=\"0; url=").nth(1).unwrap();
        url.split('"').next().unwrap().replace("&#38;", "&")
    }

    /// The issuer knows whoever comes; where it sends them back to.
    async fn back_from_sso(&self, url: &str) -> String {
        let back = self.issuer.site.visit(url).await;
        let there = "https://localhost/login/sso/callback?";
        assert!(back.as_str().starts_with(there), "{back}");
        target(&back)
    }

    async fn back_from_hub(&self, url: &str) -> String {
        target(&self.github.site.visit(url).await)
    }

    async fn sessions(&self) -> usize {
        let all = self.gate.store.list(&Token::prefix(), 100, None).await;
        all.unwrap().items.len()
    }

    /// A browser that has come from the issuer, with a page from before nobody could tell whether its session counts.
    async fn away_from_sso(&self) -> (Browser<'_>, Page) {
        let mut browser = Browser::new(&self.gate);
        let url = self.leave(&mut browser, "sso", "/").await;
        let back = self.back_from_sso(&url).await;
        assert_eq!(browser.get(&back).await.location(), "/");
        let front = browser.get("/").await;
        self.issuer.instead(|_| Some(Said::answer(503, &json!({}))));
        self.age("sso").await;
        browser.until("/sessions", 503).await;
        (browser, front)
    }

    /// What a browser's cookie says of a login that has begun.
    fn open(&self, sealed: &str) -> Value {
        let plain = self.gate.keyring.open(sealed, &associated(&[PURPOSE]));
        serde_json::from_slice(&plain.unwrap()).unwrap()
    }

    fn seal(&self, kept: &Value) -> String {
        let plain = serde_json::to_vec(kept).unwrap();
        let sealed = self.gate.keyring.seal(&plain, &associated(&[PURPOSE]));
        sealed.unwrap()
    }

    /// What a provider has said of its people was an hour ago.
    async fn age(&self, provider: &str) {
        let store = &self.gate.store;
        let all = store.list(&record_key(provider, ""), 100, None).await;
        for kv in all.unwrap().items {
            let mut record = Record::decode(&kv.key, &kv.value).unwrap();
            record.checked_at -= SignedDuration::from_hours(1);
            let txn = Txn::new().put(kv.key, record.encode());
            store.txn(txn).await.unwrap();
        }
    }
}

fn target(url: &Url) -> String {
    format!("{}?{}", url.path(), url.query().unwrap())
}

/// With another value of a parameter, or without it.
fn with(target: &str, name: &str, value: Option<&str>) -> String {
    let (path, query) = target.split_once('?').unwrap();
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    let mut pairs: Vec<(String, String)> = pairs.filter(|(found, _)| found != name).collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (&**a, &**b)).collect();
    format!("{path}?{}", encoded(&pairs))
}

#[track_caller]
fn refused(page: &Page, code: u16, said: &str) {
    assert_eq!(page.status, code, "{}", page.text);
    assert!(page.text.contains(said), "{said}: {}", page.text);
    assert!(page.text.contains("Request <code>"), "{}", page.text);
    assert!(page.headers.get("location").is_none());
}

const ANEW: &str = "This login was not begun in this browser, was used already or took too long";

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_is_sent_to_its_provider_and_comes_back_logged_in() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let page = browser.get("/login?next=%2Fdevice").await;
    for place in ["Local account", "sso", "hub"] {
        assert!(
            page.text.contains(&format!("<strong>{place}</strong>")),
            "{}",
            page.text
        );
    }
    let url = world
        .leave(&mut browser, "sso", "/device?user_code=BCDF-GHJK")
        .await;
    let back = world.back_from_sso(&url).await;
    assert!(browser.jar.contains_key(LOGIN));
    let page = browser.get(&back).await;
    assert_eq!(page.location(), "/device?user_code=BCDF-GHJK");
    assert!(!browser.jar.contains_key(LOGIN), "it is over");
    let page = browser.get("/sessions").await;
    assert!(
        page.text.contains("Logged in as <strong>sso:ann</strong>"),
        "{}",
        page.text
    );
    // The other one, in the same browser: the session before is over.
    let url = world.leave(&mut browser, "hub", "/").await;
    let back = world.back_from_hub(&url).await;
    assert_eq!(browser.get(&back).await.location(), "/");
    let page = browser.get("/sessions").await;
    assert!(
        page.text.contains("Logged in as <strong>hub:octo</strong>"),
        "{}",
        page.text
    );
    assert_eq!(world.sessions().await, 1);
    let deeds = world.gate.deeds(2).await;
    let deeds: Vec<_> = deeds.iter().map(|(deed, who)| (&**deed, &**who)).collect();
    assert_eq!(deeds, [("login", "sso:ann"), ("login", "hub:octo")]);
    world.gate.stop().await;
}

// G1: the state is bound to the browser, is checked before anything, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_where_it_was_begun_and_once() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    // In a browser where nothing was begun, or something else: the attacker's own login is nobody else's.
    let mut victim = Browser::new(&world.gate);
    refused(&victim.get(&back).await, 400, ANEW);
    world.leave(&mut victim, "sso", "/").await;
    refused(&victim.get(&back).await, 400, ANEW);
    assert!(!victim.jar.contains_key(SESSION));
    // Without a state, or with another one; the login itself is not used up by that.
    for state in [None, Some("x"), Some("")] {
        refused(&browser.get(&with(&back, "state", state)).await, 400, ANEW);
    }
    let twice = format!("{back}&state=x");
    assert_eq!(browser.get(&twice).await.status, 400);
    let kept = browser.jar[LOGIN].clone();
    assert_eq!(browser.get(&back).await.location(), "/");
    // CVE-2026-44946: again, with all that there was. What the provider thinks of it is not asked.
    browser.jar.insert(LOGIN.to_owned(), kept.clone());
    refused(&browser.get(&back).await, 400, ANEW);
    assert_eq!(world.issuer.site.asked("/token").len(), 1);
    // Also on a replica that has heard nothing of it: the store knows.
    assert_eq!(
        world
            .gate
            .store
            .list(PREFIX, 9, None)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    // CVE-2025-23389: a cookie that was changed is none.
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let good = browser.jar[LOGIN].clone();
    let mut bytes = good.clone().into_bytes();
    *bytes.last_mut().unwrap() ^= 1;
    for bad in [
        String::from_utf8(bytes).unwrap(),
        kept,
        "x".to_owned(),
        format!("{good}x"),
    ] {
        browser.jar.insert(LOGIN.to_owned(), bad);
        refused(&browser.get(&back).await, 400, ANEW);
    }
    world.gate.stop().await;
}

// G1: what is no end of a login writes nothing, is no deed, and uses the login up for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_no_login_leaves_nothing() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let elsewhere = back.replace("/login/sso/", "/login/hub/");
    let long = "x".repeat(5000);
    for odd in [
        elsewhere,
        with(&back, "code", None),
        with(&back, "code", Some("")),
        with(&back, "code", Some(&long)),
    ] {
        refused(&browser.get(&odd).await, 400, ANEW);
        let states = world.gate.store.list(PREFIX, 9, None).await.unwrap();
        assert_eq!(states.items.len(), 0, "{odd}");
    }
    assert_eq!(browser.get(&back).await.location(), "/");
    let deeds = world.gate.deeds(1).await;
    assert_eq!(deeds, [("login".to_owned(), "sso:ann".to_owned())]);
    world.gate.stop().await;
}

// CVE-2024-58259: an old way back that is sent again and again is stopped; logins that come to something are not.
#[tokio::test(flavor = "multi_thread")]
async fn ways_back_are_counted_until_they_come_to_something() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let kept = browser.jar[LOGIN].clone();
    assert_eq!(browser.get(&back).await.location(), "/");
    let mut codes = Vec::new();
    for _ in 0..60 {
        browser.jar.insert(LOGIN.to_owned(), kept.clone());
        codes.push(browser.get(&back).await.status.as_u16());
    }
    assert_eq!(codes[..50], [400; 50]);
    assert!(codes.contains(&429), "{codes:?}");
    world.gate.stop().await;
}

// G1: a login that was begun at one provider does not end at another.
#[tokio::test(flavor = "multi_thread")]
async fn providers_are_not_mixed_up() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let other = back.replace("/login/sso/", "/login/hub/");
    refused(&browser.get(&other).await, 400, ANEW);
    for nowhere in ["local", "nobody"] {
        let other = back.replace("/login/sso/", &format!("/login/{nowhere}/"));
        assert_eq!(browser.get(&other).await.status, 404);
    }
    // RFC 9207: somebody else answers.
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let page = browser
        .get(&with(&back, "iss", Some("https://evil.example")))
        .await;
    assert!(page.status.is_client_error(), "{}", page.text);
    assert!(!browser.jar.contains_key(SESSION));
    assert!(
        world
            .github
            .site
            .asked("/login/oauth/access_token")
            .is_empty()
    );
    world.gate.stop().await;
}

// G3: the way back is kept sealed, and is one of the gateway's own pages in any case. The provider sends back to the
// configured address, whatever a stranger's `Host` says.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_an_own_page() {
    let world = World::new().await;
    for bad in [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://a@evil.example",
    ] {
        let mut browser = Browser::new(&world.gate);
        browser
            .headers
            .push(("x-forwarded-host", "evil.example".to_owned()));
        let url = world.leave(&mut browser, "sso", bad).await;
        assert!(!url.contains("evil"), "{url}");
        let back = world.back_from_sso(&url).await;
        // It is not even kept; and what was kept is looked at again.
        let mut kept = world.open(&browser.jar[LOGIN]);
        assert_eq!(kept["next"], "/", "{bad}");
        kept["next"] = bad.into();
        browser.jar.insert(LOGIN.to_owned(), world.seal(&kept));
        let back = format!("{back}&{}", encoded(&[("next", bad)]));
        assert_eq!(browser.get(&back).await.location(), "/", "{bad}");
    }
    // Also where the form of the page was changed.
    let mut browser = Browser::new(&world.gate);
    let page = browser.get("/login/sso").await;
    let token = page.hidden("/login/sso")[0].1.clone();
    let fields = [("token", &*token), ("next", "//evil.example")];
    assert_eq!(browser.post("/login/sso", &fields).await.status, 200);
    assert_eq!(world.open(&browser.jar[LOGIN])["next"], "/");
    // The longest way back that there is, in a cookie that browsers keep.
    let mut browser = Browser::new(&world.gate);
    let long = format!("/device?{}", "\"".repeat(2000));
    let url = world.leave(&mut browser, "sso", &long).await;
    assert!(browser.jar[LOGIN].len() < 4000);
    let back = world.back_from_sso(&url).await;
    assert_eq!(browser.get(&back).await.location(), "/");
    world.gate.stop().await;
}

// What went wrong is told in words that say nothing of anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_refuses_is_told_on_a_page() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let denied = with(&back, "code", None);
    let denied = format!(
        "{denied}&error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    );
    let page = browser.get(&denied).await;
    refused(&page, 403, "The provider did not let you in");
    assert!(!page.text.contains("script"), "{}", page.text);
    // A yes of another account's, at the same provider: no local user is taken over by its name (CVE-2025-23389).
    world.gate.person("sso:ann", PASSWORD).await;
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    refused(
        &browser.get(&back).await,
        403,
        "belongs to another user here",
    );
    assert!(
        world
            .gate
            .get::<User>("sso:ann")
            .await
            .object
            .spec
            .principals
            .is_empty()
    );
    // An answer without sense.
    world.issuer.instead(|asked| {
        asked
            .path
            .ends_with("token")
            .then(|| Said::html("<b>no</b>"))
    });
    let url = world.leave(&mut browser, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let page = browser.get(&back).await;
    refused(&page, 503, "try again");
    assert!(!page.text.contains("<b>"), "{}", page.text);
    assert!(!browser.jar.contains_key(SESSION));
    assert_eq!(world.sessions().await, 0);
    let metrics = world.gate.metrics().await;
    assert!(
        metrics.contains("palisade_logins_total{result=\"unavailable\"} 1"),
        "{metrics}"
    );
    world.gate.stop().await;
}

// G7: another site does not begin a login either.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_begun_by_the_gateways_own_page() {
    let world = World::new().await;
    let mut browser = Browser::new(&world.gate);
    let page = browser.get("/login").await;
    assert_eq!(browser.post("/login/sso", &[]).await.status, 403);
    let other = page.hidden("/login/hub")[0].1.clone();
    assert_eq!(
        browser
            .post("/login/sso", &[("token", &other)])
            .await
            .status,
        403
    );
    assert!(!browser.jar.contains_key(LOGIN));
    // At another name of the gateway: the cookie would not be where the provider sends the browser back to.
    let token = page.hidden("/login/sso")[0].1.clone();
    let request = http::Request::post("/login/sso")
        .header("sec-fetch-site", "same-origin")
        .header("origin", "https://127.0.0.1:8443");
    let answer = browser.send(request, &encoded(&[("token", &token)])).await;
    refused(
        &answer,
        400,
        "Log in at https://localhost: providers send browsers back there",
    );
    // A password for it is not looked at.
    let token = page.hidden("/login/sso")[0].1.clone();
    let fields = [("token", &*token), ("username", "ann"), ("password", "x")];
    assert_eq!(browser.post("/login/sso", &fields).await.status, 200);
    let mut last = 0;
    for _ in 0..55 {
        last = browser
            .post("/login/sso", &[("token", &token)])
            .await
            .status
            .as_u16();
    }
    assert_eq!(last, 429, "so many and no more");
    // Terminals at the same address are another matter.
    let here = std::net::Ipv4Addr::LOCALHOST;
    let fields = [("client", "x")];
    let answer = post_form(here, &world.gate, "/v1/login/device", &fields).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.gate.stop().await;
}

// CVE-2026-44946: what was used at one replica is used at the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_counts_once_on_all_replicas() {
    let world = World::new().await;
    let other = world.gate.replica(&world.lines).await;
    let mut here = Browser::new(&world.gate);
    let url = world.leave(&mut here, "sso", "/").await;
    let back = world.back_from_sso(&url).await;
    let mut there = Browser::new(&other);
    there.jar = here.jar.clone();
    assert_eq!(here.get(&back).await.location(), "/");
    refused(&there.get(&back).await, 400, ANEW);
    assert_eq!(world.issuer.site.asked("/token").len(), 1);
    // Begun at one, ended at the other.
    let url = world.leave(&mut here, "sso", "/sessions").await;
    let back = world.back_from_sso(&url).await;
    there.jar = here.jar.clone();
    assert_eq!(there.get(&back).await.location(), "/sessions");
    refused(&here.get(&back).await, 400, ANEW);
    other.stop().await;
    world.gate.stop().await;
}

// A provider that is away takes its own people's sessions along, and keeps nobody from another login in that browser.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_provider_is_away_its_browsers_log_in_elsewhere() {
    let world = World::new().await;
    world.gate.person("jane", PASSWORD).await;
    let (mut browser, _) = world.away_from_sso().await;
    for page in ["/", "/device", "/authorize"] {
        assert_eq!(browser.get(page).await.status, 503, "{page}");
    }
    let mut other = Browser::new(&world.gate);
    other.jar = browser.jar.clone();
    assert_eq!(browser.get("/login").await.status, 200);
    let page = browser.log_in("jane", PASSWORD, "/").await;
    assert_eq!(page.location(), "/");
    assert_eq!(browser.get("/sessions").await.status, 200);
    // The session before it is over, as after every login.
    assert_eq!(world.sessions().await, 1);
    assert_eq!(other.get("/sessions").await.status, 303);
    world.gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_provider_is_away_its_browsers_log_out() {
    let world = World::new().await;
    let (mut browser, front) = world.away_from_sso().await;
    // G7: by a form of their own.
    let page = browser.post("/logout", &[("token", "x")]).await;
    assert_eq!(page.status, 403);
    assert_eq!(world.sessions().await, 1);
    let page = browser.submit(&front, "/logout", &[]).await;
    assert_eq!(page.location(), "/");
    assert!(!browser.jar.contains_key(SESSION));
    assert_eq!(world.sessions().await, 0);
    assert_eq!(browser.get("/").await.status, 200);
    world.gate.stop().await;
}
