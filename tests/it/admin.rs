//! The admin listener.

use palisade::{
    observe::metrics::Metrics,
    serve::admin::{Admin, AdminListener, Check, Note},
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

struct Server {
    address: SocketAddr,
    caught_up: Arc<AtomicBool>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let caught_up = Arc::new(AtomicBool::new(true));
        let seen = Arc::clone(&caught_up);
        let checks = vec![
            Check::new("store", move || {
                let caught_up = seen.load(Ordering::Relaxed);
                caught_up
                    .then_some(())
                    .ok_or("no contact for 12s".to_owned())
            }),
            Check::new("listener", || Ok(())),
        ];
        let notes = vec![
            Note {
                name: "config",
                tell: Box::new(|| Ok("generation 1".to_owned())),
            },
            Note {
                name: "certificate",
                tell: Box::new(|| Err("the old one is kept".to_owned())),
            },
        ];
        let admin = Admin::new(checks, notes, Arc::new(Metrics::new()));
        let listener = AdminListener::bind(([127, 0, 0, 1], 0).into())
            .await
            .unwrap();
        let address = listener.address();
        let stop = CancellationToken::new();
        let running = tokio::spawn(listener.run(Arc::new(admin), stop.clone()));
        Self {
            address,
            caught_up,
            stop,
            running,
        }
    }

    /// Head and body of an answer.
    async fn ask(&self, line: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

#[tokio::test]
async fn livez_readyz_and_metrics_answer() {
    let server = Server::start().await;
    let (head, body) = server.ask("GET /livez").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && body == "ok\n",
        "{head}\n{body}"
    );
    let (head, body) = server.ask("GET /readyz").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && body == "ok\n",
        "{head}\n{body}"
    );
    let (_, body) = server.ask("GET /readyz?verbose").await;
    assert_eq!(
        body,
        "[+]store ok\n[+]listener ok\n\
         [+]config ok: generation 1\n[!]certificate: the old one is kept\nok\n"
    );
    let (head, body) = server.ask("GET /metrics").await;
    assert!(head.contains("application/openmetrics-text"), "{head}");
    assert!(
        body.contains("palisade_build_info") && body.ends_with("# EOF\n"),
        "{body}"
    );
    server.stop.cancel();
    timeout(PATIENCE, server.running).await.unwrap().unwrap();
}

#[tokio::test]
async fn readyz_says_what_is_missing() {
    let server = Server::start().await;
    server.caught_up.store(false, Ordering::Relaxed);
    let (head, body) = server.ask("GET /readyz").await;
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(body, "[-]store failed: no contact for 12s\nnot ready\n");
    let (head, _) = server.ask("GET /livez").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

// O1: nothing else is there, and nothing can be sent.
#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let server = Server::start().await;
    for path in ["/", "/debug/pprof/", "/api", "/metrics/", "/readyz/store"] {
        let (head, _) = server.ask(&format!("GET {path}")).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{path}: {head}");
    }
    let (head, _) = server.ask("POST /readyz").await;
    assert!(
        head.starts_with("HTTP/1.1 405") && head.contains("allow: GET, HEAD"),
        "{head}"
    );
}
