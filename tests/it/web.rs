//! The gateway's pages, as a browser and those who play tricks on one meet them.

mod pages;

use crate::testkit::{
    browser::{Browser, Page, encoded},
    client::{Answer, empty, get, h1, origin_form},
    gate::Gate,
};
use http::Request;
use jiff::SignedDuration;
use palisade::{
    authn::TokenText,
    objects::{Kind as _, Member, Token, TokenKind, TokenPrivate, TokenSpec, User},
    status::clock,
};
use std::net::Ipv4Addr;

pub(crate) const PASSWORD: &str = "a correct horse and its lamp";
pub(crate) const SESSION: &str = "__Host-palisade";

/// A gate with jane, who has a password.
pub(crate) async fn world() -> Gate {
    let gate = Gate::start().await;
    gate.person("jane", PASSWORD).await;
    gate
}

pub(crate) async fn logged_in(gate: &Gate) -> Browser<'_> {
    let mut browser = Browser::new(gate);
    let page = browser.log_in("jane", PASSWORD, "/").await;
    assert_eq!(page.location(), "/");
    browser
}

impl Gate {
    /// Tokens of these kinds that jane has.
    pub(crate) async fn kinds(&self) -> Vec<TokenKind> {
        let mut kinds = Vec::new();
        let mut scan = self.store.scan(&Token::prefix()).await.unwrap();
        while let Some(page) = scan.next().await {
            for kv in page.unwrap() {
                let stored =
                    palisade::objects::Stored::<Token>::decode(&kv.key, &kv.value, kv.mod_revision);
                kinds.push(stored.unwrap().object.spec.kind);
            }
        }
        kinds
    }

    async fn browser_session(&self, handle: &str, life: SignedDuration) -> String {
        let text = TokenText::generate(TokenKind::Web).unwrap();
        let spec = TokenSpec {
            user: Member {
                name: handle.to_owned(),
                uid: self.uid(handle).await,
            },
            kind: TokenKind::Web,
            display_name: "<script>alert(1)</script>".to_owned(),
            expires_at: Some(clock::now() + life),
            renewable_until: Some(clock::now() + SignedDuration::from_hours(2)),
            ..TokenSpec::default()
        };
        let private = TokenPrivate {
            sha256: text.sha256_hex(),
            ..TokenPrivate::default()
        };
        self.put(Token::new(text.id().as_str(), spec), private)
            .await;
        text.expose().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_sees_the_session_and_logs_out() {
    let gate = world().await;
    let mut browser = Browser::new(&gate);
    let front = browser.get("/").await;
    assert!(
        front
            .text
            .contains("<a class=\"button\" href=\"/login\">Log in</a>")
    );
    // There is one place to log in.
    let page = browser.get("/login").await;
    assert_eq!(page.location(), "/login/local?next=%2F");
    let page = browser.log_in("jane", PASSWORD, "/sessions").await;
    assert_eq!(page.location(), "/sessions");
    let page = browser.get("/sessions").await;
    for text in [
        "Logged in as <strong>jane</strong>",
        "Firefox on Linux <span class=\"tag\">this browser</span>",
        "<td>127.0.0.1</td>",
        "You have no tokens.",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    let kept = browser.jar[SESSION].clone();
    let page = browser.submit(&page, "/logout", &[]).await;
    assert_eq!(page.location(), "/");
    assert!(!browser.jar.contains_key(SESSION));
    assert_eq!(gate.kinds().await, []);
    // R4: the cookie that somebody has kept opens nothing.
    browser.jar.insert(SESSION.to_owned(), kept);
    let page = browser.get("/sessions").await;
    assert_eq!(page.location(), "/login?next=%2Fsessions");
    let deeds = gate.deeds(2).await;
    let deeds: Vec<_> = deeds.iter().map(|(deed, who)| (&**deed, &**who)).collect();
    assert_eq!(deeds, [("login", "jane"), ("logout", "jane")]);
    gate.stop().await;
}

// G5: one answer, whatever was wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_reads_the_same_for_everybody() {
    let gate = world().await;
    gate.put(
        {
            let mut user = gate.get::<User>("jane").await.object;
            user.metadata.name = "john".to_owned();
            user.metadata.uid.clear();
            user.spec.disabled = true;
            user
        },
        gate.get::<User>("jane").await.private,
    )
    .await;
    let mut pages = Vec::new();
    for (user, password) in [
        ("jane", "wrong"),
        ("nobody", "wrong"),
        ("john", PASSWORD),
        ("no such <name>", "wrong"),
    ] {
        let mut browser = Browser::new(&gate);
        let page = browser.log_in(user, password, "/device").await;
        assert_eq!(page.status, 403, "{}", page.text);
        assert!(page.text.contains("Wrong user name or password."));
        assert!(!browser.jar.contains_key(SESSION));
        let shown = user.replace('<', "&#60;").replace('>', "&#62;");
        assert!(
            page.text.contains(&format!("value=\"{shown}\"")),
            "{}",
            page.text
        );
        let token = page.hidden("/login/local")[0].1.clone();
        let text = page.text.replace(&token, "").replace(&shown, "");
        let names: Vec<_> = page.headers.keys().map(ToString::to_string).collect();
        pages.push((text, names));
    }
    assert!(pages.windows(2).all(|pair| pair[0] == pair[1]), "{pages:?}");
    assert_eq!(gate.kinds().await, []);
    gate.stop().await;
}

// G7: a cookie that was there before the login does not count after it, and a login ends the session before.
#[tokio::test(flavor = "multi_thread")]
async fn every_login_makes_a_new_session() {
    let gate = world().await;
    let mut browser = logged_in(&gate).await;
    let first = browser.jar[SESSION].clone();
    browser.log_in("jane", PASSWORD, "/").await;
    let second = browser.jar[SESSION].clone();
    assert_ne!(first, second);
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    let mut other = Browser::new(&gate);
    other.jar.insert(SESSION.to_owned(), first);
    assert_eq!(other.get("/sessions").await.status, 303);
    // What somebody planted is not taken over.
    let planted = TokenText::generate(TokenKind::Web).unwrap();
    let mut victim = Browser::new(&gate);
    victim
        .jar
        .insert(SESSION.to_owned(), planted.expose().to_owned());
    victim.log_in("jane", PASSWORD, "/").await;
    assert_ne!(victim.jar[SESSION], planted.expose());
    gate.stop().await;
}

// G7: forms that another site, another browser or an old page sends.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_from_elsewhere_changes_nothing() {
    let gate = world().await;
    let mut browser = logged_in(&gate).await;
    let page = browser.get("/sessions").await;
    let token = page.hidden("/logout")[0].1.clone();
    let of_sessions = page.hidden("/sessions")[0].1.clone();
    assert_ne!(token, of_sessions);
    let body = encoded(&[("token", &token)]);
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost"),
    ] {
        let request = Request::post("/logout").header(name, value);
        let page = browser.send(request, &body).await;
        assert_eq!(page.status, 403, "{name}: {value}");
    }
    let page = browser.send(Request::post("/logout"), &body).await;
    assert_eq!(page.status, 403, "nothing says where it comes from");
    let mut other = Browser::new(&gate);
    let foreign = other.get("/login/local").await.hidden("/login/local")[0]
        .1
        .clone();
    for bad in ["", "x", &of_sessions, &foreign] {
        let page = browser.post("/logout", &[("token", bad)]).await;
        assert_eq!(page.status, 403, "{bad}");
        assert!(page.text.contains("This form is too old"), "{}", page.text);
    }
    // A login that another site begins: as somebody else.
    let fields = [
        ("username", "jane"),
        ("password", PASSWORD),
        ("token", &foreign),
    ];
    assert_eq!(browser.post("/login/local", &fields).await.status, 403);
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    let good = Request::post("/logout").header("origin", "https://localhost");
    assert_eq!(browser.send(good, &body).await.status, 303);
    assert_eq!(gate.kinds().await, []);
    gate.stop().await;
}

// S9: what a browser sends by itself is no credential of an API, whoever makes it call; and what is one is no
// session of a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_session_counts_on_pages_alone() {
    let gate = world().await;
    let browser = logged_in(&gate).await;
    let web = browser.jar[SESSION].clone();
    let paths = [
        "/k8s/clusters/fake/api/v1/pods",
        "/apis/palisade.dev/v1alpha1/tokens",
        "/api",
        "/v1/login/renew",
        "/v1/login/logout",
    ];
    for path in paths {
        let method = if path.starts_with("/v1/") {
            "POST"
        } else {
            "GET"
        };
        let ask = |builder: http::request::Builder| origin_form(empty(builder.method(method)));
        let bearer: Answer = h1(&gate, ask(get(&gate, path, &web))).await;
        assert_eq!(bearer.status, 401, "{path}");
        let url = format!("{}{path}", gate.url);
        let cookie = Request::get(&url)
            .header("cookie", format!("{SESSION}={web}"))
            .header("origin", "https://evil.example");
        assert_eq!(h1(&gate, ask(cookie)).await.status, 401, "{path}");
    }
    // A WebSocket that a foreign page opens.
    let socket = Request::get(format!(
        "{}/k8s/clusters/fake/api/v1/namespaces/a/pods/b/exec",
        gate.url
    ))
    .header("cookie", format!("{SESSION}={web}"))
    .header("origin", "https://evil.example")
    .header("connection", "upgrade")
    .header("upgrade", "websocket")
    .header("sec-websocket-version", "13")
    .header("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")
    .header("sec-websocket-protocol", "v5.channel.k8s.io");
    assert_eq!(h1(&gate, origin_form(empty(socket))).await.status, 401);
    let pat = gate.token("jane", &[], SignedDuration::from_hours(1)).await;
    for wrong in [&*pat, "x", &format!("{web}x")] {
        let mut browser = Browser::new(&gate);
        browser.jar.insert(SESSION.to_owned(), wrong.to_owned());
        assert_eq!(browser.get("/sessions").await.status, 303, "{wrong}");
    }
    // A page takes no bearer token.
    let mut bearer = Browser::new(&gate);
    bearer
        .headers
        .push(("authorization", format!("Bearer {pat}")));
    assert_eq!(bearer.get("/sessions").await.status, 303);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_used_lasts_and_one_that_is_not_ends() {
    let gate = world().await;
    let mut browser = Browser::new(&gate);
    let ended = gate
        .browser_session("jane", SignedDuration::from_secs(-1))
        .await;
    browser.jar.insert(SESSION.to_owned(), ended);
    assert_eq!(
        browser.get("/sessions").await.location(),
        "/login?next=%2Fsessions"
    );
    assert!(
        !browser.jar.contains_key(SESSION),
        "the cookie is taken away"
    );
    let used = gate
        .browser_session("jane", SignedDuration::from_mins(5))
        .await;
    let id = TokenText::parse(&used).unwrap().id.to_string();
    let end = async || gate.get::<Token>(&id).await.object.spec.expires_at.unwrap();
    let before = end().await;
    browser.jar.insert(SESSION.to_owned(), used);
    assert_eq!(browser.get("/sessions").await.status, 200);
    let gain = before.duration_until(end().await);
    assert!(
        gain > SignedDuration::from_mins(50),
        "an hour from now: {gain}"
    );
    // Not beyond the end that the login set.
    let last = clock::now() + SignedDuration::from_mins(10);
    let mut stored = gate.get::<Token>(&id).await;
    stored.object.spec.renewable_until = Some(last);
    stored.object.spec.expires_at = Some(clock::now() + SignedDuration::from_mins(5));
    gate.put(stored.object, stored.private).await;
    assert_eq!(browser.get("/sessions").await.status, 200);
    assert_eq!(end().await, last);
    gate.stop().await;
}

// Each row is a read of the store: somebody who makes tokens without end has a page of some.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_sessions_has_so_many_rows_and_no_more() {
    let gate = world().await;
    let mut browser = logged_in(&gate).await;
    for _ in 0..52 {
        gate.token("jane", &[], SignedDuration::from_hours(1)).await;
    }
    let page = browser.get("/sessions").await;
    let rows = page.text.matches("<th scope=\"row\">").count();
    assert_eq!(rows, 51, "a session and fifty tokens");
    assert!(page.text.contains("There are more"), "{}", page.text);
    gate.stop().await;
}

// G3: after a login to an own page, whatever the address says.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_to_an_own_page_alone() {
    let gate = world().await;
    for bad in [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://localhost@evil.example",
        "/%2f%2fevil.example",
        "/device\r\nset-cookie: a=b",
        "javascript:alert(1)",
    ] {
        let mut browser = Browser::new(&gate);
        let page = browser.log_in("jane", PASSWORD, bad).await;
        assert_eq!(page.location(), "/", "{bad}");
        // Also if the page's own field was changed.
        let page = browser.get("/login/local").await;
        let token = &page.hidden("/login/local")[0].1;
        let fields = [
            ("token", &**token),
            ("next", bad),
            ("username", "jane"),
            ("password", PASSWORD),
        ];
        assert_eq!(
            browser.post("/login/local", &fields).await.location(),
            "/",
            "{bad}"
        );
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_tokens_of_ones_own_are_ended_and_nobody_elses() {
    let gate = world().await;
    gate.person("john", PASSWORD).await;
    let mut john = Browser::new(&gate);
    john.log_in("john", PASSWORD, "/").await;
    let johns = TokenText::parse(&john.jar[SESSION]).unwrap().id.to_string();
    let mut there = Browser::at(&gate, Ipv4Addr::new(127, 0, 0, 2));
    there.log_in("jane", PASSWORD, "/").await;
    let theres = there.jar[SESSION].clone();
    let mut browser = logged_in(&gate).await;
    let pat = gate.token("jane", &[], SignedDuration::from_hours(1)).await;
    let pat = TokenText::parse(&pat).unwrap().id.to_string();
    let page = browser.get("/sessions").await;
    assert!(page.text.contains("<td>127.0.0.2</td>"), "{}", page.text);
    assert!(!page.text.contains(&johns));
    let end = async |browser: &mut Browser<'_>, page: &Page, field: (&str, &str)| {
        let page = browser.submit(page, "/sessions", &[field]).await;
        page.location().to_owned()
    };
    assert_eq!(end(&mut browser, &page, ("id", &johns)).await, "/sessions");
    assert_eq!(john.get("/sessions").await.status, 200);
    assert_eq!(
        end(&mut browser, &page, ("id", &pat)).await,
        "/sessions?ended=one"
    );
    let page = browser.get("/sessions?ended=one").await;
    assert!(page.text.contains("It is ended.") && page.text.contains("You have no tokens."));
    assert_eq!(
        end(&mut browser, &page, ("others", "1")).await,
        "/sessions?ended=others"
    );
    assert_eq!(there.get("/sessions").await.status, 303);
    let page = browser.get("/sessions").await;
    assert_eq!(page.status, 200);
    let ended: Vec<_> = gate.deeds(5).await.split_off(3);
    let expected = ("session-end".to_owned(), "jane".to_owned());
    assert_eq!(ended, [expected.clone(), expected]);
    // Which ones, for those who read the log.
    let theres = TokenText::parse(&theres).unwrap().id.to_string();
    let ids = gate.annotations("session-end", "palisade.dev/ended-tokens");
    assert_eq!(ids.await, [Some(pat), Some(theres)]);
    // This very one.
    let own = TokenText::parse(&browser.jar[SESSION])
        .unwrap()
        .id
        .to_string();
    end(&mut browser, &page, ("id", &own)).await;
    assert_eq!(browser.get("/sessions").await.status, 303);
    gate.stop().await;
}
