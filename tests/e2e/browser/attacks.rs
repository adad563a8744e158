//! What strangers try, in a real browser: what it does with cookies, redirects, frames and forms is its own matter.

use super::{
    driver::Page,
    world::{Account, PASSWORD, World, give_password},
};
use crate::testkit::canary;
use serde_json::json;

#[test]
fn strangers_get_nothing_out_of_a_persons_browser() {
    let world = World::start();
    a_login_leads_nowhere_else(&world);
    cookies_are_for_this_host_alone(&world);
    another_sites_page_can_do_nothing(&world);
    a_login_that_a_stranger_began_shows_whose_it_is(&world);
    refusals_are_readable_in_the_terminal(&world);
    ctrl_c_leaves_nothing(&world);
    nothing_secret_is_in_an_address(&world);
}

fn log_in(world: &World, page: &Page<'_>) {
    page.goto(&world.address("/login/local"));
    give_password(page, "jane", PASSWORD);
    page.see("You are logged in");
}

// G3: what browsers make of an address is wider than what parsers do.
fn a_login_leads_nowhere_else(world: &World) {
    for next in [
        "//evil.example/",
        "/\\evil.example/",
        "\\\\evil.example/",
        "https:evil.example/",
        "https:/evil.example",
        "https://evil.example/",
        "///evil.example",
        "/%09/evil.example/",
        "/%0a/evil.example/",
        "%09//evil.example/",
        "https://localhost@evil.example/",
        ".evil.example/",
        "@evil.example/",
        "javascript:document.title='evil'",
        "/login/../..//evil.example/",
        "/k8s/clusters/local/api",
    ] {
        let page = world.browser.person();
        let encoded = next.replace('\\', "%5C").replace('\'', "%27");
        page.goto(&world.address(&format!("/login/local?next={encoded}")));
        give_password(&page, "jane", PASSWORD);
        page.see("You are logged in");
        let root = world.address("/");
        assert_eq!(page.url(), root, "{next}");
        let asked = page.requests();
        let strange = asked
            .iter()
            .find(|it| !it.url.starts_with(&world.gateway.url));
        assert!(strange.is_none(), "{next}: {strange:?}");
    }
}

// G7: session fixation, the cookie's flags as the browser took them.
fn cookies_are_for_this_host_alone(world: &World) {
    let page = world.browser.person();
    page.goto(&world.address("/login/local"));
    // Somebody planted a session of their own.
    let stranger = world.browser.person();
    log_in(world, &stranger);
    let session = |page: &Page<'_>| {
        let cookies = page.cookies();
        cookies
            .into_iter()
            .find(|it| it["name"] == "__Host-palisade")
    };
    let planted = session(&stranger).expect("a session");
    page.set_cookie(&planted);
    page.goto(&world.address("/login/local"));
    give_password(&page, "jane", PASSWORD);
    page.see("You are logged in");
    let own = session(&page).expect("a session");
    assert_ne!(
        own["value"], planted["value"],
        "a login makes a session of its own"
    );
    for cookie in page.cookies() {
        let name = cookie["name"].as_str().expect("a name");
        assert!(name.starts_with("__Host-"), "{name}");
        assert_eq!(cookie["secure"], true, "{name}");
        assert_eq!(cookie["httpOnly"], true, "{name}");
        assert_eq!(cookie["path"], "/", "{name}");
        assert_eq!(cookie["domain"], "localhost", "{name}");
        assert!(["Lax", "Strict"].contains(&cookie["sameSite"].as_str().expect("a text")));
    }
    assert_eq!(page.evaluate("document.cookie"), "", "no script reads one");
    // Gone at the logout, here and at the gateway.
    page.click("button", "Log out");
    page.see("Log in");
    assert!(session(&page).is_none());
    page.set_cookie(&own);
    page.goto(&world.address("/"));
    assert!(!page.text().contains("You are logged in"));
}

// G7, S9: with the person's session in the same browser, from a page of another site.
fn another_sites_page_can_do_nothing(world: &World) {
    let page = world.browser.person();
    log_in(world, &page);
    let evil = page.tab();
    let gate = &world.gateway.url;
    for (path, field) in [
        ("/logout", ""),
        ("/sessions", "others"),
        ("/login/local", "username"),
    ] {
        evil.goto(&world.issuer.url);
        evil.evaluate(&format!(
            "const form = document.createElement('form'); form.method = 'post'; form.action = '{gate}{path}';
             const input = document.createElement('input'); input.name = '{field}'; input.value = '1';
             form.append(input); document.body.append(form); form.submit()"
        ));
        evil.arrive(gate);
        let asked = evil.requests();
        let sent = asked
            .iter()
            .rev()
            .find(|it| it.method == "POST")
            .expect("the form");
        assert_eq!(sent.status, 403, "{sent:?}");
        // The browser itself leaves the session out.
        let cookies = sent.headers["cookie"].as_str().unwrap_or_default();
        assert!(!cookies.contains("__Host-palisade="), "{path}");
    }
    evil.goto(&world.issuer.url);
    let read = evil.evaluate(&format!(
        "fetch('{gate}/sessions', {{credentials: 'include'}}).then(it => it.text(), () => 'refused')"
    ));
    assert_eq!(read, "refused");
    let socket = evil.evaluate(&format!(
        "new Promise(done => {{
            const socket = new WebSocket('{}/k8s/clusters/local/api/v1/namespaces/a/pods/b/exec?command=id');
            socket.onopen = () => done('open'); socket.onerror = () => done('refused');
        }})",
        gate.replace("https", "wss")
    ));
    assert_eq!(socket, "refused");
    evil.evaluate(&format!(
        "new Promise(done => {{
            const frame = document.createElement('iframe'); frame.src = '{gate}/sessions';
            frame.onload = done; document.body.append(frame); setTimeout(done, 3000);
        }})"
    ));
    let framed = evil.all_complaints().join("\n");
    assert!(framed.contains("frame-ancestors"), "{framed}");
    // Neither does a session in a cookie call an API, from the gateway's own pages.
    for path in [
        "/apis",
        "/apis/palisade.dev/v1alpha1/tokens",
        "/k8s/clusters/local/api",
    ] {
        assert_eq!(evil.goto(&world.address(path)), 401, "{path}");
    }
    page.goto(&world.address("/"));
    page.see("You are logged in");
}

// G4, CVE-2024-58267: a link in a message logs nobody in; the person sees who asks, and says no.
fn a_login_that_a_stranger_began_shows_whose_it_is(world: &World) {
    let victim = world.browser.person();
    log_in(world, &victim);
    let stranger = world.terminal("stranger", &["--device"]);
    victim.goto(&stranger.address("user_code="));
    let shown = victim.see("Yes, log it in");
    for text in [&*stranger.code(), "127.0.0.1", "palisade", "jane"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
    // To have looked is no answer, nor is a form that the stranger's page sends.
    victim.goto(&stranger.address("user_code="));
    let evil = victim.tab();
    evil.goto(&world.issuer.url);
    evil.evaluate(&format!(
        "const form = document.createElement('form'); form.method = 'post'; form.action = '{}/device';
         for (const [name, value] of [['user_code', '{}'], ['answer', 'yes']]) {{
             const input = document.createElement('input'); input.name = name; input.value = value; form.append(input);
         }}
         document.body.append(form); form.submit()",
        world.gateway.url,
        stranger.code()
    ));
    evil.arrive(&world.gateway.url);
    assert!(stranger.is_waiting());
    victim.click("button", "No, refuse it");
    victim.see("You can close this window");
    stranger.fails_with("refused in the browser");
    // A loopback login that would bring the code elsewhere is no login.
    let own = world.terminal("stranger", &["--browser"]);
    let address = own.address("/authorize?");
    let (before, after) = address.split_once("redirect_uri=").expect("it is there");
    let (_, after) = after.split_once('&').expect("more");
    for uri in [
        "https://evil.example/callback",
        "http://127.0.0.1.evil.example:1/callback",
        "http://127.0.0.1:1@evil.example/callback",
        "http://127.0.0.1:1/callback/../other",
        "http://localhost:1/callback",
        "javascript:alert(1)",
        "//evil.example/callback",
    ] {
        let uri = uri
            .replace('@', "%40")
            .replace(':', "%3A")
            .replace('/', "%2F");
        let status = victim.goto(&format!("{before}redirect_uri={uri}&{after}"));
        assert_eq!(status, 400, "{uri}");
        assert!(victim.url().starts_with(&world.gateway.url), "{uri}");
    }
    own.interrupt();
}

fn refusals_are_readable_in_the_terminal(world: &World) {
    let page = world.browser.person();
    log_in(world, &page);
    let terminal = world.terminal("refused", &["--browser"]);
    page.goto(&terminal.address("/authorize?"));
    page.see(&terminal.code());
    page.click("button", "No, refuse it");
    page.see("Not logged in");
    terminal.fails_with("refused in the browser");
    // G1: an answer with another state is turned away, and the right one still counts.
    let terminal = world.terminal("refused", &["--browser"]);
    let address = terminal.address("/authorize?");
    let (_, port) = address
        .split_once("127.0.0.1%3A")
        .unwrap_or_else(|| address.split_once("127.0.0.1:").expect("the own address"));
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let callback = format!("http://127.0.0.1:{port}/callback");
    assert_eq!(
        page.goto(&format!("{callback}?code=stolen&state=guessed")),
        400
    );
    page.see("no answer to the login that waits here");
    page.goto(&address);
    page.click("button", "Yes, log it in");
    page.see("Back to the terminal");
    terminal.gets_in();
    // A wrong code is told on the page.
    page.goto(&world.address("/device"));
    page.fill("Code that the terminal shows", "BBBB-BBBB");
    page.click("button", "Go on");
    page.see("No terminal is logged in");
    super::pages::is_for_everybody(world, &page, "device-wrong");
}

fn ctrl_c_leaves_nothing(world: &World) {
    let page = world.browser.person();
    log_in(world, &page);
    for way in ["--browser", "--device"] {
        let terminal = world.terminal("gone", &[way]);
        let address = match way {
            "--browser" => terminal.address("/authorize?"),
            _ => terminal.address("user_code="),
        };
        terminal.interrupt();
        page.goto(&address);
        if way == "--browser" {
            // Of this one the gateway knows nothing but the address; nobody waits for the answer.
            page.see("Yes, log it in");
        } else {
            page.see("No terminal waits with this code");
        }
        world
            .palisade("gone", &["whoami"])
            .refused(&["palisade login"]);
    }
    let listed = world
        .palisade("admin", &["sessions", "--user", "jane"])
        .ok();
    let terminals = listed.lines().filter(|line| line.contains(" ses "));
    // That of the right answer above, and no other.
    assert_eq!(terminals.count(), 1, "{listed}");
}

// G8: the log, the metrics and the store are looked at when the gateway ends.
fn nothing_secret_is_in_an_address(world: &World) {
    let page = world.browser.person();
    for account in Account::ALL {
        let terminal = world.terminal("canary", &["--browser", "--provider", account.provider()]);
        page.goto(&terminal.address("/authorize?"));
        account.prove(&page);
        page.click("button", "Yes, log it in");
        page.see("Back to the terminal");
        terminal.gets_in();
        page.forget_cookies();
    }
    let log = world.gateway.log();
    for asked in page.requests() {
        let referer = asked.headers["referer"].as_str().unwrap_or_default();
        // Another origin never learns where the person comes from, but for its name at most.
        let from_us = referer.starts_with(&world.gateway.url);
        let to_us = asked.url.starts_with(&world.gateway.url);
        let bare = format!("{}/", world.gateway.url);
        assert!(
            !from_us || to_us || referer == bare,
            "{referer} at {}",
            asked.url
        );
        for address in [&*asked.url, referer] {
            let query = address.split_once('?').map_or("", |(_, query)| query);
            for pair in query.split('&') {
                let (name, value) = pair.split_once('=').unwrap_or_default();
                // The code of OAuth alone is made to travel so; no token, no password, no refresh token.
                if name == "code" {
                    assert!(!log.contains(value), "a code is in the log");
                } else {
                    assert_eq!(canary::find(value.as_bytes(), &[]), None, "{address}");
                    let state = name == "state" && !value.is_empty();
                    assert!(!state || !log.contains(value), "a state is in the log");
                }
            }
        }
    }
    let kept = json!({"cookies": page.cookies()}).to_string();
    assert!(!kept.contains("pal_ses_"), "{kept}");
}
