//! Sessions against a small gateway that counts what it is asked.

use super::*;
use crate::cli::fake::{FakeGateway, json};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};

/// Answers `/v1/login/renew`.
struct Gateway {
    url: String,
    ca: String,
    renewals: Arc<AtomicUsize>,
    /// The status to answer with; 0: hang up.
    code: Arc<AtomicU16>,
}

const RENEWED_UNTIL: &str = "2026-11-23T05:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Gateway {
    async fn start() -> Self {
        let (renewals, code) = (Arc::<AtomicUsize>::default(), Arc::new(AtomicU16::new(200)));
        let (counted, answered) = (Arc::clone(&renewals), Arc::clone(&code));
        let fake = FakeGateway::start(move |request| {
            let code = answered.load(Ordering::SeqCst);
            (code != 0).then(|| answer(&request, &counted, code))
        });
        let FakeGateway { url, ca } = fake.await;
        Self {
            url,
            ca,
            renewals,
            code,
        }
    }

    fn saved(&self) -> Saved {
        let mut saved = Saved::new(self.url.clone(), Some(self.ca.clone()));
        saved.session = Some(Session {
            user: "jane".to_owned(),
            token: "pal_ses_text".to_owned(),
            obtained_at: time("2026-11-22T00:00:00Z"),
            expires_at: time("2026-11-22T16:00:00Z"),
            renewable_until: time("2026-11-29T00:00:00Z"),
            renewal_failed_at: None,
        });
        saved
    }

    fn renewals(&self) -> usize {
        self.renewals.load(Ordering::SeqCst)
    }
}

fn answer<B>(request: &Request<B>, renewals: &AtomicUsize, code: u16) -> Response<Full<Bytes>> {
    assert_eq!(request.uri().path(), "/v1/login/renew");
    assert_eq!(
        request.headers()[http::header::AUTHORIZATION],
        "Bearer pal_ses_text"
    );
    renewals.fetch_add(1, Ordering::SeqCst);
    if code == 200 {
        return json(
            code,
            &serde_json::json!({"expiresAt": RENEWED_UNTIL, "later": 1}),
        );
    }
    let status = crate::status::Status::failure(code, None, "no").to_json();
    json(code, &serde_json::from_slice(&status).unwrap())
}

async fn save(folder: &Folder, saved: &Saved) {
    folder
        .lock(&saved.server)
        .await
        .unwrap()
        .save(saved)
        .unwrap();
}

/// A folder, in it a session that is half over at 08:00 and ends at 16:00.
async fn world() -> (Gateway, tempfile::TempDir, Folder) {
    let gateway = Gateway::start().await;
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(Some(&dir.path().join("new/palisade"))).unwrap();
    save(&folder, &gateway.saved()).await;
    (gateway, dir, folder)
}

fn end(saved: &Saved) -> Timestamp {
    saved.session.as_ref().unwrap().expires_at
}

#[tokio::test]
async fn a_session_in_its_first_half_is_used_as_it_is() {
    let (gateway, _dir, folder) = world().await;
    let now = time("2026-11-22T07:59:59Z");
    let saved = current(&folder, &gateway.url, now).await.unwrap();
    assert_eq!(end(&saved), time("2026-11-22T16:00:00Z"));
    assert_eq!(gateway.renewals(), 0);
}

#[tokio::test]
async fn a_hundred_at_the_same_time_renew_once() {
    let (gateway, _dir, folder) = world().await;
    let folder = Arc::new(folder);
    let now = time("2026-11-22T08:00:00Z");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (folder, url) = (Arc::clone(&folder), gateway.url.clone());
        tasks.spawn(async move { current(&folder, &url, now).await.map(|saved| end(&saved)) });
    }
    while let Some(answer) = tasks.join_next().await {
        assert_eq!(answer.unwrap().unwrap(), time(RENEWED_UNTIL));
    }
    assert_eq!(gateway.renewals(), 1);
    let saved = folder.load(&gateway.url).unwrap().unwrap();
    assert_eq!(saved.session.unwrap().obtained_at, now);
}

#[tokio::test]
async fn a_revoked_session_ends_here_too_and_is_asked_about_once() {
    let (gateway, _dir, folder) = world().await;
    gateway.code.store(401, Ordering::SeqCst);
    let now = time("2026-11-22T09:00:00Z");
    let error = current(&folder, &gateway.url, now)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("run palisade login"), "{error}");
    let again = current(&folder, &gateway.url, now).await.err().unwrap();
    assert!(matches!(again, SessionError::NotLoggedIn(_)));
    assert_eq!(gateway.renewals(), 1);
}

#[tokio::test]
async fn an_ended_session_asks_nobody() {
    let (gateway, _dir, folder) = world().await;
    let now = time("2026-11-22T16:00:00Z");
    let error = current(&folder, &gateway.url, now).await.err().unwrap();
    assert!(matches!(error, SessionError::Ended(_)));
    assert!(error.to_string().contains("run palisade login"), "{error}");
    assert_eq!(gateway.renewals(), 0);
}

// A gateway that is down is no reason to throw a good session away, or to wait for it at every command.
#[tokio::test]
async fn without_an_answer_the_session_is_used_and_the_next_try_waits() {
    let (gateway, _dir, folder) = world().await;
    let now = time("2026-11-22T09:00:00Z");
    for code in [503, 0] {
        gateway.code.store(code, Ordering::SeqCst);
        save(&folder, &gateway.saved()).await;
        let before = gateway.renewals();
        for _ in 0..3 {
            let saved = current(&folder, &gateway.url, now).await.unwrap();
            assert_eq!(end(&saved), time("2026-11-22T16:00:00Z"));
        }
        assert_eq!(
            gateway.renewals() - before,
            usize::from(code != 0),
            "{code}"
        );
    }
    gateway.code.store(200, Ordering::SeqCst);
    let later = now + RETRY_RENEWAL;
    let saved = current(&folder, &gateway.url, later).await.unwrap();
    assert_eq!(end(&saved), time(RENEWED_UNTIL));
}

#[tokio::test]
async fn a_session_at_its_last_day_is_not_renewed() {
    let (gateway, _dir, folder) = world().await;
    let mut saved = gateway.saved();
    if let Some(session) = &mut saved.session {
        session.renewable_until = session.expires_at;
    }
    save(&folder, &saved).await;
    let now = time("2026-11-22T15:00:00Z");
    current(&folder, &gateway.url, now).await.unwrap();
    assert_eq!(gateway.renewals(), 0);
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let (gateway, dir, folder) = world().await;
    folder.set_current(&gateway.url).unwrap();
    // What a crash left behind, readable by all.
    let draft = folder.path(&gateway.url, "tmp");
    fs::write(&draft, "half").unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o644)).unwrap();
    save(&folder, &gateway.saved()).await;
    let root = dir.path().join("new/palisade");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root), 0o700);
    let mut files = 0;
    for entry in fs::read_dir(&root).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "session, lock and current; no draft is left");
}

#[tokio::test]
async fn gateways_stand_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(Some(dir.path())).unwrap();
    assert!(matches!(folder.server(None), Err(SessionError::NoServer)));
    let urls = [
        "https://gw",
        "https://gw:8443",
        "https://gw/a",
        "https://gw/a_b",
        "https://gw/a/b",
    ];
    for url in urls {
        save(&folder, &Saved::new(url.to_owned(), None)).await;
    }
    for url in urls {
        assert_eq!(folder.load(url).unwrap().unwrap().server, url);
    }
    folder.set_current("https://gw/a").unwrap();
    assert_eq!(folder.server(None).unwrap(), "https://gw/a");
    assert_eq!(
        folder.server(Some("https://GW:443/")).unwrap(),
        "https://gw"
    );
    assert!(folder.load("https://other").unwrap().is_none());
}

#[test]
fn only_https_is_spoken() {
    for bad in [
        "http://gw",
        "gw",
        "https://",
        "https://u@gw",
        "https://gw?x",
        "",
    ] {
        assert!(server_key(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn what_is_no_session_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(Some(dir.path())).unwrap();
    for text in [
        "",
        "{",
        r#"{"version":2,"server":"https://gw"}"#,
        r#"{"version":1,"server":"https://evil"}"#,
    ] {
        fs::write(folder.path("https://gw", "json"), text).unwrap();
        let error = folder.load("https://gw").err().unwrap().to_string();
        assert!(error.contains("log in again"), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_lock_that_is_never_given_back_is_not_waited_for_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(Some(dir.path())).unwrap();
    let _held = folder.lock("https://gw").await.unwrap();
    let answer = folder
        .lock_within("https://gw", Duration::from_millis(50))
        .await;
    assert!(matches!(answer, Err(SessionError::Locked(_))));
}
