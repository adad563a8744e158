//! What the pages hold and take, and where there are any.

use super::*;

// CVE-2024-52281: names that are markup. The pages are HTML, and they are the only HTML there is.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_choose_is_text_on_every_page() {
    let gate = world().await;
    let mut browser = Browser::new(&gate);
    // Its display name is a script.
    let session = gate
        .browser_session("jane", SignedDuration::from_mins(50))
        .await;
    browser.jar.insert(SESSION.to_owned(), session);
    let page = browser.get("/sessions").await;
    assert!(
        page.text
            .contains("&#60;script&#62;alert(1)&#60;/script&#62;"),
        "{}",
        page.text
    );
    let mut other = Browser::new(&gate);
    let next = "/device?user_code=\"><script>alert(1)</script>";
    let page = other
        .get(&format!("/login/local?{}", encoded(&[("next", next)])))
        .await;
    assert!(!page.text.contains("<script"), "{}", page.text);
    let page = other.get("/login/nobody").await;
    assert_eq!(page.status, 404);
    gate.stop().await;
}

// CVE-2024-58259: bodies of strangers.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_none_is_refused_before_it_is_read_whole() {
    let gate = world().await;
    let mut browser = Browser::new(&gate);
    let page = browser.get("/login/local").await;
    let token = page.hidden("/login/local")[0].1.clone();
    // Over the bound, and small enough to be on its way as a whole before the answer comes.
    let large = "x".repeat(20_000);
    let post = || Request::post("/login/local").header("sec-fetch-site", "same-origin");
    for (request, body, code) in [
        (post(), &*large, 413),
        (post().header("content-type", "application/json"), "{}", 400),
        (
            post().header("content-type", "multipart/form-data; boundary=a"),
            "--a--",
            400,
        ),
        (post().header("content-type", "text/plain"), "a=b", 400),
        (post().header("content-encoding", "gzip"), "a=b", 400),
        (post(), "username=a&username=b", 400),
        (post(), &*encoded(&[("token", "x")]), 403),
    ] {
        assert_eq!(browser.send(request, body).await.status, code);
    }
    let fields = [
        ("token", &*token),
        ("username", "jane"),
        ("password", PASSWORD),
    ];
    assert_eq!(browser.post("/login/local", &fields).await.status, 303);
    gate.stop().await;
}

// CVE-2026-88804: the method is the request's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_takes_its_own_methods_and_no_other() {
    let gate = world().await;
    let mut browser = logged_in(&gate).await;
    let token = browser.get("/sessions").await.hidden("/logout")[0]
        .1
        .clone();
    for (method, target, allowed) in [
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/sessions", "GET, HEAD, POST"),
        ("DELETE", "/sessions", "GET, HEAD, POST"),
        ("GET", "/logout", "POST"),
        ("HEAD", "/logout", "POST"),
        ("OPTIONS", "/login", "GET, HEAD"),
        ("POST", "/assets/palisade.css", "GET, HEAD"),
    ] {
        let request = Request::builder().method(method).uri(target);
        let page = browser
            .send(request.header("sec-fetch-site", "same-origin"), "")
            .await;
        assert_eq!(
            (page.status.as_u16(), page.header("allow")),
            (405, allowed),
            "{method} {target}"
        );
    }
    let target = format!("/logout?_method=POST&{}", encoded(&[("token", &token)]));
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let request = Request::get(&target).header(name, "POST");
        assert_eq!(browser.send(request, "").await.status, 405, "{name}");
    }
    let fields = [("_method", "DELETE"), ("token", &*token)];
    let page = browser.post("/sessions?_method=DELETE", &fields).await;
    assert_eq!(page.status, 403);
    assert_eq!(gate.kinds().await, [TokenKind::Web]);
    // HEAD is GET without a body.
    let page = browser.send(Request::head("/sessions"), "").await;
    assert_eq!((page.status.as_u16(), &*page.text), (200, ""));
    gate.stop().await;
}

// CVE-2025-32198, CVE-2026-25705: files come from the program alone.
#[tokio::test(flavor = "multi_thread")]
async fn assets_are_the_programs_own() {
    let gate = Gate::start().await;
    let mut browser = Browser::new(&gate);
    let style = browser.get("/assets/palisade.css").await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(style.header("cache-control"), "no-cache");
    let etag = style.header("etag").to_owned();
    let again = Request::get("/assets/palisade.css").header("if-none-match", &etag);
    let again = browser.send(again, "").await;
    assert_eq!((again.status.as_u16(), &*again.text), (304, ""));
    assert_eq!(again.header("etag"), etag);
    assert_eq!(
        browser.get("/assets/icon.svg").await.header("content-type"),
        "image/svg+xml"
    );
    for none in [
        "/assets/",
        "/assets/../gate.yaml",
        "/assets/..%2fgate.yaml",
        "/assets/%2e%2e/gate.yaml",
        "/assets//etc/passwd",
        "/assets/palisade.css/",
        "/assets/palisade%2ecss",
        "/assets/Palisade.css",
        "/assets/palisade.css%00",
    ] {
        assert_eq!(browser.get(none).await.status, 404, "{none}");
    }
    gate.stop().await;
}

// P12: a cluster's host has no pages; and nobody is shown a page as somebody else.
#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_pages_on_a_clusters_host() {
    let gate = Gate::start_with(Some("gate.test")).await;
    for path in ["/", "/login", "/sessions", "/assets/palisade.css"] {
        let request = Request::get(path).header("host", "fake.gate.test");
        assert_eq!(h1(&gate, empty(request)).await.status, 401, "{path}");
    }
    let mut browser = Browser::new(&gate);
    browser
        .headers
        .push(("impersonate-user", "root".to_owned()));
    let page = browser.get("/sessions").await;
    assert_eq!(page.status, 400);
    assert!(
        page.text.contains("Nobody logs in as somebody else"),
        "{}",
        page.text
    );
    gate.stop().await;
}

/// What a program is told that asks for this without a token.
async fn without_a_token(gate: &Gate, target: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(target).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    h1(gate, empty(request)).await
}

// Of no address a stranger learns whether programs find something there.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_nowhere_with_a_browser_gets_a_page_and_programs_what_they_read() {
    let gate = world().await;
    let mut browsers = [Browser::new(&gate), logged_in(&gate).await];
    for target in [
        "/nothing",
        "/apis",
        "/api/v1/pods",
        "/Login",
        "/favicon.ico",
    ] {
        for browser in &mut browsers {
            let request = Request::get(target).header("sec-fetch-dest", "document");
            for page in [browser.get(target).await, browser.send(request, "").await] {
                assert_eq!(page.status, 401, "{target}");
                assert_eq!(page.header("www-authenticate"), "Bearer");
                for text in [
                    "<h1>Page not found</h1>",
                    "There is no page at this address",
                ] {
                    assert!(page.text.contains(text), "{text}: {}", page.text);
                }
                let id = page.header("palisade-request-id");
                assert!(!id.is_empty() && page.text.contains(id), "{}", page.text);
            }
        }
        let usual = without_a_token(&gate, target, &[]).await;
        assert_eq!(usual.json()["kind"], "Status", "{}", usual.text());
        let html = ("accept", "text/html,*/*;q=0.8");
        for headers in [
            &[(
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            )][..],
            &[("accept", "*/*")],
            &[html, ("sec-fetch-dest", "empty")],
            &[html, ("sec-fetch-dest", "image")],
            &[html, ("authorization", "Bearer none")],
        ] {
            let answer = without_a_token(&gate, target, headers).await;
            assert_eq!((answer.status, &answer.body), (usual.status, &usual.body));
            let kind = |it: &Answer| it.headers["content-type"].clone();
            assert_eq!(kind(&answer), kind(&usual), "{headers:?}");
        }
    }
    // What else is wrong with an address is told on a page too.
    let page = browsers[0].get("/a%2fb").await;
    assert_eq!(page.status, 400, "{}", page.text);
    assert!(
        page.text.contains("<h1>This does not work</h1>"),
        "{}",
        page.text
    );
    gate.stop().await;
}
