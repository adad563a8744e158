//! What a stranger, or somebody who is logged in, can try: codes that are nobody's, too many of them, odd names.

use super::*;
use crate::testkit::client::h1_from;
use http_body_util::Full;

// CVE-2025-23387: nothing is told or taken away without what the terminal alone knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_guess_at_a_grant_tells_and_ends_nothing() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    let code = begun["device_code"].as_str().unwrap().to_owned();
    let (locator, secret) = code.split_at(32);
    let mut answers = Vec::new();
    for guess in [
        format!("{locator}{}", "A".repeat(43)),
        format!("{}{secret}", "0".repeat(32)),
        format!("{}{}", "0".repeat(32), "A".repeat(43)),
    ] {
        let answer = terminal.poll(&guess.into()).await;
        answers.push((answer.status, answer.text()));
    }
    assert!(
        answers.windows(2).all(|pair| pair[0] == pair[1]),
        "{answers:?}"
    );
    for method in ["GET", "DELETE", "PUT"] {
        for path in ["/v1/login/device", "/v1/login/token", "/v1/login/grants"] {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("host", "localhost");
            let request = request.body(Full::default()).unwrap();
            let answer = h1_from(THERE, &gate, request).await;
            assert!(
                [404, 405].contains(&answer.status.as_u16()),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        error(&terminal.poll(&begun["device_code"]).await),
        "authorization_pending"
    );
    gate.stop().await;
}

// G4, G6: user codes are not guessed, by one person or from one source.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_user_codes_are_few() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("build-7").await;
    let right = format!("/device?user_code={}", begun["user_code"].as_str().unwrap());
    let mut browser = logged_in(&gate).await;
    let mut codes = Vec::new();
    for _ in 0..12 {
        assert!([200, 429].contains(&browser.get(&right).await.status.as_u16()));
        codes.push(
            browser
                .get("/device?user_code=BBBBBBBB")
                .await
                .status
                .as_u16(),
        );
    }
    assert_eq!(codes[..10], [404; 10]);
    assert_eq!(codes[10..], [429; 2]);
    // Now not even the right one is looked at.
    let page = browser.get(&right).await;
    assert_eq!(page.status, 429);
    assert!(page.header("retry-after").parse::<u32>().unwrap() <= 60);
    assert!(
        page.text.contains("Too many tries; try again in"),
        "{}",
        page.text
    );
    // Somebody else is not kept from it.
    gate.person("john", PASSWORD).await;
    let mut john = Browser::at(&gate, THERE);
    john.log_in("john", PASSWORD, "/").await;
    assert_eq!(john.get(&right).await.status, 200);
    gate.stop().await;
}

// G6: one person who guesses pays themselves; many at one address are stopped together.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_user_codes_from_one_source_are_few() {
    const WRONG: &str = "/device?user_code=BBBBBBBB";
    let gate = world().await;
    let mut people = Vec::new();
    for name in ["ann", "bob", "cid", "dan"] {
        gate.person(name, PASSWORD).await;
        let mut browser = Browser::new(&gate);
        browser.log_in(name, PASSWORD, "/").await;
        people.push(browser);
    }
    // What is refused to ann is charged to nobody.
    for _ in 0..40 {
        people[0].get(WRONG).await;
    }
    for browser in &mut people[1..3] {
        for _ in 0..10 {
            assert_eq!(browser.get(WRONG).await.status, 404);
        }
    }
    // Thirty were looked at, so dan is too late. Some seconds may be over, in which there is room for one or two.
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(people[3].get(WRONG).await.status.as_u16());
    }
    assert!(codes.contains(&429), "{codes:?}");
    // Elsewhere he is not.
    let mut elsewhere = Browser::at(&gate, THERE);
    elsewhere.jar = people[3].jar.clone();
    assert_eq!(elsewhere.get(WRONG).await.status, 404);
    gate.stop().await;
}

// CVE-2024-58259: strangers who begin and begin.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_begins_so_many_logins_and_no_more() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let mut codes = Vec::new();
    for _ in 0..55 {
        let answer = terminal.post("/v1/login/device", &[("client", "x")]).await;
        codes.push(answer.status.as_u16());
    }
    assert_eq!(codes.iter().filter(|&&code| code == 200).count(), 50);
    let answer = terminal.post("/v1/login/device", &[("client", "x")]).await;
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains_key("retry-after"));
    let other = Terminal {
        gate: &gate,
        from: Ipv4Addr::LOCALHOST,
    };
    let answer = other.post("/v1/login/device", &[("client", "x")]).await;
    assert_eq!(answer.status, 200);
    for (fields, said) in [
        (vec![("client", "<script>\u{7}")], "invalid_request"),
        (vec![("client", &*"x".repeat(101))], "invalid_request"),
        (
            vec![("client", "x"), ("provider", "nowhere")],
            "invalid_request",
        ),
        (vec![("client", "x"), ("client", "y")], "invalid_request"),
    ] {
        assert_eq!(error(&other.post("/v1/login/device", &fields).await), said);
    }
    let large = "x".repeat(70_000);
    let answer = other.post("/v1/login/device", &[("client", &large)]).await;
    assert_eq!(answer.status, 413);
    gate.stop().await;
}

// CVE-2024-52281: what a terminal calls its machine is text.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_terminal_calls_itself_is_text() {
    let gate = world().await;
    let terminal = Terminal::new(&gate);
    let begun = terminal.begin("jane's #1").await;
    let mut browser = logged_in(&gate).await;
    let page = browser
        .get(&format!(
            "/device?user_code={}",
            begun["user_code"].as_str().unwrap()
        ))
        .await;
    let escaped = "<dd>jane&#39;s #1</dd>";
    assert!(page.text.contains(escaped), "{}", page.text);
    // And what could be more than text, or is not what it looks like, is not taken at all.
    for odd in [
        "<img src=x onerror='a'>",
        "\u{3164}",
        "\u{5d0}",
        "a\u{115f}b",
    ] {
        let answer = terminal.post("/v1/login/device", &[("client", odd)]).await;
        assert_eq!(error(&answer), "invalid_request", "{odd}");
        let target = authorize(&[("client", odd)]);
        assert_eq!(browser.get(&target).await.status, 400, "{odd}");
    }
    gate.stop().await;
}
