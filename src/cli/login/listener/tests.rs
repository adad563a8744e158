//! The listener, asked over the wire as a browser and as strangers would.

use super::*;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};

const STATE: &str = "the-state-of-this-login";

struct Waiting {
    address: SocketAddr,
    answer: JoinHandle<Result<Brought, Failure>>,
}

async fn wait() -> Waiting {
    let listener = Listener::bind().await.unwrap();
    let address = listener.address;
    assert_eq!(
        listener.redirect_uri(),
        format!("http://127.0.0.1:{}/callback", address.port())
    );
    let answer = tokio::spawn(async move { listener.answer(STATE).await });
    Waiting { address, answer }
}

impl Waiting {
    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // One that is refused early is closed before it is written whole.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, target: &str) -> String {
        let host = self.address;
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }
}

#[tokio::test]
async fn a_code_with_the_right_state_is_taken_and_the_person_told() {
    let waiting = wait().await;
    let page = waiting
        .get(&format!("/callback?code=c-1%2B&state={STATE}"))
        .await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("You can close this window"), "{page}");
    for header in [
        "content-security-policy: default-src 'none'",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
        "connection: close",
    ] {
        assert!(page.contains(header), "{header}: {page}");
    }
    // What the address held is not shown again.
    assert!(!page.contains("c-1") && !page.contains(STATE), "{page}");
    let brought = waiting.answer.await.unwrap().ok().unwrap();
    assert!(matches!(brought, Brought::Code(code) if *code == "c-1+"));
}

#[tokio::test]
async fn a_refusal_is_brought_too() {
    let waiting = wait().await;
    let page = waiting
        .get(&format!("/callback?error=access_denied&state={STATE}"))
        .await;
    assert!(page.contains("Not logged in"), "{page}");
    let brought = waiting.answer.await.unwrap().ok().unwrap();
    assert!(matches!(brought, Brought::Refused(why) if why == "access_denied"));
}

// G4: whatever else comes brings nothing, and ends nothing.
#[tokio::test]
async fn what_is_not_this_login_is_turned_away() {
    let waiting = wait().await;
    let host = waiting.address;
    for target in [
        "/callback".to_owned(),
        "/callback?code=x".to_owned(),
        "/callback?code=x&state=".to_owned(),
        "/callback?code=x&state=another".to_owned(),
        format!("/callback?code=x&state={STATE}x"),
        format!("/callback?code=x&state={STATE}&state={STATE}"),
        format!("/callback?code=x&code=y&state={STATE}"),
        format!("/callback?code=x&error=y&state={STATE}"),
        format!("/callback?state={STATE}"),
    ] {
        let page = waiting.get(&target).await;
        assert!(page.starts_with("HTTP/1.1 400"), "{target}: {page}");
    }
    for target in ["/", "/favicon.ico", "//callback", "/callback/"] {
        let page = waiting.get(&format!("{target}?code=x&state={STATE}")).await;
        assert!(page.starts_with("HTTP/1.1 404"), "{target}: {page}");
    }
    let good = format!("/callback?code=x&state={STATE}");
    for head in [
        format!(
            "GET {good} HTTP/1.1\r\nHost: rebound.example:{}",
            host.port()
        ),
        format!("GET {good} HTTP/1.1\r\nHost: localhost:{}", host.port()),
        format!("GET {good} HTTP/1.1\r\nX: y"),
        format!("GET {good} HTTP/1.1\r\nHost: {host}\r\nHost: {host}x"),
    ] {
        let page = waiting.send(&format!("{head}\r\n\r\n")).await;
        let refused = page.starts_with("HTTP/1.1 421") || page.starts_with("HTTP/1.1 400");
        assert!(refused, "{head}: {page}");
    }
    let post = format!("POST {good} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
    assert!(waiting.send(&post).await.starts_with("HTTP/1.1 405"));
    let long = format!("/callback?code={}&state={STATE}", "x".repeat(MAX_HEAD));
    assert!(!waiting.get(&long).await.contains(" 200 "));
    assert!(!waiting.send("nonsense\r\n\r\n").await.contains(" 200 "));
    assert!(!waiting.answer.is_finished());
    // And the person still gets in.
    waiting.get(&good).await;
    assert!(waiting.answer.await.unwrap().is_ok());
}

// A browser opens connections in advance and says nothing on them.
#[tokio::test]
async fn connections_that_say_nothing_do_not_hold_up_the_answer() {
    let waiting = wait().await;
    let mut silent = Vec::new();
    for _ in 0..MAX_AT_ONCE - 1 {
        silent.push(TcpStream::connect(waiting.address).await.unwrap());
    }
    waiting
        .get(&format!("/callback?code=x&state={STATE}"))
        .await;
    assert!(waiting.answer.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_flood_ends_the_login_with_a_sentence() {
    let waiting = wait().await;
    let mut count = 0;
    while !waiting.answer.is_finished() && count <= MAX_CONNECTIONS {
        count += 1;
        if let Ok(mut stream) = TcpStream::connect(waiting.address).await {
            let _ = stream.write_all(b"x\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }
    let error = waiting.answer.await.unwrap().err().unwrap();
    assert!(error.to_string().contains("--device"), "{error}");
}
