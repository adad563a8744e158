//! Terminals whose own machine has a browser, which brings them a code.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_with_a_browser_is_logged_in_by_loopback() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let mut browser = Browser::at(&gate, THERE);
    let target = authorize(&[]);
    let login = browser.get(&target).await.location().to_owned();
    let next = parameter(&login, "next").unwrap();
    assert_eq!(next, target);
    let page = browser.log_in("jane", PASSWORD, &next).await;
    let page = browser.get(page.location()).await;
    let compare = compare_code(&challenge(VERIFIER));
    for text in [
        &*format!("<strong>{compare}</strong>"),
        "<dd>jane@desk</dd>",
        "<dd>a program on this machine, port 43210</dd>",
    ] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    // Of the browser's own address and of this moment the terminal has nothing.
    for text in ["127.0.0.9", "<dt>Asked</dt>"] {
        assert!(!page.text.contains(text), "{text}: {}", page.text);
    }
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("form-action 'self' http://127.0.0.1:43210;"),
        "{policy}"
    );
    let back = answer(&mut browser, &page, "yes").await;
    assert!(
        back.location().starts_with(&format!("{CALLBACK}?code=")),
        "{back:?}"
    );
    assert_eq!(parameter(back.location(), "state").unwrap(), STATE);
    let code = parameter(back.location(), "code").unwrap();
    let fetched = terminal.fetch(&code, VERIFIER, CALLBACK).await;
    Terminal::is_janes(&fetched);
    // G1, CVE-2026-44946: a code is good once.
    assert_eq!(
        error(&terminal.fetch(&code, VERIFIER, CALLBACK).await),
        "invalid_grant"
    );
    assert_eq!(gate.grants().await, 0);
    let page = browser.get(&target).await;
    let back = answer(&mut browser, &page, "no").await;
    assert_eq!(
        back.location(),
        format!("{CALLBACK}?error=access_denied&state={STATE}")
    );
    assert_eq!(gate.grants().await, 0);
    let steps = [("begun", 2), ("given", 1), ("refused", 1), ("fetched", 1)];
    counted(&gate, "browser", &steps).await;
    counted(&gate, "device", &[]).await;
    gate.stop().await;
}

// G1, CVE-2022-31034: no proof, a weak one, another terminal's; a wrong one takes the code away.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_without_its_proof_is_worth_nothing() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let mut browser = logged_in(&gate).await;
    let other = "x".repeat(43);
    for (verifier, redirect_uri, said) in [
        (&*other, CALLBACK, "invalid_grant"),
        (VERIFIER, "http://127.0.0.1:43211/callback", "invalid_grant"),
        (&*challenge(VERIFIER), CALLBACK, "invalid_grant"),
    ] {
        let page = browser.get(&authorize(&[])).await;
        let back = answer(&mut browser, &page, "yes").await;
        let code = parameter(back.location(), "code").unwrap();
        // These are no tries: they are refused before the code is looked at.
        for weak in ["", "short", &"x".repeat(129), &" ".repeat(43)] {
            let answer = terminal.fetch(&code, weak, CALLBACK).await;
            assert_eq!(error(&answer), "invalid_request", "{weak}");
        }
        assert_eq!(
            error(&terminal.fetch(&code, verifier, redirect_uri).await),
            said
        );
        assert_eq!(
            error(&terminal.fetch(&code, VERIFIER, CALLBACK).await),
            "invalid_grant"
        );
    }
    for nobodys in ["", "x", &"x".repeat(43), &"x".repeat(10_000)] {
        let answer = terminal.fetch(nobodys, VERIFIER, CALLBACK).await;
        assert_eq!(error(&answer), "invalid_grant");
    }
    for grant_type in ["", "password", "client_credentials", "refresh_token"] {
        let answer = terminal
            .post("/v1/login/token", &[("grant_type", grant_type)])
            .await;
        assert_eq!(error(&answer), "unsupported_grant_type");
    }
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    gate.stop().await;
}

// G3, G1: what is wrong with the address is told on a page, and nothing is sent anywhere.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_not_a_terminals_is_an_error_page() {
    let gate = world().await;
    let mut browser = logged_in(&gate).await;
    for (name, value) in [
        ("redirect_uri", "https://evil.example/callback"),
        ("redirect_uri", "http://127.0.0.1:80@evil.example/callback"),
        ("redirect_uri", "http://localhost:43210/callback"),
        ("redirect_uri", "//127.0.0.1:43210/callback"),
        ("redirect_uri", ""),
        ("response_type", "token"),
        ("response_type", ""),
        ("client_id", "other"),
        ("code_challenge_method", "plain"),
        ("code_challenge_method", ""),
        ("code_challenge", "short"),
        ("code_challenge", ""),
        ("state", ""),
        ("state", "a b"),
        ("client", "\u{202e}evil"),
        ("client", &"x".repeat(101)),
    ] {
        let target = authorize(&[(name, value)]);
        let page = browser.get(&target).await;
        assert_eq!(page.status, 400, "{name}={value}");
        assert!(page.headers.get("location").is_none());
        let page = browser.post(&target, &[("answer", "yes")]).await;
        assert_eq!(page.status, 400, "{name}={value}");
        assert!(page.headers.get("location").is_none());
    }
    // H7: twice.
    let twice = format!(
        "{}&redirect_uri=http%3A%2F%2Fevil.example%2F",
        authorize(&[])
    );
    assert_eq!(browser.get(&twice).await.status, 400);
    // A form of another question.
    let page = browser.get(&authorize(&[])).await;
    let token = page.hidden(&authorize(&[]))[0].1.clone();
    let other = authorize(&[("state", "another")]);
    let fields = [("token", &*token), ("answer", "yes")];
    assert_eq!(browser.post(&other, &fields).await.status, 403);
    assert_eq!(gate.grants().await, 0);
    gate.stop().await;
}

// G1, CVE-2026-44946: of many who bring the same code at the same moment one gets a session.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_brought_twice_at_once_counts_once() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let mut browser = logged_in(&gate).await;
    for _ in 0..5 {
        let page = browser.get(&authorize(&[])).await;
        let back = answer(&mut browser, &page, "yes").await;
        let code = parameter(back.location(), "code").unwrap();
        let fetch = || terminal.fetch(&code, VERIFIER, CALLBACK);
        let (one, two, three) = tokio::join!(fetch(), fetch(), fetch());
        let mut codes = [one, two, three].map(|answer| answer.status.as_u16());
        codes.sort_unstable();
        assert_eq!(codes, [201, 400, 400]);
    }
    gate.stop().await;
}
