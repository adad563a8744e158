//! Terminals that log in by way of a browser: both sides of it, and those who would be a third.

mod bounds;
mod loopback;

use crate::{
    testkit::{
        browser::{Browser, Page, encoded},
        client::{Answer, post_form},
        gate::Gate,
    },
    web::{PASSWORD, logged_in, world},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use palisade::{
    api::login::grants::{PREFIX, compare_code},
    authn::TokenText,
    objects::{Token, TokenKind, User},
    store::Txn,
};
use serde_json::Value;
use std::net::Ipv4Addr;

pub(crate) const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CALLBACK: &str = "http://127.0.0.1:43210/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const STATE: &str = "a-state-of-the-terminal";
/// Where the terminal is.
const THERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// What a terminal does.
struct Terminal<'g> {
    gate: &'g Gate,
    from: Ipv4Addr,
}

impl<'g> Terminal<'g> {
    fn new(gate: &'g Gate) -> Self {
        Self { gate, from: THERE }
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        post_form(self.from, self.gate, path, fields).await
    }

    async fn begin(&self, client: &str) -> Value {
        let answer = self.post("/v1/login/device", &[("client", client)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.json()
    }

    async fn poll(&self, device_code: &Value) -> Answer {
        let code = device_code.as_str().unwrap();
        let fields = [("grant_type", DEVICE), ("device_code", code)];
        self.post("/v1/login/token", &fields).await
    }

    async fn fetch(&self, code: &str, verifier: &str, redirect_uri: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", redirect_uri),
        ];
        self.post("/v1/login/token", &fields).await
    }

    /// Whether this is a session of jane's.
    fn is_janes(answer: &Answer) -> String {
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.headers["cache-control"], "no-store");
        let json = answer.json();
        assert_eq!(json["user"]["name"], "jane");
        for field in ["expiresAt", "renewableUntil", "device"] {
            assert!(json[field].is_string(), "{json}");
        }
        let token = json["token"].as_str().unwrap().to_owned();
        assert_eq!(TokenText::parse(&token).unwrap().kind, TokenKind::Ses);
        token
    }
}

#[track_caller]
pub(crate) fn error(answer: &Answer) -> String {
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!answer.text().contains("pal_"));
    answer.json()["error"].as_str().unwrap().to_owned()
}

impl Gate {
    async fn grants(&self) -> usize {
        self.store
            .list(PREFIX, 100, None)
            .await
            .unwrap()
            .items
            .len()
    }

    /// The time of every grant is over.
    async fn end_grants(&self) {
        for kv in self.store.list(PREFIX, 100, None).await.unwrap().items {
            let mut record: Value = serde_json::from_slice(&kv.value).unwrap();
            let over = palisade::status::clock::now() - jiff::SignedDuration::from_secs(1);
            record["expiresAt"] = over.to_string().into();
            let txn = Txn::new().put(kv.key, record.to_string());
            self.store.txn(txn).await.unwrap();
        }
        self.caught_up().await;
    }
}

/// Holds what was counted of logins of terminals by this way; of what is not named nothing was.
async fn counted(gate: &Gate, way: &str, expected: &[(&str, u64)]) {
    let metrics = gate.metrics().await;
    let start = format!("palisade_terminal_logins_total{{way=\"{way}\",step=\"");
    let found = metrics.lines().filter_map(|line| line.strip_prefix(&start));
    let found = found.filter_map(|rest| rest.split_once("\"} "));
    let found = found.map(|(step, count)| (step, count.parse().unwrap()));
    let found: Vec<(&str, u64)> = found.filter(|(_, count)| *count > 0).collect();
    assert_eq!(found, expected, "{way}");
}

fn challenge(verifier: &str) -> String {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(sum)
}

fn authorize(changes: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", "palisade-cli"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("state", STATE),
        ("client", "jane@desk"),
    ];
    for (name, value) in changes {
        fields.retain(|(known, _)| known != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    format!("/authorize?{}", encoded(&fields))
}

async fn answer(browser: &mut Browser<'_>, page: &Page, answer: &str) -> Page {
    let start = "<form method=\"post\" action=\"";
    let action = page.text.split(start).last().unwrap();
    let action = action.split('"').next().unwrap().replace("&#38;", "&");
    browser.submit(page, &action, &[("answer", answer)]).await
}

fn parameter(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.into_owned())
}

// G4, CVE-2024-58267: the page shows who asks and from where, with the code, also to whoever comes by a link.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_without_a_browser_is_logged_in_by_a_code() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    assert_eq!(begun["verification_uri"], "https://localhost/device");
    assert_eq!(
        (&begun["expires_in"], &begun["interval"]),
        (&600.into(), &5.into())
    );
    let code = begun["user_code"].as_str().unwrap().to_owned();
    let complete = begun["verification_uri_complete"].as_str().unwrap();
    let target = complete.strip_prefix("https://localhost").unwrap();
    let other = terminal.begin("other").await;
    assert_eq!(
        error(&terminal.poll(&other["device_code"]).await),
        "authorization_pending"
    );
    assert_eq!(
        error(&terminal.poll(&other["device_code"]).await),
        "slow_down"
    );
    // By the link: first a login, and then the question, never less.
    let mut browser = Browser::new(&gate);
    let login = browser.get(target).await.location().to_owned();
    assert!(login.starts_with("/login?next=%2Fdevice"), "{login}");
    let page = browser.log_in("jane", PASSWORD, target).await;
    let page = browser.get(page.location()).await;
    for text in [
        &*format!("<strong>{code}</strong>"),
        "<dd>build-7</dd>",
        "<dd>127.0.0.9 (this browser is at 127.0.0.1)</dd>",
        "<dd>just now</dd>",
        "<dd>jane</dd>",
        "Say yes only if you started this login yourself",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    let done = answer(&mut browser, &page, "yes").await;
    assert!(
        done.text.contains("build-7 is logged in as jane"),
        "{}",
        done.text
    );
    let session = terminal.poll(&begun["device_code"]).await;
    let token = Terminal::is_janes(&session);
    assert_eq!(gate.kinds().await.len(), 2);
    let id = TokenText::parse(&token).unwrap().id.to_string();
    let kept = gate.get::<Token>(&id).await.object;
    assert_eq!(kept.spec.display_name, "build-7");
    assert_eq!(kept.status.address, Some(THERE.into()));
    // CVE-2026-44946: once, and the code is nobody's any more.
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "expired_token"
    );
    assert_eq!(browser.get(target).await.status, 404);
    assert_eq!(gate.grants().await, 1, "the other one's");
    is_recorded(&gate).await;
    let steps = [("begun", 2), ("given", 1), ("fetched", 1)];
    counted(&gate, "device", &steps).await;
    counted(&gate, "browser", &[]).await;
    gate.stop().await;
}

/// The login in the browser, the yes with which terminal it was for, and that terminal's login.
async fn is_recorded(gate: &Gate) {
    let deeds = gate.deeds(3).await;
    let deeds: Vec<_> = deeds.iter().map(|(deed, who)| (&**deed, &**who)).collect();
    let wanted = [
        ("login", "jane"),
        ("terminal-login-allowed", "jane"),
        ("login", "jane"),
    ];
    assert_eq!(deeds, wanted);
    for (key, said) in [
        ("palisade.dev/terminal", "build-7"),
        ("palisade.dev/terminal-address", "127.0.0.9"),
    ] {
        let notes = gate.annotations("terminal-login-allowed", key).await;
        assert_eq!(notes, [Some(said.to_owned())]);
    }
}

// G4: behind a balancer everybody has its address, also an attacker's terminal.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_behind_a_balancer_is_not_said_to_be_near() {
    for (lines, from) in [
        (
            "login: {source_tries: 0}\n",
            "The gateway cannot tell from where",
        ),
        ("", "127.0.0.9 (the address of this browser)"),
    ] {
        let gate = Gate::start_configured(lines).await;
        gate.person("jane", PASSWORD).await;
        let begun = Terminal::new(&gate).begin("build-7").await;
        let target = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
        let mut browser = Browser::at(&gate, THERE);
        browser.log_in("jane", PASSWORD, "/").await;
        let page = browser.get(&target).await;
        let shown = format!("<dt>Asks from</dt><dd>{from}</dd>");
        assert!(page.text.contains(&shown), "{}", page.text);
        let says_where = page.text.contains("127.0.0.9");
        assert_eq!(says_where, lines.is_empty(), "{}", page.text);
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_is_refused_gets_nothing() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("").await;
    let mut browser = logged_in(&gate).await;
    // Typed by hand, in small letters.
    let typed = begun["user_code"]
        .as_str()
        .unwrap()
        .to_lowercase()
        .replace('-', " ");
    let page = browser.get("/device").await;
    assert!(page.text.contains("<label for=\"user_code\">"));
    let page = browser
        .get(&format!("/device?{}", encoded(&[("user_code", &typed)])))
        .await;
    assert!(page.text.contains("<dd>a terminal</dd>"), "{}", page.text);
    let again = page.hidden("/device");
    let done = answer(&mut browser, &page, "no").await;
    assert!(done.text.contains("gets no login"), "{}", done.text);
    // The first answer counts.
    let fields: Vec<(&str, &str)> = again
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let fields: Vec<_> = fields.into_iter().chain([("answer", "yes")]).collect();
    assert_eq!(browser.post("/device", &fields).await.status, 404);
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "access_denied"
    );
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "expired_token"
    );
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    // What somebody came too late to allow was not allowed.
    assert_eq!(gate.deeds(2).await.len(), 2, "the login and the refusal");
    let notes = gate.annotations("terminal-login-refused", "palisade.dev/terminal");
    assert_eq!(notes.await, [Some("a terminal".to_owned())]);
    gate.stop().await;
}

// CVE-2025-23387, RFC 7009: who gives up has nobody asked about it any more; and nobody gives up for others.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_gives_up_takes_its_login_back() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    let code = begun["device_code"].as_str().unwrap();
    let target = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
    let mut browser = logged_in(&gate).await;
    let page = browser.get(&target).await;
    assert_eq!(page.status, 200);
    let user_code = begun["user_code"].as_str().unwrap();
    for (token, left) in [(user_code, 1), ("nobody's", 1), (code, 0), (code, 0)] {
        let hinted = [("token", token), ("token_type_hint", "device_code")];
        let answer = terminal.post("/v1/login/revoke", &hinted).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text().trim_end()),
            (200, "{}")
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(gate.grants().await, left, "{token}");
    }
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "expired_token"
    );
    // The page was open all the while.
    let late = answer(&mut browser, &page, "yes").await;
    assert_eq!(late.status, 404);
    assert!(
        late.text.contains("No terminal waits with this code"),
        "{}",
        late.text
    );
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    let twice = [("token", "a"), ("token", "b")];
    let none: [(&str, &str); 1] = [("token_type_hint", "device_code")];
    for wrong in [&twice[..], &none[..], &[("token", "")]] {
        let refused = terminal.post("/v1/login/revoke", wrong).await;
        assert_eq!(error(&refused), "invalid_request", "{wrong:?}");
    }
    gate.stop().await;
}

// RFC 7009, section 2.2.1: nobody goes away from a token that they believe revoked.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_device_code_is_not_told_to_be_revoked() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let token = gate.user("john").await;
    let answer = terminal
        .post("/v1/login/revoke", &[("token", &*token)])
        .await;
    assert_eq!(error(&answer), "unsupported_token_type");
    assert!(answer.text().contains("/v1/login/logout"));
    let id = TokenText::parse(&token).unwrap().id;
    gate.get::<Token>(id.as_str()).await;
    gate.stop().await;
}

// G7: a yes that another site has the browser say, or a page of another question.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_said_on_the_gateways_own_page() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    let code = begun["user_code"].as_str().unwrap();
    let mut browser = logged_in(&gate).await;
    let page = browser.get("/sessions").await;
    let of_sessions = page.hidden("/sessions")[0].1.clone();
    let page = browser.get(&authorize(&[])).await;
    let of_authorize = page.hidden(&authorize(&[]))[0].1.clone();
    let mut other = Browser::at(&gate, THERE);
    other.log_in("jane", PASSWORD, "/").await;
    let page = other.get(&format!("/device?user_code={code}")).await;
    let hidden = page.hidden("/device");
    let of_other = hidden.iter().find(|(name, _)| name == "token").unwrap();
    for token in ["", "x", &of_sessions, &of_authorize, &of_other.1] {
        for said in ["yes", "no"] {
            let fields = [("token", token), ("user_code", code), ("answer", said)];
            let page = browser.post("/device", &fields).await;
            assert_eq!(page.status, 403, "{token}: {}", page.text);
        }
    }
    // A form as it should be, from elsewhere.
    let fields: Vec<_> = hidden
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let fields: Vec<_> = fields.into_iter().chain([("answer", "yes")]).collect();
    let request = Request::post("/device").header("sec-fetch-site", "cross-site");
    assert_eq!(other.send(request, &encoded(&fields)).await.status, 403);
    let polled = terminal.poll(&begun["device_code"]).await;
    assert_eq!(error(&polled), "authorization_pending");
    assert_eq!(gate.kinds().await, [TokenKind::Web; 2]);
    gate.stop().await;
}

// G4; RFC 8628, section 3.5: nobody has answered in time, or the terminal asks too late for a yes.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_told_that_its_time_is_over() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let mut browser = logged_in(&gate).await;
    for said in [None, Some("yes"), Some("no")] {
        let begun = terminal.begin("build-7").await;
        let code = begun["user_code"].as_str().unwrap();
        let target = format!("/device?user_code={code}");
        let page = browser.get(&target).await;
        if let Some(said) = said {
            answer(&mut browser, &page, said).await;
            assert_eq!(browser.get(&target).await.status, 404, "it is answered");
        }
        gate.end_grants().await;
        let polled = terminal.poll(&begun["device_code"]).await;
        assert_eq!(error(&polled), "expired_token", "{said:?}");
        let told = polled.json()["error_description"].clone();
        assert_eq!(told, "the time for an answer is over: begin anew");
        // Nor is there anything to say yes to: on the page from before, and on a new one.
        if said.is_none() {
            assert_eq!(answer(&mut browser, &page, "yes").await.status, 404);
        }
        let page = browser.get(&target).await;
        assert_eq!(page.status, 404);
        assert!(!page.text.contains("build-7"), "{}", page.text);
    }
    let page = browser.get(&authorize(&[])).await;
    let back = answer(&mut browser, &page, "yes").await;
    let code = parameter(back.location(), "code").unwrap();
    gate.end_grants().await;
    let fetched = terminal.fetch(&code, VERIFIER, CALLBACK).await;
    assert_eq!(error(&fetched), "invalid_grant");
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    gate.stop().await;
}

// R4: whoever ends the session in which they said yes has taken it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_ends_with_its_session() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    let mut browser = logged_in(&gate).await;
    let code = begun["user_code"].as_str().unwrap();
    let page = browser.get(&format!("/device?user_code={code}")).await;
    answer(&mut browser, &page, "yes").await;
    let page = browser.get(&authorize(&[])).await;
    let back = answer(&mut browser, &page, "yes").await;
    let code = parameter(back.location(), "code").unwrap();
    let page = browser.get("/sessions").await;
    assert_eq!(browser.submit(&page, "/logout", &[]).await.location(), "/");
    let polled = terminal.poll(&begun["device_code"]).await;
    assert_eq!(error(&polled), "access_denied");
    let fetched = terminal.fetch(&code, VERIFIER, CALLBACK).await;
    assert_eq!(error(&fetched), "access_denied");
    assert_eq!(gate.kinds().await, []);
    gate.stop().await;
}

// A yes of somebody who was disabled, or has another password since, is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_yes_counts_as_long_as_its_person_does() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    for change in ["password", "disabled", "another user"] {
        gate.delete::<User>("jane").await;
        gate.person("jane", PASSWORD).await;
        let mut browser = logged_in(&gate).await;
        let page = browser.get(&authorize(&[])).await;
        let back = answer(&mut browser, &page, "yes").await;
        let code = parameter(back.location(), "code").unwrap();
        let mut stored = gate.get::<User>("jane").await;
        match change {
            "password" => stored.private.password_epoch += 1,
            "disabled" => stored.object.spec.disabled = true,
            _ => stored.object.metadata.uid = "another".to_owned(),
        }
        gate.put(stored.object, stored.private).await;
        let answer = terminal.fetch(&code, VERIFIER, CALLBACK).await;
        assert_eq!(error(&answer), "access_denied", "{change}");
        // And the browser is logged out.
        assert_eq!(browser.get("/sessions").await.status, 303, "{change}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_replica_takes_part_in_one_login() {
    let one = world().await;
    let two = one.replica("").await;
    // Asked here, shown there, answered here, fetched there. People and terminals take seconds between two of these: a
    // replica has heard of what was done at the other.
    let terminal = Terminal::new(&one);
    let begun = terminal.begin("build-7").await;
    let mut browser = logged_in(&two).await;
    two.caught_up().await;
    let code = begun["user_code"].as_str().unwrap();
    let page = browser.get(&format!("/device?user_code={code}")).await;
    assert!(page.text.contains("<dd>build-7</dd>"), "{}", page.text);
    // The page of one replica is answered at the other: same cookies, same form.
    let mut there = Browser::new(&one);
    there.jar = browser.jar.clone();
    one.caught_up().await;
    let done = answer(&mut there, &page, "yes").await;
    assert_eq!(done.status, 200, "{}", done.text);
    let elsewhere = Terminal::new(&two);
    two.caught_up().await;
    let session = elsewhere.poll(&begun["device_code"]).await;
    Terminal::is_janes(&session);
    one.caught_up().await;
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "expired_token"
    );
    // A code is fetched at the replica that did not give it, at once.
    for _ in 0..5 {
        let page = browser.get(&authorize(&[])).await;
        let back = answer(&mut browser, &page, "yes").await;
        let code = parameter(back.location(), "code").unwrap();
        Terminal::is_janes(&terminal.fetch(&code, VERIFIER, CALLBACK).await);
        assert_eq!(
            error(&elsewhere.fetch(&code, VERIFIER, CALLBACK).await),
            "invalid_grant"
        );
    }
    two.stop().await;
    one.stop().await;
}

// A way to a provider that is not there leads to the choice.
#[tokio::test(flavor = "multi_thread")]
async fn a_terminals_wish_for_a_provider_is_heard() {
    let gate = world().await;
    let mut browser = Browser::new(&gate);
    for (wish, page) in [
        ("local", "/login/local?"),
        ("nowhere", "/login?"),
        ("a/../b", "/login?"),
    ] {
        let target = authorize(&[("provider", wish)]);
        assert!(
            browser.get(&target).await.location().starts_with(page),
            "{wish}"
        );
    }
    gate.stop().await;
}
